import threading
from types import SimpleNamespace

import pytest

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
    for part in ("State", "Timer"):
        monkeypatch.setattr(f"safe_dnn.page.job_view.gr.{part}", lambda *_, **__: Widget())
    status, button, cancel, result = (Widget() for _ in range(4))
    results = SimpleNamespace(check_there=lambda: None)
    settings = SimpleNamespace(jobs=Jobs(), results=results)
    return JobView(settings, "retraining", status, button, cancel, lambda: "", result), status, settings.jobs


def fail(job):
    raise SAFEError("Expected a model. Received: a note.")


def test_an_error_stays_in_sight_while_the_result_is_the_one_shown_before(view):
    view, status, jobs = view
    job = jobs.start("retraining", fail)
    wait_until(lambda: job.finished(0))
    result = {status: "an earlier result"}
    assert "Expected a model" in view.look(result.copy, same=True)[status]
    assert view.look(result.copy) == result  # a window that is opened


def test_a_window_follows_a_job_until_it_has_shown_what_it_has_found(view):
    view, status, jobs = view
    gate = threading.Event()
    assert "Starting" in view.start(lambda job: gate.wait(10), lambda: {status: "found"})[status]
    assert "<progress" in view.tick(0)[status]
    gate.set()
    wait_until(lambda: jobs.running is None)
    assert view.tick(0)[status] == "found"
    assert status not in view.tick(1)
