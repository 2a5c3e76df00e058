import pytest

from safe_dnn.support.progress import Pace


@pytest.fixture
def pace(monkeypatch):
    """By a clock that is 2 s further at each look."""
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("safe_dnn.support.progress.time.monotonic", lambda: next(clock))
    return Pace()


def test_the_time_left_is_by_what_was_done_since_a_job_was_resumed(pace):
    assert pace.describe("Extracting features", 400, 1_600) == "Extracting features: 400 / 1,600"
    assert pace.describe("Extracting features, part 2", 410, 1_600).endswith("410 / 1,600, 7:56 left")  # 10 in 4 s
    assert pace.describe("Extracting features", 1_600, 1_600) == "Extracting features: 1,600 / 1,600"


def test_another_task_and_one_that_begins_anew_have_a_time_of_their_own(pace):
    for what, done in (("Reading", 0), ("Drawing", 50), ("Drawing", 5)):
        assert "left" not in pace.describe(what, done, 100)
