"""Requirements on how often the network may be wrong, and whether a test set shows that they hold.

A file of requirements has a line for each, in YAML: `light < 0.4: at most 5 % wrong at 95 %`. Before the colon stand
conditions on what is known of the images, joined by *and*, or *all images*; after it, the rate that may not be exceeded
and how sure that has to be (95 % by default). A requirement *holds* if the upper limit of the rate is not above it
(Clopper & Pearson, one-sided: with n images, none of them wrong, 1 − (1 − C)^(1/n) at confidence C), is *broken* if
the lower limit is above it, and is *open* otherwise. Images of one group count as fewer (see `rccs.spots.figures`); if
at most one group has wrong ones, as one for each group, since then nothing says how alike they are.
"""

import bisect
import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.spots.conditions import Conditions, Literal, hold
from safe_dnn.rccs.spots.figures import Figures, Groups, grouping, share_for_limit
from safe_dnn.rccs.spots.weak_spots import figures_given
from safe_dnn.support.errors import SAFEError, StrPath, path_of, quoted
from safe_dnn.support.files import regular
from safe_dnn.support.intervals import upper_limit
from safe_dnn.support.tables import number_in
from safe_dnn.support.text import count, some

HOLDS, BROKEN, OPEN = "holds", "broken", "open"
ALL_IMAGES = "all images"
CONFIDENCE = 0.95
LEAST_SURE = 0.5
MOST_BYTES = 1_000_000
MOST_NEEDED = 10_000_000
_FORM = "light < 0.4: at most 5 % wrong at 95 %"
_CONDITION = re.compile(r"(?P<column>.+?)\s*(?P<sign><=|>=|<|>|!=|=| from )\s*(?P<value>.+)")
_OUTSIDE = re.compile(r"(?P<column>.+?)\s*<\s*(?P<low>[^<>=]+?)\s+or\s*>=\s*(?P<high>[^<>=]+)")
_AND = re.compile(r"\s+and\s+(?=(?:(?!\sand\s).)*(?:[<>=]|\sfrom\s))")  # not that of “label = night and fog”
_LIMIT = re.compile(r"at most (?P<most>[\d.]+) ?%(?: wrong)?(?: at (?P<sure>[\d.]+) ?%)?")


class Requirement(NamedTuple):
    """The network may be wrong on at most a share of the images for which all conditions hold.

    Attributes
    ----------
    text : str
        As it stands in the file.
    conditions : tuple of Literal
        Empty: all images.
    most, confidence : float
        Shares.
    """

    text: str
    conditions: Conditions
    most: float
    confidence: float

    @property
    def where(self) -> str:
        """The conditions, for example `light < 0.4 and label = snow`."""
        return " and ".join(map(str, self.conditions)) or ALL_IMAGES

    def holds(self, columns: Mapping[str, np.ndarray], n_images: int) -> np.ndarray:
        """Which images it is about: ndarray of shape (n_images,), bool."""
        return hold(self.conditions, columns, n_images)


class Finding(NamedTuple):
    """The result of a requirement on a test set.

    Attributes
    ----------
    verdict : HOLDS, BROKEN or OPEN
    figures : Figures
    low, high : float
        Between these, the rate lies above and below with the requirement's confidence, each on its own.
    needed : int or None
        How many such images or, where groups are known, groups of as many such images each would show that it holds, if
        as few of them were wrong; None if none would. Where figures are estimated from answers about a word: further
        answers that would decide either way, 0 if these do.
    """

    requirement: Requirement
    verdict: str
    figures: Figures
    low: float = 0.0
    high: float = 1.0
    needed: int | None = None

    @property
    def text(self) -> str:
        """For example `light < 0.4: at most 5 % wrong at 95 %: holds. 3 of 212 images are wrong (1.4%), …`."""
        required, figures = self.requirement, self.figures
        named = f"{required.text}: {self.verdict}."
        if not figures.tested:
            return f"{named} There are no such images."
        about, by = ("About ", f", by {count(figures.answers, 'answer')}") if figures.answers else ("", "")
        limit = f"at least {self.low:.2%}" if self.verdict == BROKEN else f"at most {self.high:.2%}"
        summary = (
            f"{named} {about}{figures.wrong:,} of {figures.images()} are wrong ({figures.rate:.2%}){by}"
            f"{figures.compared}; with "
            f"{_percent(required.confidence)} confidence, {limit} of new images are."
        )
        if self.verdict == OPEN and figures.answers and self.needed != 0:
            more = f"About {count(self.needed, 'more answer')}" if self.needed else ""
            return f"{summary} {more or 'No number of answers about these images'} would decide it."
        if self.verdict == OPEN and self.needed:
            sample = f"{self.needed:,} such images with"
            if figures.groups:
                sample = f"{count(self.needed, figures.group)} with as many such images each and"
            summary += f" About {sample} as few wrong would show it."
        return summary


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"


def read_requirements(path: StrPath) -> tuple[Requirement, ...]:
    """The requirements in a YAML file, in order.

    Raises
    ------
    SAFEError
        It cannot be read, has none, has one twice, or a line that is no requirement.
    """
    file = path_of(path, "a file of requirements (YAML)")
    tree = _tree_of(file)
    pairs = tree.value if isinstance(tree, yaml.MappingNode) else []
    if not pairs or not all(isinstance(node, yaml.ScalarNode) for pair in pairs for node in pair):
        raise SAFEError(f"Expected a line for each requirement, such as “{_FORM}”. Received: {file}, with none.")
    found = [_requirement(key.value, value.value, f"{file}, line {key.start_mark.line + 1}") for key, value in pairs]
    twice = [one.text for number, one in enumerate(found) if one.conditions in [o.conditions for o in found[:number]]]
    if twice:
        raise SAFEError(f"Expected each requirement once in {file}. Received twice: {some(twice, limit=3)}.")
    return tuple(found)


def _tree_of(file: Path) -> Any:
    try:
        if (size := file.stat().st_size) > MOST_BYTES:
            raise SAFEError(f"Expected requirements of at most {MOST_BYTES:,} bytes. Received: {file}, {size:,} bytes.")
        # Only the tree: the keys of a mapping are not lost where two are the same, and no object is made.
        return yaml.compose(regular(file).read_text(encoding="utf-8-sig"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise SAFEError(f"Expected requirements as a YAML file. Received: {file} ({problem}).") from error


def _requirement(where: str, what: str, place: str) -> Requirement:
    limit = _LIMIT.fullmatch(" ".join(what.split()))
    if limit is None:
        raise SAFEError(f"Expected a requirement such as “{_FORM}”. Received: {quoted(f'{where}: {what}')} ({place}).")
    most, sure = (_share(text, place) for text in (limit["most"], limit["sure"] or f"{100 * CONFIDENCE:g}"))
    if sure < LEAST_SURE:
        raise SAFEError(
            f"Expected a confidence of at least {_percent(LEAST_SURE)}: below, what is rather not so would pass. "
            f"Received: {_percent(sure)} ({place})."
        )
    text = f"{where}: at most {_percent(most)} wrong at {_percent(sure)}"
    if " ".join(where.lower().split()) == ALL_IMAGES:
        return Requirement(text, (), most, sure)
    conditions = tuple(_condition(part.strip(), place).canonical for part in _AND.split(where))
    return Requirement(text, tuple(sorted(conditions, key=str)), most, sure)


def _share(text: str, place: str) -> float:
    number = number_in(text) / 100
    if not 0 < number < 1:
        raise SAFEError(f"Expected a share above 0 and below 100 %. Received: {text} % ({place}).")
    return number


def _condition(text: str, place: str) -> Literal:
    if tails := _OUTSIDE.fullmatch(text):
        with contextlib.suppress(ValueError):
            return Literal(tails["column"], "outside", (float(tails["low"]), float(tails["high"])))
    found = _CONDITION.fullmatch(text)
    if found is None or found["sign"] in ("<=", ">"):
        raise SAFEError(
            f"Expected {ALL_IMAGES}, or conditions such as “light < 0.4”, “light >= 0.4”, “yaw_deg from 350 to 20”, "
            f"“age < 3.5 or >= 65”, “label = snow” or “label != snow”, joined by “and”. Received: {quoted(text)} "
            f"({place})."
        )
    column, sign, value = found["column"], found["sign"].strip(), found["value"].strip()
    if sign in ("=", "!="):
        return Literal(column, sign, value)
    try:
        if sign == "from":
            low, high = (float(end) for end in value.split(" to "))
            return Literal(column, sign, (low, high))
        return Literal(column, sign, float(value))
    except ValueError as error:
        raise SAFEError(f"Expected a number after “{sign}”. Received: {quoted(text)} ({place}).") from error


def check_known(requirements: Sequence[Requirement], columns: Mapping[str, np.ndarray]) -> None:
    """Make sure that what requirements are about is known of the images.

    Raises
    ------
    SAFEError
        A column is unknown, or has texts where numbers are compared, or the other way round.
    """
    for one in requirements:
        for condition in one.conditions:
            column = columns.get(condition.column)
            if column is None:
                known = some(sorted(columns), limit=12)
                raise SAFEError(f"Expected a column that is known of the images: {known}. Received: {one.text}")
            if not condition.is_about(column):
                kind = "a number" if isinstance(condition.value, str) else "no number"
                raise SAFEError(f"{condition.column} is {kind} of these images. Received: {one.text}")


def findings(
    requirements: Sequence[Requirement],
    columns: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    groups: Groups | None = None,
    *,
    classes: np.ndarray | None = None,
    reasons: Sequence[Conditions] = (),
) -> list[Finding]:
    """The result of each requirement on a test set.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        What is known of the images.
    wrong : ndarray of shape (n_images,), bool
    groups : Groups, optional
        Of images that are not independent.
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    reasons : sequence of conjunctions
        The reasons of the analysis that are known of the images: what is expected without a condition is given them.

    Raises
    ------
    SAFEError
        As for `check_known`.
    """
    check_known(requirements, columns)
    of, correlation = grouping(groups, wrong)
    every = figures_given(
        [required.conditions for required in requirements], reasons, columns, wrong,
        label=LABEL if classes is not None else "", classes=classes, groups=groups,
    )  # fmt: skip
    found = []
    for required, figures in zip(requirements, every, strict=True):
        holds = required.holds(columns, len(wrong))
        low, high = figures.limits(required.confidence)
        verdict = HOLDS if high <= required.most else BROKEN if low > required.most else OPEN
        needed = None
        if verdict == OPEN and figures.tested:
            n = figures.groups or figures.tested
            needed = _needed(required, of[holds], wrong[holds], correlation, n)
        found.append(Finding(required, verdict, figures, low, high, needed))
    return found


def _needed(required: Requirement, of: np.ndarray, wrong: np.ndarray, correlation: float, n: int) -> int | None:
    """How many images, or groups of them, would show that a requirement holds, to two digits.

    Parameters
    ----------
    of, wrong, correlation
        As for `share_for_limit`.
    n : int
        As many were tested.
    """

    def shows(needed: int) -> bool:
        share = share_for_limit(of, wrong, correlation, times=needed / n) * needed / n
        return upper_limit(share * wrong.sum(), share * len(wrong), required.confidence) <= required.most

    if wrong.mean() >= required.most or not shows(MOST_NEEDED):
        return None
    needed = bisect.bisect_left(range(MOST_NEEDED), True, lo=n, key=shows)
    digits = max(0, len(str(needed)) - 2)
    return math.ceil(needed / 10**digits) * 10**digits
