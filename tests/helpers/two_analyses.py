"""Two analyses of networks that were run on the same drawn test set, as `failures --predictions` writes them."""

from collections.abc import Mapping
from pathlib import Path

from dnn.failures import collect_failures
from dnn.model import DnnOptions
from rccs.clusters import save_clusters
from tests.helpers.small_models import clusters_of, draw_set

# What each says where it is wrong; of six images, two of each class, only A gets one right, and only B another one.
WRONG_A = {"blue/plain_00.png": "green", "red/plain_00.png": "blue"}
WRONG_B = {"blue/plain_00.png": "red", "green/plain_00.png": "red"}


def draw_test(folder: Path, plain: int = 2) -> Path:
    return draw_set(folder, plain)


def collect(out: Path, test: Path, wrong: Mapping[str, str], *, name: str, left_out: str = "") -> Path:
    """The failures of a network, whose answers stand in a table of that name beside the output folder; that folder.

    Parameters
    ----------
    wrong : mapping of str to str
        What it says of the images that it gets wrong.
    left_out : str
        An image that it was not run on.
    """
    paths = sorted(path.relative_to(test).as_posix() for path in test.rglob("*.png"))
    rows = [f"{path},{wrong.get(path, path.split('/')[0])}" for path in paths if path != left_out]
    table = out.parent / f"{name}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(["image,predicted", *rows]) + "\n")
    collect_failures(table, test, out, options=DnnOptions(partial=True))
    return out


def cluster(out: Path, labels: Mapping[str, int]) -> Path:
    """RCCs of the failing images in an output folder; that folder."""
    save_clusters(clusters_of(out / "failures", labels), out)
    return out
