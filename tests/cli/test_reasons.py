"""`reasons`: the conditions under which a network fails, by tables alone."""

import shutil

import pytest

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
    assert printed.splitlines()[0] == "35.1% of 74 images are wrong"
    first = rows_in(tables / "out" / "weak_spots.csv")[0]
    assert (first["where"], first["tested"], first["wrong"]) == ("light < 0.8065", "26", "25")
    assert f"1. {first['where']}: 25 of 26 are wrong" in printed
    assert "Doubtful: no answer is night (12 images)." in noted
    rates = rows_in(tables / "out" / "rates.csv")
    for column in ("light", "label"):
        of_all = [row for row in rates if row["column"] == column and not row["class"]]
        assert [sum(int(row[n]) for row in of_all) for n in ("tested", "wrong")] == [74, 26]


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
    assert not (tables / "out").exists()
    assert reasons(tables, "--parameters", str(table), "--partial") == 0
    assert "No row for 40 of 74 images" in capsys.readouterr().err


def test_failures_prints_the_reasons_and_what_could_not_be_used_for_them(case, capsys):
    record_light(case.test / "parameters.csv")
    given = ["failures", "--predictions", str(case.table), str(case.test), "--out", str(case.out)]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "  1. light < 0.8065: 25 of 26 are wrong (96%, " in printed
    assert "predictions.csv, accuracy.json, weak_spots.csv in" in printed
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
