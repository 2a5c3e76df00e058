"""What evidence names."""

import json
import random

import pytest

from safe_dnn.pipeline.reporting.evidence.basis import verify, write_evidence
from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE, RESULTS, digest_of_predicate, read_evidence
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.result import MODELS_FOLDER, RETRAINING_FILE
from tests.helpers import written
from tests.helpers.attested import changed_in, found
from tests.helpers.places import digests_of


def test_evidence_names_all_that_the_results_rest_on(out):
    statement = json.loads((out / EVIDENCE_FILE).read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    present, predicate = digests_of(out), statement["predicate"]
    assert subjects == {name: present[name] for name in subjects}
    assert {"labels.txt", "IS_filenames.txt", "retrained.keras", RETRAINING_FILE, "report.html"} <= subjects.keys()
    assert "gifs/RCC_00.gif" in subjects
    counted = {name: (one["images"], one["missing"]) for name, one in predicate["images"].items()}
    assert counted == {"failing": (26, 0), "unsafe": (3, 0), "improvement": (3, 0), "training": (2, 0), "test": (2, 0)}
    for name, one in predicate["images"].items():
        listed = (out / f"evidence/{name}.sha256").read_text().splitlines()
        images = digests_of(out / one["root"])
        assert len(listed) == one["images"]
        assert {line[66:]: line[:64] for line in listed} == {line[66:]: images[line[66:]] for line in listed}
    roles = predicate["roles"]
    assert roles["model before"] == "../model.keras"
    assert any(place.startswith(f"{MODELS_FOLDER}/") for place in roles.values())
    runs = {name for name in present if name.startswith("runs/")}
    assert {"../model.keras", *runs} <= predicate["files"].keys()
    assert predicate["settings"]["retraining"]["settings"]["seed"] == 0
    assert predicate["made_by"]["numpy"]
    assert digest_of_predicate(predicate) in (out / "report.html").read_text()


def test_the_same_state_gives_the_same_bytes(out):
    before = digests_of(out)
    write_evidence(out)
    after = digests_of(out)
    assert {name for name in after if after[name] != before[name]} <= {DATABASE_FILE}
    assert found(out, images=True) == []


def test_evidence_knows_every_file_that_safe_writes_to_the_output_folder():
    elsewhere = {"clusters.npz", "run.json", "map.npz", "comparison.npz", "unsafe_set.json", "defects.log"}
    elsewhere |= {"heatmap.npz", "heatmaps.json", "frame.csv", "counts.json"}
    unfinished = {"retraining.npz", "retraining_second.npz", "retraining_seeds.npz"}
    own = {DATABASE_FILE, EVIDENCE_FILE}
    visible = {name for name in written.FILES if not name.startswith(".")} | {"objects.csv", "export.zip", "word_*.csv"}
    assert visible - elsewhere - unfinished - own == {name for name in RESULTS if "/" not in name}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "is damaged"),
        (lambda text: text.replace("evidence:1", "evidence:2"), "Use a newer SAFE"),
        (lambda text: text.replace("urn:safe-dnn", "urn:others"), "about something else"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
    ],
)
def test_evidence_that_is_damaged_or_newer_is_refused_in_a_sentence(out, damage, message):
    (out / EVIDENCE_FILE).write_text(damage((out / EVIDENCE_FILE).read_text()))
    with pytest.raises(SAFEError, match=message):
        verify(out)


def test_an_analysis_from_before_says_that_it_has_no_evidence(clusters, tmp_path):
    with pytest.raises(SAFEError, match="without evidence"):
        verify(tmp_path)
    with pytest.raises(SAFEError, match=f"without {DATABASE_FILE}"):
        write_evidence(tmp_path)


def test_no_evidence_is_written_of_what_is_damaged(out):
    file = out / next(name for name in read_evidence(out).files if name.endswith("clusters.npz"))
    changed_in(file, random.Random(2))
    with pytest.raises(SAFEError, match="not as SAFE wrote it"):
        write_evidence(out)
