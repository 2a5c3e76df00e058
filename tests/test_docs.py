"""The documents agree with the code: commands, options, numbers, links, names of files, pictures, the version."""

import re
import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from safe_dnn.cli import commands
from safe_dnn.cli.arguments import build_parser
from safe_dnn.features.extractor import CONV_LAYERS, DIMENSIONS, INPUT_SIZE
from safe_dnn.features.on_cluster import PER_THREAD, SENT
from safe_dnn.features.vgg16 import BATCH_SIZE, CONV_WHEEL, FC2_BYTES
from safe_dnn.options import SELECTION_FACTOR
from safe_dnn.page.serving import guard
from safe_dnn.rccs.clusters import INSPECTED_PER_RCC
from safe_dnn.rccs.dbscan.projection import AVERAGING_ROUNDS, N_COMPONENTS
from safe_dnn.rccs.dbscan.tuning import MIN_SAMPLES_TRIED, UPPER_END
from safe_dnn.rccs.gifs import GIF_FOLDER, MOST_FRAMES
from safe_dnn.selection import unsafe_set_size
from safe_dnn.support import defects
from tests.helpers import written
from tests.helpers.answered import draw_case
from tests.helpers.documents import COMMANDS, INLINE, LAB_COMMANDS, ROOT, TEXTS, accept, without_code

LINK = re.compile(r"\]\(([^)\s]+)\)")


def each_document(*left_out: str):
    return pytest.mark.parametrize("name", [name for name in TEXTS if name not in left_out])


# --- Commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "command"), [each for each in COMMANDS if each not in LAB_COMMANDS])
def test_each_command_of_a_document_is_accepted(name, command, monkeypatch):
    accept(command, monkeypatch)


def test_the_test_of_requirements_in_the_guide_to_ci_passes_as_long_as_they_hold(tmp_path, monkeypatch):
    case = draw_case(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(case.table, "now.csv")
    names: dict = {}
    exec(re.search(r"^```python\n(.*?)^```$", TEXTS["docs/ci.md"], re.MULTILINE | re.DOTALL)[1], names)
    Path("requirements.yaml").write_text("all images: at most 60 % wrong\n")
    names["test_the_requirements_hold"](tmp_path)
    Path("requirements.yaml").write_text("all images: at most 5 % wrong\n")
    with pytest.raises(AssertionError):
        names["test_the_requirements_hold"](tmp_path)


OPTIONS_OF_OTHERS = {"--check", "--strict", "--nworkers", "--nthreads", "--no-deps"}


def options_in(text: str) -> set[str]:
    return {option for code in INLINE.findall(text) for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}


@each_document()
def test_each_option_of_a_document_exists(name):
    sources = [path for folder in ("safe_dnn", "lab") for path in ROOT.glob(f"{folder}/**/*.py")]
    known = {
        option for path in sources for option in re.findall(r'"(--[a-z][a-z-]*)"', path.read_text(encoding="utf-8"))
    }
    (commands,) = (action.choices for action in build_parser()._actions if action.choices)
    known |= {option for command in commands.values() for option in command._option_string_actions}
    if name == "CHANGELOG.md":  # entries of earlier versions name options that a later one has removed
        known |= options_in("".join(re.findall(r"^### Removed$(.*?)(?=^##|\Z)", TEXTS[name], re.MULTILINE | re.DOTALL)))
    assert options_in(TEXTS[name]) <= known | OPTIONS_OF_OTHERS | {"--help", "--version"}


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


GIFS = {"gifs/RCC_<id>.gif", "gifs/weak_spot_<rank>.gif", "gifs/noise.gif"}
WRITTEN = written.WRITTEN | GIFS | {"word_<name>.csv", "export", "defects.log", "causes.json"}
READ = {
    "parameters.csv", "requirements.yaml", "classes.txt", "sbom.json", "tests/", "NNN-title.md", "package/module.py",
}  # fmt: skip


@each_document("CHANGELOG.md")
def test_each_file_that_a_document_names_is_there_or_is_read_or_written(name):
    named = {code for code in INLINE.findall(TEXTS[name]) if re.fullmatch(r"[\w./<>-]*(\.[a-z]{2,7}|/)", code)}
    named = {code for code in named if not code.startswith(".") or code.startswith((".safe", ".ci"))} - {"--"}
    for file in named - READ:
        exists = any((folder / file).exists() for folder in (ROOT, (ROOT / name).parent, ROOT / "docs"))
        assert exists or file.rstrip("/") in WRITTEN, file


def test_each_file_that_a_run_writes_is_described():
    files = TEXTS["docs/files.md"]
    described = {code.rstrip("/").removeprefix("gifs/") for code in INLINE.findall(files)}
    assert written.WRITTEN - described - {GIF_FOLDER} == set()


@pytest.mark.parametrize("name", sorted(name for name in TEXTS if re.match(r"docs/decisions/\d", name)))
def test_a_decision_has_a_number_of_its_own_its_four_sections_in_order_and_at_most_400_words(name):
    number = Path(name).name[:3]
    assert re.fullmatch(r"\d{3}-[a-z0-9-]+\.md", Path(name).name)
    assert [other for other in TEXTS if other.startswith(f"docs/decisions/{number}-")] == [name]
    assert TEXTS[name].startswith(f"# {number} ")
    sections = re.findall(r"^## (.+)$", TEXTS[name], re.MULTILINE)
    assert sections in (["Context", "Decision", "Figures"], ["Context", "Decision", "Figures", "Alternatives"])
    assert len(TEXTS[name].split()) <= 400
    title = TEXTS[name].partition("\n")[0].removeprefix(f"# {number} ")
    assert f"| [{number}]({Path(name).name}) | {title} |" in TEXTS["docs/decisions/README.md"]


def test_every_decision_that_the_code_refers_to_is_there():
    code = "".join(path.read_text("utf-8") for path in [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")])
    named = set(re.findall(r"docs/decisions/\w[\w.-]+\.md", code))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


# --- Numbers ------------------------------------------------------------------------------------------------------

CONV_BYTES, FC2_ROW_BYTES, JOINED_BYTES = (4 * DIMENSIONS[name] for name in ("vgg16-conv", "vgg16-fc2", "vgg16"))
ROWS = round(125e6 / CONV_BYTES, -2)  # a second, on 1 Gbit/s
WORDS = {2: "twice", 5: "five"}
NUMBERS = (
    ("README.md", f"VGG16's weights ({FC2_BYTES / 1e6:.0f} MB)"),
    ("README.md", f"plus {CONV_BYTES / 1000:.0f} kB (`vgg16`: {JOINED_BYTES / 1000:.0f} kB) of features each"),
    ("README.md", f"--port {build_parser().parse_args(['ui']).port}"),
    ("README.md", f"<http://{build_parser().parse_args(['ui']).host}:{build_parser().parse_args(['ui']).port}>"),
    ("docs/SECURITY.md", f"It listens on {build_parser().parse_args(['ui']).host} unless"),
    ("docs/SECURITY.md", f"after {guard.DELAY:g} seconds"),
    ("docs/SECURITY.md", f"{guard.MOST_GUESSES} guesses from one address may wait"),
    ("docs/SECURITY.md", f"at most {2 * defects.LARGEST / 2**20:g} MiB"),
    ("docs/architecture.md", f"{INPUT_SIZE[0]} × {INPUT_SIZE[1]} → VGG16"),
    ("docs/architecture.md", f"PCA to {N_COMPONENTS} components"),
    ("docs/evaluation.md", f"with a factor of {SELECTION_FACTOR}"),
    ("docs/files.md", f"of more than {MOST_FRAMES} images"),
    ("docs/method.md", f"with up to {MOST_FRAMES} of its images"),
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
    ("docs/scaling.md", f"It receives {CONV_BYTES / 1000:.1f} kB an image (on 1 Gbit/s: {ROWS:,.0f} images/s)"),
    ("docs/scaling.md", f"{1000 * BATCH_SIZE:,} images/s (tasks for {BATCH_SIZE} images"),
    (
        "docs/scaling.md",
        f"{PER_THREAD} batches of {BATCH_SIZE} rows for each thread of the cluster, "
        f"{PER_THREAD * BATCH_SIZE * CONV_BYTES / 1e6:.1f} MB a thread",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("name", "text"), NUMBERS)
def test_a_number_of_a_document_is_that_of_the_code(name, text):
    assert text in " ".join(TEXTS[name].split())


def test_the_size_of_the_modules_that_workers_get_is_about_right():
    stated = int(re.search(r"the modules of SAFE that it runs \((\d+) kB\)", TEXTS["docs/scaling.md"]).group(1))
    size = sum(path.stat().st_size for package in SENT for path in ROOT.glob(f"safe_dnn/{package}/*.py"))
    assert stated == pytest.approx(size / 1000, rel=0.2)


# --- The version --------------------------------------------------------------------------------------------------


def test_each_promise_of_safety_names_a_test_that_is_there():
    named = re.findall(r"`([^`]+\.py)::(test_\w+)`", TEXTS["docs/SECURITY.md"])
    assert len(named) > 30
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_the_lock_is_of_what_the_requirements_allow_with_a_hash_each_and_no_address():
    assert (ROOT / "requirements" / "weights.txt").read_text().strip().endswith(f"\n{CONV_WHEEL}")
    text = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    packages = re.findall(r"^([\w.-]+)==(\S+)(?: ;.*)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(packages) == len(re.findall(r"^\w", text, re.MULTILINE)) > 50
    assert "//" not in text
    assert not re.search(r"^(-|.* @ )", text, re.MULTILINE)
    versions = {name.lower(): Version(version) for name, version in packages}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            needed = Requirement(line)
            assert versions[needed.name] in needed.specifier, line


def test_the_versions_of_the_changelog_are_newest_first_and_at_most_a_page_each():
    _, *sections = re.split(r"^## ", TEXTS["CHANGELOG.md"], flags=re.MULTILINE)
    assert all(len(section.split()) <= 350 for section in sections)
    dated = [re.match(r"(\d+)\.(\d+)\.(\d+) - (\S+)", section).groups() for section in sections[1:]]
    versions = [(date, int(major), int(minor), int(patch)) for major, minor, patch, date in dated]
    assert versions == sorted(set(versions), reverse=True)


# --- The README -------------------------------------------------------------------------------------------------


def test_the_readme_shows_all_commands():
    shown = re.findall(r"^\.venv/bin/python SAFE_Tool\.py (\S+)", TEXTS["README.md"], re.MULTILINE)
    assert {*shown} == {name[4:].replace("_", "-") for name in vars(commands) if name.startswith("run_")}


def test_each_document_is_listed_in_the_index_of_documents():
    documents = {path.name for kind in ("md", "ipynb") for path in ROOT.glob(f"docs/*.{kind}")} - {"README.md"}
    assert documents <= set(re.findall(r"\]\(([^)#/]+\.(?:md|ipynb))\)", TEXTS["docs/README.md"]))
