import threading

import gradio as gr
import pytest

from safe_dnn.page.work_tab import WorkTab
from safe_dnn.support.errors import SAFEError
from tests.helpers.browsing import wait_until
from tests.helpers.laid_out import laid_out, settings_of


class ATab(WorkTab):
    """Enough of one."""

    name = "retraining"

    def __init__(self, settings):
        super().__init__(settings)
        self.start, self.pane = gr.Button(), gr.Column()
        self._lay_out_state()

    def _guide(self):
        return ""


@pytest.fixture
def view(tmp_path):
    view = laid_out(lambda: ATab(settings_of(tmp_path)))
    return view, view.status, view._settings.jobs


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
    assert "Starting" in view._start(lambda job: gate.wait(10), lambda: {status: "found"})[status]
    assert "<progress" in view.tick(0)[status]
    gate.set()
    wait_until(lambda: jobs.running is None)
    assert view.tick(0)[status] == "found"
    assert status not in view.tick(1)
