"""Features that the engineer brings in a file: read, refused, matched with images and streamed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from safe_dnn.FE import extract_features
from safe_dnn.features.batches import streaming
from safe_dnn.features.own import own_extractor, read_features
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE

NAMES = ("a/0.png", "a/1.png", "b/0.png")
ROWS = np.arange(6, dtype=np.float64).reshape(3, 2) - 2


@pytest.fixture
def images(tmp_path):
    for i, name in enumerate(NAMES):
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "test" / name)
    return tmp_path / "test"


def write(path, names=NAMES, rows=ROWS):
    np.savez(path, paths=np.array(names), features=rows)
    return path


def test_each_image_has_its_row_whatever_the_order_and_the_columns_of_the_file(images, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"x": ROWS[::-1, 0], "image": NAMES[::-1], "y": ROWS[::-1, 1]})
    table.to_parquet(tmp_path / "features.parquet")
    of_table = extract_features(images, own_extractor(tmp_path / "features.parquet"))
    of_arrays = extract_features(images, own_extractor(write(tmp_path / "features.npz")))
    for found in (of_table, of_arrays):
        assert found.paths == NAMES
        assert found.features.tolist() == ROWS.tolist()
        assert found.extractor.dimension == 2
    table.assign(path=table.image).to_parquet(tmp_path / "both.parquet")
    with pytest.raises(SAFEError, match="image and path of the columns image and path"):
        own_extractor(tmp_path / "both.parquet")
    table.assign(y="much").to_parquet(tmp_path / "text.parquet")
    with pytest.raises(SAFEError, match="whose column y has no numbers"):
        own_extractor(tmp_path / "text.parquet")


def test_without_a_reader_of_parquet_the_error_says_what_to_install(tmp_path, monkeypatch):
    def missing(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr("pandas.read_parquet", missing)
    with pytest.raises(SAFEError, match="pip install pyarrow"):
        own_extractor(tmp_path / "features.parquet")


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"paths": ["a"], "features": [[np.nan]]}, "NaN or infinity for 1 image, the first a"),
        ({"paths": ["a", "b"], "features": [[1.0]]}, "2 paths and 1 row"),
        ({"paths": np.zeros(0, str), "features": np.zeros((0, 3))}, r"shape \(0, 3\)"),
        ({"paths": ["a"], "features": [["x"]]}, "type <U1"),
        ({"paths": [1], "features": [[1.0]]}, r"np\.array\(paths, str\)"),
        ({"paths": np.array(["a"], object), "features": [[1.0]]}, "allow_pickle"),
        ({"features": [[1.0]]}, "with features"),
    ],
)
def test_a_file_without_a_finite_row_for_each_path_is_refused(arrays, reason, tmp_path):
    np.savez(tmp_path / "features.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    with pytest.raises(SAFEError, match=f"(?s)Expected features in a .npz file.*Received: .*{reason}"):
        own_extractor(tmp_path / "features.npz")


def test_a_file_that_is_none_is_refused(tmp_path):
    for name in ("none.npz", "none.parquet"):
        with pytest.raises(SAFEError, match=f"{name}"):
            own_extractor(tmp_path / name)
    (tmp_path / "features.npz").write_bytes(b"no archive")
    (tmp_path / "features.csv").write_text("image,x\na,1\n")
    for name in ("features.npz", "features.csv"):
        with pytest.raises(SAFEError, match=name):
            read_features(tmp_path / name)


def test_images_without_a_row_are_named_and_unreadable_ones_need_none(images, tmp_path):
    file = write(tmp_path / "features.npz", NAMES[:1], ROWS[:1])
    with pytest.raises(SAFEError, match=r"none for 2 of 3 images \(a/1\.png, b/0\.png\) in .*features\.npz"):
        extract_features(images, own_extractor(file))
    for name in NAMES[1:]:
        (images / name).write_bytes(b"broken")
    found = extract_features(images, own_extractor(file))
    assert (found.paths, [skip.path for skip in found.skipped]) == (NAMES[:1], [*NAMES[1:]])


def test_two_rows_of_an_image_must_be_the_same(images, tmp_path):
    names, rows = [*NAMES, NAMES[0]], [*ROWS, ROWS[0]]
    assert len(extract_features(images, own_extractor(write(tmp_path / "same.npz", names, rows))).paths) == 3
    with pytest.raises(SAFEError, match=r"features of a/0\.png once\. Received 2 rows"):
        extract_features(images, own_extractor(write(tmp_path / "other.npz", names, [*ROWS, ROWS[1]])))


def test_copies_that_were_collected_have_the_features_of_the_test_images(images, tmp_path):
    """Although images elsewhere have the same names."""
    file = write(tmp_path / "features.npz", [f"{at}/{name}" for at in ("test", "new") for name in NAMES], [*ROWS] * 2)
    (tmp_path / "out").mkdir()
    shutil.copytree(images, tmp_path / "out" / FAILURES)
    (tmp_path / "out" / FAILURES_FILE).touch()
    (tmp_path / "out" / ACCURACY_FILE).write_text(f'{{"test_root": "{images}"}}')
    found = extract_features(tmp_path / "out" / FAILURES, own_extractor(file))
    assert found.features.tolist() == ROWS.tolist()


def test_a_row_about_another_image_of_the_same_name_is_not_taken(images, tmp_path):
    file = write(tmp_path / "elsewhere.npz", [f"elsewhere/{name}" for name in NAMES])
    assert extract_features(images, own_extractor(file)).paths == NAMES  # as on another machine
    (tmp_path / "elsewhere" / "b").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / NAMES[2])
    with pytest.raises(SAFEError, match=r"1 of 3 images \(b/0\.png\)"):
        extract_features(images, own_extractor(file))


def test_a_cluster_of_machines_has_nothing_to_compute(images, tmp_path):
    extractor = own_extractor(write(tmp_path / "features.npz"))
    with streaming(lambda *_: iter(())):
        assert extract_features(images, extractor).paths == NAMES
