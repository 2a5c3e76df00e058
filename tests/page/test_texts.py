from pathlib import Path

from safe_dnn import page
from safe_dnn.page.messages import FORM_LABELS, worded
from safe_dnn.support.errors import SAFEError


def test_the_page_names_the_fields_of_its_forms():
    error = SAFEError("Received a regression.").about("targets", "threshold")
    assert worded(error).endswith("(“Targets of a regression”, “Threshold of a regression”).")
    assert worded("A defect.") == "A defect."
    assert FORM_LABELS["out"] in (Path(page.__file__).parent / "analyses.html").read_text(encoding="utf-8")
