"""The documents agree with the code: commands, options, numbers, links, names of files, pictures, the version."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from cli.arguments import build_parser
from dbscan.projection import N_COMPONENTS
from dbscan.relevance import AVERAGING_ROUNDS
from dbscan.tuning import MIN_SAMPLES_TRIED, UPPER_END
from docs import draw_method
from features.extractor import CONV_LAYERS, DIMENSIONS, INPUT_SIZE
from features.network import BATCH_SIZE
from features.on_cluster import PER_THREAD, SENT
from features.weights import FC2_BYTES
from page import guard
from page.pictures import MOST_PICTURES
from page.runs_view import KEPT_EXPORTS
from rccs.clusters import INSPECTED_PER_RCC
from rccs.gifs import BYTES_PER_FRAME, BYTES_PER_PIXEL, CAPTION_HEIGHT, FRAME_SIDE, LARGEST_GIF
from reporting.history import KEPT_RUNS
from SAFE_Tool import main
from selection import SELECTION_FACTOR, unsafe_set_size
from support import defects, run_folder
from support.version import VERSION
from training.settings import VALIDATION_SHARE

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def each_document(*left_out: str):
    return pytest.mark.parametrize("name", [name for name in TEXTS if name not in left_out])


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# --- Commands -----------------------------------------------------------------------------------------------------


def commands_of(text: str) -> list[str]:
    """Commands in blocks of code and, whole, in inline code; without comments and the environment's folder."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    lines = [*blocks.splitlines(), *indented, *INLINE.findall(without_code(text))]
    lines = [part.split(" #")[0].strip().removeprefix(".venv/bin/") for line in lines for part in line.split("&&")]
    return [line for line in lines if re.match(r"(python -m|python SAFE_Tool\.py|make|pip install) \S", line)]


COMMANDS = sorted({(name, command) for name, text in TEXTS.items() for command in commands_of(text)})


class Accepted(Exception):  # noqa: N818, no error
    """Arguments were parsed."""


def test_there_are_commands():
    assert len(COMMANDS) > 25
    assert {command.split()[0] for _, command in COMMANDS} == {"python", "make", "pip"}


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_each_command_of_a_document_is_accepted(name, command, monkeypatch):
    program, *words = shlex.split(command)
    if program == "make":
        targets = [word for word in words if "=" not in word]
        known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(targets) <= set(known)
    elif program == "pip":
        assert all((ROOT / word).is_file() for word in words if word.startswith("requirements"))
    elif words[0] == "SAFE_Tool.py":
        assert callable(build_parser().parse_args(words[1:]).run)
    elif words[1] == "pytest":
        assert all((ROOT / word).exists() for word in words[2:] if "/" in word)
    else:
        parse = argparse.ArgumentParser.parse_args

        def accept(parser: argparse.ArgumentParser, *arguments: object) -> None:
            parse(parser, *arguments)
            raise Accepted

        module = importlib.import_module(
            f"{words[1]}.__main__" if (ROOT / words[1].replace(".", "/")).is_dir() else words[1]
        )
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", accept)
        monkeypatch.setattr(sys, "argv", words[1:])
        with pytest.raises(Accepted):
            module.main()


OPTIONS_OF_OTHERS = {"--check", "--strict", "--nworkers", "--nthreads"}


@each_document()
def test_each_option_of_a_document_exists(name):
    sources = [
        path for folder in ("cli", "benchmarks", "casestudies", "docs") for path in ROOT.glob(f"{folder}/**/*.py")
    ]
    known = {
        option for path in sources for option in re.findall(r'"(--[a-z][a-z-]*)"', path.read_text(encoding="utf-8"))
    }
    used = {option for code in INLINE.findall(TEXTS[name]) for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}
    assert used <= known | OPTIONS_OF_OTHERS | {"--help", "--version"}


# --- Links, files, pictures ---------------------------------------------------------------------------------------


def anchors_of(text: str) -> set[str]:
    """Those that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document()
def test_each_link_of_a_document_leads_somewhere(name):
    for link in LINK.findall(without_code(TEXTS[name])):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        if anchor:
            assert anchor in anchors_of(path.read_text(encoding="utf-8")), link


WRITTEN = {value for name, value in vars(run_folder).items() if name.isupper() and isinstance(value, str)}
WRITTEN |= {"gifs/RCC_<id>.gif", "gifs/weak_spot_<rank>.gif", "gifs/noise.gif", "export", "defects.log", "causes.json"}
READ = {"parameters.csv", "classes.txt", "tests/", "NNN-title.md", "package/module.py"}


@each_document("CHANGELOG.md")
def test_each_file_that_a_document_names_is_there_or_is_read_or_written(name):
    named = {code for code in INLINE.findall(TEXTS[name]) if re.fullmatch(r"[\w./<>-]*(\.[a-z]{2,7}|/)", code)}
    named = {code for code in named if not code.startswith(".") or code.startswith((".safe", ".ci"))} - {"--"}
    for file in named - READ:
        exists = any((folder / file).exists() for folder in (ROOT, (ROOT / name).parent, ROOT / "docs"))
        assert exists or file.rstrip("/") in WRITTEN, file


def test_each_file_that_a_run_writes_is_described():
    files = TEXTS["docs/files.md"]
    hidden = {run_folder.EXPORT_MARK, run_folder.FAILURES_MARK}
    described = {code.rstrip("/").removeprefix("gifs/") for code in INLINE.findall(files)}
    names = {value for key, value in vars(run_folder).items() if key.isupper() and isinstance(value, str)}
    assert names - described - hidden - {run_folder.GIF_FOLDER} == set()


def test_the_pictures_of_the_method_are_those_that_the_script_draws():
    shown = re.findall(r"!\[.+?\]\(method/(\w+)\.(\w+)\)", TEXTS["docs/method.md"])
    assert dict(shown) == {name: draw_method.kind_of(name) for name in draw_method.PLOTS}
    assert {path.name for path in draw_method.PICTURES.iterdir()} == {f"{name}.{kind}" for name, kind in shown}
    assert all(path.stat().st_size < 300_000 for path in draw_method.PICTURES.iterdir())


def test_the_picture_of_dbscan_shows_what_its_titles_say(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = [axis.get_title() for axis in draw_method.draw_dbscan(plt, None).axes]
    plt.close("all")
    assert [title.partition(":")[0] for title in titles] == ["eps = 0.4", "eps = 1.0", "SAFE"]
    points = draw_method.groups_in_the_plane()
    labels = draw_method.tune(points).labels
    assert [len(set(labels[start:stop].tolist())) for start, stop in ((0, 26), (26, 50), (50, 84))] == [1, 1, 1]
    assert len({labels[0], labels[26], labels[50]}) == 3
    assert set(labels[84:].tolist()) == {-1}


def test_without_the_example_the_script_says_how_to_build_it(tmp_path, capsys):
    assert draw_method.main(["--case", str(tmp_path / "none"), "--work", str(tmp_path / "work")]) == 2
    assert "python -m casestudies.build gd --out" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(name for name in TEXTS if re.match(r"docs/decisions/\d", name)))
def test_a_decision_has_a_number_of_its_own_evidence_and_a_way_to_reproduce_it(name):
    number = Path(name).name[:3]
    assert re.fullmatch(r"\d{3}-[a-z0-9-]+\.md", Path(name).name)
    assert [other for other in TEXTS if other.startswith(f"docs/decisions/{number}-")] == [name]
    assert TEXTS[name].startswith(f"# {number} ")
    sections = re.findall(r"^## (.+)$", TEXTS[name], re.MULTILINE)
    assert {"Decision", "Evidence", "Reproduce"} <= set(sections)


# --- Numbers ------------------------------------------------------------------------------------------------------

CONV_BYTES, FC2_ROW_BYTES, JOINED_BYTES = (4 * DIMENSIONS[name] for name in ("vgg16-conv", "vgg16-fc2", "vgg16"))
ROWS_PER_SECOND = 125e6 / CONV_BYTES  # on 1 Gbit/s; 100 workers extract 1,500
N_LARGE_FRAMES = LARGEST_GIF / (FRAME_SIDE * (FRAME_SIDE + CAPTION_HEIGHT) * BYTES_PER_PIXEL + BYTES_PER_FRAME)
WORDS = {2: "twice", 5: "five"}
NUMBERS = (
    ("README.md", f"VGG16's weights ({FC2_BYTES / 1e6:.0f} MB)"),
    (
        "README.md",
        f"plus {CONV_BYTES / 1000:.0f} kB (`vgg16`: {JOINED_BYTES / 1000:.0f} kB) of features each",
    ),
    ("README.md", f"with {WORDS[INSPECTED_PER_RCC]} of its images"),
    ("README.md", f"--port {build_parser().parse_args(['ui']).port}"),
    ("README.md", f"<http://{build_parser().parse_args(['ui']).host}:{build_parser().parse_args(['ui']).port}>"),
    ("SECURITY.md", f"It listens on {build_parser().parse_args(['ui']).host} unless"),
    ("SECURITY.md", f"up to {guard.LONGEST_DELAY:g} seconds"),
    ("SECURITY.md", f"Up to {guard.LONGEST_LINE} attempts may wait"),
    ("SECURITY.md", f"at most {2 * defects.LARGEST / 2**20:g} MiB"),
    ("CHANGELOG.md", f"limited to {MOST_PICTURES:,} thumbnails and {KEPT_EXPORTS} exports"),
    ("CHANGELOG.md", f"{DIMENSIONS['vgg16-conv']:,} features instead of"),
    ("docs/architecture.md", f"{INPUT_SIZE[0]} × {INPUT_SIZE[1]} → VGG16"),
    ("docs/architecture.md", f"PCA to {N_COMPONENTS} components"),
    ("docs/evaluation.md", f"with a factor of {SELECTION_FACTOR}"),
    ("docs/files.md", f"the last {KEPT_RUNS} of the others"),
    ("docs/files.md", f"more than {int(N_LARGE_FRAMES) // 100 * 100} images"),
    ("docs/files.md", f"no GIF exceeds {LARGEST_GIF / 1e6:.0f} MB"),
    ("docs/method.md", f"to {INPUT_SIZE[0]} × {INPUT_SIZE[1]} and"),
    ("docs/method.md", f"the {DIMENSIONS['vgg16-fc2']:,} outputs of the layer `fc2`"),
    ("docs/method.md", f"downloads the weights ({FC2_BYTES / 1e6:.0f} MB)"),
    ("docs/method.md", f"the {len(CONV_LAYERS)} convolutional layers, {DIMENSIONS['vgg16-conv']:,} features"),
    ("docs/method.md", f"keeps the {N_COMPONENTS} directions"),
    ("docs/method.md", f"mutual nearest neighbours, {WORDS[AVERAGING_ROUNDS]}"),
    ("docs/method.md", f"begins at {WORDS[UPPER_END]} the knee"),
    ("docs/method.md", "`min_samples` of {}, {} and {}".format(*MIN_SAMPLES_TRIED)),
    ("docs/method.md", f"a sample of {WORDS[INSPECTED_PER_RCC]}"),
    ("docs/method.md", f"N = ⌈{SELECTION_FACTOR} · test-set size · test accuracy⌉"),
    ("docs/method.md", f"here ⌈0.3 · 1,800 · 0.72⌉ = {unsafe_set_size(0.72, 504, test_size=1800)[0]} of 1,500"),
    ("docs/scaling.md", f"{CONV_BYTES / 1000:.1f} kB (`vgg16-conv`), {FC2_ROW_BYTES / 1000:.1f} kB (`vgg16-fc2`)"),
    ("docs/scaling.md", f"a row of float32 | {JOINED_BYTES / 1000:.1f} kB (`vgg16`)"),
    ("docs/scaling.md", f"rows to this machine: {CONV_BYTES / 1000:.1f} kB an image"),
    ("docs/scaling.md", f"1 Gbit/s: {round(ROWS_PER_SECOND, -2):,.0f} images/s | {150_000 / ROWS_PER_SECOND:.0f} %"),
    ("docs/scaling.md", f"a task for {BATCH_SIZE} images | {1000 * BATCH_SIZE:,} images/s"),
    (
        "docs/scaling.md",
        f"{PER_THREAD} batches of {BATCH_SIZE} rows for each thread of the cluster, "
        f"{PER_THREAD * BATCH_SIZE * CONV_BYTES / 1e6:.1f} MB a thread",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text"), NUMBERS)
def test_a_number_of_a_document_is_that_of_the_code(name, text):
    assert text in " ".join(TEXTS[name].split())


def test_other_numbers_that_documents_put_into_words():
    assert VALIDATION_SHARE == 0.1  # "A tenth of the training images is held out"
    assert guard.FIRST_DELAY == 0.5  # "half a second at first"


def test_the_size_of_the_modules_that_workers_get_is_about_right():
    stated = int(re.search(r"the modules of SAFE that it runs \((\d+) kB\)", TEXTS["docs/scaling.md"]).group(1))
    size = sum(path.stat().st_size for package in SENT for path in ROOT.glob(f"{package}/*.py"))
    assert stated == pytest.approx(size / 1000, rel=0.2)


# --- The version --------------------------------------------------------------------------------------------------


def test_the_changelog_and_the_citation_have_the_version():
    released = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})$", TEXTS["CHANGELOG.md"], re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r"^version: (.+)$", citation, re.MULTILINE).group(1)
    date = re.search(r"^date-released: (.+)$", citation, re.MULTILINE).group(1)
    assert released[0] == (version, date)
    assert version == VERSION


def test_the_changelog_keeps_its_format():
    headings = re.findall(r"^##+ (.+)$", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert headings[0] == "Unreleased"
    kinds = [heading for heading in headings if not re.match(r"\d|Unreleased", heading)]
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_command_line_says_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"SAFE {VERSION}\n"
