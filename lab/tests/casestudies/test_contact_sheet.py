import numpy as np
import pytest
from PIL import Image

from lab.casestudies import contact_sheet
from safe_dnn.casestudies.camera import SIDE


def test_the_contact_sheet_has_a_row_for_each_cause(tmp_path):
    path = tmp_path / "eyes.png"
    assert contact_sheet.main([str(path)]) == 0
    sheet = np.asarray(Image.open(path))
    n_causes = len({cause.name for case in contact_sheet.EYE_CASES.values() for cause in case.root_causes})
    assert sheet.shape == ((1 + n_causes) * SIDE, contact_sheet.COLUMNS * SIDE, 3)
    assert sheet[-SIDE:, -SIDE:].any()  # the last place is filled


@pytest.mark.slow
def test_the_contact_sheet_of_people_has_a_row_for_each(tmp_path):
    path = tmp_path / "people.png"
    assert contact_sheet.main(["--people", str(path)]) == 0
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (20 * SIDE, contact_sheet.COLUMNS * SIDE, 3)
    rows = sheet.reshape(20, SIDE, contact_sheet.COLUMNS, SIDE, 3)
    assert rows.any(axis=(1, 3, 4)).all()  # no place is empty


def test_the_contact_sheet_is_a_picture(tmp_path, capsys):
    assert contact_sheet.main([str(tmp_path / "eyes.csv")]) == 2
    assert capsys.readouterr().err.startswith("casestudies: Expected a .jpg or .png.")
