"""What a stranger sends is put in place as a whole or not at all, and nowhere else."""

import io
import os
import random
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from safe_dnn.support import uploads
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.uploads import LARGEST_DIRECTORY, TRUSTED, Limits, Uploaded, put_in_place
from tests.helpers.places import names_in

ATTEMPTS = 200
FILES = {
    "cats/1.png": b"one" * 1000, "cats/2.png": b"", "dogs/ü 3.JPG": os.urandom(5000), "parameters.csv": b"image,a\n",
}  # fmt: skip
SMALL = Limits(entries=20, bytes=100_000)


def received(tmp_path: Path, packed: bytes, limits: Limits = SMALL, name: str = "a.zip") -> Uploaded:
    """What comes of a file."""
    (tmp_path / "sent").mkdir(exist_ok=True)
    (tmp_path / "sent" / name).write_bytes(packed)
    return put_in_place([tmp_path / "sent" / name], tmp_path / "uploads", limits)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(info_of(name, method), data)
    return packed.getvalue()


def info_of(name: str, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename, info.compress_type, info.create_system = name, method, 3  # whatever the name is
    return info


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def check_refused(tmp_path: Path, packed: bytes, limits: Limits = SMALL) -> str:
    """Nothing is left of files that are refused, whenever that is; returns why they are."""
    with pytest.raises(SAFEError) as refused:
        received(tmp_path, packed, limits)
    assert [path for path in all_in(tmp_path) if path not in ("sent", "sent/a.zip", "uploads")] == []
    assert str(tmp_path) not in str(refused.value)
    return str(refused.value)


def check_refused_or_whole(tmp_path: Path, packed: bytes, files: dict[str, bytes]) -> bool:
    """Whether a ZIP file is refused; otherwise, what was unpacked has the right content."""
    try:
        received(tmp_path, packed)
    except SAFEError:
        return not all_in(tmp_path / "uploads")
    assert names_in(tmp_path) == ["sent", "uploads"]
    found = content_of(tmp_path / "uploads" / "a")
    assert {*found.values()} <= {*files.values()}
    shutil.rmtree(tmp_path / "uploads")
    return False


# --- What comes of it -------------------------------------------------------------------------------------------


def test_plain_files_come_into_a_new_folder(tmp_path):
    (tmp_path / "sent").mkdir()
    for name in ("1.png", "2.png", "x.exe"):
        (tmp_path / "sent" / name).write_bytes(name.encode())
    uploaded = put_in_place(sorted((tmp_path / "sent").iterdir()), tmp_path / "uploads", SMALL)
    assert uploaded == (tmp_path / "uploads" / "1", "Received 2 images; left out 1 file of another kind.")
    assert content_of(uploaded.path) == {"1.png": b"1.png", "2.png": b"2.png"}


@pytest.mark.parametrize("name", ["-rf x.zip", "...zip", "ü\udcff\n;.zip", "x" * 200 + ".zip"])
def test_any_name_of_a_zip_file_gives_the_name_of_a_folder(tmp_path, name):
    place = received(tmp_path, zipped(FILES), name=name).path
    assert place.parent == tmp_path / "uploads"
    assert content_of(place) == FILES


def test_a_zip_file_is_unpacked_beside_an_earlier_one(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        uploaded = received(tmp_path, zipped(FILES, method))
        assert content_of(uploaded.path) == FILES
        assert uploaded.notes == "Received 3 images and 1 table."
    assert names_in(tmp_path / "uploads") == ["a", "a-2"]


class Stream(io.BytesIO):
    """Which cannot go back, so that sizes follow contents, as with macOS."""

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("large", [False, True])
def test_a_zip_file_that_was_written_at_one_go_is_unpacked(tmp_path, large):
    packed = Stream()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("cats")
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=large) as member:
                member.write(data)
        archive.comment = b"of a camera"
    assert content_of(received(tmp_path, packed.getvalue()).path) == FILES


def test_files_of_other_kinds_are_left_out_and_counted_and_hidden_ones_are_not(tmp_path):
    hidden = ["a/.DS_Store", ".git/1.png", "__MACOSX/a/1.png", "a/Thumbs.db", "a/desktop.ini", "a/._1.png"]
    other = ["a/b.zip", "a/c.exe", "a/d.gif", "a/png", "a/net.keras"]
    files = {"a/1.png": b"1"} | dict.fromkeys(hidden + other, b"x")
    uploaded = received(tmp_path, zipped(files))
    assert content_of(uploaded.path) == {"1.png": b"1"}
    assert uploaded.notes == "Received 1 image; left out 5 files of another kind."
    trusted = SMALL._replace(suffixes=SMALL.suffixes | TRUSTED)
    uploaded = received(tmp_path, zipped(files | {"a/own.npz": b"x"}), trusted)
    assert uploaded.notes == "Received 1 feature file, 1 image and 1 model; left out 4 files of another kind."


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (["labels.csv"], "labels.csv"),
        (["1.png"], ""),  # of which a folder is named
        (["1.png", "2.png"], ""),
        (["images/1.png", "predictions.csv"], "images"),
        (["images/1.png", "parameters.csv", "x/readme.md"], "images"),
        (["data/images/1.png", "data/predictions.csv"], "data/images"),
        (["test/cat/1.png"], "test"),  # of the only class there is
        (["test/cat/1.png", "test/dog/2.png", "test/predictions.csv"], "test"),
    ],
)
def test_a_field_names_the_folder_of_images_beside_or_in_which_tables_lie(tmp_path, names, field):
    assert received(tmp_path, zipped(dict.fromkeys(names, b"x"))).path == tmp_path / "uploads" / "a" / field


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EACCES"])
def test_a_full_disk_is_named_and_leaves_what_there_is(tmp_path, monkeypatch, error):
    def full(*_: object) -> int:
        raise OSError(getattr(uploads.errno, error), "what the system says")

    monkeypatch.setattr(uploads, "_copy", full)
    text = check_refused(tmp_path, zipped(FILES))
    assert text.startswith("The files cannot be stored" if error == "EACCES" else "The disk is full")


# --- Names that attack ----------------------------------------------------------------------------------------------


def bad_names() -> list[str]:
    """Ways out of a folder, and names that a system would read in another way."""
    ups = [
        "..", ".", "", "..\\", "a\\b", "\\", "C:", "c:x", "\0", "a\0b", "a\n", "\r", "\x1b[2J", "\x7f",
        "\x85",
    ]  # fmt: skip
    ups += ["../..", "a/../..", "./..", "..\0", "\\\\host\\share", "C:\\x"]
    forms = ["{}/1.png", "a/{}/1.png", "a/{}/b/1.png", "{}/{}/1.png", "a/{}", "/{}/1.png", "a//{}/1.png", "C:/{}/1.png"]
    always = [
        "../1.png", "/1.png", "//1.png", "a/..", "C:1.png", "1.png/", "1.png/.", "~/../1.png", "a\x001.png", "\\1.png",
    ]  # fmt: skip
    names = [form.format(*[up] * form.count("{}")) for up in ups for form in forms] + always
    return [name for name in names if not name.startswith("a/C:") and not name.startswith("a/c:")]


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    assert len(bad_names()) >= ATTEMPTS - 60
    for name in bad_names():
        if name not in ("1.png/", "a/"):  # folders
            assert check_refused(tmp_path, zipped({"0.png": b"0", name: b"1"})).startswith("Expected names")
    for name in ("x" * 300 + ".png", "/".join("a" * 3000) + ".png"):  # for which the file system has no room
        assert check_refused(tmp_path, zipped({"0.png": b"0", name: b"1"})).startswith("The files cannot be stored")


def test_names_that_only_look_odd_are_kept(tmp_path):
    names = [
        "a..b/1.png", "a../1.png", "~/1.png", "$HOME/1.png", "%2e%2e/1.png", "ab:c/1.png", "con/1.png", " /1.png",
        "-/1.png",
    ]  # fmt: skip
    files = dict.fromkeys(names, b"x")
    assert content_of(received(tmp_path, zipped(files)).path) == files


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_there_twice_are_refused(tmp_path):
    for one, other in (("a.png", "a.png"), ("a.png", "a.png/b.png"), ("a.png/b.png", "a.png")):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(one, b"1")
            archive.writestr(other, b"2")
        assert check_refused(tmp_path, packed.getvalue()).startswith("Expected names that differ")


# --- ZIP files that attack ------------------------------------------------------------------------------------------


def test_a_link_in_a_zip_file_becomes_none(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            info = info_of("1.png")
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        place = received(tmp_path, packed.getvalue()).path
        assert stat.S_ISREG((place / "1.png").lstat().st_mode)
        assert content_of(place) == {"1.png": b"/etc/passwd"}


def patched(packed: bytes, **fields: int) -> bytes:
    """A ZIP file with other values in all entries of its directory."""
    places = {"version": (6, "<H"), "flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "length": (20, "<I"),
              "size": (24, "<I"), "offset": (42, "<I")}  # fmt: skip
    data = bytearray(packed)
    at = data.find(b"PK\1\2")
    while at >= 0:
        for name, value in fields.items():
            place, form = places[name]
            struct.pack_into(form, data, at + place, value)
        at = data.find(b"PK\1\2", at + 4)
    return bytes(data)


def test_encrypted_and_unusually_packed_members_are_refused(tmp_path):
    plain = zipped({"1.png": b"1" * 1000})
    assert "without a password" in check_refused(tmp_path, patched(plain, flags=1))
    for method in (1, 6, 9, 93, 97, 98, 99, *range(100, 300)):
        assert "stored or deflated" in check_refused(tmp_path, patched(plain, method=method))
    assert check_refused(tmp_path, patched(plain, version=99))


def test_bombs_are_refused(tmp_path):
    for n in range(ATTEMPTS // 4):
        size = 100_001 + 40_000 * n
        bomb = zipped({"1.png": b"\0" * size})
        assert "Choose fewer files" in check_refused(tmp_path, bomb)
        assert check_refused(tmp_path, patched(bomb, size=1000 + n))  # its header lies
        assert check_refused(tmp_path, patched(bomb, size=0))
        many = zipped({f"{i}.png": b"\0" * (size // 10 + 1) for i in range(10)})
        assert "Choose fewer files" in check_refused(tmp_path, many)
    inner = {"bomb.zip": zipped({"1.png": b"\0" * 10_000_000}), "1.png": b"1"}
    assert "left out 1 file" in received(tmp_path, zipped(inner)).notes  # those inside stay packed


def test_bytes_and_time_are_counted_while_files_are_unpacked(tmp_path, monkeypatch):
    packed = zipped({f"{n}.png": b"\0" * 30_000 for n in range(3)})
    assert "in time" in check_refused(tmp_path, packed, SMALL._replace(seconds=-1))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: io.BytesIO(b"\0" * 1_000_000))  # however much a header says
    assert "Choose fewer files" in check_refused(tmp_path, packed, SMALL._replace(bytes=500_000))


@pytest.mark.parametrize("name", ["{}.png", "__MACOSX/{}"])
def test_100_000_empty_entries_are_refused(tmp_path, name):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("image.png", b"1")
        begin = packed.tell()
    names = [name.format(n).encode() for n in range(100_000)]
    fixed = struct.pack("<HHHIIII", 20, 0, 0, 0, 0, 0, 0)
    entries = b"".join(
        b"PK\1\2\x14\0" + fixed + struct.pack("<HHHHHII", len(path), 0, 0, 0, 0, 0, 0) + path for path in names
    )
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 34_464, 34_464, len(entries), begin, 0)
    data = packed.getvalue()[:begin] + entries + end
    text = check_refused(tmp_path, data, Limits())
    assert text.startswith(("Expected at most 20,000 files.", "Expected files with the suffixes"))


def test_a_very_large_directory_is_not_read(tmp_path):
    begin = zipped({"1.png": b"1"})
    size = LARGEST_DIRECTORY + 1
    for extra in (0, 1, 10 * 2**20):
        data = (
            begin + bytes(size + extra) + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size + extra, len(begin), 0)
        )
        assert "its directory has more than 8 MiB" in check_refused(tmp_path, data, Limits())


def test_what_ends_too_early_is_refused(tmp_path):
    packed = zipped(FILES)
    places = sorted({len(packed) * n // (ATTEMPTS + 1) for n in range(ATTEMPTS + 1)})
    for place in places:
        assert "damaged" in check_refused(tmp_path, packed[:place])


def test_what_is_no_zip_file_is_refused(tmp_path):
    draw = random.Random(0)
    for n in range(ATTEMPTS):
        data = draw.randbytes(n)
        noise = (data, b"PK\3\4" + data, data + b"PK\5\6" + bytes(18), b"PK\5\6" + data)[n % 4]
        assert check_refused(tmp_path, noise).startswith(("a.zip is damaged (", "Expected files with"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_bytes_are_refused_or_make_no_difference(tmp_path, method):
    files = {
        "cats/1.png": b"one" * 20, "cats/2.png": b"", "dogs/ü.JPG": b"".join(bytes([n]) for n in range(90)),
        "p.csv": b"1",
    }  # fmt: skip
    packed, draw, refused = zipped(files, method), random.Random(0), 0
    for n in range(ATTEMPTS):
        data = bytearray(packed)
        for _ in range(1 + n % 3):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8) if n % 2 else draw.randrange(1, 256)
        refused += check_refused_or_whole(tmp_path, bytes(data), files)
    assert refused > ATTEMPTS // 2
