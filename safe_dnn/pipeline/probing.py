"""What would change the DNN's answer: the reasons of an analysis are probed (see `reasons/probes.py`)."""

import contextlib
import itertools
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, sized_for
from safe_dnn.dnn.model_process import predict_apart
from safe_dnn.dnn.predictions import LabelledImages, judge
from safe_dnn.features.extractor import INPUT_SIZE
from safe_dnn.pipeline.asking import Asking, asking
from safe_dnn.pipeline.descriptions import show_reasons
from safe_dnn.pipeline.run_record import groups_of, table_of
from safe_dnn.rccs.parameters import numbers_of, read_texts
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.reasons.known_groups import named_groups
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import (
    PROBES_FILE,
    ROTATION,
    Images,
    Probe,
    images_of,
    load_probes,
    probe,
    probes_text,
    spread_over,
)
from safe_dnn.store.output_folder import working
from safe_dnn.store.runs import CLUSTERS, PROBES, add_run, present_runs
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import UNREADABLE, decode, read_bytes
from safe_dnn.support.progress import Progress, no_progress

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
                f"{np.mean(~same):.0%} of {len(read)} images otherwise. Name the model, or how its pixels are scaled."
            ).about("rescale")
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
