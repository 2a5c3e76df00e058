"""When a report was made, and what has changed since."""

import datetime
import functools

import pytest

from pipeline.exports import export_here
from rccs.clusters import save_clusters
from rccs.notes import RccNote
from rccs.review import set_note
from reporting.freshness import is_current, made_from, when_made
from reporting.report import write_report
from support.errors import SAFEError
from support.run_folder import EXPORT_ZIP, REPORT_FILE, RETRAINING_FILE


@pytest.fixture
def out(clusters, tmp_path):
    save_clusters(clusters, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def now(out):
    return functools.partial(made_from, out)


def test_a_report_and_an_export_say_what_has_changed_since(out, now):
    assert when_made(out / REPORT_FILE, now) is None
    begun = datetime.datetime.now().astimezone().replace(microsecond=0)
    files = [write_report(out), export_here(out).path]
    for file in files:
        made = when_made(file, now)
        assert made.changed == ()
        assert begun <= made.time <= datetime.datetime.now().astimezone()
        assert made.size == file.stat().st_size
    set_note(out, RccNote(0, "night", "", ""))
    (out / RETRAINING_FILE).write_text("{}")
    for file in files:
        assert when_made(file, now).changed == ("names, judgements and edits", "the retrained model")
    assert not is_current(out / REPORT_FILE, now)


def test_an_export_says_how_many_images_it_lacks(out, now, clusters):
    export_here(out)
    assert when_made(out / EXPORT_ZIP, now).missing == 0
    (clusters.image_root / clusters.paths[0]).unlink()
    export_here(out)
    assert when_made(out / EXPORT_ZIP, now).missing == 1


def test_of_a_report_by_an_older_version_nothing_is_claimed(out, now):
    report = write_report(out)
    report.write_text(report.read_text().replace("safe-from", "other"))
    assert when_made(report, now).changed is None
    assert not is_current(report, now)


def test_a_damaged_export_is_told(out, now):
    (out / EXPORT_ZIP).write_bytes(b"no archive")
    with pytest.raises(SAFEError, match="is damaged"):
        when_made(out / EXPORT_ZIP, now)
