"""What LIME and SHAP show in the images of a cause, and at what cost, beside a reason's heatmap.

    python -m lab.benchmarks.rivals.saliency --data gd=DIR oc=DIR [--write]

Needs the packages lime and shap, which SAFE does not. Images, causes and shares are those of
`lab.benchmarks.heatmaps`. Each explains the predicted class, as is usual, in `IMAGES` failing images of each cause.
Sources: Ribeiro et al., "Why should I trust you?", KDD 2016; Lundberg & Lee, NeurIPS 2017.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lab.benchmarks.heatmaps import WITHOUT, cause_mask, share_inside
from lab.benchmarks.results import tell
from lab.casestudies.cases import CASES
from safe_dnn.casestudies.causes import CAUSES_FILE
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.heatmaps import GRID, heatmaps
from safe_dnn.dnn.model import Dnn, load_dnn
from safe_dnn.dnn.predictions import run_model
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import PREDICTIONS_FILE
from tests.helpers.cases import read_subjects
from tests.helpers.small_models import Ready

IMAGES = 5
RUNS = {"LIME": 1000, "SHAP": 500}  # of the network for an image: LIME's default, and that of SHAP's examples
Saliency = Callable[[np.ndarray, int], np.ndarray]
INTRODUCTION = f"""
## LIME and SHAP on the same images

Written by `python -m lab.benchmarks.rivals.saliency`. Share of the positive mass in the pixels of the cause, and how
many times the area that is, in {IMAGES} failing images of each cause, by what speaks for the predicted class (the
median); seconds of processor time for an image. LIME runs the network {RUNS["LIME"]:,} times, SHAP (Partition)
{RUNS["SHAP"]}, HiResCAM once.

| case | cause | area | HiResCAM | LIME | SHAP |
|---|---|---|---|---|---|
"""


def saliencies(dnn: Dnn) -> dict[str, Saliency]:
    """What gives a map of how much each pixel speaks for a class, by name.

    Raises
    ------
    SAFEError
        A package is missing.
    """
    try:
        import shap
        from lime.lime_image import LimeImageExplainer
    except ImportError as error:
        raise SAFEError(f"Expected the packages lime and shap. Received: {error}. Install them.") from error

    def ask(images: np.ndarray) -> np.ndarray:
        pixels = Ready(dnn, np.rint(images).astype(np.uint8))
        return run_model(dnn, dnn.model, pixels, np.arange(len(images))).outputs

    def lime(image: np.ndarray, label: int) -> np.ndarray:
        explained = LimeImageExplainer(random_state=0).explain_instance(
            image, ask, labels=(label,), top_labels=None, num_samples=RUNS["LIME"], batch_size=50
        )
        weights = np.zeros(explained.segments.max() + 1)
        for segment, weight in explained.local_exp[label]:
            weights[segment] = weight
        return weights[explained.segments]

    def by_shap(image: np.ndarray, label: int) -> np.ndarray:
        covered = np.broadcast_to(image.mean(axis=(0, 1)), image.shape).ravel()
        explainer = shap.Explainer(ask, shap.maskers.Image(covered, image.shape), algorithm="partition", seed=0)
        found = explainer(image[None].astype(float), max_evals=RUNS["SHAP"], batch_size=50, silent=True)
        return np.asarray(found.values)[0, ..., label].sum(axis=-1)

    return {"LIME": lime, "SHAP": by_shap}


def rows_of(name: str, folder: Path) -> list[str]:
    """A line for each cause of a case."""
    case, dnn = CASES[name], load_dnn(folder / MODEL_FILE)
    tested = read_predictions(folder / PREDICTIONS_FILE, folder / "test")
    subjects, lines = read_subjects(folder / PARAMETERS_FILE, case.kind), []
    for cause in json.loads((folder / CAUSES_FILE).read_text(encoding="utf-8")):
        without = WITHOUT[case.kind.name].get(cause["name"])
        if without is None:
            continue
        paths = [path.removeprefix("failures/") for path in cause["failing"]]
        paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:IMAGES].tolist()]
        taken = [case.classes.index(tested.answers.predicted[tested.paths.index(path)]) for path in paths]
        masks = np.stack([cause_mask(case, subjects[f"test/{path}"], without) for path in paths])
        pixels = [np.asarray(Image.open(tested.root / path).convert("RGB")) for path in paths]
        begun, told = time.process_time(), []
        maps = heatmaps(dnn, tested.root, paths, taken).maps
        told.append(_told(maps, masks, time.process_time() - begun))
        for saliency in saliencies(dnn).values():
            begun = time.process_time()
            found = [saliency(*pair) for pair in zip(pixels, taken, strict=True)]
            told.append(_told([_on_grid(one) for one in found], masks, time.process_time() - begun))
        lines.append(f"| {name} | {cause['name']} | {masks.mean():.3f} | {' | '.join(told)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _on_grid(saliency: np.ndarray) -> np.ndarray:
    image = Image.fromarray(saliency.astype(np.float32))
    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX))


def _told(maps: Sequence[np.ndarray] | np.ndarray, masks: np.ndarray, seconds: float) -> str:
    share = float(np.median([share_inside(*pair) for pair in zip(maps, masks, strict=True)]))
    return f"{share:.2f} ({share / masks.mean():.1f} ×), {seconds / len(masks):.1f} s"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.rivals.saliency")
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="case studies that were built")
    parser.add_argument("--write", action="store_true", help="write lab/results/heatmaps.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        lines = [line for name, _, folder in (one.partition("=") for one in options.data)
                 for line in rows_of(name, Path(folder))]  # fmt: skip
        tell("heatmaps-rivals", "\n".join([INTRODUCTION.strip(), *lines]), write=options.write)
    except SAFEError as error:
        print(f"saliency: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
