import errno
import io
import itertools
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from safe_dnn.support import uploads
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import no_progress
from safe_dnn.support.uploads import LARGEST_DIRECTORY, MODELS, Incoming, Limits, Uploaded, remove_stale
from tests.helpers.places import names_in

ROOT = Path(__file__).parents[2]
ATTEMPTS = 200
FILES = {
    "cats/1.png": b"one" * 1000, "cats/2.png": b"", "dogs/ü 3.JPG": os.urandom(5000), "parameters.csv": b"image,a\n",
}  # fmt: skip
SMALL = Limits(entries=20, bytes=100_000)


def begun(tmp_path: Path, files: dict[str, bytes], *, limits: Limits = SMALL, name: str = "upload") -> Incoming:
    return Incoming.begin(tmp_path / "home", name, [[path, len(data)] for path, data in files.items()], limits)


def sent(tmp_path: Path, files: dict[str, bytes], **more: object) -> Incoming:
    incoming = begun(tmp_path, files, **more)
    incoming.append(incoming.received, b"".join(files.values())[incoming.received :])
    return incoming


def received(tmp_path: Path, files: dict[str, bytes], **more: object) -> Uploaded:
    return sent(tmp_path, files, **more).finish(tmp_path / "uploads", no_progress)


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


def check_refused(tmp_path: Path, files: dict[str, bytes], **more: object) -> str:
    """Nothing is left of files that are refused, whenever that is; returns why they are."""
    with pytest.raises(SAFEError) as refused:
        received(tmp_path, files, **more)
    left = [path for path in all_in(tmp_path) if path not in ("home", "home/.safe-incoming", "uploads")]
    assert left == []
    assert str(tmp_path) not in str(refused.value)
    return str(refused.value)


def check_refused_or_whole(tmp_path: Path, packed: bytes, files: dict[str, bytes]) -> bool:
    """Whether a ZIP file is refused; otherwise, it was unpacked with the right content."""
    try:
        received(tmp_path, {"a.zip": packed})
    except SAFEError:
        assert all_in(tmp_path) == ["home", "home/.safe-incoming", "uploads"]
        return True
    assert names_in(tmp_path) == ["home", "uploads"]
    assert content_of(tmp_path / "uploads" / "upload") == files
    uploads.shutil.rmtree(tmp_path / "uploads")
    return False


# --- What comes of it -------------------------------------------------------------------------------------------


def test_files_come_into_a_new_folder_as_they_are(tmp_path):
    uploaded = received(tmp_path, FILES)
    assert uploaded == (tmp_path / "uploads" / "upload", 4, 0, "Received 3 images and 1 table.")
    assert content_of(uploaded.path) == FILES
    assert all_in(tmp_path / "home") == [".safe-incoming"]


def test_a_zip_file_is_unpacked_as_the_same_files(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        uploaded = received(tmp_path, {"a.ZIP": zipped(FILES, method)})
        assert content_of(uploaded.path) == FILES
        assert uploaded[1:] == (4, 0, "Received 3 images and 1 table.")
    assert names_in(tmp_path / "uploads") == ["upload", "upload-2"]


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
    assert content_of(received(tmp_path, {"a.zip": packed.getvalue()}).path) == FILES


def test_a_zip_file_whose_directory_lacks_a_member_is_refused(tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    for n in range(len(FILES)):
        copy = io.BytesIO(packed.getvalue())
        with zipfile.ZipFile(copy, "a") as archive:
            del archive.filelist[n]
            archive._didModify = True
        assert "its directory lacks some" in check_refused(tmp_path, {"a.zip": copy.getvalue()})


def test_files_of_other_kinds_are_left_out_and_counted_and_hidden_ones_are_not(tmp_path):
    hidden = ["a/.DS_Store", ".git/1.png", "__MACOSX/a/1.png", "a/Thumbs.db", "a/desktop.ini", "a/._1.png"]
    other = ["a/b.zip", "a/c.exe", "a/d.gif", "a/png", "a/net.keras"]
    files = {"a/1.png": b"1"} | dict.fromkeys(hidden + other, b"x")
    for packed in (files, {"a.zip": zipped(files)}):
        uploaded = received(tmp_path, packed)
        assert content_of(uploaded.path) == {"1.png": b"1"}
        assert uploaded[1:] == (1, 5, "Received 1 image; left out 5 files of another kind.")
    models = SMALL._replace(suffixes=SMALL.suffixes | MODELS)
    uploaded = received(tmp_path, files, limits=models)
    assert uploaded[1:] == (2, 4, "Received 1 image and 1 model; left out 4 files of another kind.")


@pytest.mark.parametrize(
    ("names", "field"),
    [
        (["labels.csv"], "labels.csv"),
        (["1.png"], ""),  # of which a folder is named
        (["1.png", "2.png"], ""),
        (["images/1.png"], "images"),
        (["images/1.png", "predictions.csv"], "images"),
        (["images/1.png", "parameters.csv", "x/readme.md"], "images"),
        (["data/images/1.png", "data/predictions.csv"], "data/images"),
        (["test/cat/1.png"], "test"),  # of the only class there is
        (["cat/1.png", "dog/2.png", "parameters.csv"], ""),
        (["test/cat/1.png", "test/dog/2.png", "test/predictions.csv"], "test"),
        (["images/1.png", "2.png"], ""),
    ],
)
def test_a_field_names_the_folder_of_images_beside_or_in_which_tables_lie(tmp_path, names, field):
    for name, files in (("a", dict.fromkeys(names, b"x")), ("b", {"a.zip": zipped(dict.fromkeys(names, b"x"))})):
        assert received(tmp_path, files, name=name).path == tmp_path / "uploads" / name / field


# --- On its way ---------------------------------------------------------------------------------------------------


def test_parts_in_any_order_size_and_number_come_together(tmp_path):
    draw = random.Random(0)
    data = b"".join(FILES.values())
    for attempt in range(ATTEMPTS // 4):
        incoming = begun(tmp_path, FILES, name=f"n{attempt}")
        while incoming.received < len(data):
            there = incoming.received
            at = draw.choice([there, there, 0, max(0, there - 100), there + 1, draw.randrange(len(data))])
            part = data[at : at + draw.choice([0, 1, 700, 5000])]
            now = Incoming.of(tmp_path / "home", incoming.id).append(at, part)
            assert now == incoming.received == (there + len(part) if at == there else there)
        assert content_of(incoming.finish(tmp_path / "uploads", no_progress).path) == FILES


def test_the_same_files_go_on_where_they_were_and_others_do_not(tmp_path):
    incoming = begun(tmp_path, FILES)
    incoming.append(0, b"one")
    assert begun(tmp_path, FILES).received == 3
    assert begun(tmp_path, FILES).id == incoming.id
    assert begun(tmp_path, FILES, name="other").received == 0
    assert begun(tmp_path, FILES | {"x.png": b""}).received == 0
    narrower = SMALL._replace(entries=10)  # as other uploads came meanwhile
    assert begun(tmp_path, FILES, limits=narrower).received == 3
    assert Incoming.of(tmp_path / "home", incoming.id) == incoming


def test_bytes_beyond_the_files_are_refused_and_too_few_are_not_finished(tmp_path):
    incoming = begun(tmp_path, {"1.png": b"123"})
    with pytest.raises(SAFEError, match=r"Expected 3 bytes in all\. Received: 4"):
        incoming.append(0, b"1234")
    assert incoming.append(0, b"12") == 2
    with pytest.raises(SAFEError, match=r"Expected 3 bytes in all\. Received: 4"):
        incoming.append(2, b"34")
    with pytest.raises(SAFEError, match="Send the rest first"):
        incoming.finish(tmp_path / "uploads", no_progress)
    assert incoming.append(2, b"3") == 3
    assert incoming.finish(tmp_path / "uploads", no_progress).files == 1


def test_an_upload_that_is_gone_is_refused(tmp_path):
    incoming = sent(tmp_path, FILES)
    incoming.discard()
    for use in (
        lambda: incoming.received, lambda: incoming.append(0, b"x"),
        lambda: incoming.finish(tmp_path / "uploads", no_progress), lambda: Incoming.of(tmp_path / "home", incoming.id),
    ):  # fmt: skip
        with pytest.raises(SAFEError, match="not there any more"):
            use()
    assert all_in(tmp_path) == ["home", "home/.safe-incoming"]


def test_of_two_that_finish_an_upload_at_once_one_gets_it(tmp_path):
    incoming, results = sent(tmp_path, FILES), []

    def finish() -> None:
        try:
            results.append(incoming.finish(tmp_path / "uploads", lambda *_: time.sleep(0.01)).files)
        except SAFEError:
            results.append("gone")

    threads = [threading.Thread(target=finish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["4", "gone", "gone", "gone"]
    assert names_in(tmp_path / "uploads") == ["upload"]


def test_no_other_text_than_an_id_finds_an_upload(tmp_path):
    known = begun(tmp_path, FILES).id
    (tmp_path / "home" / "manifest.json").write_text("[]")
    draw = random.Random(0)
    guesses = [
        "", ".", "..", "../", known[:-1], f"{known}\n", f"../.safe-incoming/{known}", known.upper(), f"{known}\0", None,
        1,
    ]  # fmt: skip
    guesses += ["".join(draw.choices("0123456789abcdef", k=64)) for _ in range(ATTEMPTS)]
    for guess in guesses:
        with pytest.raises(SAFEError, match="not there any more"):
            Incoming.of(tmp_path / "home", guess)


def test_abandoned_uploads_are_removed_and_others_stay(tmp_path):
    remove_stale(tmp_path / "home", 0)
    old, fresh = begun(tmp_path, FILES), begun(tmp_path, FILES, name="fresh")
    for path in (old.folder, *old.folder.iterdir()):
        os.utime(path, (time.time() - 7200,) * 2)
    remove_stale(tmp_path / "home", 7300)
    assert old.received == 0
    remove_stale(tmp_path / "home", 7000)
    assert names_in(tmp_path / "home" / ".safe-incoming") == [fresh.id]


SENDER = """
import sys
from pathlib import Path
from safe_dnn.support.uploads import Incoming
incoming = Incoming.of(Path(sys.argv[1]), sys.argv[2])
at = incoming.received
while True:
    at = incoming.append(at, bytes([at // 1000 % 256]) * 1000)
    print(at, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path):
    total = 50_000_000
    limits = SMALL._replace(bytes=total)
    incoming = Incoming.begin(tmp_path / "home", "n", [["1.png", total]], limits)
    acknowledged = 0
    for parts in (1, 5, 50):
        command = [sys.executable, "-c", SENDER, str(tmp_path / "home"), incoming.id]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            lines = [next(process.stdout) for _ in range(parts)]
            process.send_signal(signal.SIGKILL)
            acknowledged = int((lines + process.stdout.readlines())[-1])
        there = incoming.received
        assert acknowledged <= there < total
        data = (incoming.folder / "received").read_bytes()
        assert data == b"".join(bytes([n % 256]) * 1000 for n in range(total // 1000))[:there]
        incoming.append(there, bytes([there // 1000 % 256]) * (-there % 1000))


FULL = """
import resource, sys
from pathlib import Path
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import no_progress
from safe_dnn.support.uploads import Incoming
incoming = Incoming.of(Path(sys.argv[1]), sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (2500, -1))
while incoming.received < incoming.total:
    try:
        print(incoming.append(incoming.received, b"x" * 1000))
    except SAFEError as error:
        print(error)
        break
"""


def test_what_was_received_stays_when_there_is_no_room_for_more(tmp_path):
    incoming = Incoming.begin(tmp_path / "home", "n", [["1.png", 4000]], SMALL)
    command = [sys.executable, "-c", FULL, str(tmp_path / "home"), incoming.id]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[:-1] == ["1000", "2000", "2500"]
    assert lines[-1].startswith("The files cannot be stored (File too large).")
    assert incoming.append(2500, b"x" * 1500) == 4000
    assert incoming.finish(tmp_path / "uploads", no_progress).path.joinpath("1.png").read_bytes() == b"x" * 4000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_leaves_what_there_is(tmp_path, monkeypatch, number):
    full = OSError(number, os.strerror(number), str(tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise full

    incoming = begun(tmp_path, FILES)
    incoming.append(0, b"one")
    with monkeypatch.context() as patched:
        patched.setattr(uploads._BoundedFile, "write", fail)
        with pytest.raises(SAFEError, match=r"^The disk is full\. What was received before is kept\."):
            incoming.append(3, b"one")
    assert incoming.received == 3
    incoming = sent(tmp_path, FILES)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", fail)
        with pytest.raises(SAFEError, match=r"^The disk is full\."):
            incoming.finish(tmp_path / "uploads", no_progress)
        with pytest.raises(SAFEError, match=r"^The disk is full\."):
            begun(tmp_path, FILES, name="other")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        with pytest.raises(SAFEError, match=r"^The disk is full\."):
            incoming.finish(tmp_path / "uploads", no_progress)
    assert all_in(tmp_path / "uploads") == []
    assert content_of(incoming.finish(tmp_path / "uploads", no_progress).path) == FILES


# --- What a stranger says that he sends ---------------------------------------------------------------------------


def test_a_list_that_is_none_is_refused(tmp_path):
    entry = [
        None, 1, "a.png", ["a.png"], ["a.png", 1, 1], [1, "a.png"], ["a.png", True], ["a.png", 1.0], ["a.png", "1"],
    ]  # fmt: skip
    entry += [
        ["a.png", -1], ["a.png", None], [["a.png"], 1], {"a.png": 1}, ["a.png", 2**64], ["a.png", 10**400], [None, 1],
    ]  # fmt: skip
    lists = [
        None, 1, "a.png", {"a.png": 1}, ["a.png", 1], *([one] for one in entry),
        *([["b.png", 1], one] for one in entry),
    ]  # fmt: skip
    for files in lists:
        with pytest.raises(SAFEError, match=r"^Expected a list of names and sizes"):
            Incoming.begin(tmp_path, "n", files, SMALL)
    for files in ([], [["a.exe", 1]], [[".a.png", 1]]):
        with pytest.raises(SAFEError, match=r"^Expected files with the suffixes .*Received: none"):
            Incoming.begin(tmp_path, "n", files, SMALL)
    assert all_in(tmp_path) == []


def test_the_name_of_an_upload_is_a_plain_one(tmp_path):
    for name in (
        "", ".", "..", "a/b", "/a", "../a", "a\\b", "C:", "a\0", "a\n", ".hidden", "a" * 201, "\udc80",
    ):  # fmt: skip
        assert check_refused(tmp_path, {"1.png": b"1"}, name=name)


def test_too_many_files_and_bytes_are_refused_before_any_is_taken(tmp_path):
    files = {f"{n}.png": b"" for n in range(21)}
    assert check_refused(tmp_path, files) == "Expected at most 20 files. Received: 21. Choose fewer files."
    assert check_refused(tmp_path, {"a.png": b""} | {f"{n}.exe": b"" for n in range(80)})
    for sizes in ([100_001], [60_000, 60_000], [2**62] * 4):
        with pytest.raises(SAFEError, match=r"^Expected at most 0 MiB"):
            Incoming.begin(tmp_path / "home", "n", [[f"{n}.png", size] for n, size in enumerate(sizes)], SMALL)
    with pytest.raises(SAFEError, match=r"^Expected at most 0 MiB"):
        Incoming.begin(tmp_path / "home", "n", [["a.zip", 100_001]], SMALL)


def bad_names() -> list[str]:
    """Ways out of a folder, and names that a system would read in another way."""
    ups = [
        "..", ".", "", "..\\", "a\\b", "\\", "C:", "c:x", "\0", "a\0b", "a\n", "\r", "\x1b[2J", "\x7f", "\x85",
        "x" * 201,
    ]  # fmt: skip
    ups += ["ü" * 101, "/".join("abcdefghijklmnopq"), "../..", "a/../..", "./..", "..\0", "\\\\host\\share", "C:\\x"]
    forms = ["{}/1.png", "a/{}/1.png", "a/{}/b/1.png", "{}/{}/1.png", "a/{}", "/{}/1.png", "a//{}/1.png", "C:/{}/1.png"]
    always = [
        "../1.png", "/1.png", "//1.png", "a/..", "C:1.png", "1.png/", "1.png/.", "~/../1.png", "a\x001.png", "\\1.png",
    ]  # fmt: skip
    names = [form.format(*[up] * form.count("{}")) for up in ups for form in forms] + always
    return [name for name in names if not name.startswith("a/C:") and not name.startswith("a/c:")]


def test_names_that_lead_elsewhere_are_refused_in_lists(tmp_path):
    assert len(bad_names()) >= ATTEMPTS - 20
    for name in [*bad_names(), "\ud800.png", "a/\udcff/1.png"]:
        assert check_refused(tmp_path, {"0.png": b"0", name: b"1"}).startswith("Expected ")


def test_names_that_lead_elsewhere_are_refused_in_zip_files(tmp_path):
    for name in bad_names():
        if name not in ("1.png/", "a/"):  # folders
            assert check_refused(tmp_path, {"a.zip": zipped({"0.png": b"0", name: b"1"})}).startswith("Expected names")


def test_names_that_only_look_odd_are_kept(tmp_path):
    names = [
        "a..b/1.png", "a../1.png", "~/1.png", "$HOME/1.png", "%2e%2e/1.png", "ab:c/1.png", "con/1.png", " /1.png",
        "-/1.png",
    ]  # fmt: skip
    files = dict.fromkeys(names, b"x")
    assert content_of(received(tmp_path, files).path) == files
    assert content_of(received(tmp_path, {"a.zip": zipped(files)}).path) == files


def twins() -> list[tuple[str, str]]:
    """Pairs of names that are one on some system."""
    words = ["a", "ü", "ß", "Å", "ﬁ", "straße", "É", "ŉ", "Ω", "bild"]
    pairs = []
    for word, form in itertools.product(words, ("{}.png", "{}/1.png", "x/{}/1.png", "x/{}.csv")):
        name = form.format(word)
        decomposed = unicodedata.normalize("NFD", name)
        pairs += [
            (name, name.upper()), (name, form.format(word.title())), (name, decomposed.upper()), (name, decomposed),
        ]  # fmt: skip
        pairs += [(name, f"{name}/1.png"), (name.upper(), f"{decomposed}/x/2.png")]
    pairs += [("A/1.png", "a/2.png"), ("x/ü/1.png", unicodedata.normalize("NFD", "x/ü/2.png"))]
    return [pair for pair in pairs if pair[0] != pair[1]]


def test_names_that_differ_in_case_or_unicode_form_are_refused(tmp_path):
    assert len(twins()) >= ATTEMPTS
    for one, other in twins():
        for files in ({one: b"1", other: b"2"}, {"a.zip": zipped({other: b"1", one: b"2"})}):
            assert check_refused(tmp_path, files).startswith("Expected names that differ in more than case")


# --- ZIP files that attack ------------------------------------------------------------------------------------------


def test_links_and_special_files_in_a_zip_file_are_refused(tmp_path):
    (tmp_path / "home").mkdir()
    kinds = [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK]
    targets = ["/etc/passwd", "../../..", ".", "1.png", "x" * 300]
    names = ["1.png", "a", "a/b.csv", "a/", ".hidden", "__MACOSX/x", "b.exe", "z"]
    for kind, target, name in itertools.product(kinds, targets, names):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            info = info_of(name)
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "" if name.endswith("/") else target)
            archive.writestr("a/2.png" if name == "a" else "2.png", b"through the link")
        assert "a link, encrypted, or" in check_refused(tmp_path, {"a.zip": packed.getvalue()})


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
    for flags in range(1, 2**16, 2):
        if flags % 331 == 1:
            assert "encrypted" in check_refused(tmp_path, {"a.zip": patched(plain, flags=flags)})
    for flags in (0x40, 0x2000):
        assert "encrypted" in check_refused(tmp_path, {"a.zip": patched(plain, flags=flags)})
    for method in (1, 6, 9, 12, 14, 93, 97, 98, 99, *range(100, 300)):
        assert "packed in another way" in check_refused(tmp_path, {"a.zip": patched(plain, method=method)})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "packed in another way" in check_refused(tmp_path, {"a.zip": zipped({"1.png": b"1"}, method)})
    assert check_refused(tmp_path, {"a.zip": patched(plain, version=99)})


def test_bombs_are_refused(tmp_path):
    for n in range(ATTEMPTS // 4):
        size = 100_001 + 40_000 * n
        bomb = zipped({"1.png": b"\0" * size})
        assert "Choose fewer files" in check_refused(tmp_path, {"a.zip": bomb})
        assert check_refused(tmp_path, {"a.zip": patched(bomb, size=1000 + n)})  # its header lies
        assert check_refused(tmp_path, {"a.zip": patched(bomb, size=0)})
        many = zipped({f"{i}.png": b"\0" * (size // 10 + 1) for i in range(10)})
        assert "Choose fewer files" in check_refused(tmp_path, {"a.zip": many})
    inner = {"bomb.zip": zipped({"1.png": b"\0" * 10_000_000}), "1.png": b"1"}
    assert received(tmp_path, {"a.zip": zipped(inner)})[1:3] == (1, 1)  # those inside stay packed


def test_bytes_are_counted_while_they_are_unpacked(tmp_path, monkeypatch):
    files = {"a.zip": zipped({f"{n}.png": b"\0" * 60_000 for n in range(3)})}
    incoming = sent(tmp_path, files)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: io.BytesIO(b"\0" * 1_000_000))  # however much a header says
    with pytest.raises(SAFEError, match="Choose fewer files"):
        incoming._replace(limits=SMALL._replace(bytes=500_000)).finish(tmp_path / "uploads", no_progress)
    assert all_in(tmp_path / "uploads") == []


def test_time_is_bounded_while_files_are_unpacked(tmp_path):
    for files in (FILES, {"a.zip": zipped(FILES)}):
        assert "seconds of unpacking" in check_refused(tmp_path, files, limits=SMALL._replace(seconds=-1))


def overlapping(names: list[str], data: bytes, shift: int) -> bytes:
    """A ZIP file with many entries whose contents are, but for the first bytes, the same ones."""
    body = zlib.compress(data, 9)[2:-4]
    local, entries = b"", b""
    for n, name in enumerate(names):
        fixed = struct.pack("<HHHIIIIHH", 20, 0, 8, 0, zlib.crc32(data), len(body), len(data), len(name), 0)
        offset = n * shift
        local = local[:offset] + b"PK\3\4" + fixed + name.encode() + body
        entries += b"PK\1\2" + struct.pack("<H", 20) + fixed + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name.encode()
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(names), len(names), len(entries), len(local), 0)
    return local + entries + end


def test_members_that_overlap_are_refused(tmp_path):
    data = os.urandom(200)
    whole = 30 + 5 + len(zlib.compress(data, 9)[2:-4])
    packed = overlapping(["a.png"], data, 0)
    assert received(tmp_path, {"a.zip": packed}).files == 1
    assert received(tmp_path, {"a.zip": overlapping(["a.png", "b.png"], data, whole)}).files == 2  # side by side
    uploads.shutil.rmtree(tmp_path / "uploads")
    for shift in range(ATTEMPTS):
        assert "damaged" in check_refused(tmp_path, {"a.zip": overlapping(["a.png", "b.png"], data, shift)})
    ordinary = zipped({"1.png": data, "2.png": data}, zipfile.ZIP_STORED)
    assert "damaged" in check_refused(tmp_path, {"a.zip": patched(ordinary, offset=0)})  # two entries for one content
    for far in (2**31, 2**32 - 2, len(ordinary)):
        assert "damaged" in check_refused(tmp_path, {"a.zip": patched(ordinary, offset=far)})
    assert "damaged" in check_refused(tmp_path, {"a.zip": patched(ordinary, length=len(ordinary))})


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
    text = check_refused(tmp_path, {"a.zip": data}, limits=Limits())
    assert text.startswith(("Expected at most 20,000 files.", "Expected files with the suffixes"))


def test_a_very_large_directory_is_not_read(tmp_path):
    begin = zipped({"1.png": b"1"})
    size = LARGEST_DIRECTORY + 1
    for extra in (0, 1, 10 * 2**20):
        data = (
            begin + bytes(size + extra) + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size + extra, len(begin), 0)
        )
        assert "its directory has more than 8 MiB" in check_refused(tmp_path, {"a.zip": data}, limits=Limits())


def test_what_ends_too_early_is_refused(tmp_path):
    packed = zipped(FILES)
    places = sorted({len(packed) * n // (ATTEMPTS + 1) for n in range(ATTEMPTS + 1)})
    for place in places:
        assert "damaged" in check_refused(tmp_path, {"a.zip": packed[:place]})
        assert "damaged" in check_refused(tmp_path, {"a.zip": packed[place + 1 :]})


def test_what_is_no_zip_file_is_refused(tmp_path):
    draw = random.Random(0)
    for n in range(ATTEMPTS):
        data = draw.randbytes(n)
        noise = (data, b"PK\3\4" + data, data + b"PK\5\6" + bytes(18), b"PK\5\6" + data)[n % 4]
        assert check_refused(tmp_path, {"a.zip": noise}).startswith(("a.zip is damaged (", "Expected files with"))


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


def test_each_byte_of_the_directory_may_be_damaged(tmp_path):
    files = {"a/1.png": b"one", "b.csv": b"two"}
    packed = zipped(files)
    for place in range(packed.index(b"PK\1\2"), len(packed)):
        for value in (0, 0xFF):
            check_refused_or_whole(tmp_path, packed[:place] + bytes([value]) + packed[place + 1 :], files)
