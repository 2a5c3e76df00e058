from pathlib import Path

import pytest

from safe_dnn.support.defects import LARGEST, LOG_FILE, describe_defect
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
