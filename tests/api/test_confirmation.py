"""`confirm`: a fresh test set is asked of RCCs and weak spots, kept as a run, and shown in table and report."""

import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from safe_dnn.analysis import Analysis
from safe_dnn.api.confirmation import CHOSEN_BY, NOT_GROUPED, check_requirements, confirm
from safe_dnn.api.generation import generate_clusters
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.options import ClusteringSettings, GivenAnswers
from safe_dnn.rccs.clusters import LABELS_FILE, fingerprint, load_clusters
from safe_dnn.rccs.review.review import load_review, merge_rccs
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.reasons.claims import CONFIRMATION_FILE, CONFIRMED
from safe_dnn.reasons.known import FRESH_FILE, TESTED_FILE
from safe_dnn.reasons.register import register_of
from safe_dnn.report.exports import export_results, mend
from safe_dnn.report.report import report_html
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.runs import CONFIRMATION, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import range_text, rate_text
from safe_dnn.training.before_after import Share
from safe_dnn.training.certainty import CLOSURE_FILE
from safe_dnn.training.result import final_test, shares_by_reason
from tests.helpers.answered import AnsweredCase, draw_case, redraw
from tests.helpers.places import rows_in
from tests.helpers.retrained import retrained


@pytest.fixture
def fresh(explained, tmp_path) -> AnsweredCase:
    """Other images of the same scenes, with the same answers."""
    fresh = draw_case(tmp_path / "fresh")
    redraw(fresh)
    return fresh


def answers(case: AnsweredCase) -> GivenAnswers:
    return GivenAnswers(case.table, case.test)


def test_reasons_are_confirmed_kept_and_shown(explained, fresh, capsys):
    given = ["--predictions", str(fresh.table), "--tested", str(fresh.test), "--out", str(explained.out)]
    fresh.table.write_text(f"{fresh.table.read_text()}night/gone.png,night,wood,0.9,false\n")
    assert main(["confirm", *given]) == 0
    told, noted = capsys.readouterr()
    assert "gone.png" in noted
    assert "label = night: confirmed" in told
    assert ": confirmed. 12 of 12 fresh images are wrong (100%, 74–100%), 23% expected without it" in told
    rows = rows_in(explained.out / CONFIRMATION_FILE)
    assert rows[0]["verdict"] == CONFIRMED
    assert len(rows) == 1, "an RCC with the same images is no claim of its own"
    found = Analysis(explained.out)
    entry = found.register[0]
    assert (entry.where, entry.fresh) == (rows[0]["where"], CONFIRMED)
    other = entry.about.spot._replace(literals=(Literal("light", "<", 0.1),))
    assert register_of([entry.about._replace(spot=other)], found.fresh)[0].fresh == "", "another one of this rank"
    images = rows_in(explained.out / FRESH_FILE)
    inside = [one["wrong"] for one in images if one["label"] == "night"]
    assert (str(len(inside)), str(inside.count("1"))) == (rows[0]["tested"], rows[0]["wrong"])
    assert [one["label"] for one in images] == [one["image"].split("/")[0] for one in images]
    with zipfile.ZipFile(export_results(explained.out, explained.out / "all.zip").path) as archive:
        assert {"labels.txt", RATES_FILE, WEAK_SPOTS_FILE, TESTED_FILE, FRESH_FILE} <= {*archive.namelist()}
        assert archive.read(CONFIRMATION_FILE) == (explained.out / CONFIRMATION_FILE).read_bytes()
    assert len(runs_of(explained.out, CONFIRMATION)) == 1
    (explained.out / CONFIRMATION_FILE).unlink()
    assert mend(explained.out)
    assert (explained.out / CONFIRMATION_FILE).is_file()
    assert "74 images that chose nothing, 26 of them wrong (" in report_html(explained.out)
    assert "have been edited since" not in report_html(explained.out)
    merge_rccs(explained.out, 1, 0)
    assert "RCCs have been edited since" in report_html(explained.out)


def test_of_images_that_chose_nothing_each_rcc_has_its_rates_before_and_after(explained, fresh, monkeypatch):
    confirm(explained.out, answers(fresh))
    rcc_of = dict(reversed(line.split("\t")) for line in (explained.out / LABELS_FILE).read_text().splitlines())
    wrong: dict[str, list[str]] = {}
    for one in rows_in(explained.out / FRESH_FILE):
        wrong.setdefault(rcc_of.get(one["nearest"], ""), []).append(one["wrong"])
    wrong.pop("", None)
    assert sum(map(len, wrong.values())) > 12
    before = read_predictions(fresh.table, fresh.test)
    after = replace(before, right=np.ones(len(before.paths), bool))
    final = final_test(explained.out, load_review(explained.out), before, after, held_out=False)
    shares = {one.name: one for one in final.per_rcc if one.images}
    expected = {rcc: (rcc, len(those), those.count("0"), len(those)) for rcc, those in wrong.items()}
    assert {rcc: tuple(one) for rcc, one in shares.items()} == expected
    (listed,) = [one for one in Analysis(explained.out).listed if one.rcc is not None and not one.literals][:1]
    known = shares_by_reason([listed], retrained(per_rcc=(Share(str(listed.rcc), 3, 0, 3),), final=final))
    assert known == [(listed, Share(str(listed.rcc), 3, 0, 3), shares.get(str(listed.rcc)))]
    monkeypatch.setattr("safe_dnn.rccs.clusters.recall_extractor", fail_to_recall)
    unknown = final_test(explained.out, load_review(explained.out), before, after, held_out=False)
    assert unknown.per_rcc == ()
    assert unknown.per_class == final.per_class


def fail_to_recall(*_, **__):
    raise SAFEError("Expected the weights. Received none.")


def test_a_later_model_is_asked_which_reasons_are_left(explained, fresh, capsys):
    after = fresh.table.with_name("after.csv")  # all nights are right by now, and some of the woods wrong
    text = fresh.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true")
    after.write_text(text.replace("wood,wood,0.9,true", "wood,snow,0.9,false", 9))
    given = ["--predictions", str(fresh.table), "--tested", str(fresh.test), "--out", str(explained.out)]
    assert main(["confirm", *given, "--after", str(after)]) == 0
    told = capsys.readouterr().out
    assert "  label = night: reduced. Of 12 images, 12 were wrong and 0 are (0%, 0–26%)" in told
    assert "  everything else: new. Of 62 images, 14 were wrong and 23 are" in told
    rows = rows_in(explained.out / CLOSURE_FILE)
    assert rows[-1]["state"] == "new"
    document = report_html(explained.out)
    for row in rows:  # each figure of the report is that of the table
        rate, limit = float(row["rate_after"]), float(row["limit"])
        verb = "is" if row["wrong_after"] == "1" else "are"
        counts = f"Of {row['tested']} images, {row['wrong_before']} were wrong and {row['wrong_after']} {verb}"
        interval = range_text(float(row["low"]), float(row["high"]))
        assert f"{row['state']}. {counts} ({rate_text(rate)}, {interval}): {100 * float(row['gain']):+.1f}" in document
        assert f"Of new ones, at most {limit:.1%} at 95%." in document
    assert main(["confirm", *given]) == 0
    assert not (explained.out / CLOSURE_FILE).exists()
    after.write_text("\n".join(text.splitlines()[:70]))
    assert main(["confirm", *given, "--after", str(after), "--partial"]) == 2
    assert "Expected answers of both models to the same images." in capsys.readouterr().err
    after.write_text(re.sub(r",(\w+),0\.9,\w+", r",other \1,0.9,", text))
    assert main(["confirm", *given, "--after", str(after)]) == 2
    assert "named as the labels (night, snow, wood)" in capsys.readouterr().err


def test_models_are_compared_for_the_reasons_of_the_earlier_one_but_not_of_the_new_one(explained, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 50 % wrong")
    other = explained.table.with_name("other.csv")
    other.write_text(explained.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true"))
    told = f"Not compared for the reasons in {explained.out}: they are of the new model's failures."
    for now, before in ((other, explained.table), (explained.table, other)):
        given = GivenAnswers(now, explained.test)
        checked = check_requirements(tmp_path / "required.yaml", explained.out, given, before=before)
        reasons = [case.name for case in checked.cases if case.kind == "no worse"]
        assert ("weak spot 1 (RCC 0), label = night" in reasons) == (told not in checked.notes) == (now == other)
        assert [case.failure for case in checked.cases if case.name == "all images"][-1] == (
            "" if now == other else "worse"
        )


def test_with_an_analysis_nothing_passes_that_is_refused_without(explained, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 90 % wrong")
    before, text = explained.table.with_name("before.csv"), explained.table.read_text()
    for least in range(13):  # so many nights were wrong already
        rows = [row.replace("wood,0.9,false", "night,0.9,true") for row in text.splitlines()[1 + least : 13]]
        before.write_text("\n".join([*text.splitlines()[: 1 + least], *rows, *text.splitlines()[13:]]))
        failures = []
        for out in (explained.out, tmp_path / "none"):
            checked = check_requirements(tmp_path / "required.yaml", out, answers(explained), before=before)
            failures.append({case.name for case in checked.cases if case.failure})
        assert failures[0] >= failures[1]
        assert bool(failures[1]) == (least < 5)  # of four tests, one of seven images against none is not enough


def test_images_that_the_analysis_tested_must_be_answered(explained, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 90 % wrong")
    now = explained.table.with_name("now.csv")
    now.write_text("\n".join(explained.table.read_text().splitlines()[:-5]))
    checked = check_requirements(tmp_path / "required.yaml", explained.out, GivenAnswers(now, explained.test))
    assert [case.failure for case in checked.cases] == ["", "missing"]
    assert len(checked.missing) == 5
    assert not checked.holds


def test_answers_that_are_older_than_the_failures_are_not_checked(explained, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 50 % wrong")
    assert check_requirements(tmp_path / "required.yaml", explained.out).holds
    worse = tmp_path / "worse.csv"
    worse.write_text(explained.table.read_text().replace("wood,wood,0.9,true", "wood,snow,0.9,false"))
    collect_failures(worse, explained.test, explained.out)
    with pytest.raises(SAFEError, match="Expected failures and reasons of the same answers"):
        check_requirements(tmp_path / "required.yaml", explained.out)
    assert "have been collected since" in report_html(explained.out)
    collected = tmp_path / "collected"  # without an analysis
    collect_failures(worse, explained.test, collected)
    (finding,) = check_requirements(tmp_path / "required.yaml", collected).findings
    assert (finding.figures.tested, finding.figures.wrong) == (74, 66)
    collect_failures(explained.table, explained.test, explained.out)
    assert check_requirements(tmp_path / "required.yaml", explained.out).holds


def test_requirements_say_that_images_chose_even_if_these_are_given_again(explained, fresh, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 50 % wrong")
    for given in (explained, fresh):
        checked = check_requirements(tmp_path / "required.yaml", explained.out, answers(given))
        assert (CHOSEN_BY in checked.notes) == (given is explained)


def test_fresh_images_that_look_like_groups_are_said_to_be_no_independent_ones(explained, fresh, tmp_path):
    (tmp_path / "required.yaml").write_text("all images: at most 50 % wrong")
    rows = [f"{row['image']},p{place // 6}" for place, row in enumerate(rows_in(fresh.table))]
    (fresh.test / "parameters.csv").write_text("\n".join(["image,person", *rows]))
    told = "Images of one person are not independent (13 persons,"
    checked = check_requirements(tmp_path / "required.yaml", explained.out, answers(fresh))
    assert told in "".join(checked.notes)
    assert NOT_GROUPED in checked.notes
    assert [one.verdict for one in checked.findings] == ["open"]
    again = check_requirements(
        tmp_path / "required.yaml", explained.out, answers(fresh)._replace(group=("image",))
    )  # whatever they look like
    assert [(one.verdict, one.figures.groups) for one in again.findings] == [("holds", 0)]
    assert not any("independent" in note for note in again.notes)
    assert told in "".join(confirm(explained.out, answers(fresh)).notes)


def test_tested_images_that_were_saved_again_are_no_fresh_ones(explained, fresh):
    with Image.open(explained.test / "snow" / "snow_00.png") as tested:
        tested.resize((80, 80)).save(fresh.test / "snow" / "snow_03.png")
        tested.save(fresh.test / "snow" / "snow_05.png", "JPEG", quality=90)
    with pytest.raises(SAFEError, match="Received 2 fresh images that are the same as test images, saved again, such"):
        confirm(explained.out, answers(fresh))
    assert not (explained.out / CONFIRMATION_FILE).exists()


def test_images_and_classes_that_are_no_proof_and_clusters_without_answers_are_refused(explained, fresh):
    with pytest.raises(SAFEError, match="Received 74 fresh images found among the test images, 26 fresh images"):
        confirm(explained.out, answers(explained))
    of, learned = fingerprint(load_clusters(explained.out)), UnsafeImage("night/night_00.png", 0, 0.1, True)
    save_unsafe_set(UnsafeSet(fresh.test, (learned,), 1, "", 1, (1, 0, 0), (), of, run=of), explained.out)
    with pytest.raises(SAFEError, match="Received 1 fresh image found among the unsafe images, 74 fresh images"):
        confirm(explained.out, answers(fresh), after=fresh.table)
    text = fresh.table.read_text()
    fresh.table.write_text(re.sub(r",(night|snow|wood)", r",other \1", text))
    with pytest.raises(SAFEError, match=r"with at least one class of .*predictions\.csv, with none\."):
        confirm(explained.out, answers(fresh))
    fresh.table.write_text(re.sub(r",(\w+),0\.9,\w+", r",other \1,0.9,", explained.table.read_text()))
    with pytest.raises(SAFEError, match=r"predicted classes named as the labels \(night, snow, wood\)"):
        confirm(explained.out, answers(fresh))
    assert not (explained.out / CONFIRMATION_FILE).exists()
    # Either test set may lack classes of the other.
    fresh.table.write_text(text.replace("night,wood", "fog,wood"))
    found = confirm(explained.out, answers(fresh))
    assert "12 fresh images of classes that the first test set has no images of: fog." in found.notes
    assert found.verdicts[0].endswith("label = night: open. There are no such fresh images.")
    shutil.rmtree(explained.out)
    explained.table.unlink()
    generate_clusters(explained.failing, explained.out, ClusteringSettings(extractor="vgg16-conv"))
    with pytest.raises(SAFEError, match="Find the failures and cluster them first"):
        confirm(explained.out, answers(fresh))
