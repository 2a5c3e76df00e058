"""What the model is asked about the reasons of an analysis: what would change its answer, and where it looks.

Reasons are probed as `reasons/probes.py` says. A heatmap of a reason is the mean of its failing images, beside that of
right ones of the same classes, by the network. Few images of each reason are enough, and only what is asked for is
computed; what is kept is computed again when the model or an image has changed.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dnn.heatmaps import GRID
from dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, sized_for
from dnn.model_process import heatmaps_apart, predict_apart
from dnn.predictions import LabelledImages, judge
from dnn.tested import AnsweredImages
from features.extractor import INPUT_SIZE
from pipeline.asking import Asking, asking
from pipeline.descriptions import show_reasons
from pipeline.reporting.evidence.basis import sha256_if_there
from pipeline.reporting.heatmaps import NUMBERS, SIDE, Heatmap, heatmaps_of, keep_heatmap, panels
from pipeline.run_record import groups_of, table_of
from rccs.parameters import numbers_of, read_texts
from rccs.profiles import load_profiles
from reasons.groups import named_groups
from reasons.listed import Reason
from reasons.probes import PROBES_FILE, ROTATION, Images, Probe, images_of, load_probes, probe, probes_text, spread_over
from store.output_folder import own_files, save_files, working
from store.runs import CLUSTERS, PROBES, add_run, present_runs
from support.entries import StrPath
from support.errors import SAFEError
from support.files import prepare_folder
from support.images import UNREADABLE, decode, read_bytes, thumbnail
from support.progress import Progress, no_progress
from support.text import printable

LEAST_ALIKE = 10  # right images of the classes of the failing ones, to be changed rather than those of all classes
LEAST_SAME = 0.5  # of the images, that the model must answer as its table of answers says


def probe_reasons(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None, progress: Progress = no_progress,
) -> list[Probe]:  # fmt: skip
    """Probe reasons of the run in `out`; those of other reasons are kept beside them.

    Parameters
    ----------
    names, model, options, within
        As for `pipeline.asking.asking`; by default all weak spots, and the RCCs that fail more often.

    Raises
    ------
    SAFEError
        As of `asking`, or the model does not give these answers.
    """
    with working(out, "probing"):
        asked = asking(out, names, model=model, options=options, within=within, profiles=load_profiles(out))
        unknown = asked.regression and asked.record.get("threshold") is None
        if unknown or any(one.rate != one.rate for one in asked.listed):
            raise SAFEError(
                "Expected an analysis that compares failing images with right ones and, of a regression, knows the "
                f"threshold on its error. Received: {out}. Collect the failures with the model, and cluster them."
            )
        probing = _probing(out, asked, within, progress)
        probes = [one for reason in asked.reasons if names or reason.more for one in probing.probes(reason)]
        runs, kept = present_runs(out), list[Probe]()
        with contextlib.suppress(SAFEError):  # damaged, which is told where it is shown
            kept = [one for one in load_probes(runs.get(PROBES)) if one.subject not in {one.subject for one in probes}]
        files = {PROBES_FILE: probes_text([*kept, *probes])}
        add_run(out, PROBES, files, clusters=runs[CLUSTERS].itself, instead_of=runs.get(PROBES))
        show_reasons(out)
    return probes


class Probing(NamedTuple):
    """The DNN, what it is asked about, groups and rotation of the test set, and where to report progress."""

    dnn: Dnn
    asked: Asking
    of: np.ndarray
    rotation: np.ndarray
    progress: Progress

    def probes(self, reason: Reason) -> list[Probe]:
        """Probe a reason with some of its images: those that the DNN answers as it has answered the originals."""
        tested, failing = self.asked.tested, self.asked.failing(reason)
        alike = tested.right & np.isin(tested.answers.label, tested.answers.label[failing])
        right = np.flatnonzero(alike if alike.sum() >= LEAST_ALIKE else tested.right)
        images = self.images(right, wanted=True), self.images(failing, wanted=False)
        return probe(reason, *images, self.ask, progress=self.progress)

    def images(self, rows: np.ndarray, *, wanted: bool) -> Images:
        """Some images of the test set, of those that the DNN gets right, or wrong."""
        tested, drawn = self.asked.tested, spread_over(rows, self.of[rows]).tolist()
        read = {row: one for row in drawn if (one := _pixels(tested.root / tested.paths[row], self.dnn)) is not None}
        same = self.ask(list(read.values()), list(read)) == wanted if read else np.zeros(0, bool)
        if read and same.mean() < LEAST_SAME:
            raise SAFEError(
                f"Expected the model with the answers in {tested.source}. Received: {self.dnn.path}, which answers "
                f"{np.mean(~same):.0%} of {len(read)} images otherwise. Name the model, or how its pixels are scaled "
                "(--rescale)."
            )
        kept = np.array(list(itertools.compress(read, same)), int)
        return images_of(kept, [read[row] for row in kept.tolist()], self.of[kept], self.rotation[kept])

    def ask(self, pixels: Sequence[np.ndarray], rows: Sequence[int]) -> np.ndarray:
        """As of `reasons.probes.Ask`; what is true of the images is what the table of the DNN's answers says."""
        names, asked = tuple(f"{i}.bmp" for i in range(len(pixels))), self.asked
        with tempfile.TemporaryDirectory(prefix="safe-probe-") as folder:
            images = LabelledImages(Path(folder), names, asked.classes, np.array(asked.truth(rows)))
            for file, one in zip(images.files, pixels, strict=True):
                Image.fromarray(one).save(file)
            found = predict_apart(self.dnn, images.root, names, progress=self.progress)
        return judge(self.dnn, images, found, threshold=asked.record.get("threshold")).right


def _probing(out: Path, asked: Asking, within: Path | None, progress: Progress) -> Probing:
    tested = asked.tested
    dnn = sized_for(asked.load(progress), [tested.root / path for path in tested.paths])
    table = table_of(out, "parameters", asked.review.clusters)
    groups = named_groups(groups_of(out), tested, parameters=table, within=within, required=False)
    of, turned = groups.groups.of if groups else np.arange(len(tested.paths)), [""] * len(tested.paths)
    if table and any(ROTATION in one.stated for one in asked.reasons):
        turned = read_texts(table, tested.root, tested.paths).get(ROTATION, turned)
    # Angles that are near each other may be a whole turn apart; few images are turned by 135 degrees.
    return Probing(dnn, asked, of, (np.nan_to_num(numbers_of(turned)) + 135) % 360 - 135, progress)


def _pixels(file: Path, dnn: Dnn) -> np.ndarray | None:
    """An image, no larger than the DNN, or whoever measures it, needs; None if it is unreadable."""
    side = max(*INPUT_SIZE, dnn.height or 0, dnn.width or 0)
    try:
        image = decode(read_bytes(file), at_least=(side, side))
    except UNREADABLE:
        return None
    image.thumbnail((side, side))
    return np.asarray(image)


# --- Where the network looks ----------------------------------------------------------------------------------------


HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
MOST = 20  # failing images of a reason, and as many right ones of their classes, and of those they are taken for


class _Wanted(NamedTuple):
    """The images to look at, as rows of the test set (see `Heatmap.maps`), and what their heatmap rests on."""

    rows: tuple[list[int], list[int], list[int]]
    key: str


def look(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None, progress: Progress = no_progress,
) -> dict[str, Heatmap]:  # fmt: skip
    """Compute where the network looks, keep it, and write `heatmaps/`.

    Parameters
    ----------
    names, model, options, within
        As for `pipeline.asking.asking`.

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
        asked = asking(out, names, model=model, options=options, within=within)
        run, digest = asked.review.run, sha256_if_there(asked.model)
        wanted = {one.subject: _wanted(asked, one, digest) for one in asked.reasons if one.images}
        kept = heatmaps_of(out, run, [one.subject for one in asked.listed])
        left = {name: one for name, one in wanted.items() if name not in kept or kept[name].facts["key"] != one.key}
        for subject, heatmap in _computed(asked, left, progress).items():
            keep_heatmap(out, run, heatmap)
            kept[subject] = heatmap
        _write_heatmaps(out, {one.file: kept[one.subject] for one in asked.listed if one.subject in kept})
        return {one.name: kept[one.subject] for one in asked.reasons if one.images}


def look_at(
    out: Path, images: Sequence[str], *, within: Path | None = None, progress: Progress = no_progress
) -> dict[str, Heatmap]:
    """Compute where the network looks in single failing images, by their paths; nothing is written.

    Raises
    ------
    SAFEError
        As of `look`, or the first image is not in the test set, or unreadable.
    """
    asked = asking(out, (), within=within)
    rows = asked.tested.rows_of(asked.review.clusters.image_root, images).tolist()
    known = {image: _Wanted(([row], [], []), "") for image, row in zip(images, rows, strict=True) if row >= 0}
    found = {image: one for image, one in _computed(asked, known, progress).items() if one.facts["n_failing"]}
    if images[0] not in found:
        raise SAFEError(
            f"Expected an image of the test set that can be read. Received: {printable(images[0])}. Choose another one."
        )
    return found


def _wanted(asked: Asking, reason: Reason, model: str) -> _Wanted:
    """Which images of a reason to look at, and for each, right ones of its class and of the class it is taken for."""
    tested, failing = asked.tested, _drawn(asked.failing(reason), MOST)
    label, predicted, rows = tested.answers.label, tested.answers.predicted, np.flatnonzero(tested.right)

    def right_of(names: np.ndarray) -> list[int]:
        counts = sorted(Counter(names.tolist()).items())
        return [row for name, n in counts for row in _drawn(rows[label[rows] == name], n)]

    if asked.regression:
        right, taken = _drawn(rows, len(failing)), list[int]()
    else:
        right, taken = right_of(label[failing]), right_of(predicted[failing])
    files = [sha256_if_there(tested.root / tested.paths[row]) for row in (*failing, *right, *taken)]
    return _Wanted((failing, right, taken), hashlib.sha256("\n".join([model, *files]).encode()).hexdigest())


def _drawn(rows: np.ndarray, n: int) -> list[int]:
    return spread_over(rows, rows, n).tolist()


def _computed(asked: Asking, wanted: Mapping[str, _Wanted], progress: Progress) -> dict[str, Heatmap]:
    """The heatmaps of reasons, by subject."""
    if not wanted:
        return {}
    dnn, tested = asked.load(progress), asked.tested
    rows = sorted({row for one in wanted.values() for row in itertools.chain(*one.rows)})
    found = heatmaps_apart(dnn, tested.root, [tested.paths[row] for row in rows], asked.truth(rows), progress=progress)
    maps = {rows[index]: one for index, one in zip(found.indices.tolist(), found.maps, strict=True)}
    facts = {"model": printable(dnn.path.name), "how": found.how, "regression": asked.regression}
    return {
        subject: _mean(one.rows, maps, tested, {**facts, "subject": subject, "key": one.key})
        for subject, one in wanted.items()
    }


def _mean(
    wanted: tuple[list[int], ...], maps: Mapping[int, np.ndarray], tested: AnsweredImages, facts: dict
) -> Heatmap:
    """The heatmap of a reason, from the maps of its images, by row."""
    rows = [[row for row in some if row in maps] for some in wanted]
    pictures = [[thumbnail(tested.root / tested.paths[row], SIDE) for row in some] for some in rows]
    size = next((picture.size for some in pictures for picture in some), (SIDE, SIDE))
    greys = [[np.asarray(picture.convert("L").resize(size)) for picture in some] for some in pictures]

    def mean(arrays: list[Any], shape: Sequence[int]) -> np.ndarray:
        return np.mean(arrays or np.zeros((1, *shape)), axis=0)

    grounds = np.array([mean(some, size[::-1]) for some in greys]).astype(np.uint8)
    means = np.array([mean([maps[row] for row in some], (GRID, GRID)) for some in rows])
    return Heatmap(means, grounds, {**facts, **dict(zip(NUMBERS, map(len, rows), strict=True))})


def _write_heatmaps(out: Path, shown: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: the pictures of these reasons side by side, and what they are of; remove outdated ones."""
    facts = {name: {fact: one.facts[fact] for fact in (*NUMBERS, "model", "how")} for name, one in shown.items()}
    files: dict[str, Any] = {HEATMAPS_FILE: json.dumps(facts, indent=1, ensure_ascii=False) + "\n"}
    for name, one in shown.items():
        sheet = Image.fromarray(np.hstack([np.asarray(picture) for _, picture in panels(one)]))
        files[f"{name}.png"] = functools.partial(sheet.save, format="PNG", compress_level=1)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    save_files(out, {f"{HEATMAPS_FOLDER}/{name}": file for name, file in files.items()}, remove=own_files(out, before))
