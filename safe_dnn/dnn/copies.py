"""Test images that are the same byte for byte: each counts once, or rates and intervals would be of more images.

Images and what is known of them in; which of them count, and sentences on the others, out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from safe_dnn.dnn.predictions import LabelledImages
from safe_dnn.support.contents import copies_in
from safe_dnn.support.text import count, printable


def counted_once(
    paths: Sequence[str], copies: Mapping[str, str], known: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which images count: of several that are the same byte for byte the first; and sentences on the others.

    Where what is known of them differs, none counts: at least one label, target or answer is wrong, and nobody knows
    which.

    Parameters
    ----------
    copies : mapping of str to str
        As of `support.contents.copies_in`, also of images that are not among `paths`.
    known : sequence of str
        What is known of each image, in words.

    Returns
    -------
    counts : ndarray of shape (n_images,), bool
    sentences : tuple of str
    """
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(copies.get(path, path), row) for row, path in enumerate(paths)]
    pairs = [(first, row) for row, first in enumerate(firsts) if first != row]
    contrary = [pair for pair in pairs if known[pair[0]] != known[pair[1]]]
    counts = np.array(firsts, int) == np.arange(len(paths))
    counts[[first for first, _ in contrary]] = False
    sentences = []
    if pairs:
        first, row = (printable(paths[at]) for at in pairs[0])
        of = f"{len(pairs):,} of {count(len(paths), 'image')}, the first {row} of {first}"
        sentences.append(f"Left out, since they are copies of others byte for byte: {of}.")
    if contrary:
        both = " and ".join(printable(f"{paths[at]} ({known[at]})") for at in contrary[0])
        of = f"{count(len({first for first, _ in contrary}), 'image')}, the first {both}"
        sentences.append(f"Left out with their copies, which have other labels or answers, so that one is wrong: {of}.")
    return counts, tuple(sentences)


def without_copies(images: LabelledImages) -> tuple[LabelledImages, tuple[str, ...]]:
    """The images that count (see `counted_once`), and sentences on the others."""
    known = [images.text_of(label) for label in images.labels]
    counts, sentences = counted_once(images.paths, copies_in(images.root, images.paths), known)
    return images.taken(counts), sentences
