"""An analysis as a whole: what was computed never changes, and it can be moved and copied."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import pytest

from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, merge_rccs, move_images, new_rcc, redo_edit, set_note, undo_edit
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, load_unsafe_set
from safe_dnn.report.exports import export_results, mend, refresh_rccs, show_present
from safe_dnn.report.report import report_html, write_report
from safe_dnn.store.runs import earlier_runs
from safe_dnn.training.labels import take_typed_labels
from tests.helpers.places import runs_as_they_are
from tests.helpers.worked_on import DARK, known_of, work_on


def test_in_a_run_nothing_changes_whatever_is_said_and_done(clusters, tmp_path):
    out = tmp_path / "out"
    work_on(clusters, out, tmp_path / "improvement")
    computed = runs_as_they_are(out)
    assert len(computed) == 2 + 2 + 1 + 3 + 2
    for change in (
        lambda: set_note(out, Note(0, "darkness", "hazard H4", "safe")), lambda: set_note(out, Note(0)),
        lambda: set_note(out, Note((DARK.conditions, ""), "dusk")), lambda: undo_edit(out), lambda: redo_edit(out),
        lambda: move_images(out, ["night_00.png"], 1), lambda: new_rcc(out, ["night_01.png", "night_02.png"]),
        lambda: merge_rccs(out, 1, 0), lambda: _type(out / UNSAFE_SET_FILE),
        *(partial(one, out) for one in (take_typed_labels, refresh_rccs, show_present, mend, write_report)),
    ):  # fmt: skip
        change()
        assert runs_as_they_are(out) == computed
    assert [image.label for image in load_unsafe_set(out).images] == ["red", "", "green"]


def _type(table: Path) -> None:
    table.write_text(table.read_text().replace("blue", "green"))


# --- An analysis that is moved or copied ------------------------------------------------------------------------


@pytest.fixture(params=["in", "beside"])
def placed(request, clusters, tmp_path) -> tuple[Path, Path]:
    """An analysis with its images in it or beside it, and the folder that holds all of both."""
    home = tmp_path / "home"
    out = home / "out"
    images = out if request.param == "in" else home
    images.mkdir(parents=True)
    shutil.move(clusters.image_root, images / "failing")
    work_on(dataclasses.replace(clusters, image_root=images / "failing"), out, images / "improvement")
    return out, out if request.param == "in" else home


@pytest.mark.parametrize("copied", [False, True], ids=["mv", "cp -a"])
def test_an_analysis_that_is_moved_or_copied_with_its_images_is_the_same(placed, tmp_path, copied):
    out, whole = placed
    known, document = known_of(out), _report(out)
    target = tmp_path / "elsewhere" / "deeper"
    target.parent.mkdir()
    if copied:
        shutil.copytree(whole, target)
        for image in [*whole.rglob("*.png")]:
            image.unlink()  # the copy must not use those of the first
    else:
        whole.rename(target)
    there = target / out.relative_to(whole)
    assert known_of(there) == known
    named = document.replace(f"'path'>{out.name}<", f"'path'>{there.name}<")
    assert _report(there) == named.replace(str(whole), str(target))
    clusters = load_clusters(there)
    exported = export_results(there, there / "export")
    assert (exported.images, exported.missing) == (len(clusters.paths), ())
    assert earlier_runs(there) == []
    # It is the same analysis for what is computed and said from now on.
    save_clusters(clusters, there)
    assert (load_review(there).notes, load_review(there).run) == (known["notes"], known["run"])


def _report(out: Path) -> str:
    """The report, but for when it was made and what it is called."""
    text = report_html(out)
    lines = text.splitlines()
    return "\n".join(line for line in lines if "UTC" not in line and "<title>" not in line)
