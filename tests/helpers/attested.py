"""An analysis with evidence, in which all was done that can be done; its image folders and its model lie beside it."""

import dataclasses
import random
from pathlib import Path

from PIL import Image

from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint
from safe_dnn.rccs.gifs import write_gifs
from safe_dnn.rccs.review.review import load_review
from safe_dnn.report.evidence import verify_evidence, write_evidence
from safe_dnn.training.result import save_retraining
from tests.helpers.small_models import FakeModel, retraining_for
from tests.helpers.worked_on import work_on


def retrain_again(out: Path, weights: bytes, *, train: str = "train") -> None:
    """A retraining whose model, training and test images are known."""
    home = out.parent
    places = {"model": home / "model.keras", "test_root": home / "test", "train_root": home / train}
    result = dataclasses.replace(retraining_for(fingerprint(load_review(out).original)), **places)
    save_retraining(result, FakeModel(weights), out)


def attest(clusters: RootCauseClusters, home: Path) -> Path:
    """The output folder, `out`, beside `failing`, `improvement`, `test`, `train` and `model.keras`."""
    out = home / "out"
    work_on(clusters, out, home / "improvement")
    names = ["improvement/0.png", "improvement/1.png", "improvement/2.png"]
    for number, name in enumerate([*names, "test/a.png", "test/b.png", "train/a.png", "train/b.png"]):
        (home / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 9 * number).save(home / name)
    (home / "model.keras").write_bytes(b"original")
    retrain_again(out, b"new weights")
    write_gifs(load_review(out).clusters, out)
    write_evidence(out)
    return out


def found(folder: Path, **options) -> list[tuple[str, str]]:
    return verify_evidence(folder, **options)


def changed_in(file: Path, rng: random.Random) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    rewrite(file, bytes(data))


def rewrite(file: Path, data: bytes) -> None:
    if file.exists():
        file.chmod(0o644)
    file.write_bytes(data)
