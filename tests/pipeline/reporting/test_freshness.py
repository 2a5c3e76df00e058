"""Whether a report and an export are of the present state."""

import dataclasses
import datetime
import functools

import numpy as np
import pytest

from safe_dnn.pipeline.exports import export_here
from safe_dnn.pipeline.reporting.export import EXPORT_ZIP, REPORT_FILE
from safe_dnn.pipeline.reporting.history import restore_run
from safe_dnn.pipeline.reporting.report import is_current, made_from, when_made, write_report
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.comparison import Reasons, save_reasons
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.training.labels import label_images, save_labels
from tests.helpers.worked_on import DARK, retrain, select


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
    set_note(out, Note(0, "night", "", ""))
    retrain(out, b"weights")
    for file in files:
        assert when_made(file, now).changed == ("names, judgements and edits", "the retrained model")
    assert not is_current(out / REPORT_FILE, now)


def test_each_part_of_a_report_may_change_and_an_earlier_run_opened_again_is_as_it_was(clusters, out, now, tmp_path):
    def changed() -> tuple[str, ...]:
        found = when_made(out / REPORT_FILE, now).changed
        write_report(out)
        return found

    write_report(out)
    select(out, tmp_path / "improvement", "red")
    assert changed() == ("the unsafe set and its labels",)
    save_labels(label_images(load_unsafe_set(out), ["0.png"], "", []), out)
    assert changed() == ("the unsafe set and its labels",)
    save_reasons(Reasons((DARK,), (np.arange(8),), None, 0.3), clusters, out, present_runs(out)[CLUSTERS])
    assert changed() == ("the failure rates and weak spots",)
    first = present_runs(out)[CLUSTERS]
    save_clusters(dataclasses.replace(clusters, labels=np.roll(clusters.labels, 1)), out)
    assert when_made(out / REPORT_FILE, now).changed[0] == "the root cause clusters"
    restore_run(out, str(first.number))
    assert is_current(out / REPORT_FILE, now)
    out.rename(tmp_path / "moved")
    assert is_current(tmp_path / "moved" / REPORT_FILE, functools.partial(made_from, tmp_path / "moved"))


def test_an_export_says_how_many_images_it_lacks(out, now, clusters):
    export_here(out)
    assert when_made(out / EXPORT_ZIP, now).missing == 0
    (clusters.image_root / clusters.paths[0]).unlink()
    export_here(out)
    assert when_made(out / EXPORT_ZIP, now).missing == 1
