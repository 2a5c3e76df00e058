"""What a detector sees in unlabelled improvement images, cut out of them: the improvement set of a detector's RCCs.

RCCs of a detector are groups of crops, and so are the images near them. `select` on the crops names these; from them it
follows which whole images to label (`unsafe_images.csv`). What is missed has no crop, but is often seen with a low
score, so that lower scores count here than for failures.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from safe_dnn.dnn.detection.coco import read_coco
from safe_dnn.dnn.detection.crops import crops_of
from safe_dnn.dnn.detection.detections import NONE, Cases
from safe_dnn.dnn.detection.detector_failures import IMAGES, Cut, cut_into
from safe_dnn.dnn.failures import checked_folder
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.store.output_folder import save_files
from safe_dnn.support.entries import Number, StrPath, existing_folder
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import FAILURES_FILE, OBJECTS, OBJECTS_FILE
from safe_dnn.support.tables import table_text

SEEN = "seen"
OF_TRUTH = ("near_by", "in_crowd", "type", "confused_with")  # parameters that only the ground truth tells


def cut_seen_objects(
    info: StrPath,
    results: StrPath,
    images: StrPath,
    out: StrPath,
    *,
    score: Number = 0.05,
    progress: Progress = no_progress,
) -> Cut:
    """Cut what a detector sees out of images; write `objects/`, `objects.csv` and `parameters.csv` to the folder `out`.

    Parameters
    ----------
    info : path
        A JSON file with the lists `images` and `categories`, as of COCO's ground truth; its annotations are not read.
    results, score
        As for `dnn.detection.coco.read_coco`.
    images : path
        The folder of the images.

    Raises
    ------
    SAFEError
        The files cannot be used, or `out` cannot be written, holds the failures of a DNN, or has a folder `objects`
        that SAFE did not write.
    """
    root = existing_folder(images, IMAGES)
    test = read_coco(info, results, score=score, labelled=False)
    out = checked_folder(out, root, OBJECTS_FILE, PARAMETERS_FILE, folders=(OBJECTS,))
    if (out / FAILURES_FILE).exists():
        raise SAFEError(f"Expected a folder without failures of a DNN. Received: {out}. Choose another.").about("out")
    rows = np.arange(len(test.detections.image))
    nothing = np.full(len(rows), NONE)
    crops = crops_of(test, Cases(nothing, rows, nothing, np.full(len(rows), SEEN)))
    crops = [crop._replace(name=crop.name.partition("/")[2]) for crop in crops]  # not in folders of labels
    cut = cut_into(test, crops, root, out / OBJECTS, progress, OF_TRUTH)
    save_files(out, cut.tables)
    return cut


def unsafe_images_text(selected: Sequence[UnsafeImage], sources: Mapping[str, str]) -> tuple[str, int]:
    """`unsafe_images.csv`: the whole images to label, each with the crops that it was selected for; how many these are.

    Parameters
    ----------
    selected : sequence of UnsafeImage
        The crops, in the order of selection.
    sources : mapping of str to str
        As of `dnn.detection.detector_failures.sources_of`; a crop that it lacks is its own image.
    """
    crops: dict[str, list[UnsafeImage]] = {}
    for crop in selected:
        crops.setdefault(sources.get(crop.image, crop.image), []).append(crop)
    rows = ((image, crop.image, crop.rcc, crop.distance) for image, own in crops.items() for crop in own)
    return table_text(["image", "crop", "rcc", "distance"], rows), len(crops)
