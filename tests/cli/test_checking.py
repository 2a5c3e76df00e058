"""`check`: the exit status says whether a test set shows that requirements hold."""

import re
import shutil
from xml.etree import ElementTree

import pytest
from PIL import Image

from safe_dnn.api.confirmation import Case, junit_text
from safe_dnn.SAFE_Tool import main
from tests.helpers.answered import draw_case, record_light


@pytest.fixture
def case(tmp_path):
    case = draw_case(tmp_path)
    record_light(case.test / "parameters.csv")
    return case


def check(case, *lines, options=()):
    file = case.out.with_name("requirements.yaml")
    file.write_text("\n".join(lines), encoding="utf-8")
    case.out.mkdir(exist_ok=True)
    given = ["--predictions", str(case.table), "--tested", str(case.test)]
    return main(["check", str(file), *given, *options, "--out", str(case.out)])


def test_the_exit_status_says_whether_all_requirements_are_shown_to_hold(case, capsys):
    assert check(case, "light >= 0.5: at most 40 % wrong at 95 %", "label = wood: at most 30 % wrong") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(
        "light >= 0.5: at most 40 % wrong at 95 %: holds. 14 of 62 images are wrong (22.58%), "
    )
    assert printed[-1] == "Requirements that hold: 2 of 2"
    assert check(case, "light >= 0.5: at most 40 %", "light < 0.5: at most 5 %") == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith(
        "light < 0.5: at most 5 % wrong at 95 %: broken. 12 of 12 images are wrong (100.00%), 40% "
    )
    assert printed[-1] == "Requirements that hold: 1 of 2"


def test_tested_images_that_were_learned_are_refused_and_those_saved_again_are_named(case, tmp_path, capsys):
    learned, snow = tmp_path / "learned", case.test / "snow" / "snow_00.png"
    learned.mkdir()
    options = ("--learned", str(learned))
    Image.open(snow).save(learned / "again.jpg", quality=90)
    assert check(case, "label = wood: at most 30 % wrong", options=options) == 0
    told = capsys.readouterr().err
    assert re.search(r"Found \d+ test images? of 74 saved again from training images, such as ", told)
    shutil.copyfile(snow, learned / "same.png")
    assert check(case, "label = wood: at most 30 % wrong", options=options) == 2
    assert "1 test image found among the training images" in capsys.readouterr().err


def test_conditions_hold_in_any_spelling_of_a_category(case, capsys):
    table = case.test / "parameters.csv"
    rows = [f"{row},{'Yes' if i % 3 else 'yes'}" for i, row in enumerate(table.read_text().splitlines())]
    table.write_text("\n".join(["image,light,belt", *rows[1:-30], *(row[:-3] + "no " for row in rows[-30:])]))
    assert check(case, "belt = yes: at most 90 % wrong", "belt != NO: at most 90 % wrong") == 0
    told = capsys.readouterr()
    assert told.out.count(" of 44 images are wrong") == 2
    assert "Spellings in the column belt that count as one value: 'Yes' = 'yes'." in told.err


def test_answers_among_parameters_are_no_condition_and_told(case, capsys):
    """A table that was merged with the predictions."""
    answers = [row.split(",", 1)[1] for row in case.table.read_text().splitlines()]
    table = case.test / "parameters.csv"
    shares = ["snow", *(f"0.{i % 10}" for i in range(len(answers) - 1))]
    rows = [*map(",".join, zip(table.read_text().splitlines(), answers, shares, strict=True))]
    table.write_text("\n".join(rows))
    assert check(case, "light >= 0.5: at most 40 % wrong at 95 %") == 0
    told = capsys.readouterr().err
    assert "named like a network's answers: predicted, confidence, right." in told
    assert "named like classes: snow." in told
    for condition in ("right = false", "confidence < 0.5", "snow < 0.5"):
        assert check(case, f"{condition}: at most 40 % wrong at 95 %") == 2
    assert "Expected a column that is known of the images" in capsys.readouterr().err


def test_what_cannot_be_checked_is_an_error(case, capsys):
    assert check(case, "rain = yes: at most 5 %") == 2
    assert "Expected a column that is known of the images" in capsys.readouterr().err
    file = str(case.out.with_name("requirements.yaml"))
    assert main(["check", file, "--out", str(case.out)]) == 2
    assert "Expected predictions and their test images, or an analysis with them" in capsys.readouterr().err


def predictions(case, name, wrong):
    """A table in which the images with these names are wrong, and no other."""
    rows = [row.split(",") for row in case.table.read_text().splitlines()]
    place = {name: number for number, name in enumerate(rows[0])}
    other = {"snow": "wood"}
    for row in rows[1:]:
        label = row[0].partition("/")[0]
        row[place["predicted"]] = other.get(label, "snow") if row[0] in wrong else label
        row[place["right"]] = "false" if row[0] in wrong else "true"
    table = case.table.with_name(name)
    table.write_text("\n".join(",".join(row) for row in rows))
    return table


def test_a_model_that_is_worse_for_a_reason_beyond_chance_is_refused(case, tmp_path, capsys):
    names = [row.partition(",")[0] for row in case.table.read_text().splitlines()[1:]]
    dark = [name for name in names if float(light_of(case)[name]) < 0.5]
    before = predictions(case, "before.csv", dark[:1])
    requirements = ("light < 0.5: at most 99 %", "light >= 0.5: at most 40 %")
    for wrong, status in ((dark[1:3], 0), (dark, 3)):
        now = predictions(case, "now.csv", wrong)
        options = ("--predictions", str(now), "--no-worse", str(before), "--junit", str(tmp_path / "safe.xml"))
        assert check(case, *requirements, options=options) == status
        printed = capsys.readouterr().out
        assert f"Worse for {2 * int(status == 3)} of 5 reasons and classes" in printed
        assert ("light < 0.5: worse. Of 12 images" in printed) == (status == 3)
        suite = ElementTree.parse(tmp_path / "safe.xml").getroot()
        assert suite.get("tests") == "7"
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) >= int(status == 3)
        reasons = {case.get("name"): case.find("failure") is not None for case in suite[2:]}
        classes = {"label = night": status == 3, "label = snow": False, "label = wood": False}
        assert reasons == {"light < 0.5": status == 3, "light >= 0.5": False, **classes}


def test_junit_has_a_test_for_each_case_whatever_its_name_holds():
    fails = Case("requirement", "light < 0.4 & \x0bfog", "12 of 90 wrong, at most 5 % required", "broken")
    suite = ElementTree.fromstring(junit_text((fails, Case("reason", "RCC 0", "no worse"))))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    broken, passed = suite
    assert broken.get("name", "").startswith("light < 0.4 & ")
    assert (broken[0].tag, broken[0].get("type")) == ("failure", "broken")
    assert (passed.get("classname"), passed[0].tag) == ("SAFE.reason", "system-out")


def test_a_model_that_breaks_one_class_and_is_as_good_on_the_whole_is_refused(case, capsys):
    names = [row.partition(",")[0] for row in case.table.read_text().splitlines()[1:]]
    now, before = (
        predictions(case, f"{scene}.csv", [name for name in names if name.startswith(scene)][:12])
        for scene in ("night", "wood")
    )
    options = ("--predictions", str(now), "--no-worse", str(before))
    assert check(case, "all images: at most 90 %", options=options) == 3
    printed = capsys.readouterr().out
    assert "all images: unchanged. Of 74 images, 12 were wrong and 12 are" in printed
    assert "label = night: worse. Of 12 images, 0 were wrong and 12 are" in printed


def test_images_that_the_earlier_model_has_answered_and_this_one_has_not_do_not_pass(case, tmp_path, capsys):
    before, now = predictions(case, "before.csv", ()), case.table.with_name("now.csv")
    now.write_text("\n".join(before.read_text().splitlines()[:-3]))
    options = ("--predictions", str(now), "--no-worse", str(before), "--junit", str(tmp_path / "safe.xml"))
    assert check(case, "all images: at most 90 %", options=options) == 3
    told = "Of the images tested before, 3 images without an answer, such as wood/wood_43.png."
    assert told in capsys.readouterr().out
    failures = ElementTree.parse(tmp_path / "safe.xml").getroot().findall("testcase/failure")
    assert [(one.get("type"), one.get("message")) for one in failures] == [("missing", told)]
    for number in (43, 44, 45):  # nor do they without their image
        (case.test / "wood" / f"wood_{number}.png").unlink()
    assert check(case, "all images: at most 90 %", options=options) == 3
    assert told in capsys.readouterr().out
    now.write_text(before.read_text())
    assert check(case, "all images: at most 90 %", options=options) == 0


def light_of(case):
    return dict(row.split(",")[:2] for row in (case.test / "parameters.csv").read_text().splitlines()[1:])


def test_answers_of_the_earlier_model_to_other_images_are_refused(case, capsys):
    before = case.table.with_name("before.csv")
    before.write_text("\n".join(case.table.read_text().splitlines()[:-3]))
    assert check(case, "light >= 0.5: at most 40 %", options=("--no-worse", str(before))) == 2
    assert "Expected answers of both models to the same images" in capsys.readouterr().err
