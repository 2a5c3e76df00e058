from types import SimpleNamespace

import pytest

from safe_dnn.page.analyses import NOWHERE
from safe_dnn.page.job_view import JobView
from safe_dnn.page.jobs import Jobs
from safe_dnn.support.errors import SAFEError
from tests.helpers.browsing import wait_until


class Widget:
    """Enough of one, so that no page is laid out."""

    def click(self, *_, **__) -> None:
        pass


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setattr("safe_dnn.page.job_view.gr.State", lambda value: None)
    status, button, cancel, result = (Widget() for _ in range(4))
    settings = SimpleNamespace(jobs=Jobs(), where=NOWHERE)
    return JobView(settings, "retraining", status, button, cancel, lambda: "", result), status, settings.jobs


def fail(job):
    raise SAFEError("Expected a model. Received: a note.")


def test_an_error_stays_in_sight_while_the_result_is_the_one_shown_before(view):
    view, status, jobs = view
    job = jobs.start("retraining", fail)
    wait_until(lambda: job.finished(0))
    result = {status: "an earlier result"}
    assert "Expected a model" in view.look(result.copy, job.number, same=True)[status]
    assert view.look(result.copy, job.number) == result  # it has been replaced since
    assert view.look(result.copy) == result  # a window that is opened
