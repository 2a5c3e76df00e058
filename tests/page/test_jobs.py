import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from safe_dnn.page.analyses import Where
from safe_dnn.page.jobs import STOPPED, WAITING, Job, Jobs, Turn
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder
from tests.helpers.browsing import wait_until


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

    job = Job("clusters", 1, work)
    job.start()
    assert job.finished(10)
    assert job.outcome == VISITOR_MESSAGE
    assert "ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_jobs_of_all_analyses_take_turns_and_none_begins_in_one_that_is_gone():
    turn, gate = Turn(), threading.Event()
    a, b = Jobs(turn), Jobs(turn)
    job = a.start("clusters", lambda job: gate.wait(10), Where("../..", "/a/a/", "<a>"))
    assert a.start("unsafe", lambda job: None) is None
    done: list[str] = []
    following = b.start("clusters", lambda job: done.append("b"), Where("../..", "/a/b/", "b"))
    stopped = Jobs(turn).start("clusters", lambda job: done.append("c"), Where(".", "/", "top"))
    wait_until(lambda: following.state.startswith(WAITING))
    assert "Waiting for <a href='../../a/a/'>&lt;a&gt;</a> (Starting …)</span>" in following.bar
    assert f"(Starting …), <a href='./a/b/'>b</a> ({WAITING} …)" in stopped.bar
    stopped.cancel()
    wait_until(lambda: stopped.finished(0))
    assert (stopped.outcome, done, a.running, b.running) == (STOPPED, [], job, following)
    gate.set()
    wait_until(lambda: following.finished(0))
    assert (following.outcome, done) == (None, ["b"])
    with turn.lock:
        a.end()
    with pytest.raises(SAFEError, match="renamed or deleted"):
        a.start("clusters", lambda job: None)
