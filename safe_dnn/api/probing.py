"""Further runs of the DNN of an analysis: for each reason, what would change its answers, and where it looks.

`reasons/probes.py` says how reasons are probed. For a heatmap, parts of an image are covered, one after the other,
with its mean colour, in failing images and in right ones of the same classes. A part is evidence for the true class
if the log odds of that class fall without it; for a regression, minus the squared error replaces the log odds. Evidence
for the predicted class is about another answer in each image; evidence for the true one can be compared between right
and failing images.

Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
docs/decisions/055-heatmaps.md has figures.
"""

import contextlib
import functools
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX, Dnn, sized_for
from safe_dnn.dnn.model_process import load_apart, predict_apart
from safe_dnn.dnn.predictions import LabelledImages, Predictions, class_folders, judge
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.extractor import INPUT_SIZE
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.answers import ERROR
from safe_dnn.rccs.review.review import Review
from safe_dnn.reasons.known_groups import named_groups
from safe_dnn.reasons.listed import Reason, chosen, reasons_of
from safe_dnn.reasons.probes import PROBES_FILE, Images, Probe, images_of, load_probes, probe, probes_text, spread_over
from safe_dnn.reasons.run_record import answers_of_run, groups_of, table_of
from safe_dnn.report.drawings import Heatmap, heatmaps_of, keep_heatmap, side_by_side
from safe_dnn.report.exports import show_reasons
from safe_dnn.store.output_folder import own_files, save_files, working
from safe_dnn.store.places import absolute
from safe_dnn.store.runs import CLUSTERS, PROBES, add_run, present_runs
from safe_dnn.support.errors import SAFEError, StrPath, may_open, path_of
from safe_dnn.support.files import prepare_folder, read_record
from safe_dnn.support.images import UNREADABLE, decode, read_bytes
from safe_dnn.support.progress import as_part
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.text import printable

HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
MOST = 10  # failing images of a reason, and as many right ones of their classes
COVERED = 8  # parts of each side
LEAST = 1e-37  # a probability is taken to be larger by this
SIDE = 240  # pixels of the longer side of a part of the picture


def model_at_hand(image_root: Path) -> Path | None:
    """The file of the DNN whose failures are in a folder, as it was recorded, or `model.keras` beside them.

    None if it cannot be asked again: it is not there any more, or was a table of answers.
    """
    record = read_record(image_root.parent / ACCURACY_FILE)
    file = Path(absolute(str(record.get("model") or "model.keras"), image_root.parent))  # the latter of a case study
    known = file.suffix.lower() in (*KERAS_SUFFIXES, ONNX_SUFFIX) and file.is_file() and may_open(file)
    return file if record and known else None


class Asking(NamedTuple):
    """Whom to ask, and about what.

    Attributes
    ----------
    review : Review
    listed, reasons : list of Reason
        All of the analysis, and those to ask about.
    tested : AnsweredImages
        The test set, with the answers that the DNN has given.
    dnn : Dnn
        In a process of its own.
    classes : tuple of str
        In the order of the model's outputs; empty of a regression.
    threshold : float or None
        On the error of a regression, if it is known.
    """

    review: Review
    listed: list[Reason]
    reasons: list[Reason]
    tested: AnsweredImages
    dnn: Dnn
    classes: tuple[str, ...]
    threshold: float | None

    @property
    def regression(self) -> bool:
        return self.tested.answers.kind == ERROR

    def failing(self, reason: Reason) -> np.ndarray:
        """The failing images of a reason that are in the test set, as rows of it."""
        rows = self.tested.rows_of(self.review.clusters.image_root, reason.images)
        return rows[(rows >= 0) & ~self.tested.right[rows]]

    def truth(self, rows: Sequence[int]) -> list:
        """Of images: the index of the true class; of a regression, the true numbers.

        Raises
        ------
        SAFEError
            The model does not have such a class.
        """
        labels = self.tested.answers.label[rows].tolist()
        if unknown := [label for label in labels if not (label if self.regression else label in self.classes)]:
            raise SAFEError(
                f"Expected the true {'numbers' if self.regression else 'class'} of each image as the model has them. "
                f"Received: {printable(unknown[0]) or 'none'}. Is it the model of this analysis?"
            )
        return [[*map(float, label.split())] if self.regression else self.classes.index(label) for label in labels]

    def pixels(self, row: int) -> np.ndarray | None:
        """An image of the test set, no larger than the DNN, or a measure of it, needs; None if it is unreadable."""
        side = max(*INPUT_SIZE, self.dnn.height or 0, self.dnn.width or 0)
        try:
            image = decode(read_bytes(self.tested.root / self.tested.paths[row]), at_least=(side, side))
        except UNREADABLE:
            return None
        image.thumbnail((side, side))
        return np.asarray(image)

    def answers(self, pixels: Sequence[np.ndarray]) -> Predictions:
        """What the DNN answers to images that were changed."""
        names = [f"{i}.bmp" for i in range(len(pixels))]
        with tempfile.TemporaryDirectory(prefix="safe-probe-") as folder:
            for name, one in zip(names, pixels, strict=True):
                Image.fromarray(one).save(Path(folder, name))
            return predict_apart(self.dnn, Path(folder), names, what="Running the model on changed images")


def asking(
    out: Path, names: Collection[str], *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
) -> Asking:  # fmt: skip
    """The DNN of an analysis and what it can be asked about.

    Parameters
    ----------
    names : collection of str
        As for `reasons.listed.chosen`; by default all reasons.
    model : path, optional
        By default what `model_at_hand` gives.
    options : DnnOptions
        What the engineer specifies about the model; by default pixels are scaled as they were for its answers.

    Raises
    ------
    SAFEError
        There is no such reason, the model is missing or has other outputs, or its answers are unknown.
    """
    analysis = Analysis(out)
    analysis.check()
    review = analysis.review
    root = review.clusters.image_root
    listed = reasons_of(review, analysis.reasons, out, profiles=[*analysis.profiles.values()])
    reasons = chosen(listed, names) if names else listed
    tested, record = answers_of_run(out, review.original), read_record(root.parent / ACCURACY_FILE)
    file = path_of(model, "a model") if model else model_at_hand(root)
    if file is None or tested is None:
        raise SAFEError(
            "Expected the answers of a classifier or regression to its test set, and the model itself: SAFE runs no "
            f"detectors. Received: {out}, without them. Collect the failures with a model, or name it."
        )
    regression = tested.answers.kind == ERROR
    classes = () if regression else tuple(record.get("classes") or class_folders(tested.root))
    options = options._replace(rescale=options.rescale or record.get("rescale"))
    dnn = load_apart(file, options, task="regression" if regression else None)
    expected = len(tested.answers.label[0].split()) if regression else len(classes)
    if expected != (received := dnn.n_classes or dnn.n_outputs):
        raise SAFEError(
            f"Expected {expected} classes or outputs. Received: {file}, with {received}. Name another model."
        )
    dnn = sized_for(dnn, [tested.root / path for path in tested.paths])
    return Asking(review, listed, reasons, tested, dnn, classes, record.get("threshold"))


# --- What would change its answers ------------------------------------------------------------------------------------


LEAST_ALIKE = 10  # right images of the classes of the failing ones, to be changed rather than those of all classes
LEAST_SAME = 0.5  # of the images, that the model must answer as its table of answers says


def probe_reasons(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
) -> list[Probe]:  # fmt: skip
    """Probe reasons of the run in `out`; those of other reasons are kept beside them.

    Parameters
    ----------
    names, model, options
        As for `api.probing.asking`; by default all weak spots, and the RCCs that fail more often.

    Raises
    ------
    SAFEError
        As in `asking`, or the model does not give these answers.
    """
    with working(out, "probing"):
        query = asking(out, names, model=model, options=options)
        unknown = query.regression and query.threshold is None
        if unknown or not all(one.figures and one.figures.tested for one in query.listed):
            raise SAFEError(
                "Expected an analysis that compares failing images with right ones and, of a regression, knows the "
                f"threshold on its error. Received: {out}. Collect the failures with the model, and cluster them."
            )
        table = table_of(out, "parameters")
        groups = named_groups(groups_of(out), query.tested, parameters=table, required=False)
        of = groups.groups.of if groups else np.arange(len(query.tested.paths))
        reasons = [reason for reason in query.reasons if names or reason.fails_more]
        probes = [one for reason in reasons for one in _probes_of(query, reason, of)]
        runs, earlier = present_runs(out), list[Probe]()
        with contextlib.suppress(SAFEError):  # damaged, which is reported where it is shown
            earlier = [
                one for one in load_probes(runs.get(PROBES)) if one.subject not in {one.subject for one in probes}
            ]
        files = {PROBES_FILE: probes_text([*earlier, *probes])}
        add_run(out, PROBES, files, clusters=runs[CLUSTERS].itself, instead_of=runs.get(PROBES))
        show_reasons(out)
    return probes


def _probes_of(query: Asking, reason: Reason, of: np.ndarray) -> list[Probe]:
    """Probe a reason with some of its images: those that the DNN answers as it has answered the originals."""
    tested, failing = query.tested, query.failing(reason)
    alike = tested.right & np.isin(tested.answers.label, tested.answers.label[failing])
    right = np.flatnonzero(alike if alike.sum() >= LEAST_ALIKE else tested.right)
    images = _images_of(query, right, of, wanted=True), _images_of(query, failing, of, wanted=False)
    return probe(reason, *images, functools.partial(_are_right, query))


def _images_of(query: Asking, rows: np.ndarray, of: np.ndarray, *, wanted: bool) -> Images:
    """Some images of the test set, of those that the DNN gets right, or wrong."""
    drawn = spread_over(rows, of[rows]).tolist()
    read = {row: pixels for row in drawn if (pixels := query.pixels(row)) is not None}
    same = _are_right(query, list(read.values()), list(read)) == wanted if read else np.zeros(0, bool)
    if read and same.mean() < LEAST_SAME:
        raise SAFEError(
            f"Expected the model with the answers in {query.tested.source}. Received: {query.dnn.path}, which answers "
            f"{np.mean(~same):.0%} of {len(read)} images otherwise. Name the model, or how its pixels are scaled."
        ).about("rescale")
    rows = np.array(list(itertools.compress(read, same)), int)
    return images_of(rows, [read[row] for row in rows.tolist()], of[rows])


def _are_right(query: Asking, pixels: Sequence[np.ndarray], rows: Sequence[int]) -> np.ndarray:
    """As of `reasons.probes.Ask`; what is true of the images is what the table of the DNN's answers says."""
    images = LabelledImages(query.tested.root, (), query.classes, np.array(query.truth(rows)))
    return judge(query.dnn, images, query.answers(pixels), threshold=query.threshold).right


def look(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
) -> dict[str, Heatmap]:  # fmt: skip
    """Compute where the network looks, keep it, and write `heatmaps/`.

    Parameters
    ----------
    names, model, options
        As for `api.probing.asking`.

    Returns
    -------
    dict of str to Heatmap
        By the names of the reasons, such as `RCC 0`.

    Raises
    ------
    SAFEError
        As of `asking`.
    """
    with working(out, "looking"):
        query = asking(out, names, model=model, options=options)
        heatmaps = _heatmaps(query, [reason for reason in query.reasons if reason.images])
        for heatmap in heatmaps.values():
            keep_heatmap(out, query.review.run, heatmap)
        saved = heatmaps_of(out, query.review.run, [one.subject for one in query.listed])
        _write_heatmaps(out, {one.file: saved[one.subject] for one in query.listed if one.subject in saved})
        return heatmaps


def _heatmaps(query: Asking, reasons: Collection[Reason]) -> dict[str, Heatmap]:
    """The heatmaps of reasons, by name."""
    drawn = {reason.name: _drawn_for(query, reason) for reason in reasons}
    rows = sorted({row for kinds in drawn.values() for row in itertools.chain(*kinds)})
    read, maps, heatmaps = dict[int, np.ndarray](), dict[int, np.ndarray](), {}
    for done, row in enumerate(rows):
        part = "Looking where the model looks", done, len(rows)
        if (pixels := query.pixels(row)) is not None:
            with as_part(lambda *_, part=part: part):
                read[row], maps[row] = pixels, map_of(query, row, pixels)
    for reason in reasons:
        kinds = [[row for row in some if row in maps] for some in drawn[reason.name]]
        size = next((_size(read[row]) for row in itertools.chain(*kinds)), (SIDE, SIDE))
        greys = [[Image.fromarray(read[row]).convert("L").resize(size) for row in some] for some in kinds]
        grounds = [np.mean([np.asarray(one) for one in some] or [np.zeros(size[::-1])], axis=0) for some in greys]
        means = [np.mean([maps[row] for row in some] or [np.zeros((COVERED, COVERED))], axis=0) for some in kinds]
        facts = {"subject": reason.subject, "n_failing": len(kinds[0]), "n_right": len(kinds[1])}
        facts |= {"model": printable(query.dnn.path.name), "regression": query.regression}
        heatmaps[reason.name] = Heatmap(side_by_side(*means, *grounds), facts)
    return heatmaps


def _size(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height of its picture."""
    height, width, _ = pixels.shape
    return max(1, round(SIDE * width / max(height, width))), max(1, round(SIDE * height / max(height, width)))


def map_of(query: Asking, row: int, pixels: np.ndarray) -> np.ndarray:
    """How much each part of an image speaks for the truth, shape (COVERED, COVERED)."""
    images = [pixels]
    down, across = (np.linspace(0, side, COVERED + 1).round().astype(int) for side in pixels.shape[:2])
    for i, j in np.ndindex(COVERED, COVERED):
        images.append(pixels.copy())
        images[-1][down[i] : down[i + 1], across[j] : across[j + 1]] = pixels.mean(axis=(0, 1))
    (true,), outputs = query.truth([row]), query.answers(images).outputs
    if query.regression:
        scores = -((outputs - true) ** 2).sum(axis=1)
    else:
        scores = np.log(outputs[:, true] + LEAST) - np.log(np.delete(outputs, true, axis=1).sum(axis=1) + LEAST)
    return (scores[0] - scores[1:]).reshape(COVERED, COVERED)


def _drawn_for(query: Asking, reason: Reason) -> tuple[list[int], list[int]]:
    """Some failing images of a reason, as rows of the test set, and as many right ones of each of their classes."""
    failing, right = _drawn(query.failing(reason), MOST), np.flatnonzero(query.tested.right)
    if query.regression:
        return failing, _drawn(right, len(failing))
    label = query.tested.answers.label
    counts = sorted(Counter(label[failing].tolist()).items())
    return failing, [row for name, n in counts for row in _drawn(right[label[right] == name], n)]


def _drawn(rows: np.ndarray, n: int) -> list[int]:
    return spread_over(rows, rows, n).tolist()


def _write_heatmaps(out: Path, heatmaps: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: the pictures of these reasons, and what they are of; remove outdated ones."""
    facts = {name: dict(one.facts) for name, one in heatmaps.items()}
    files: dict[str, Any] = {HEATMAPS_FILE: json.dumps(facts, indent=1, ensure_ascii=False) + "\n"}
    for name, one in heatmaps.items():
        files[f"{name}.png"] = functools.partial(Image.Image.save, one.picture, format="PNG", compress_level=1)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    save_files(out, {f"{HEATMAPS_FOLDER}/{name}": file for name, file in files.items()}, remove=own_files(out, before))
