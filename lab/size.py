"""How large the product is: `python -m lab.size`. Lines of code, without blank lines, comments and docstrings."""

import argparse
import ast
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    "product": ("*.py", "safe_dnn/*.py", *(f"safe_dnn/{name}" for name in (
        "support", "store", "features", "rccs", "dnn", "reasons", "training", "pipeline", "page", "cli"))),
    "its example": ("safe_dnn/casestudies",),
    "its tests": ("tests",),
    "laboratory, with tests": ("lab",),
}  # fmt: skip
SCRIPTS = {".js": ("//",), ".css": ("/*",), ".html": ("<!--",)}
LANGUAGES = {".py": "Python", ".js": "scripts", ".css": "styles", ".html": "templates"}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
# Names by which a function reads, writes or looks at files
TOUCHING = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "replace", "rename", "unlink", "mkdir",
            "exists", "is_file", "is_dir", "stat", "glob", "rglob", "iterdir", "scandir", "copyfile", "copy2",
            "copytree", "rmtree", "save_files", "replacing", "read_json", "read_record", "read_arrays",
            "regular"}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print the figures."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args(arguments)
    for name, places in PARTS.items():
        files = [path for place in places for path in _files(place)]
        lines = {language: sum(code_lines(path) for path in files if path.suffix == suffix)
                 for suffix, language in LANGUAGES.items()}  # fmt: skip
        each = ", ".join(f"{language} {number:,}" for language, number in lines.items() if number)
        print(f"{name}: {sum(lines.values()):,} lines of code in {len(files)} files ({each})")
    product = [path for place in PARTS["product"] for path in _files(place) if path.suffix == ".py"]
    modules = [path.relative_to(ROOT).as_posix().removeprefix("safe_dnn/") for path in product if path.stem[0] != "_"]
    tested = [name for name in modules if (ROOT / "tests" / name).with_name(f"test_{Path(name).name}").exists()]
    print(f"modules with a test of their name: {len(tested)} of {len(modules)}")
    print(f"functions that touch files: {sum(map(lines_that_touch, product)):,} lines")
    names = ast.parse((ROOT / "safe_dnn" / "support" / "run_folder.py").read_text(encoding="utf-8")).body
    print(f"names in support/run_folder.py: {sum(isinstance(node, ast.Assign) for node in names)}")
    return 0


def _files(place: str) -> list[Path]:
    if "*" in place:
        return sorted(ROOT.glob(place))
    return sorted(path for path in (ROOT / place).rglob("*") if path.suffix in (".py", *SCRIPTS))


def code_lines(path: Path) -> int:
    """Lines of a file that are neither blank nor comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return sum(
            1 for line in text.splitlines() if line.strip() and not line.strip().startswith(SCRIPTS[path.suffix])
        )
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {row for token in tokens if token.type not in _NO_CODE for row in range(token.start[0], token.end[0] + 1)}
    return len(lines - _docstring_lines(ast.parse(text)))


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Lines of texts that stand alone: docstrings, also those of constants."""
    alone = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return {
        row for node in alone if isinstance(node.value.value, str) for row in range(node.lineno, node.end_lineno + 1)
    }


def lines_that_touch(path: Path) -> int:
    """Lines of the functions of a module that read, write or look at files themselves."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return sum(f.end_lineno - f.lineno + 1 for f in functions if _names_in(f) & TOUCHING)


def _names_in(function: ast.FunctionDef) -> set[str]:
    calls = [(node, node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
    # That of a path has one argument, and those of a text and of a record have others.
    return {
        what.attr if isinstance(what, ast.Attribute) else getattr(what, "id", "")
        for call, what in calls
        if not (isinstance(what, ast.Attribute) and what.attr == "replace" and len(call.args) + len(call.keywords) > 1)
    }


if __name__ == "__main__":
    sys.exit(main())
