"""`confirm`: a fresh test set is asked of RCCs and weak spots, kept as a run, and shown in table and report."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.confirmation import confirm
from pipeline.descriptions import mend
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.reporting.report import report_html
from rccs.review.edits import merge_rccs
from reasons.confirmation import CONFIRMATION_FILE, CONFIRMED
from SAFE_Tool import main
from store.runs import CONFIRMATION, runs_of
from support.errors import SAFEError
from support.text import range_text, rate_text
from tests.helpers.answered import AnsweredCase, draw_case
from training.closure import CLOSURE_FILE


@pytest.fixture
def fresh(explained, tmp_path) -> AnsweredCase:
    """Other images of the same scenes, with the same answers."""
    fresh = draw_case(tmp_path / "fresh")
    rng = np.random.default_rng(1)
    for file in fresh.test.rglob("*.png"):
        pixels = np.array(Image.open(file)).astype(int) + rng.integers(-3, 4)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
        with file.open("ab") as end:
            end.write(b"fresh")  # after the end of the picture
    return fresh


def test_reasons_are_confirmed_kept_and_shown(explained, fresh, capsys):
    given = ["--predictions", str(fresh.table), "--tested", str(fresh.test), "--out", str(explained.out)]
    fresh.table.write_text(f"{fresh.table.read_text()}night/gone.png,night,wood,0.9,false\n")
    assert main(["confirm", *given]) == 0
    told, noted = capsys.readouterr()
    assert "gone.png" in noted
    assert "weak spot 1, " in told
    assert ": confirmed. 12 of 12 fresh images are wrong (100%, 74–100%), elsewhere " in told
    with (explained.out / CONFIRMATION_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["verdict"] == CONFIRMED
    assert any(row["reason"].startswith("RCC ") for row in rows)
    assert len(runs_of(explained.out, CONFIRMATION)) == 1
    (explained.out / CONFIRMATION_FILE).unlink()
    assert mend(explained.out)
    assert (explained.out / CONFIRMATION_FILE).is_file()
    assert "74 images that chose nothing, 26 of them wrong." in report_html(explained.out)
    assert "have been edited since" not in report_html(explained.out)
    merge_rccs(explained.out, 1, 0)
    assert "RCCs have been edited since" in report_html(explained.out)


def test_a_later_model_is_asked_which_reasons_are_left(explained, fresh, capsys):
    after = fresh.table.with_name("after.csv")  # all nights are right by now, and some of the woods wrong
    text = fresh.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true")
    after.write_text(text.replace("wood,wood,0.9,true", "wood,snow,0.9,false", 9))
    given = ["--predictions", str(fresh.table), "--tested", str(fresh.test), "--out", str(explained.out)]
    assert main(["confirm", *given, "--after", str(after)]) == 0
    told = capsys.readouterr().out
    assert "  weak spot 1, label = night: reduced. Of 12 images, 12 were wrong and 0 are (0%, 0–26%)" in told
    assert "  everything else: new. Of 62 images, 14 were wrong and 23 are" in told
    with (explained.out / CLOSURE_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
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


def test_images_and_classes_that_are_no_proof_and_clusters_without_answers_are_refused(explained, fresh):
    with pytest.raises(SAFEError, match=r"Received 74 of 74 images that were, such as night/night_00\.png"):
        confirm(explained.out, explained.table, explained.test)
    fresh.table.write_text(fresh.table.read_text().replace("night,wood", "fog,wood"))
    with pytest.raises(SAFEError, match=r"also with fog\. Give images of the same classes"):
        confirm(explained.out, fresh.table, fresh.test)
    assert not (explained.out / CONFIRMATION_FILE).exists()
    shutil.rmtree(explained.out)
    explained.table.unlink()
    generate_clusters(explained.failing, explained.out, ClusteringSettings(extractor="vgg16-conv"))
    with pytest.raises(SAFEError, match="Find the failures and cluster them first"):
        confirm(explained.out, fresh.table, fresh.test)
