"""Damaged, hostile and odd images: none stops a run, each is named with a reason, and the good ones are as without."""

import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safe_dnn.FE import extract_features
from safe_dnn.rccs.clusters import LABELS_FILE, load_clusters
from safe_dnn.support.progress import reporting
from tests.helpers.encoding import encoded
from tests.helpers.powers import bound_by_permissions
from tests.helpers.scenes import draw_scene

FAKED = Path(__file__).parents[1] / "helpers" / "faked_tool.py"
MOST_MEMORY = 2 * 2**30  # bytes; an image at the limit of pixels takes 256 MiB, and as much again to be turned


def drawn(image: Image.Image, suffix: str, **options) -> tuple[str, bytes]:
    """Suffix and bytes of an image file."""
    return suffix, encoded(image, suffix, **options)


def valid_images() -> dict[str, tuple[str, bytes]]:
    """Name to suffix and bytes: every format and mode that SAFE reads."""
    rgb = draw_scene("sea", np.random.default_rng(0))
    grey, alpha = rgb.convert("L"), rgb.copy()
    alpha.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    real = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    frames = [draw_scene(scene, np.random.default_rng(1)) for scene in ("night", "snow")]
    turned = Image.Exif()
    turned[274] = 6
    found = {}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        found[f"png {mode}"] = drawn(alpha.convert(mode), "png")
    found["png 16 bit"] = drawn(deep, "png")
    found["png animated"] = drawn(rgb, "png", save_all=True, append_images=frames)
    for mode in ("L", "RGB", "CMYK", "YCbCr"):
        found[f"jpg {mode}"] = drawn(rgb.convert(mode), "jpg")
    found["jpg progressive"] = drawn(rgb, "jpg", progressive=True)
    found["jpg turned"] = drawn(rgb, "jpg", exif=turned)
    found["jpg broken exif"] = drawn(rgb, "jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(range(64)))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        found[f"bmp {mode}"] = drawn(alpha.convert(mode), "bmp")
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK"):
        found[f"tif {mode}"] = drawn(alpha.convert(mode), "tif")
    found["tif LAB"] = drawn(Image.new("LAB", (32, 32), (90, 120, 130)), "tif")
    found["tif 16 bit"], found["tif float"] = drawn(deep, "tif"), drawn(real, "tif")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tif {compression}"] = drawn(rgb, "tif", compression=compression)
    found["tif of frames"] = drawn(rgb, "tif", save_all=True, append_images=frames)
    found["webp"], found["webp lossless"] = drawn(rgb, "webp"), drawn(alpha, "webp", lossless=True)
    found["webp animated"] = drawn(rgb, "webp", save_all=True, append_images=frames)
    found["ppm"], found["pgm"] = drawn(rgb, "ppm"), drawn(grey, "pgm")
    found["pgm 16 bit"] = "pgm", b"P5 8 8 65535\n" + np.arange(64, dtype=">u2").tobytes()
    found["1 pixel"] = drawn(Image.new("RGB", (1, 1), "red"), "png")
    found["narrow"] = drawn(Image.new("RGB", (1, 10_000), "red"), "png")
    found["wide"] = drawn(Image.new("L", (10_000, 1), 7), "jpg")
    found["wrong ending"] = "jpg", drawn(rgb, "png")[1]
    return found


def png_of(width: int, height: int, rows: bytes, bits: int = 1) -> bytes:
    """A PNG that says what it likes about its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def unreadable_images() -> dict[str, tuple[str, bytes]]:
    bomb = png_of(20_000, 20_000, bytes(20_000 * (1 + 20_000 // 8)))
    text = struct.pack(">I", 0)
    return {
        "empty": ("png", b""),
        "text": ("png", b"<html><script>alert(1)</script></html>"),
        "zeros": ("jpg", bytes(10_000)),
        "bomb": ("png", bomb),
        "said to be vast": ("png", png_of(2**31 - 1, 2**31 - 1, b"")),
        "said to have none": ("png", png_of(0, 0, b"")),
        "just above the limit": ("png", png_of(9_460, 9_460, b"")),
        "vast bmp": (
            "bmp",
            b"BM" + text + bytes(4) + struct.pack("<IIiiHHIIiiII", 54, 40, 2**30, 2**30, 1, 24, *[0] * 6),
        ),
        "vast ppm": ("ppm", b"P6 999999999 999999999 255\n"),
        "gif": ("png", drawn(Image.new("P", (8, 8)), "gif")[1]),
        "postscript": ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "loop of tiff frames": ("tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "svg": ("png", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>"),
    }


def mutated_images(n: int) -> Iterator[tuple[str, str, bytes]]:
    """Valid images cut off, or with parts cut out, doubled, turned around or overwritten."""
    rng = np.random.default_rng(0)
    for number, (name, (suffix, data)) in zip(range(n), itertools.cycle(valid_images().items()), strict=False):
        whole = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            at, length = int(rng.integers(len(whole) or 1)), int(rng.integers(1, 33))
            part = slice(at, at + length)
            what = int(rng.integers(6))
            if what == 5:  # in the header, where sizes and offsets stand
                part = slice(at % 64, at % 64 + 4)
            turned = bytes(byte ^ 1 << length % 8 for byte in whole[part])
            word = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff")[length % 3]
            whole[part] = (b"", whole[part] * 2, turned, rng.bytes(length), whole[part][::-1], word)[what]
        cut = len(whole) * number // n if number % 3 == 0 else len(whole)
        yield f"{number:05d} {name}", suffix, bytes(whole[:cut])


def write(folder: Path, images: dict[str, tuple[str, bytes]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (suffix, data) in images.items():
        (folder / f"{name}.{suffix}").write_bytes(data)


@pytest.fixture(autouse=True)
def as_the_command_line_does() -> Iterator[None]:
    """Pillow's remarks on damaged files are not for the engineer (see `SAFE_Tool.main`)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def test_every_format_and_mode_is_read(fake_network, tmp_path):
    valid = valid_images()
    write(tmp_path, valid)
    found = extract_features(tmp_path, fake_network.extractor)
    assert found.skipped == ()
    assert len(found.paths) == len(valid) >= 40


@pytest.mark.parametrize("name", unreadable_images())
def test_what_cannot_be_read_is_named_with_its_reason(fake_network, tmp_path, name):
    write(tmp_path, {"good": valid_images()["png RGB"], name: unreadable_images()[name]})
    found = extract_features(tmp_path, fake_network.extractor)
    assert found.paths == ("good.png",)
    (skip,) = found.skipped
    assert skip.path.startswith(name)
    assert 3 < len(skip.reason) < 300
    assert "\n" not in skip.reason
    assert "object at 0x" not in skip.reason
    expected = {"bomb": "a decompression bomb?", "text": "not an image, or not in a format that SAFE reads"}
    assert expected.get(name, "") in skip.reason


@pytest.mark.parametrize("n", [300, pytest.param(2400, marks=pytest.mark.slow)])
def test_among_mutated_images_the_good_ones_are_as_without_them(fake_network, tmp_path, n):
    good, all_of_them = tmp_path / "good", tmp_path / "all"
    valid = {f"good {name}": image for name, image in valid_images().items()}
    write(good, valid)
    alone = extract_features(good, fake_network.extractor)
    write(all_of_them, valid | {name: (suffix, data) for name, suffix, data in mutated_images(n)})
    write(all_of_them, unreadable_images())
    found = extract_features(all_of_them, fake_network.extractor)
    rows = dict(zip(found.paths, found.features, strict=True))
    for path, row in zip(alone.paths, alone.features, strict=True):
        assert (rows[path] == row).all(), path
    assert len(found.paths) + len(found.skipped) == n + len(valid) + len(unreadable_images())
    assert len(found.skipped) > n / 20
    assert all(3 < len(skip.reason) < 300 and "\n" not in skip.reason for skip in found.skipped)


@pytest.mark.slow
def test_a_whole_run_keeps_within_its_memory_and_clusters_the_good_ones_as_without_the_bad(draw_folder, tmp_path):
    shutil.copytree(draw_folder(tmp_path / "good", {"night": 6, "snow": 6, "wood": 6}), tmp_path / "all")
    for i in range(3):
        write(tmp_path / "all" / f"bad {i}", unreadable_images())
    peak = tmp_path / "peak"
    environment = os.environ | {"SAFE_CACHE": str(tmp_path / "cache"), "FAKE_PEAK": str(peak)}
    for name in ("good", "all"):
        command = [sys.executable, FAKED, "cluster", tmp_path / name, "--out", tmp_path / f"out of {name}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert done.stderr.count("bad ") >= 3
    first, second = ((tmp_path / f"out of {name}" / LABELS_FILE).read_bytes() for name in ("good", "all"))
    assert first == second
    skipped = load_clusters(tmp_path / "out of all").skipped
    assert len(skipped) == 3 * len(unreadable_images())
    assert int(peak.read_text()) < MOST_MEMORY


def test_what_is_no_regular_file_and_odd_names_are_told_and_do_not_hold_a_run(fake_network, tmp_path):
    suffix, good = valid_images()["png RGB"]
    folder = tmp_path / "images"
    write(folder, {"good": (suffix, good)})
    (folder / "to itself.png").symlink_to(folder / "to itself.png")
    (folder / "there.png").symlink_to(folder / "back.png")
    (folder / "back.png").symlink_to(folder / "there.png")
    (folder / "round").symlink_to(folder)
    (folder / "to nothing.png").symlink_to(folder / "gone.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(folder / "s.png"))
    odd = {"line\nbreak.png", "return\r.png"}
    kept = {"tab\t.png", " spaces .png", "'\"$(x);&|.png", "-rf.png", "<img src=x>.png", "é" * 100 + ".png", "..png"}
    for name in odd | kept:
        (folder / name).write_bytes(good)
    (Path(os.fsdecode(os.fsencode(folder) + b"/not-utf-8-\xff\xfe.png"))).write_bytes(good)
    found = extract_features(folder, fake_network.extractor)
    assert set(found.paths) == (kept - {"..png"}) | {"good.png", os.fsdecode(b"not-utf-8-\xff\xfe.png")}
    reasons = {skip.path: skip.reason for skip in found.skipped}
    assert reasons.keys() == odd | {"to itself.png", "there.png", "back.png", "to nothing.png", "endless.png",
                                    "pipe.png", "s.png"}  # fmt: skip
    assert reasons["pipe.png"] == reasons["endless.png"] == "not a regular file"
    assert "line break" in reasons["line\nbreak.png"]


def test_files_that_vanish_shrink_or_turn_into_pipes_in_mid_run_are_skipped(fake_network, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(100):
        draw_scene("night", rng).save(tmp_path / f"{i:03d}.png")
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 10)

    def change_files(what: str, done: int, total: int) -> None:
        if done == 20:
            (tmp_path / "090.png").unlink()
            (tmp_path / "091.png").write_bytes(b"")
            (tmp_path / "092.png").write_bytes((tmp_path / "092.png").read_bytes()[:300])
            for name in ("093.png", "094.png"):
                (tmp_path / name).unlink()
            os.mkfifo(tmp_path / "093.png")
            (tmp_path / "094.png").symlink_to("/dev/zero")

    with reporting(change_files):
        found = extract_features(tmp_path, fake_network.extractor)
    assert len(found.paths) == 95
    assert [skip.path for skip in found.skipped] == [f"09{i}.png" for i in range(5)]


def test_files_and_folders_without_permission_are_skipped(fake_network, tmp_path):
    write(tmp_path, {"good": valid_images()["png RGB"], "locked": valid_images()["png L"]})
    write(tmp_path / "room", {"inside": valid_images()["png L"]})
    (tmp_path / "locked.png").chmod(0)
    (tmp_path / "room").chmod(0)
    with bound_by_permissions():
        found = extract_features(tmp_path, fake_network.extractor)
    (tmp_path / "room").chmod(0o700)
    assert found.paths == ("good.png",)
    assert [tuple(skip) for skip in found.skipped] == [
        ("locked.png", "Permission denied"), ("room", "folder not readable: Permission denied")
    ]  # fmt: skip
