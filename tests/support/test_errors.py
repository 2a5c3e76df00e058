"""The error that each door words."""

import pickle
from pathlib import Path

from safe_dnn import page
from safe_dnn.page.texts import FORM_LABELS, worded
from safe_dnn.support.errors import SAFEError

ERROR = SAFEError("Received a regression. Give the targets and a threshold.").about("targets", "threshold")


def test_an_error_names_its_fields_as_they_are_called_where_it_is_shown():
    assert ERROR.named({"threshold": "-e", "targets": "-t"}) == f"{ERROR}"[:-1] + " (-t, -e)."
    assert ERROR.named({"threshold": "-e"}) == "Received a regression. Give the targets and a threshold (-e)."
    assert ERROR.named({"size": "-n"}) == str(ERROR)
    assert SAFEError("Is it trained?").about("size").named({"size": "-n"}) == "Is it trained (-n)?"


def test_the_page_names_the_fields_of_its_forms():
    assert worded(ERROR).endswith("(“Targets of a regression”, “Threshold of a regression”).")
    assert worded("A defect.") == "A defect."
    assert FORM_LABELS["out"] in (Path(page.__file__).parent / "serving" / "list.html").read_text(encoding="utf-8")


def test_an_error_keeps_its_fields_from_one_process_to_another():
    assert pickle.loads(pickle.dumps(ERROR)).fields == ERROR.fields
