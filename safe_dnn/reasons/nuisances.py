"""Beyond the paper: nuisance variables, whose effect is subtracted from the features.

If RCCs are one person each and the DNN fails equally often on each person, the person is no reason for failing, but a
*nuisance*: it hides what the failures have in common. The mean of each of its values over tested images, right and
wrong, is subtracted from the features (`rccs/dbscan/projection.py`).

`what_is_set_aside` reads what is needed before the long work; its `fit` gives what the clustering takes.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import ImageFeatures
from safe_dnn.rccs.dbscan.projection import Nuisance, check_column, combined, fit_set_aside
from safe_dnn.rccs.parameters import find_parameters, read_texts
from safe_dnn.reasons.comparison import compared_images, features_of_tested
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.images import ImageListing
from safe_dnn.support.progress import report_progress
from safe_dnn.support.text import count, printable, some

Fit: TypeAlias = Callable[..., tuple[Nuisance, dict[str, Any]]]  # given the failing images
ALONE = (
    "The effect of the nuisance variable is estimated from the failing images alone, since correct images are unknown. "
    "A reason for failing that occurs together with it is subtracted as well."
)


def _fit(
    names: tuple[str, ...], column: np.ndarray, paths: Sequence[str], tested: AnsweredImages | None, rows: np.ndarray,
    source: StrPath | None, images: ImageFeatures,
) -> tuple[Nuisance, dict[str, Any]]:  # fmt: skip
    """Estimate what is subtracted from features, those of the images that the DNN gets right included.

    Parameters
    ----------
    names : tuple of str
        Of the parameters.
    column : ndarray of shape (n_failing + n_right,), str
        As of `rccs.dbscan.projection.combined`; of the failing images, then of `rows`.
    paths : sequence of str
        Those of the failing images.
    tested : AnsweredImages or None
        None if it is not known which images are right.
    rows : ndarray of shape (n_right,), int
        Right images, as rows of the test set.
    source : path or None
        The table of the tested images' parameters.
    images : ImageFeatures
        The failing images.

    Returns
    -------
    Nuisance, dict
        Of the failing images; and what is recorded of it in `run.json`.

    Raises
    ------
    SAFEError
        The features of the right images cannot be extracted.
    """
    place = {path: row for row, path in enumerate(paths)}
    used, features, notes = np.array([place[path] for path in images.paths], np.int64), images.features, [ALONE]
    of_failing = column[used]
    if tested is not None:
        of_right, read = features_of_tested(tested, rows, images.extractor)
        features, notes = np.concatenate([features, of_right]), []
        used = np.concatenate([used, len(place) + np.flatnonzero(read)])
    report_progress("Setting aside", 0, 0)
    aside = fit_set_aside(features, images.extractor.name, names, column[used])
    if unknown := aside.unknown(of_failing):
        known_of = f"unknown of {unknown:,} of {count(len(images.paths), 'image')}"
        notes.append(f"{' and '.join(names)}: {known_of}, and not subtracted in these.")
    facts = {
        "names": names, "source": os.fspath(source) if source else None,
        "fitted_to": len(features), "right": len(features) - len(images.paths), "notes": notes,
    }  # fmt: skip
    return Nuisance(aside, of_failing), facts


def what_is_set_aside(
    names: Sequence[str], failing: ImageListing, tested: AnsweredImages | None, *, parameters: StrPath | None = None,
) -> Fit | None:  # fmt: skip
    """What does not matter, by the names of recorded parameters, if there are any: what images have of them.

    Parameters
    ----------
    tested : AnsweredImages or None
        The whole test set, if the DNN's answers are known.
    parameters : path, optional
        As for `rccs.parameters.read_parameters`; by default those in or beside the image folders.

    Raises
    ------
    SAFEError
        A name is unknown, its values say nothing about the images (see
        `rccs.dbscan.projection.check_column`), or a table cannot be read.
    """
    if not names:
        return None
    listing, rows = failing, np.zeros(0, int)
    at = np.arange(len(failing.paths))
    if tested is not None and (tested.right.all() or not tested.right.any()):
        tested = None
    if tested is not None:
        compared = compared_images(tested, failing.root, failing.paths)
        listing, rows = ImageListing(tested.root, tested.paths, ()), compared.rows[len(compared.failing) :]
        at = np.concatenate([tested.rows_of(failing.root, failing.paths), rows])
    source = parameters or find_parameters(listing.root) or find_parameters(failing.root)
    texts = read_texts(source, listing.root, listing.paths) if source else {}
    known = sorted(name for name, recorded in texts.items() if any(recorded))
    if missing := [name for name in names if name not in known]:
        raise SAFEError(
            f"Expected a recorded parameter to set aside. Received: {printable(missing[0])}. "
            f"Known are {printable(some(known, limit=30)) or 'none'}."
        )
    names = tuple(dict.fromkeys(names))
    column = np.append(combined([texts[name] for name in names]), "")[at]  # of row −1 it is unknown
    check_column(names, column)
    return functools.partial(_fit, names, column, failing.paths, tested, rows, source)
