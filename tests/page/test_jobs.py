import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from safe_dnn.page.jobs import STOPPED, TOO_LONG, Allowance, Job, Jobs, Turn
from safe_dnn.page.report.tab import ReportTab
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder
from safe_dnn.support.progress import report_progress
from tests.helpers.laid_out import laid_out, settings_of


def test_of_many_clicks_at_once_one_starts_a_job():
    jobs, gate, ready = Jobs(), threading.Event(), threading.Barrier(20)

    def click(_: int) -> Job | None:
        ready.wait()
        return jobs.start("clusters", lambda job: gate.wait())

    with ThreadPoolExecutor(20) as pool:
        [job] = filter(None, pool.map(click, range(20)))
    gate.set()
    assert job.finished(10)
    assert jobs.start("clusters", lambda job: None) not in (None, job)


def test_a_job_that_meets_a_defect_says_so_and_logs_it(capsys):
    def work(job: Job) -> None:
        raise ZeroDivisionError

    job = Jobs().start("clusters", work)
    assert job.finished(10)
    assert job.outcome == VISITOR_MESSAGE
    assert "ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_jobs_of_all_analyses_take_turns_and_none_begins_in_one_that_is_gone():
    turn, gate = Turn(), threading.Event()
    a, b = Jobs(turn), Jobs(turn)
    job = a.start("clusters", lambda job: gate.wait(10))
    assert a.start("unsafe", lambda job: None) is None
    done: list[str] = []
    following = b.start("clusters", lambda job: done.append("b"))
    stopped = Jobs(turn).start("clusters", lambda job: done.append("c"))
    assert "Waiting for 1 job of other analyses</span>" in following.bar
    assert "Waiting for 2 jobs of other analyses</span>" in stopped.bar
    stopped.cancel()
    assert stopped.finished(0)
    assert (stopped.outcome, done, a.running, b.running) == (STOPPED, [], job, following)
    gate.set()
    assert following.finished(10)
    assert (following.outcome, done) == (None, ["b"])
    with turn.lock:
        a.end()
    with pytest.raises(SAFEError, match="was deleted"):
        a.start("clusters", lambda job: None)


def test_a_visitor_has_at_most_so_many_jobs_and_all_have_at_most_so_many():
    turn, gate = Turn(Allowance(jobs=2, in_all=3)), threading.Event()

    def ask(owner: str) -> Job:
        job = Jobs(turn, owner).start("clusters", lambda job: gate.wait(10))
        assert job
        return job

    jobs = [ask("ann"), ask("ann")]
    with pytest.raises(SAFEError, match="are waiting"):
        ask("ann")
    jobs.append(ask("bob"))
    with pytest.raises(SAFEError, match="are waiting"):
        ask("eve")
    gate.set()
    assert all(job.finished(10) for job in jobs)
    assert ask("eve").finished(10)


def test_work_that_takes_longer_than_a_service_allows_is_stopped_and_says_why():
    def work(job: Job) -> None:
        while True:
            report_progress("Grouping", 0, 0)

    job = Jobs(Turn(Allowance(seconds=0.1))).start("clusters", work)
    assert job
    assert job.finished(10)
    assert job.outcome == TOO_LONG


def test_only_the_end_of_a_job_stops_a_window_from_following_and_only_once(tmp_path):
    """An answer that is late would stop it from following the job that a click has started since."""
    settings = settings_of(tmp_path)
    tab = laid_out(lambda: ReportTab(settings))
    assert tab.tick(0) == {}
    gate = threading.Event()
    job = settings.jobs.start(tab.name, lambda job: gate.wait(10))
    assert tab.tick(0)[tab.timer].active
    gate.set()
    assert job.finished(10)
    end = tab.tick(0)
    assert not end[tab.timer].active
    assert end[tab.followed] == 1
    assert tab.tick(1) == {}
