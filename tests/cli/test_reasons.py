"""`reasons`: the conditions under which a network fails, by tables alone."""

import shutil

import pytest

from safe_dnn.analysis import Analysis
from safe_dnn.SAFE_Tool import main
from tests.helpers.answered import draw_case, record_light
from tests.helpers.places import rows_in


@pytest.fixture
def tables(tmp_path):
    """A folder with the tables of a case whose images are gone."""
    case = draw_case(tmp_path / "case")
    folder = tmp_path / "tables"
    folder.mkdir()
    shutil.copy(case.table, folder / "predictions.csv")
    record_light(folder / "parameters.csv")
    shutil.rmtree(tmp_path / "case")
    return folder


def reasons(folder, *options):
    return main(["reasons", "--predictions", str(folder / "predictions.csv"), *options, "--out", str(folder / "out")])


def rewrite(folder, change, name="predictions.csv"):
    header, *rows = (folder / name).read_text().splitlines()
    (folder / name).write_text("\n".join([header, *(",".join(change(row.split(","))) for row in rows)]))


def test_conditions_are_found_without_an_image(tables, capsys):
    assert reasons(tables) == 0
    printed, noted = capsys.readouterr()
    assert printed.splitlines()[0] == "26 failing images of 74 · test accuracy 64.86%"
    first = rows_in(tables / "out" / "weak_spots.csv")[0]
    assert (first["where"], first["tested"], first["wrong"]) == ("light < 0.8065", "26", "25")
    assert f"1. {first['where']}: 25 of 26 are wrong" in printed
    assert "Doubtful: no answer is night (12 images)." in noted
    rates = rows_in(tables / "out" / "rates.csv")
    for column in ("light", "label"):
        of_all = [row for row in rates if row["column"] == column and not row["class"]]
        assert [sum(int(row[n]) for row in of_all) for n in ("tested", "wrong")] == [74, 26]


def test_what_follows_tables_alone_needs_no_image_or_says_that_it_does(tables, capsys):
    assert reasons(tables) == 0
    out = tables / "out"
    (tables / "limits.yaml").write_text("light < 0.4: at most 5 % wrong\n")
    for command in (["report"], ["register"], ["evidence"], ["verify"]):
        assert main([*command, "--out", str(out)]) == 0
    assert main(["check", str(tables / "limits.yaml"), "--out", str(out)]) == 3
    assert "12 of 12 images are wrong" in capsys.readouterr().out
    report = (out / "report.html").read_text()
    for text in ("light &lt; 0.8065", "How often it is wrong, by light", "No images were given"):
        assert text in report
    listed = (out / "SHA256SUMS").read_text()
    assert "  ../predictions.csv" in listed
    assert "  ../parameters.csv" in listed
    rewrite(out, lambda row: [*row[:18], "it is night", *row[19:]], "register.csv")
    assert main(["register", "--read", str(out / "register.csv"), "--apply", "--out", str(out)]) == 0
    assert main(["report", "--out", str(out)]) == 0
    assert "it is night" in (out / "report.html").read_text()
    assert reasons(tables) == 0
    assert [one.note.note for one in Analysis(out).listed] == ["it is night"]  # what was said stays
    assert main(["export", "--out", str(out)]) == 2
    assert "Clusters need images" in capsys.readouterr().err


def test_parameters_may_be_further_columns_of_the_predictions(tables):
    light = dict(line.split(",") for line in (tables / "parameters.csv").read_text().splitlines())
    (tables / "parameters.csv").unlink()
    lines = (tables / "predictions.csv").read_text().splitlines()
    (tables / "predictions.csv").write_text("\n".join(f"{line},{light[line.partition(',')[0]]}" for line in lines))
    assert reasons(tables) == 0
    assert rows_in(tables / "out" / "weak_spots.csv")[0]["where"] == "light < 0.8065"


def test_errors_of_a_regression_need_no_image(tables):
    rewrite(tables, lambda row: [row[0], "1", *(("2", "1") if row[4] == "false" else ("1", "0")), row[4]])
    text = (tables / "predictions.csv").read_text().replace("confidence", "error")
    for name in ("angle", "label", ""):
        (tables / "predictions.csv").write_text(text.replace("label,", f"{name}," if name else "remark,"))
        if not name:
            rewrite(tables, lambda row: [row[0], "none", *row[2:]])  # the target is not known
        assert reasons(tables) == 0
        assert Analysis(tables / "out").failures.task == "regression"
        assert rows_in(tables / "out" / "weak_spots.csv")[0]["where"] == "light < 0.8065"


def test_units_need_no_image(tables, capsys):
    rows = [f"{image},{unit},yes,{answer}" for image, unit, answer in units_of(tables)]
    (tables / "predictions.csv").write_text("\n".join(["image,unit,label,predicted", *rows]))
    assert reasons(tables) == 0
    assert "26 failing units of 148" in capsys.readouterr().out
    assert rows_in(tables / "out" / "weak_spots.csv")[0]["where"] == "unit = car and light < 0.8065"
    assert Analysis(tables / "out").failures.group == ("full_image",)
    assert main(["report", "--out", str(tables / "out")]) == 0
    assert "18% of all 148 test units are wrong" in (tables / "out" / "report.html").read_text()


def units_of(folder):
    """Each image with two units: what is wrong with it, and what is right."""
    for line in (folder / "predictions.csv").read_text().splitlines()[1:]:
        image, *_, right = line.split(",")
        yield image, "car", "yes" if right == "true" else "no"
        yield image, "sky", "yes"


def test_the_table_of_parameters_may_lie_elsewhere_and_images_are_measured_where_they_are_given(tmp_path, capsys):
    case = draw_case(tmp_path)
    table = record_light(tmp_path / "known.csv")
    given = ("--predictions", str(case.table), "--out", str(case.out))
    found, measured = [], []
    for more in ((), ("--parameters", str(table)), ("--tested", str(case.test))):
        assert main(["reasons", *given, *more]) == 0
        conditions = [row["where"].split() for row in rows_in(case.out / "weak_spots.csv")]
        found.append({word for words in conditions for word in words} & {"label", "light"})
        measured.append("Measuring images" in capsys.readouterr().err)
    assert found == [{"label"}, {"light"}, {"label"}]  # nights are dark
    assert measured == [False, False, True]


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (lambda row: [row[0].rpartition("/")[2], "", *row[2:]], (), "Without a label"),
        (lambda row: [row[0], row[1], row[1], "", "true"], (), "Expected both correct and wrong answers."),
        (lambda row: row, ("--parameters", "none.csv"), "none.csv"), (lambda row: row, ("--group", "person"), "person"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_in_a_sentence_and_nothing_is_written(tables, change, options, expected, capsys):
    rewrite(tables, change)
    status = reasons(tables, *options)
    noted = capsys.readouterr().err
    assert expected in noted, noted
    assert status == (0 if "label" in expected else 2)
    assert (tables / "out" / "weak_spots.csv").exists() == (status == 0)


def test_a_table_about_other_images_is_refused_unless_a_part_is_accepted(tables, capsys):
    table = record_light(tables / "known.csv")
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *(row.replace("_", "_x") for row in rows[:40]), *rows[40:]]))
    assert reasons(tables, "--parameters", str(table)) == 2
    noted = capsys.readouterr().err
    assert f"Expected a row in {table} for nine of ten images" in noted
    assert "Received a row for 34 of 74 images (not for night/night_00.png, " in noted
    assert [*(tables / "out").glob("[!.]*")] == []
    assert reasons(tables, "--parameters", str(table), "--partial") == 0
    assert "No row for 40 of 74 images" in capsys.readouterr().err


def test_failures_prints_the_reasons_and_what_could_not_be_used_for_them(case, capsys):
    record_light(case.test / "parameters.csv")
    given = ["failures", "--predictions", str(case.table), str(case.test), "--out", str(case.out)]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "  1. light < 0.8065: 25 of 26 are wrong (96%, " in printed
    assert "predictions.csv, accuracy.json, weak_spots.csv, rates.csv in" in printed
    assert rows_in(case.out / "weak_spots.csv")[0]["where"] == "light < 0.8065"
    (case.test / "parameters.csv").write_text("image,light\nnight/night_00.png,1,2\n")
    assert main(given) == 0
    printed, noted = capsys.readouterr()
    assert "reasons: Expected parameters as a CSV file" in noted
    assert "1. label = night: 12 of 12 are wrong" in printed


def test_an_analysis_keeps_its_own_reasons(explained, capsys):
    before = (explained.out / "weak_spots.csv").read_bytes()
    assert main(["reasons", "--predictions", str(explained.table), "--out", str(explained.out)]) == 2
    assert "Expected a folder without root cause clusters" in capsys.readouterr().err
    assert (explained.out / "weak_spots.csv").read_bytes() == before
