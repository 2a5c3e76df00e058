import pytest

from safe_dnn.rccs.unsafe_set import SELECTION_FILE, UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.store.runs import SELECTION, present_runs
from safe_dnn.support.errors import SAFEError


@pytest.fixture
def unsafe(tmp_path):
    images = (UnsafeImage("a/=1.png", 0, 0.5, True, "cat"), UnsafeImage("b, c.png", 1, 1 / 3, False))
    return UnsafeSet(tmp_path / "images", images, 2, "N = 2, as requested", 5, (3, 2), (), "0" * 16)


def test_an_unsafe_set_is_read_as_it_was_written_also_with_names_that_a_spreadsheet_would_compute(unsafe, tmp_path):
    save_unsafe_set(unsafe, tmp_path / "out")
    found = load_unsafe_set(tmp_path / "out")
    assert [image._replace(content="") for image in found.images] == list(unsafe.images)
    assert (found.improvement_root, found.formula) == (unsafe.improvement_root, unsafe.formula)
    assert found.candidates == (3, 2)


def test_a_list_of_a_run_that_another_program_has_changed_is_refused(unsafe, tmp_path):
    out = tmp_path / "out"
    save_unsafe_set(unsafe, out)
    table = out / "runs" / str(present_runs(out)[SELECTION].number) / SELECTION_FILE
    table.chmod(0o644)
    table.write_text(table.read_text().replace("0.5", "0.4"))
    with pytest.raises(SAFEError, match="runs"):
        load_unsafe_set(out)
