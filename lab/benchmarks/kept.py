"""Results that a benchmark keeps, so that an interrupted run resumes and nothing is measured twice; and their cases."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import write_text

ROOT = Path(__file__).parents[2]


def key_of(*parts: str) -> str:
    """A hash of the parts; a part that is the path of a source file stands for its content."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update((ROOT / part).read_bytes() if part.endswith(".py") else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def kept(path: Path, key: str, compute: Callable[[], object]) -> Any:
    """The result in a file if it has the same key; otherwise compute the result and write it to the file."""
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["key"] == key:
            return record["result"]
    print(f"{path.parent.name}: {path.stem}", file=sys.stderr, flush=True)
    result = json.loads(json.dumps(compute()))
    write_text(path, json.dumps({"key": key, "result": result}, indent=1) + "\n")
    return result


def named_paths(option: str, given: Sequence[str]) -> dict[str, Path]:
    """Absolute paths by name, of an option's values NAME=PATH."""
    paths = {}
    for one in given:
        name, _, path = one.partition("=")
        if not name or not path:
            raise SAFEError(f"{option} must be NAME=PATH. Received: {one}")
        paths[name] = Path(path).expanduser().absolute()
    return paths
