"""The order of the house: what may import what, read from the code."""

import ast
import functools
from pathlib import Path

from safe_dnn.features.on_cluster import SENT

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "safe_dnn"
# Each imports only from those above it, and the modules of a package only from those of it that stand before them.
HOUSE = {
    "support": (
        "version errors text intervals run_folder progress quiet entries files tables matching defects images "
        "contents near_duplicates"
    ),
    "store": "database entries places output_folder runs",
    "features": "extractor cache weights int8 network batches attributes on_cluster",
    "FE": "",
    "rccs": (
        "dbscan.outcome dbscan.one_thread dbscan.neighbours dbscan.density dbscan.relevance dbscan.set_aside "
        "dbscan.contrast dbscan.projection dbscan.branches dbscan.umap_check dbscan.tuning "
        "dbscan.resamples dbscan.consensus dbscan.umap_reducer rounds answers clusters confidence unsafe_set "
        "parameters projected spots.conditions spots.groups spots.search spots.weak_spots "
        "spots.new_images profiles search nearness split spots.rates "
        "gifs review.notes review.journal review.review review.edits image_map"
    ),
    "clustering": "",
    "selection": "",
    "dnn": (
        "model_file onnx_model model predictions copies heatmaps model_process tested targets group_columns held_out "
        "confusion given_answers rounds failures detection.coco detection.yolo detection.detections detection.crops "
        "detection.detector_failures detection.seen_objects failure_prediction"
    ),
    "reasons": (
        "groups order comparison counted_images confirmation listed probes register requirements nuisances "
        "similar_images"
    ),
    "training": (
        "labels settings checkpoint finetuning second_pass together comparison certainty closure proof result earlier "
        "material compared"
    ),
    "retrain": "",
    "pipeline": (
        "reporting.markup reporting.material reporting.heatmaps "
        "reporting.improvement reporting.rounds reporting.sections reporting.export "
        "reporting.freshness reporting.evidence.statement reporting.report reporting.evidence.signature "
        "reporting.evidence.basis reporting.evidence.verification "
        "reporting.safety_case reporting.history summaries run_record answers asking heatmaps descriptions moved "
        "generation comparison confirmation probing improvement retraining exports"
    ),
    "page": (
        "assets texts serving.analyses serving.summaries serving.connections serving.below serving.malformed "
        "serving.door forms serving.guard retraining.plots results folders jobs failures.collected picker pictures "
        "serving.mounts "
        "serving.list_page serving.entrance visitors grid_view steps clusters.cards "
        "form_view clusters.similar_images clusters.asked clusters.images job_view form_tab moved labels.view "
        "clusters.note clusters.several clusters.rcc clusters.spots clusters.runs "
        "failures.view failures.tab labels.tab retraining.view "
        "retraining.tab unsafe.tab report.fresh report.register report.tab clusters.form clusters.tab "
        "rounds app"
    ),
    "cli": "terminal commands arguments before",
    "SAFE_Tool": "",
}
ANNEXES = ("casestudies", "tests", "lab")  # they import, and are not imported, except by those after them
HEAVY = {"tensorflow", "keras", "onnx", "onnxruntime", "openvino", "distributed", "fsspec"}
FILES = sorted(path for name in HOUSE for path in [*ROOT.glob(f"{name}.py"), *PACKAGE.glob(f"{name}/**/*.py")])
COMMAND_LINE = [ROOT / "SAFE_Tool.py", *sorted((PACKAGE / "cli").glob("*.py"))]
CONTAINERS = {"Accordion", "Column", "Group", "Row", "Tab", "Tabs"}  # of Gradio
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


def at(path: Path, node: ast.stmt | ast.expr) -> str:
    """For the message of a rule that is broken."""
    return f"{path.relative_to(ROOT)}, line {node.lineno}"


def place_of(path: Path) -> tuple[str, str]:
    """Package and module, as in `HOUSE`; of a module at the root, and of a package itself, its name and nothing."""
    package, *parts = path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).with_suffix("").parts
    return package, ".".join(part for part in parts if part != "__init__")


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


def test_every_module_has_its_place_in_the_house():
    here = {path.stem for path in ROOT.glob("*.py")}
    here |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - set(ANNEXES)
    assert here == set(HOUSE)
    for package, modules in HOUSE.items():
        written = {place_of(path)[1] for path in (PACKAGE / package).rglob("*.py") if path.stem != "__init__"}
        assert written == set(modules.split())


def test_a_module_imports_only_from_above_it():
    order = list(HOUSE)
    for path, name, node in all_imports():
        package, module = place_of(path)
        other, _, rest = name.partition(".")
        assert other not in ANNEXES, at(path, node)
        if other == package and module:
            modules = HOUSE[package].split()
            inner = next(one for one in modules if f"{rest}.".startswith(f"{one}."))
            assert modules.index(inner) < modules.index(module), at(path, node)
        elif other in HOUSE:
            assert order.index(other) < order.index(package), at(path, node)


def test_nothing_else_imports_the_laboratory():
    for package in ("safe_dnn/casestudies", "tests"):
        for path in (ROOT / package).glob("**/*.py"):
            for name, node in imports(parsed(path)):
                assert name.partition(".")[0] != "lab", at(path, node)


def test_workers_of_a_cluster_are_sent_all_that_they_import():
    for path in FILES:
        if place_of(path)[0] in SENT:
            needed = {name.partition(".")[0] for name, _ in imports(parsed(path))}
            assert needed & set(HOUSE) <= set(SENT), path


def test_only_the_page_knows_gradio():
    users = {place_of(path)[0] for path in FILES for name, _ in imports(parsed(path)) if name.startswith("gradio")}
    assert users == {"page"}


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


def test_the_command_line_imports_only_errors_texts_and_the_version_until_it_knows_the_command():
    light = ("cli.", "support.errors.", "support.defects.", "support.text.", "support.version.")
    for path, name, node in all_imports():
        if path in COMMAND_LINE and name.split(".")[0] in HOUSE and node not in inside_functions(parsed(path)):
            assert name.startswith(light), at(path, node)


def test_no_function_changes_what_a_module_holds():
    for path in FILES:
        tree = parsed(path)
        held = {
            n.id for s in tree.body if isinstance(s, (ast.Assign, ast.AnnAssign)) for n in ast.walk(s) if is_stored(n)
        }
        for function in functions_of(tree):
            own = {n.id for n in ast.walk(function) if is_stored(n)}
            own |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
            for node in ast.walk(function):
                assert not isinstance(node, ast.Global), at(path, node)
                assert changed_by(node) not in held - own, at(path, node)


def changed_by(node: ast.AST) -> str | None:
    """The name of what a node changes in place, if it has one."""
    changed = None
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        changed = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        changed = node.func.value
    return changed.id if isinstance(changed, ast.Name) else None


def is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
