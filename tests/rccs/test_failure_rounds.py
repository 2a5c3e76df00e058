"""Which round has the images of clusters by now."""

from pathlib import Path

import pytest

from safe_dnn.rccs.failure_rounds import place_of
from safe_dnn.support.run_folder import FAILURES, FAILURES_MARK, ROUNDS_FOLDER


def write_round(folder: Path, *names: str) -> Path:
    failures = folder / FAILURES
    failures.mkdir(parents=True)
    (failures / FAILURES_MARK).write_text("".join(f"{name}\n" for name in names))
    return failures


@pytest.fixture
def out(tmp_path):
    """The latest failures are 0 and 3; before them there were two rounds."""
    write_round(tmp_path, "0.png", "3.png")
    write_round(tmp_path / ROUNDS_FOLDER / "20240501-120000", "0.png", "1.png", "2.png")
    write_round(tmp_path / ROUNDS_FOLDER / "20240501-120000-2", "0.png", "1.png")
    (tmp_path / ROUNDS_FOLDER / ".safe-new-x").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("images", "place"),
    [
        ({"0.png", "3.png"}, FAILURES),
        ({"0.png", "1.png", "2.png"}, f"{ROUNDS_FOLDER}/20240501-120000/{FAILURES}"),
        ({"0.png", "1.png"}, f"{ROUNDS_FOLDER}/20240501-120000-2/{FAILURES}"),
        ({"1.png"}, f"{ROUNDS_FOLDER}/20240501-120000-2/{FAILURES}"),  # the latest that has it
        ({"2.png"}, f"{ROUNDS_FOLDER}/20240501-120000/{FAILURES}"),
        ({"3.png"}, FAILURES),
        ({"9.png"}, FAILURES),  # nowhere
    ],
)
def test_images_are_in_the_round_that_has_exactly_them_else_in_one_that_has_them_all(out, images, place):
    assert place_of(out / FAILURES, images) == out / place
