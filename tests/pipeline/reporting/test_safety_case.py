"""The argument keeps the rules that gsn2x checks, claims nothing that is not shown, and points to what is there."""

import hashlib
import json
import random
import re

import yaml

from safe_dnn.pipeline.reporting.evidence.basis import verify
from safe_dnn.pipeline.reporting.export import REPORT_FILE
from safe_dnn.pipeline.reporting.safety_case import (
    AMLAS_FILE,
    GSN_FILE,
    GSN_JSON_FILE,
    REASONS_FILE,
    SAFETY_CASE_FOLDER,
    argument_of,
)
from safe_dnn.rccs.review.notes import REGISTER, VERDICTS, Note
from safe_dnn.reasons.register import Entry
from safe_dnn.SAFE_Tool import main
from safe_dnn.training.closure import CLOSED, CLOSURE_FILE, STATES
from tests.helpers.attested import attest
from tests.helpers.places import rows_in

DIGESTS = {REPORT_FILE: "1" * 64, CLOSURE_FILE: "2" * 64}
MAY_SUPPORT = {"G": {"G", "S", "Sn"}, "S": {"G", "S", "Sn"}}
CONTEXT = {"C", "A", "J"}


def kind_of(key):
    found = re.fullmatch(r"(G|S|Sn|C|A|J)[1-9]\d*", key)
    assert found, f"{key} is not named after a kind"
    return found[1]


def check_gsn(elements):
    """What gsn2x checks of a module, in words: V01 to V13 of each element, C01 to C12 of all of them."""
    seen = set()
    for key, element in elements.items():
        kind, known = kind_of(key), element.keys() <= {"text", "supportedBy", "inContextOf", "undeveloped", "url"}
        assert known, f"{key} has an unknown attribute"
        assert isinstance(element["text"], str), key
        assert element["text"].strip(), f"{key} says nothing"
        for how in ("supportedBy", "inContextOf"):
            to = element.get(how, ["none"])
            assert to, f"{key}: {how} is empty"
            assert len(set(to)) == len(to), f"{key}: {how} names one twice"
            assert key not in to, f"{key} refers to itself"
        assert set(element.get("supportedBy", [])) | set(element.get("inContextOf", [])) <= elements.keys(), key
        assert {kind_of(to) for to in element.get("supportedBy", [])} <= MAY_SUPPORT.get(kind, set()), key
        assert {kind_of(to) for to in element.get("inContextOf", [])} <= (CONTEXT if kind in "GS" else set()), key
        if kind in ("G", "S"):
            assert ("supportedBy" in element) != element.get("undeveloped", False), f"{key} is developed or not"
        else:
            assert "undeveloped" not in element, key
        seen.update(element.get("supportedBy", []), element.get("inContextOf", []))
    assert elements.keys() - seen == {"G1"}, "one root, and nothing that is left over"
    assert reached(elements, "G1", ()) == elements.keys(), "all can be reached from the root"


def reached(elements, key, above):
    assert key not in above, f"{key} supports itself"
    below = (reached(elements, to, (*above, key)) for to in elements[key].get("supportedBy", []))
    return {key, *elements[key].get("inContextOf", [])}.union(*below)


def drawn_entry(rng, number):
    """A reason of which anything is said."""
    texts = {
        field: rng.choice((*known.choices, "") if known.choices else ("", "H1", ": [x]\n", "é" * 99))
        for field, known in REGISTER.items()
    }
    said = {"name": rng.choice(("", "night")), "verdict": rng.choice([*VERDICTS]), **texts}
    figures = rng.choice(((), (20, 8, 0.4, 0.2, 0.6)))
    if rng.random() < 0.5:
        return Entry("k", f"RCC {number}", "", figures, rng.random() < 0.5, Note(number, **said))
    return Entry("k", f"weak spot {number + 1}", "light < 0.2", figures, True, Note(("c", ""), **said))


def test_100_drawn_registers_give_arguments_that_keep_the_rules():
    rng = random.Random(0)
    for _ in range(100):
        entries = [drawn_entry(rng, number) for number in range(rng.randrange(9))]
        states = {entry.reason: rng.choice(STATES) for entry in entries if rng.random() < 0.5}
        argument = argument_of(entries, states, DIGESTS)
        check_gsn(yaml.safe_load(yaml.safe_dump(argument, sort_keys=False, allow_unicode=True)))
        for entry in entries:
            start = f"Failing for this reason is acceptable: {entry.reason}"
            [goal] = [one for one in argument.values() if one["text"].startswith(start)] or [{"undeveloped": True}]
            note = entry.note
            closed = note.status == "closed" and states.get(entry.reason) == CLOSED
            accepted = note.status == "accepted" and note.owner.strip() and note.residual.strip()
            if not closed and not accepted:
                assert goal["undeveloped"], "nothing is claimed that is not shown"
            if entry.more and note.verdict != "safe":
                assert "text" in goal, "no reason is left out that matters"


def test_a_reason_that_a_later_model_has_closed_has_a_solution_with_the_digest_of_its_file():
    note = Note(3, "dark", hazard="H3", verdict="unsafe", status="closed", criterion="at most 5 %")
    argument = argument_of([Entry("k", "RCC 3", "", (20, 8, 0.4, 0.2, 0.6), True, note)], {"RCC 3": CLOSED}, DIGESTS)
    [goal] = [one for one in argument.values() if one["text"].endswith("RCC 3, dark")]
    assert [argument[key]["text"] for key in goal["inContextOf"]] == [
        "Acceptance criterion: at most 5 %",
        "8 of 20 tested images are wrong; of new ones, 40.0% are to be expected (20.0% to 60.0%)",
    ]
    [solution] = goal["supportedBy"]
    assert argument[solution] == {
        "text": f"A later model has closed RCC 3. closure.csv, SHA-256 {'2' * 64}",
        "url": "../report.html#confirmation",
    }


def test_the_files_agree_point_to_what_is_there_and_leave_the_evidence_as_it_is(clusters, tmp_path, capsys):
    out = attest(clusters, tmp_path)
    assert main(["safety-case", "--out", str(out)]) == 0
    assert "element" in capsys.readouterr().out
    case = out / SAFETY_CASE_FOLDER
    argument = yaml.safe_load((case / GSN_FILE).read_text("utf-8"))
    check_gsn(argument)
    assert argument == json.loads((case / GSN_JSON_FILE).read_text())
    report = (out / REPORT_FILE).read_text("utf-8")
    for element in argument.values():
        if "url" in element:
            file, anchor = element["url"].removeprefix("../").split("#")
            assert file == REPORT_FILE
            assert f"id='{anchor}'" in report, element
        for file, digest in re.findall(r"(\S+), SHA-256 (\w+)", element["text"]):
            assert hashlib.sha256((out / file).read_bytes()).hexdigest() == digest
    for row in rows_in(case / AMLAS_FILE):
        assert (row["status"] == "not made yet") != any((out / file).is_file() for file in row["where"].split("; "))
    coco = json.loads((case / REASONS_FILE).read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    images = {one["id"]: one for one in coco["images"]}
    assert len(images) == len(clusters.paths)
    for key, image in images.items():
        mine = [one for one in coco["annotations"] if one["image_id"] == key]
        assert image["tags"] == [names[one["category_id"]] for one in mine]
        assert all(one["bbox"] == [0, 0, image["width"], image["height"]] for one in mine)
    assert {finding.kind for finding in verify(out)} <= {"continued"}
