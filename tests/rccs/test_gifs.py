import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

from safe_dnn.rccs.confidence import representative
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.gifs import GIF_FOLDER, MOST_FRAMES, gif_path, write_gifs
from tests.helpers.places import names_in


def frames(path) -> list[Image.Image]:
    """The frames of a GIF, RGB."""
    with Image.open(path) as gif:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]


def caption(frame: Image.Image) -> np.ndarray:
    """The part of a frame below its picture."""
    return np.asarray(frame)[frame.width :]


# --- GIFs -------------------------------------------------------------------------------------------------------


def test_every_rcc_becomes_an_animated_gif_with_a_frame_for_each_image(clusters, tmp_path):
    written = write_gifs(clusters, tmp_path / "out")
    names = ["RCC_00.gif", "RCC_01.gif", "RCC_02.gif", "noise.gif"]
    assert written == [tmp_path / "out" / GIF_FOLDER / name for name in names]
    assert names_in(tmp_path / "out" / GIF_FOLDER) == names
    assert [len(frames(path)) for path in written] == [10, 8, 6, 2]
    for path in written:
        with Image.open(path) as gif:
            assert gif.is_animated
            assert gif.info["loop"] == 0
            assert gif.info["duration"] == 500


def test_a_frame_shows_its_image_above_its_caption(clusters, tmp_path):
    gif = write_gifs(clusters, tmp_path / "out")[1]
    for frame, path in zip(frames(gif), clusters.members(1), strict=True):
        expected = np.asarray(Image.open(clusters.image_root / path).resize(2 * (frame.width,)), float)
        shown = np.asarray(frame, float)[: frame.width]
        assert np.abs(shown - expected).mean() < 8, path
        assert caption(frame).max() > 200  # bright letters
        assert np.median(caption(frame)) < 40  # on a dark ground


def test_identical_images_stay_separate_frames(clusters, tmp_path):
    first, *others = clusters.members(0)
    for path in others:
        shutil.copy(clusters.image_root / first, clusters.image_root / path)
    shown = frames(write_gifs(clusters, tmp_path / "out")[0])
    assert len(shown) == 10
    assert len({caption(frame).tobytes() for frame in shown}) == 10


def test_gifs_of_earlier_clusters_are_removed_and_other_files_are_kept(clusters, tmp_path):
    gifs = tmp_path / "out" / GIF_FOLDER
    write_gifs(clusters, tmp_path / "out")
    (gifs / "RCC_07.gif").touch()
    (gifs / "mine.gif").touch()
    write_gifs(dataclasses.replace(clusters, labels=np.zeros_like(clusters.labels)), tmp_path / "out")
    assert names_in(gifs) == ["RCC_00.gif", "mine.gif"]


def test_a_gif_is_written_again_where_an_image_changed_and_where_it_is_damaged(clusters, tmp_path):
    gifs = write_gifs(clusters, tmp_path)
    before = [path.stat().st_ino for path in gifs]
    Image.new("RGB", (64, 64), "red").save(clusters.image_root / clusters.members(0)[3])
    gifs[1].write_bytes(b"GIF89a")
    assert write_gifs(clusters, tmp_path) == gifs
    assert gifs[0].stat().st_ino != before[0]
    assert np.asarray(frames(gifs[0])[3])[50, 50].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert len(frames(gifs[1])) == 8
    assert gifs[2].stat().st_ino == before[2]


def test_an_image_whose_file_is_gone_is_a_tile_that_says_so(clusters, tmp_path):
    for path in clusters.members(2)[1:3]:
        (clusters.image_root / path).unlink()
    shown = frames(write_gifs(clusters, tmp_path)[2])
    assert len(shown) == 6
    ground = [np.asarray(frame)[5, 5].tolist() for frame in shown]
    tile = pytest.approx([0x3A, 0x3F, 0x4A], abs=6)
    assert [colour == tile for colour in ground] == [False, True, True, False, False, False]


def in_one_rcc(clusters, n: int):
    """The clusters as if they were one RCC of n images, the files taken in turn, each time by another path."""
    labels, there = np.zeros(n, dtype=int), len(clusters.paths)
    paths = tuple("./" * (i // there) + clusters.paths[i % there] for i in range(n))
    return dataclasses.replace(clusters, paths=paths, labels=labels, is_core=labels == 0)


def test_of_very_many_images_a_hundred_from_the_first_to_the_last_have_a_frame(clusters, tmp_path):
    many = in_one_rcc(clusters, 345)
    shown = frames(write_gifs(many, tmp_path)[0])
    assert len(shown) == MOST_FRAMES
    for place in (0, -1):
        expected = np.asarray(Image.open(many.image_root / many.paths[place]).resize(2 * (shown[0].width,)), float)
        assert np.abs(np.asarray(shown[place], float)[: shown[0].width] - expected).mean() < 8


@pytest.mark.parametrize(
    ("rcc", "n_rccs", "name"),
    [
        (0, 1, "RCC_00.gif"), (9, 100, "RCC_09.gif"), (9, 101, "RCC_009.gif"), (1000, 1001, "RCC_1000.gif"),
        (NOISE, 5, "noise.gif"),
    ],
)  # fmt: skip
def test_names_of_gifs_are_padded_so_that_they_sort(tmp_path, rcc, n_rccs, name):
    assert gif_path(tmp_path, rcc, n_rccs) == tmp_path / "gifs" / name


# --- Samples and faces ------------------------------------------------------------------------------------------


def test_the_representative_is_the_member_nearest_to_the_centre(clusters):
    points = np.full_like(clusters.points, 100)
    labels = np.full_like(clusters.labels, NOISE)
    labels[[2, 5, 9]] = 0
    points[[2, 5, 9], 0] = [0, 1, 5]  # their centre is 2
    placed = dataclasses.replace(clusters, points=points, labels=labels)
    assert representative(placed, 0) == clusters.paths[5]
