"""The unsafe set of an output folder: how many images, where neither the accuracy nor the number is given."""

import shutil

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.api.generation import select_images
from safe_dnn.options import Likely, SelectionSettings
from safe_dnn.rccs.clusters import load_clusters, rccs_of
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.rccs.unsafe_set import FILENAMES_FILE, load_unsafe_set
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import PREDICTIONS_FILE


def test_the_accuracy_is_that_of_the_predictions_the_clusters_were_found_with(generated):
    case = generated  # 26 of 74 test images fail
    copies = shutil.copytree(case.test, case.out / "copies")
    unsafe = select_images(copies, case.out, SelectionSettings())
    assert unsafe.notes == (
        f"{len(unsafe.images)} test images among the selected images, by content: a network cannot be tested with "
        "images that it learns",
    )
    assert unsafe.wanted == 15  # 0.3 · 74 · 48/74 = 14.4, rounded up
    assert "74" in unsafe.formula
    for given, wanted in (  # what is given comes first
        (SelectionSettings(test_accuracy=0.5, test_size=100), 15), (SelectionSettings(test_size=740), 144),
        (SelectionSettings(size=4), 4),
    ):  # fmt: skip
        assert select_images(case.test, case.out, given).wanted == wanted

    table = next(case.failing.parent.rglob(PREDICTIONS_FILE))
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))  # other predictions than those that the clusters were found with
    with pytest.raises(SAFEError, match="Expected the test accuracy, or the size"):
        select_images(case.test, case.out, SelectionSettings())
    with pytest.raises(SAFEError, match="The number of images must be a number"):  # before a model is looked for
        select_images(case.test, case.out, SelectionSettings(size="x"), likely=Likely("none.keras", case.test))
    with pytest.raises(SAFEError, match="Expected an image folder"):
        select_images(case.test / "gone", case.out, SelectionSettings(), likely=Likely("none.keras", case.test))


def test_nobody_labels_images_for_an_rcc_that_is_judged_safe_unless_asked_to(generated, capsys):
    out, size = generated.out, ("--size", "6")

    def select(*more: str) -> int:
        return SAFE_Tool.main(["select", str(generated.test), "--out", str(out), *size, *more])

    assert select() == 0
    paper = (out / FILENAMES_FILE).read_bytes()
    set_note(out, Note(0, "", "", "safe"))
    assert select("--no-leave-out-safe") == 0
    assert (out / FILENAMES_FILE).read_bytes() == paper
    assert "judged safe" not in capsys.readouterr().out
    assert select() == 0
    assert "none for RCC 0, judged safe" in capsys.readouterr().out
    assert load_unsafe_set(out).excluded == (0,)
    for rcc in rccs_of(load_clusters(out)):
        set_note(out, Note(rcc, "", "", "safe"))
    assert select() == 2
    assert "all are judged safe and left out. Ask for images for these too." in capsys.readouterr().err
