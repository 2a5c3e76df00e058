"""From a folder of images to rows of features, with a stand-in for the network."""

import shutil

import numpy as np
import pytest
from PIL import Image

from safe_dnn.FE import BYTES, extract_features
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import names_in


def test_features_are_those_of_each_image_in_the_order_of_the_paths(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"snow": 40, "night": 30})
    result = extract_features(folder, fake_network.extractor)
    assert result.paths == tuple(names_in(folder))
    assert result.root == folder
    assert result.features.dtype == np.float32
    assert result.features.shape == (70, fake_network.extractor.dimension)
    for path, row in zip(result.paths, result.features, strict=True):
        image = Image.open(folder / path).resize((224, 224), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(row, fake_network(np.asarray(image)[None])[0], err_msg=path)


def test_a_rerun_and_a_moved_folder_come_from_the_cache_without_a_network(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 5, "snow": 5})
    first = extract_features(folder, fake_network.extractor)
    assert (fake_network.loads, fake_network.images_seen) == (1, 10)
    again = extract_features(folder, fake_network.extractor)
    moved = extract_features(shutil.move(folder, tmp_path / "moved"), fake_network.extractor)
    assert (fake_network.loads, fake_network.images_seen) == (1, 10)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.features, moved.features)


def test_more_images_than_memory_holds_are_an_error_at_once(fake_network, draw_folder, tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "in", {"sea": 5})
    monkeypatch.setattr("safe_dnn.FE.MOST_MEMORY", 5 * BYTES * fake_network.extractor.dimension - 1)
    with pytest.raises(SAFEError, match=r"at most 4 images.* Received: 5\."):
        extract_features(folder, fake_network.extractor)
    assert fake_network.loads == 0
