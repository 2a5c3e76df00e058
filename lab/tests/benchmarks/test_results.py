import pytest

from lab.benchmarks.results import write_section
from safe_dnn.support.errors import SAFEError


def test_a_section_is_added_to_a_new_file_under_a_heading(tmp_path):
    path = tmp_path / "paper.md"
    write_section("paper", "## Paper\n\ntext\n", folder=tmp_path)
    written = path.read_text(encoding="utf-8")
    assert written.startswith("# ")
    assert written.endswith("\n\n<!-- paper -->\n## Paper\n\ntext\n<!-- /paper -->\n")


def test_replacing_a_section_leaves_every_other_line_as_it_is(tmp_path):
    path = tmp_path / "paper.md"
    path.write_text(
        "top\n<!-- paper -->\nold\n<!-- /paper -->\nby hand\n<!-- paper-cost -->\nkept\n<!-- /paper-cost -->\n"
    )
    write_section("paper", "new – ²", folder=tmp_path)
    assert path.read_text(encoding="utf-8") == (
        "top\n<!-- paper -->\nnew – ²\n<!-- /paper -->\nby hand\n<!-- paper-cost -->\nkept\n<!-- /paper-cost -->\n"
    )


def test_writing_a_section_twice_changes_nothing(tmp_path):
    path = tmp_path / "paper.md"
    write_section("paper-cost", "a\n", folder=tmp_path)
    write_section("paper", "b\n", folder=tmp_path)
    once = path.read_bytes()
    write_section("paper-cost", "a\n", folder=tmp_path)
    write_section("paper", "b\n", folder=tmp_path)
    assert path.read_bytes() == once


@pytest.mark.parametrize("damaged", ["<!-- paper -->\n", "<!-- /paper -->\n", "<!-- /paper -->\n<!-- paper -->\n"])
def test_a_file_with_half_a_section_is_refused_and_left_as_it_is(tmp_path, damaged):
    path = tmp_path / "paper.md"
    path.write_text(damaged)
    with pytest.raises(SAFEError, match="Repair"):
        write_section("paper", "text", folder=tmp_path)
    assert path.read_text() == damaged


@pytest.mark.parametrize(("name", "text"), [("Two words", "text"), ("paper", "a\n<!-- /paper -->\n")])
def test_a_name_or_text_that_would_break_the_markers_is_refused(tmp_path, name, text):
    with pytest.raises(SAFEError):
        write_section(name, text, folder=tmp_path)
