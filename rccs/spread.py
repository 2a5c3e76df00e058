"""Unsafe sets that spread over groups, such as drives or persons: no twenty frames of one drive.

In: an RCC's candidates, nearest first, and the group of each, from a column of the improvement images' parameters. Used
by `selection.py`. Out: the candidates in an order in which the nearest of every group come before the second ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rccs.parameters import PARAMETERS_FILE, find_parameters, read_texts
from rccs.unsafe_set import UnsafeImage
from support.errors import SAFEError
from support.images import ImageListing
from support.text import count, printable, some

AMONG = 4  # nearest candidates that are put in another order, for each place: farther ones may be no failures


def groups_of(name: str, listing: ImageListing, *, within: Path | None = None) -> dict[str, str]:
    """The group of each improvement image by its path; empty if it is not recorded.

    Parameters
    ----------
    name : str
        A column of `parameters.csv` in the improvement folder or beside it.
    within : path, optional
        The table is only read inside this folder.

    Raises
    ------
    SAFEError
        There is no such table or column, or it is empty.
    """
    source = find_parameters(listing.root, within=within)
    if source is None:
        raise SAFEError(
            f"Expected {PARAMETERS_FILE} with the column {name} in the improvement folder or beside it, to spread the "
            f"unsafe set over. Received none for {listing.root}."
        )
    texts = read_texts(source, listing.root, listing.paths)
    if not any(texts.get(name, ())):
        known = some(sorted(column for column, values in texts.items() if any(values))) or "none"
        raise SAFEError(
            f"Expected the column {printable(name)} in {source}, with values of improvement images. Received the "
            f"columns: {known}."
        )
    return dict(zip(listing.paths, texts[name], strict=True))


def spread(images: Sequence[UnsafeImage], quota: int, groups: Mapping[str, str]) -> list[UnsafeImage]:
    """Put an RCC's candidates in an order that takes groups in turn.

    Of the nearest `AMONG` · quota, the nearest of each group come first, then the second ones, and so on, each by
    distance. If there is one group, or each image is one, they keep their order.

    Parameters
    ----------
    images : sequence of UnsafeImage
        Nearest first.
    quota : int
        How many will be selected.
    groups : mapping of str to str
        By path. Images of unknown groups are one group.
    """
    near, seen, turns = images[: AMONG * quota], dict[str, int](), []
    for image in near:
        group = groups[image.image]
        turns.append(seen.get(group, 0))
        seen[group] = turns[-1] + 1
    order = sorted(range(len(near)), key=lambda i: (turns[i], i))
    return [*(near[i] for i in order), *images[len(near) :]]


def spread_text(name: str, images: Sequence[UnsafeImage], groups: Mapping[str, str]) -> str:
    """How many groups there are in the set, or why they make no difference.

    Parameters
    ----------
    groups : mapping of str to str
        By path, of all improvement images.
    """
    known = set(groups.values()) - {""}
    if len(groups) > 1 and set(groups.values()) == known and len(known) in (1, len(groups)):
        why = "all improvement images have the same" if len(known) == 1 else "each improvement image has its own"
        return f"not spread over {printable(name)}, of which {why}; the nearest images were taken"
    chosen = {groups[image.image] for image in images} - {""}
    unknown = sum(not groups[image.image] for image in images)
    missing = f"; of {count(unknown, 'image')} it is not recorded" if unknown else ""
    return f"spread over {printable(name)}: {len(chosen):,} of {len(known):,}{missing}"
