from pathlib import Path

import pytest

from safe_dnn.support.defects import _PRINTED, LARGEST, LOG_FILE, MOST_LINES, describe_defect, report_defect
from safe_dnn.support.files import cache_folder


@pytest.fixture
def defect() -> ZeroDivisionError:
    try:
        _ = 1 // 0
    except ZeroDivisionError as error:
        return error


def test_the_log_does_not_grow_for_ever(defect):
    log = cache_folder() / LOG_FILE
    log.parent.mkdir(exist_ok=True)
    for _ in range(3):
        log.write_text("x" * (LARGEST + 1))
        describe_defect(defect)
    assert log.stat().st_size < LARGEST
    assert sum(path.stat().st_size for path in log.parent.iterdir()) < 2 * LARGEST


def test_where_no_log_can_be_written_the_details_are_on_stderr(defect, tmp_path, monkeypatch, capsys):
    for folder in (tmp_path / "file" / "x", "~nosuchuser/x", Path("/dev/full")):
        (tmp_path / "file").touch()
        monkeypatch.setenv("SAFE_CACHE", str(folder))
        assert "details are above" in describe_defect(defect)
        assert "1 // 0" in capsys.readouterr().err


def test_a_visitor_who_repeats_a_defect_does_not_fill_the_terminal(defect, monkeypatch, capsys):
    seconds = [1000.0]
    monkeypatch.setattr("safe_dnn.support.defects.time.monotonic", lambda: seconds[0])
    monkeypatch.setattr("safe_dnn.support.defects._PRINTED", type(_PRINTED)([0.0] * MOST_LINES, MOST_LINES))
    for _ in range(2):
        seconds[0] += 100
        for _ in range(2 * MOST_LINES):
            report_defect(defect)
        assert capsys.readouterr().err.count("this is a defect") == MOST_LINES
