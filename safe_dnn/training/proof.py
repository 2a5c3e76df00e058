"""Images that chose nothing, and what a retraining gains on them: what may be claimed.

RCCs, the unsafe set and the second pass are chosen by test images, so that these make the gain look larger than it is
on others. In: images that took no part in that, held out or a test set of their own, with what both models say of
them. Out: counts, and the headline in words. Last, whether such images are learned ones: those with the same content
are refused, and a sentence names those that were saved again.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.held_out import hold_out_record
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.attributes import pictures, same_images
from safe_dnn.rccs.clusters import run_record
from safe_dnn.reasons.known_groups import group_names
from safe_dnn.support.contents import in_common
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count, printable, some
from safe_dnn.training.before_after import Answered, ByGroup, Share, compare_in
from safe_dnn.training.certainty import Certainty, Counts, certainty, count_pairs, in_words


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
    answers : tuple of Answered
        As of `training.before_after.BeforeAfter`; for people, and not read back.
    per_condition : tuple of Share
        As there.
    """

    root: Path
    held_out: bool
    counts: Counts
    by_group: ByGroup | None
    earlier: int = 0
    answers: tuple[Answered, ...] = ()
    per_condition: tuple[Share, ...] = ()

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
        accuracy = f"accuracy {self.accuracy_before:.2%} → {self.accuracy_after:.2%}"
        text = f"{in_words(self.sure)} · {accuracy} on {self.images_text}"
        if not self.earlier:
            return text
        retrainings = count(self.earlier, "earlier retraining")
        return f"{text}; they were looked at after {retrainings} as well: choose no model by them"


def final_test(
    folder: Path, before: AnsweredImages, after: AnsweredImages, *, held_out: bool, within: Path | None = None
) -> FinalTest:
    """Compare both models on images that chose nothing; entry i of both belongs to the same image.

    Parameters
    ----------
    folder, within
        As for `reasons.known_groups.groups_of_test`.
    """
    compared, _ = compare_in(folder, None, before, after, within=within)
    counts = count_pairs(before.right, after.right)
    return FinalTest(
        before.root, held_out, counts, compared.by_group, answers=compared.answers,
        per_condition=compared.per_condition,
    )  # fmt: skip


def held_out_apart(folder: Path, image_root: Path) -> tuple[str, ...]:
    """A sentence if images were held out one by one, although it is known which are of one group; otherwise none."""
    apart = {*group_names(run_record(folder))} - {*group_names(hold_out_record(image_root))}
    name = some(sorted(apart))
    told = f"Held out one by one, not by {name}: images that prove the gain may be of a {name} whose others chose."
    return (told,) if apart else ()


def used_elsewhere(files: Sequence[Path], others: Mapping[str, Sequence[Path]]) -> dict[str, np.ndarray]:
    """Which images have the content of others, by what these are, such as `training`; only those that have any."""
    found = {what: in_common(files, them) for what, them in others.items()}
    return {what: same for what, same in found.items() if same.any()}


def refuse_used(of: str, files: Sequence[Path], others: Mapping[str, Sequence[Path]]) -> None:
    """Raise a SAFEError if images that are to prove something have the content of others."""
    if used := used_elsewhere(files, others):
        counts = ", ".join(
            f"{count(int(same.sum()), f'{of} image')} found among the {what} images" for what, same in used.items()
        )
        rows = np.flatnonzero(np.any([*used.values()], axis=0)).tolist()
        raise SAFEError(
            f"Expected {of} images that nothing was chosen or learned by, since they would prove nothing. Received "
            f"{counts}, by their content: {printable(some([str(files[row]) for row in rows], limit=2))}. Remove them "
            "from one of the two."
        )


def refuse_saved_again(
    of: str, files: Sequence[Path], by: str, others: Sequence[Path], *, progress: Progress = no_progress
) -> None:
    """Raise a SAFEError if images that are to prove something are others that were saved again."""
    first, second = (
        pictures(each, progress=progress, what=f"Reading {name} images") for name, each in ((of, files), (by, others))
    )
    if pairs := same_images(first, second):
        n, (row, place) = len({row for row, _ in pairs}), pairs[0]
        raise SAFEError(
            f"Expected {of} images that nothing was chosen by, since they would prove nothing. Received "
            f"{count(n, f'{of} image')} that {'is' if n == 1 else 'are'} the same as {by} images, saved again, such as "
            f"{printable(f'{files[row]} of {others[place]}')}. Remove them from one of the two."
        )


def saved_again(
    learned: Mapping[str, Sequence[Path]], proving: Mapping[str, Sequence[Path]], *, progress: Progress = no_progress
) -> tuple[str, ...]:
    """A sentence for each two sets that have images in common which were saved again (see `features.attributes`).

    Raises
    ------
    SAFEError
        A proving set has images with the content of learned ones.
    """
    for of, tests in proving.items():
        refuse_used(of, tests, learned)
    features = {
        name: pictures(files, progress=progress, what=f"Reading {name} images")
        for name, files in {**learned, **proving}.items()
    }
    sentences = []
    for of, by in product(proving, learned):
        if pairs := same_images(features[by], features[of]):
            n, (row, place) = len({place for _, place in pairs}), pairs[0]
            what = f"{count(n, f'{of} image')} of {len(proving[of]):,} saved again from {by} images"
            example = printable(f"{proving[of][place]} from {learned[by][row]}")
            sentences.append(f"Found {what}, such as {example}: they prove nothing.")
    return tuple(sentences)
