"""The unsafe set of an output folder: how many images, where neither the accuracy nor the number is given."""

import shutil

import pytest

from pipeline.improvement import select_images
from selection import SelectionSettings
from support.errors import SAFEError
from support.run_folder import PREDICTIONS_FILE


def test_the_accuracy_is_that_of_the_predictions_the_clusters_were_found_with(generated):
    case = generated  # 26 of 74 test images fail
    copies = shutil.copytree(case.test, case.out / "copies")
    unsafe = select_images(copies, case.out, SelectionSettings())
    assert unsafe.notes == ("they are test images, by content: a network that learns them cannot be tested with them",)
    assert unsafe.wanted == 15  # 0.3 · 74 · 48/74 = 14.4, rounded up
    assert "74" in unsafe.formula
    for given, wanted in (  # what is given comes first
        (SelectionSettings(test_accuracy=0.5, test_size=100), 15),
        (SelectionSettings(test_size=740), 144),
        (SelectionSettings(size=4), 4),
    ):
        assert select_images(case.test, case.out, given).wanted == wanted

    table = next(case.failing.parent.rglob(PREDICTIONS_FILE))
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))  # other predictions than those that the clusters were found with
    with pytest.raises(SAFEError, match="Expected the test accuracy, or the size"):
        select_images(case.test, case.out, SelectionSettings())
    with pytest.raises(SAFEError, match="The number of images must be a number"):  # before a model is looked for
        select_images(case.test, case.out, SelectionSettings(size="x"), model="none.keras", test=case.test)
    with pytest.raises(SAFEError, match="Expected an image folder"):
        select_images(case.test / "gone", case.out, SelectionSettings(), model="none.keras", test=case.test)
