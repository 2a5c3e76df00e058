import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributed_extraction import SENT

ROOT = Path(__file__).parents[1]
# Each imports only from its left.
ORDER = (
    "errors",
    "entries",
    "artefacts",
    "output_folder",
    "images",
    "feature_cache",
    "defects",
    "digests",
    "FE",
    "distributed_extraction",
    "neighbours",
    "density",
    "relevance",
    "consensus",
    "tuning",
    "clustering",
    "parameters",
    "query",
    "profiles",
    "review",
    "inspection",
    "map",
    "selection",
    "dnn",
    "predictions",
    "labels",
    "targets",
    "failures",
    "failure_prediction",
    "comparison",
    "compilation",
    "checkpoint",
    "finetuning",
    "retrain",
    "history",
    "markup",
    "report_sections",
    "report",
    "export",
    "runs",
    "holding",
    "page",
    "SAFE_Tool",
)
HEAVY = {"tensorflow", "keras", "onnx", "distributed", "fsspec"}
FILES = sorted([*ROOT.glob("*.py"), *(ROOT / "page").glob("*.py")])


def module_of(path: Path) -> str:
    """The name in ORDER: a file of `page/` counts as `page`."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """The first part of each imported name, and the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module.split(".")[0], node


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def inside_functions(tree: ast.Module) -> set[ast.AST]:
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
    return {inner for function in functions for inner in ast.walk(function)}


def test_every_module_has_its_place_in_the_order():
    assert {module_of(path) for path in FILES} <= set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_left(path):
    own = module_of(path)
    for name, node in imports(parsed(path)):
        if name in ORDER and not (own == name == "page"):
            assert ORDER.index(name) < ORDER.index(own), f"line {node.lineno}"
            assert {own, name} != {"inspection", "selection"}, f"line {node.lineno}"


def test_workers_of_a_cluster_are_sent_all_that_they_import():
    for module in SENT:
        needed = {name for name, _ in imports(parsed(ROOT / f"{module}.py")) if name in ORDER}
        assert needed <= set(SENT), module


def test_only_the_page_knows_gradio():
    users = {module_of(path) for path in FILES for name, _ in imports(parsed(path)) if name == "gradio"}
    assert users == {"page"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_loads_a_network_is_imported_only_inside_functions(path):
    tree = parsed(path)
    inside = inside_functions(tree)
    assert [name for name, node in imports(tree) if name in HEAVY and node not in inside] == []


def test_the_command_line_imports_nothing_of_safe_but_errors_until_it_knows_the_command():
    tree = parsed(ROOT / "SAFE_Tool.py")
    inside = inside_functions(tree)
    assert {name for name, node in imports(tree) if name in ORDER and node not in inside} == {"errors"}
