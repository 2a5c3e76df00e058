"""What was typed into the page's forms is kept in the output folder; which steps are done, and what went wrong."""

from pathlib import Path

from safe_dnn import page
from safe_dnn.page.forms import LONGEST, remember, remembered
from safe_dnn.page.messages import FORM_LABELS, worded
from safe_dnn.support.errors import SAFEError


def test_what_is_too_long_or_was_never_typed_is_not_kept(tmp_path):
    remember(tmp_path, "unsafe", {"accuracy": "1" * LONGEST, "size": None, "factor": "0.3"})
    assert remembered(tmp_path, "unsafe") == {"factor": "0.3"}


def test_a_path_in_the_folder_goes_along_where_it_is_moved(tmp_path):
    (tmp_path / "a").mkdir()
    remember(tmp_path / "a", "clusters", {"folder": str(tmp_path / "a" / "failures"), "aside": "/elsewhere"})
    (tmp_path / "a").rename(tmp_path / "b")
    moved = {"folder": str(tmp_path / "b" / "failures"), "aside": "/elsewhere"}
    assert remembered(tmp_path / "b", "clusters") == moved


def test_the_page_names_the_fields_of_its_forms():
    error = SAFEError("Received a regression.").about("targets", "threshold")
    assert worded(error).endswith("(“Targets of a regression”, “Threshold of a regression”).")
    assert worded("A defect.") == "A defect."
    assert FORM_LABELS["out"] in (Path(page.__file__).parent / "analyses.html").read_text(encoding="utf-8")
