"""The order of the house: what may import what, read from the code."""

import ast
import functools
import graphlib
import re
from collections.abc import Iterable
from pathlib import Path

from safe_dnn.cli.arguments import build_parser
from safe_dnn.features.on_cluster import SENT

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "safe_dnn"
# Each imports only from those before it. Inside a package, the imports of modules never go in a circle.
HOUSE = (
    "support", "store", "options", "features", "FE", "rccs", "clustering", "selection", "dnn", "reasons",
    "training", "retrain", "analysis", "report", "api", "page", "cli", "SAFE_Tool", "__main__",
)  # fmt: skip
# Nor do those of folders: a folder is above or below the modules beside it, but for those of these.
EXCEPTIONS = {"rccs.image_map", "report.report"}
DOORS = ("page", "cli", "SAFE_Tool")  # each words what an error is about
STEPS = ("api.finding", "api.repairing", "api.assuring")  # a function for each
OF_TABS = "page"  # whose folders are tabs, which modules beside them lay out and serve
ANNEXES = ("casestudies", "tests", "lab")  # they import, and are not imported, except by those after them
FRAMEWORKS = {"fastapi", "gradio", "inspect", "starlette", "uvicorn"}
HEAVY = {"tensorflow", "keras", "onnx", "onnxruntime", "distributed", "fsspec"}
PLACES = (ROOT, PACKAGE)
FILES = sorted(
    path
    for name in HOUSE
    for path in [*(file for place in PLACES for file in place.glob(f"{name}.py")), *PACKAGE.glob(f"{name}/**/*.py")]
)
COMMAND_LINE = [ROOT / "SAFE_Tool.py", *sorted((PACKAGE / "cli").glob("*.py"))]
CONTAINERS = {"Accordion", "Column", "Group", "Row", "Tab", "Tabs"}  # of Gradio


def at(path: Path, node: ast.stmt | ast.expr) -> str:
    """For the message of a rule that is broken."""
    return f"{path.relative_to(ROOT)}, line {node.lineno}"


def module_at(path: Path) -> str:
    """The name of a module, or of a package, below `safe_dnn` or at the root."""
    parts = path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def package_of(name: str) -> str:
    """As in `HOUSE`."""
    return name.partition(".")[0]


def folder_of(module: str) -> str:
    return module.rpartition(".")[0]


@functools.cache
def imports(tree: ast.AST) -> list[tuple[str, ast.stmt]]:
    """The name below `safe_dnn` of each imported module, or of what is imported from it, and the statement."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name.removeprefix("safe_dnn."), node) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [(f"{node.module}.{alias.name}".removeprefix("safe_dnn."), node) for alias in node.names]
    return found


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def all_imports() -> list[tuple[Path, str, ast.stmt]]:
    """What `imports` gives of each file, with the file."""
    return [(path, name, node) for path in FILES for name, node in imports(parsed(path))]


def functions_of(tree: ast.Module) -> list[ast.AST]:
    return [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]


@functools.cache
def inside_functions(tree: ast.Module) -> set[ast.AST]:
    return {inner for function in functions_of(tree) for inner in ast.walk(function)}


@functools.cache
def imports_inside() -> set[tuple[str, str]]:
    """Each pair of modules of one package of which the first imports the second."""
    modules, pairs = {module_at(path) for path in FILES}, set()
    for path, name, _ in all_imports():
        while name and name not in modules:  # of what is imported from it
            name = folder_of(name)
        if package_of(name) == package_of(module_at(path)):
            pairs.add((module_at(path), name))
    return pairs


def circle_in(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The names in a circle of imports; empty if there is none."""
    graph: dict[str, set[str]] = {}
    for one, other in pairs:
        graph.setdefault(one, set()).add(other)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_every_package_has_its_place_in_the_house():
    here = {path.stem for place in PLACES for path in place.glob("*.py")} - {"__init__"}
    here |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - set(ANNEXES)
    assert here == set(HOUSE)


def test_a_package_imports_only_from_those_before_it():
    for path, name, node in all_imports():
        package, other = package_of(module_at(path)), package_of(name)
        assert other not in ANNEXES, at(path, node)
        if other in HOUSE and other != package:
            assert HOUSE.index(other) < HOUSE.index(package), at(path, node)


def test_page_and_command_line_read_an_analysis_by_one_door():
    """Nothing but `analysis.Analysis` reads what was computed and said, once for all that show it."""
    loaders = {
        "answers_of_run", "answers_to_tag", "known_parameters", "load_clusters", "load_failures", "load_probes",
        "load_profiles", "load_reasons", "load_retraining", "load_review", "load_unsafe_set", "present_runs",
        "reasons_of", "register_of", "retraining_of",
    }  # fmt: skip
    for path, name, node in all_imports():
        if package_of(module_at(path)) in DOORS or module_at(path) in STEPS:
            assert name.rpartition(".")[2] not in loaders, at(path, node)


def test_page_and_command_line_do_a_step_by_one_door():
    """Nothing but `api` calls what a step consists of, so that page, command line and notebooks do the same."""
    works = {
        "compare_answers", "confirm", "cut_detections", "explain_collected", "explain_failures",
        "failures_in_table", "find_detection_failures", "find_failures", "find_reasons", "generate_clusters", "look",
        "probe_reasons", "retrain_apart", "select_images", "verify", "write_evidence", "write_register", "write_report",
    }  # fmt: skip
    for path, name, node in all_imports():
        if package_of(module_at(path)) in DOORS and folder_of(name) != "api":
            assert name.rpartition(".")[2] not in works, at(path, node)


def test_modules_of_a_package_do_not_import_each_other_in_a_circle():
    assert circle_in([("a", "b"), ("b", "c"), ("c", "a")])
    assert not circle_in([("a", "b"), ("b", "c"), ("a", "c")])
    assert not circle_in(imports_inside())


def test_folders_of_a_package_do_not_import_from_each_other_in_a_circle():
    folders = {
        (folder_of(one), folder_of(other))
        for one, other in imports_inside()
        if one not in EXCEPTIONS and package_of(one) != OF_TABS and folder_of(one) != folder_of(other)
    }
    assert folders
    assert not circle_in(folders)


def test_nothing_else_imports_the_laboratory():
    for package in ("safe_dnn/casestudies", "tests"):
        for path in (ROOT / package).glob("**/*.py"):
            for name, node in imports(parsed(path)):
                assert name.partition(".")[0] != "lab", at(path, node)


def test_workers_of_a_cluster_are_sent_all_that_they_import():
    for path in FILES:
        if package_of(module_at(path)) in SENT:
            needed = {name.partition(".")[0] for name, _ in imports(parsed(path))}
            assert needed & set(HOUSE) <= set(SENT), path


def test_only_the_page_knows_gradio():
    users = {
        package_of(module_at(path)) for path in FILES for name, _ in imports(parsed(path)) if name.startswith("gradio")
    }
    assert users == {"page"}


def test_no_name_of_a_framework_is_changed_and_no_private_one_imported():
    for path in sorted((PACKAGE / "page").rglob("*.py")):
        tree, theirs = parsed(path), set[str]()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                source = getattr(node, "module", None) or ""
                named = {alias.asname or alias.name: f"{source}.{alias.name}".strip(".") for alias in node.names}
                found = {name: full for name, full in named.items() if full.split(".")[0] in FRAMEWORKS}
                theirs |= found.keys()
                assert not any(part.startswith("_") for full in found.values() for part in full.split(".")), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                assert ast.unparse(node).split(".")[0] not in theirs, at(path, node)


def test_the_method_names_no_option_but_the_fields_that_an_error_is_about():
    """An option is called as its field: the command line needs no table."""
    (commands,) = (action.choices for action in build_parser()._actions if action.choices)
    options = {option for command in commands.values() for option in command._option_string_actions}
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = options & set(re.findall(r"--[a-z][a-z-]*", node.value))
                assert not named or package_of(module_at(path)) in DOORS, at(path, node)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "about":
                fields = {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
                assert {f"--{field.replace('_', '-')}" for field in fields} <= options, at(path, node)


def test_no_handler_of_the_page_makes_a_container():
    """Gradio would put it into a page that is being built at that moment: handlers describe changes with gr.update.

    (Other widgets know that they are made in a handler.)
    """
    for path in sorted((PACKAGE / "page").rglob("*.py")):
        tree = parsed(path)
        laid_out = [item.context_expr for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
        laid_out += [f for f in functions_of(tree) if isinstance(f, ast.FunctionDef) and f.name == "pane"]
        allowed = {inner for node in laid_out for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CONTAINERS:
                assert node in allowed, at(path, node)


def test_what_loads_a_network_is_imported_only_inside_functions():
    heavy = [(path, node) for path, name, node in all_imports() if name.split(".")[0] in HEAVY]
    assert heavy
    for path, node in heavy:
        assert node in inside_functions(parsed(path)), at(path, node)


def test_the_command_line_imports_only_light_modules_until_it_knows_the_command():
    light = ("cli.", "options.", "support.errors.", "support.text.", "support.version.")
    light += ("support.defects.", "support.progress.")
    for path, name, node in all_imports():
        if path in COMMAND_LINE and name.split(".")[0] in HOUSE and node not in inside_functions(parsed(path)):
            assert name.startswith(light), at(path, node)
