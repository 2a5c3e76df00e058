"""What `pip install` puts into an environment, and that it works there, also beside a user's modules of these names."""

import ast
import re
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import safe_dnn
from tests.helpers.answered import draw_case, record_light
from tests.helpers.documents import ROOT
from tests.helpers.places import closed_port

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = [f"requirements/{name}.txt" for name in PROJECT["project"]["optional-dependencies"]]
AS_EXTRAS = {"distributed"}  # of packages: dask[distributed]
STEPS = sorted(path.stem for path in ROOT.glob("*.py"))


def requirements_in(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {str(Requirement(line)) for line in lines if line and not line.startswith("#")}


def test_the_package_needs_what_the_requirements_say_and_has_an_extra_for_each_file_of_others():
    project = PROJECT["project"]
    assert {str(Requirement(line)) for line in project["dependencies"]} == requirements_in("requirements.txt")
    for name, lines in project["optional-dependencies"].items():
        assert {str(Requirement(line)) for line in lines} == requirements_in(f"requirements/{name}.txt")


def imported_in(path: Path) -> set[str]:
    """The packages that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - {"safe_dnn", *sys.stdlib_module_names}


def test_all_that_is_imported_is_required_and_does_not_just_come_with_other_packages():
    lines = set().union(*map(requirements_in, ("requirements.txt", *EXTRAS)))
    required = {canonicalize_name(Requirement(line).name) for line in lines}
    files = [*ROOT.glob("*.py"), *ROOT.glob("safe_dnn/**/*.py")]
    imported = set().union(*map(imported_in, files)) - {*AS_EXTRAS}
    assert {"PIL", "sklearn", "starlette"} <= imported
    distributions = packages_distributions()
    for name in imported:
        assert required & {canonicalize_name(one) for one in distributions.get(name, [name])}, name


def test_what_make_run_installs_fulfils_the_requirements():
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements/lock.txt").read_text(encoding="utf-8"), re.M)
    locked = {canonicalize_name(name): version for name, version in pins}
    for line in requirements_in("requirements.txt"):
        one = Requirement(line)
        assert locked[canonicalize_name(one.name)] in one.specifier, line


def test_the_files_of_the_steps_are_modules_of_the_package_wherever_they_lie():
    assert sorted(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]) == [f"{s}.py" for s in STEPS]
    assert sorted(path.stem for path in (ROOT / "safe_dnn").glob("*.pyi")) == STEPS
    assert safe_dnn.CLONE == ROOT


def test_modules_are_imported_as_those_of_the_package():
    """A user's folder may hold modules of the same names, and comes first where Python looks."""
    bare = {*STEPS, *(path.parent.name for path in ROOT.glob("safe_dnn/*/__init__.py"))}
    files = [
        *ROOT.glob("*.py"),
        *(path for name in ("safe_dnn", "tests", "lab") for path in ROOT.glob(f"{name}/**/*.py")),
    ]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not bare & {name.partition(".")[0] for name in names}, f"{path}, line {node.lineno}"


# --- Installed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="see requirements/dev.txt")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment, in a clone of something else, that has the packages of this one, but no SAFE."""
    clone = tmp_path_factory.mktemp("clone")
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    environment = clone / "environment"
    venv.create(environment)
    programs = Path(sysconfig.get_path("scripts", vars={"base": environment}))
    site = Path(sysconfig.get_path("purelib", vars={"base": environment}))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    before = {path.name for path in site.iterdir()}
    command = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-index", wheel], check=True)
    added = {path.name for path in site.iterdir()} - before
    assert added == {"safe_dnn", f"safe_dnn-{wheel.name.split('-')[1]}.dist-info"}
    return programs


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A user's folder with modules of their own."""
    for name in ("clustering", "selection", "retrain", "page", "FE", "SAFE_Tool", "store/__init__", "support/__init__"):
        file = tmp_path / "user" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("raise RuntimeError('the module of a user')\n")
    return tmp_path / "user"


@pytest.mark.slow
def test_a_wheel_holds_the_package_with_its_templates_and_neither_tests_nor_laboratory(wheel):
    assert wheel.stat().st_size < 2_000_000
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"safe_dnn", names[-1].partition("/")[0]}
    here = {path for path in (ROOT / "safe_dnn").rglob("*.*") if path.suffix not in (".cjs", ".pyc", ".pyi")}
    expected = {path.relative_to(ROOT).as_posix() for path in here} | {f"safe_dnn/{step}.py" for step in STEPS}
    assert {name for name in names if name.startswith("safe_dnn/")} == expected


@pytest.mark.slow
def test_installed_it_works_beside_a_users_modules_of_the_same_names(installed, beside, tmp_path):
    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=beside, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import importlib, pkgutil, safe_dnn; assert safe_dnn.CLONE is None; " + (
        "[importlib.import_module(found.name) for found in pkgutil.walk_packages(safe_dnn.__path__, 'safe_dnn.') "
        "if not found.name.endswith('__main__')]; from safe_dnn.report.evidence import _commit; "
        "print(safe_dnn.__file__, safe_dnn.clustering.__file__, _commit())"
    )
    package, clustering, commit = run(installed / "python", "-c", code).split()
    assert Path(package).parent == Path(clustering).parent
    assert Path(package).is_relative_to(installed.parent)
    assert commit == "None"  # that of the clone which the environment lies in is another program's
    case = draw_case(tmp_path)
    record_light(case.test / "parameters.csv")
    (beside / "requirements.yaml").write_text("label = wood: at most 90 % wrong")
    given = ("check", "requirements.yaml", "--predictions", case.table, "--tested", case.test)
    for command in ([installed / "safe-dnn"], [installed / "python", "-m", "safe_dnn"]):
        assert run(*command, "--version").startswith("SAFE ")
        assert "Requirements that hold: 1 of 1" in run(*command, *given)
    assert re.match("usage: safe-dnn", run(installed / "safe-dnn", "--help"))


@pytest.mark.slow
def test_installed_it_serves_the_page_beside_a_users_modules_of_the_same_names(installed, beside, tmp_path):
    port = closed_port()
    command = [installed / "safe-dnn", "ui", "--port", str(port), "--out", tmp_path / "out"]
    with subprocess.Popen(command, cwd=beside) as served:
        try:
            for _ in range(240):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                        text = answer.read().decode()
                    if answer.status == 200 and "gradio" in text:
                        break
                except OSError:
                    pass
                assert served.poll() is None
                time.sleep(0.5)
            else:
                pytest.fail("no page")
        finally:
            served.terminate()


@pytest.mark.slow
def test_installed_it_clusters_beside_a_users_modules_of_the_same_names(
    installed, beside, tmp_path, draw_folder, monkeypatch
):
    weights = Path(sys.prefix, "weights")
    if not weights.is_dir():
        pytest.skip("see SAFE_Tool.py weights")
    (installed.parent / "weights").symlink_to(weights)
    command = [
        installed / "safe-dnn", "cluster", draw_folder(tmp_path / "images", {"night": 12, "snow": 12}), "--out",
        tmp_path / "out",
    ]  # fmt: skip
    subprocess.run([*command, "--extractor", "vgg16-conv"], cwd=beside, check=True)
    assert (tmp_path / "out" / "labels.txt").is_file()
