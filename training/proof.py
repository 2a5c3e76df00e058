"""Images that chose nothing, and what a retraining gains on them: what may be claimed.

RCCs, the unsafe set and the second pass are chosen by test images, so that these make the gain look larger than it is
on others. In: images that took no part in that, held out or a test set of their own, with what both models say of
them. Out: counts, and the headline in words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.predictions import Judgement, LabelledImages
from support.contents import in_common
from support.errors import SAFEError
from support.text import count, printable, some
from training.certainty import Certainty, Counts, certainty, count_pairs, in_words
from training.comparison import ByGroup, compare_in


class FinalTest(NamedTuple):
    """What both models get right of images that chose nothing.

    Attributes
    ----------
    root : Path
    held_out : bool
        Whether they were held out of the test set; otherwise they are a test set of their own.
    counts : Counts
    by_group : ByGroup or None
        None if images are, as far as is known, independent.
    earlier : int
        After how many earlier retrainings of the analysis the same images have been looked at.
    """

    root: Path
    held_out: bool
    counts: Counts
    by_group: ByGroup | None
    earlier: int = 0

    @property
    def accuracy_before(self) -> float:
        return self.counts.right_before / self.counts.images

    @property
    def accuracy_after(self) -> float:
        return self.accuracy_before + self.sure.gain

    @property
    def sure(self) -> Certainty:
        """How sure it is that the retrained model is better or worse."""
        return certainty(self.counts, self.by_group)

    @property
    def images_text(self) -> str:
        """For example `405 images that were held out and chose nothing`."""
        what = "were held out" if self.held_out else "are a test set of their own"
        return f"{count(self.counts.images, 'image')} that {what} and chose nothing"

    @property
    def text(self) -> str:
        """The headline: how much better the model is, how sure that is, and on which images."""
        accuracy = f"accuracy {self.accuracy_before:.4f} → {self.accuracy_after:.4f}"
        text = f"{in_words(self.sure)} · {accuracy} on {self.images_text}"
        if not self.earlier:
            return text
        retrainings = count(self.earlier, "earlier retraining")
        return f"{text}; they were looked at after {retrainings} as well: choose no model by them"


def final_test(
    folder: Path, images: LabelledImages, before: Judgement, after: Judgement, *, held_out: bool,
    within: Path | None = None,
) -> FinalTest:  # fmt: skip
    """Compare both models on images that chose nothing; entry i of both judgements belongs to the same image.

    Parameters
    ----------
    folder, within
        As for `reasons.groups.groups_of_test`.
    """
    compared, _ = compare_in(folder, None, images, before, after, within=within)
    return FinalTest(images.root, held_out, count_pairs(before.right, after.right), compared.by_group)


def used_elsewhere(images: LabelledImages, others: Mapping[str, Sequence[Path]]) -> dict[str, np.ndarray]:
    """Which images have the content of others, by what these are, such as `training`; only those that have any."""
    found = {what: in_common(images.files, files) for what, files in others.items()}
    return {what: same for what, same in found.items() if same.any()}


def refuse_used(images: LabelledImages, used: Mapping[str, np.ndarray]) -> None:
    """Raise a SAFEError if images of a final test set are used elsewhere."""
    if used:
        counts = ", ".join(f"{same.sum():,} that are {what} images as well" for what, same in used.items())
        rows = np.flatnonzero(np.any([*used.values()], axis=0)).tolist()
        examples = printable(some([images.paths[row] for row in rows], limit=3))
        raise SAFEError(
            f"Expected a final test set of images that nothing was chosen or learned by. Received {counts}, by their "
            f"content, of {count(len(images.paths), 'image')} in {images.root}: {examples}. Remove them there."
        )
