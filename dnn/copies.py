"""Test images that are the same byte for byte: each counts once, or rates and intervals would be of more images.

Images and what is known of them in; which of them count, and sentences on the others, out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from dnn.predictions import LabelledImages
from support.contents import copies_in
from support.text import count, printable


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
    others: list[tuple[int, int]] = []
    for row, path in enumerate(paths):
        first = first_of.setdefault(copies.get(path, path), row)
        others += [(row, first)] if first != row else []
    contrary = [pair for pair in others if known[pair[0]] != known[pair[1]]]
    counts = np.ones(len(paths), bool)
    counts[[row for row, _ in others] + [first for _, first in contrary]] = False
    sentences = []
    if others:
        row, first = others[0]
        sentences.append(
            f"Left out, since they are copies of others byte for byte: {len(others):,} of "
            f"{count(len(paths), 'image')}, the first {printable(paths[row])} of {printable(paths[first])}."
        )
    if contrary:
        both = " and ".join(f"{printable(paths[row])} ({printable(known[row])})" for row in reversed(contrary[0]))
        number = len({first for _, first in contrary})
        sentences.append(
            f"Left out with their copies, since one of them must be wrong: {count(number, 'image')} of which the same "
            f"bytes have different labels or answers, the first {both}."
        )
    return counts, tuple(sentences)


def without_copies(images: LabelledImages) -> tuple[LabelledImages, tuple[str, ...]]:
    """The images that count (see `counted_once`), and sentences on the others."""
    known = [images.text_of(label) for label in images.labels]
    counts, sentences = counted_once(images.paths, copies_in(images.root, images.paths), known)
    return images.taken(counts), sentences
