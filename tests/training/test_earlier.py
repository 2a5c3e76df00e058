"""The next round is another folder, which takes over what is known."""

import json

import numpy as np
import pytest

from safe_dnn import SAFE_Tool
from safe_dnn import api as safe
from safe_dnn.rccs.clusters import fingerprint, load_clusters
from safe_dnn.rccs.review.journal import Note, Scope
from safe_dnn.rccs.review.review import load_scope, load_spot_notes, notes_of_run, set_note
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.report.report import report_html
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.earlier import earlier_analysis
from safe_dnn.training.labels import label_images, save_labels
from tests.helpers.answered import record_light
from tests.helpers.scenes import draw_scene


def unsafe_set(folder, improvement) -> UnsafeSet:
    clusters = load_clusters(folder)
    images = tuple(UnsafeImage(f"{i}.png", 0, 0.5, True) for i in range(2))
    sizes = (1,) * clusters.n_rccs
    belongs = fingerprint(clusters)
    return save_unsafe_set(UnsafeSet(improvement, images, 2, "", 2, sizes, (), belongs, run=belongs), folder)


@pytest.fixture
def rounds(case, fake_network, tmp_path):
    """An analysis in which all was said, and the answers of a better network: the nights are right."""
    record_light(case.test / "parameters.csv")
    safe.failures(predictions=case.table, test=case.test, out=case.out)
    safe.cluster(case.out / "failures", case.out, extractor="vgg16-conv")
    (spot, *_) = load_reasons(case.out, load_clusters(case.out)).spots
    (note,) = [Note((spot.conditions, "../test"), "night", "No lamps.", "unsafe", hazard="H3")]
    set_note(case.out, note)
    set_note(case.out, Scope(use="a warning"))
    improvement = tmp_path / "improvement"
    improvement.mkdir()
    for i in range(2):
        draw_scene("night", np.random.default_rng(i)).save(improvement / f"{i}.png")
    save_labels(label_images(unsafe_set(case.out, improvement), ["0.png"], "night", ["night"]), case.out)
    better = tmp_path / "better.csv"
    better.write_text(case.table.read_text().replace(",night,wood,0.9,false", ",night,night,0.9,true"))
    return case, spot, better, improvement


def test_the_next_analysis_takes_over_what_is_known_and_the_report_compares_both(rounds, tmp_path, capsys):
    case, spot, better, improvement = rounds
    new = tmp_path / "new"
    arguments = ["--predictions", str(better), str(case.test), "--out", str(new), "--after", str(case.out)]
    assert SAFE_Tool.main(["failures", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "Compared with ../out: 64.86% right before, 81.08% now\n" in printed
    now = f"{spot.figures.wrong - 12} of {spot.figures.tested}"
    assert f"  {spot.where}: {spot.figures.wrong} of {spot.figures.tested} wrong before, {now} now" in printed
    assert earlier_analysis(new) == case.out
    safe.cluster(new / "failures", new, extractor="vgg16-conv")
    note = notes_of_run(new)[spot.conditions]
    assert (note.name, note.verdict, note.hazard) == ("night", "unsafe", "H3")
    assert note.note == "Taken over from the analysis out.\nNo lamps."
    assert load_scope(new)[0] == Scope(use="a warning")
    unsafe_set(new, improvement)
    assert [image.label for image in load_unsafe_set(new).images] == ["night", ""]
    report = report_html(new)
    assert "Accuracy: 64.9% before, 81.1% now" in " ".join(report.split())
    assert now in report
    assert "do not follow another analysis" in report_html(case.out)
    # Again: what is said in the new analysis stays, and nothing is said twice.
    set_note(new, note._replace(name="dusk"))
    assert SAFE_Tool.main(["failures", *arguments]) == 0
    assert [one.name for one in load_spot_notes(new).values()] == ["dusk"]


def test_what_is_no_other_analysis_is_refused_before_anything_is_written(rounds, tmp_path):
    case, _, better, _ = rounds
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / DATABASE_FILE).write_bytes(b"a table, say\n" * 500)
    before = json.loads((case.out / "accuracy.json").read_text())
    for after, why in ((case.out, "another analysis"), (tmp_path / "empty", "another analysis"),
                       (tmp_path / "none", "is not a folder"), (tmp_path / "damaged", "is damaged")):  # fmt: skip
        with pytest.raises(SAFEError, match=why):
            safe.failures(predictions=better, test=case.test, out=case.out, after=after)
    assert json.loads((case.out / "accuracy.json").read_text()) == before


@pytest.mark.slow
def test_other_failures_in_the_same_folder_take_the_place_of_the_present_ones_and_runs_stay(rounds):
    case, _, better, _ = rounds
    first = load_clusters(case.out)
    content = {path: (first.image_root / path).read_bytes() for path in first.paths}
    safe.failures(predictions=better, test=case.test, out=case.out)
    shown = load_clusters(case.out)
    assert (shown.image_root, shown.home) == (case.test, first.image_root)
    assert {path: (shown.image_root / path).read_bytes() for path in shown.paths} == content
    assert notes_of_run(case.out)
    second = safe.cluster(case.out / "failures", case.out, extractor="vgg16-conv").value.clusters
    assert second.image_root == second.home == first.image_root
    assert len(second.paths) == len(first.paths) - 12
