import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from safe_dnn.page.analyses import Where
from safe_dnn.page.jobs import STOPPED, TOO_LONG, WAITING, Allowance, Job, Jobs, Turn
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
    with pytest.raises(SAFEError, match="was deleted"):
        a.start("clusters", lambda job: None)


def test_visitors_take_turns_and_learn_nothing_of_each_other():
    turn, gate = Turn(Allowance(jobs=3, in_all=6)), threading.Event()
    done: list[str] = []

    def ask(owner: str, name: str) -> Job:
        def work(job: Job) -> None:
            gate.wait(10)
            done.append(name)

        job = Jobs(turn, owner).start("clusters", work, Where("../..", f"/a/{name}/", name))
        assert job
        return job

    jobs = [ask("ann", "ann 1"), ask("ann", "ann 2"), ask("ann", "ann 3"), ask("bob", "bob 1"), ask("eve", "eve 1")]
    wait_until(lambda: jobs[2].state.startswith(WAITING))
    assert "ann 2" in jobs[2].bar
    assert "2 jobs of other visitors" in jobs[2].bar
    assert not any(name in jobs[2].bar for name in ("bob", "eve"))
    with pytest.raises(SAFEError, match="are waiting"):
        ask("ann", "ann 4")
    jobs.append(ask("bob", "bob 2"))
    with pytest.raises(SAFEError, match="are waiting"):
        ask("new", "new 1")
    gate.set()
    wait_until(lambda: all(job.finished(0) for job in jobs))
    assert done == ["ann 1", "bob 1", "eve 1", "ann 2", "bob 2", "ann 3"]


def test_work_that_takes_longer_than_a_service_allows_is_stopped_and_says_why():
    def work(job: Job) -> None:
        while True:
            job.progress("Grouping", 0, 0)

    job = Jobs(Turn(Allowance(seconds=0.1))).start("clusters", work)
    assert job
    wait_until(lambda: job.finished(0))
    assert job.outcome == TOO_LONG
