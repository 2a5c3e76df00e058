"""What a case study consists of: a task, its parameter space, and the root causes that its training set lacks.

The improvement set and the test set come from the same distribution; the training set lacks the images described by
each `RootCause`. A DNN trained without them fails on them: these are the root causes that SAFE should find.

Numbers are drawn uniformly from their ranges, with two exceptions. Some images are drawn in a `Situation`, for example
night or missed focus, with ranges apart from the usual ones: uniform draws over the combined range would leave too few
images outside every root cause. An image is in at most one situation, so that its failure has one reason, unless its
class is another. Subjects so close to the border between two classes that people would disagree on the label are never
drawn: a DNN fails there whatever it was trained on.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

Ranges = Mapping[str, tuple[float, float]]
Subject = Any
"""The parameters of an image, such as a `parameters.Eye`."""


class Situation(NamedTuple):
    """A rare condition with ranges of its own.

    Attributes
    ----------
    share : float
        How often it occurs.
    ranges : mapping
        Bounds that replace those of the case.
    cover : str or None
        What covers the eye or the face in this situation, such as sunglasses; None leaves it open.
    """

    share: float
    ranges: Ranges
    cover: str | None = None


@dataclasses.dataclass(frozen=True)
class RootCause:
    """A region of the parameters that the training set lacks.

    Attributes
    ----------
    parameters : tuple of str
        The columns of `parameters.csv` by which an engineer would recognise it.
    holds : callable
        Whether a subject lies in the region.
    share_in_training : float
        Share of the region's images that the training set keeps.
    """

    name: str
    description: str
    parameters: tuple[str, ...]
    holds: Callable[[Subject], bool]
    share_in_training: float = 0.0


class Kind(NamedTuple):
    """What is rendered, and the DNN that looks at it.

    Attributes
    ----------
    name : str
        In the plural.
    type : type
        The record of the parameters, a dataclass.
    derived : tuple of str
        Its properties that are recorded as well.
    draw : callable
        Draws a subject: `draw(rng, ranges, shares of the covers)`.
    render : callable
        The image of a subject: ndarray of shape (SIDE, SIDE, 3), uint8.
    """

    name: str
    type: type
    derived: tuple[str, ...]
    draw: Callable[[np.random.Generator, Ranges, Mapping[str, float]], Subject]
    render: Callable[[Subject], np.ndarray]


class Regression(NamedTuple):
    """What the DNN of a regression is to say.

    Attributes
    ----------
    targets : callable
        The true numbers of a subject, in the order of the case's `classes`.
    threshold : float
        An error above it is a failure (see `dnn.predictions.errors_of`).
    """

    targets: Callable[[Subject], np.ndarray]
    threshold: float


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, its parameter space and its known root causes.

    Attributes
    ----------
    kind : Kind
    classes : tuple of str
        Names of the class folders, sorted: the order of the DNN's outputs. Of a regression, names of the targets.
    label : callable
        The class of a subject; of a regression, an empty str.
    ranges : mapping
        Bounds of each numeric parameter, drawn uniformly.
    situations : tuple of Situation
        An image is in at most one of them.
    covers : mapping
        Share of each cover outside the situations that determine it.
    clear : callable
        Whether a person could label a subject; others are left out of all sets.
    sizes : mapping
        Number of images in the training, improvement and test set.
    regression : Regression or None
        None for a classifier.
    parts : callable or None
        Of a detector: the objects of a subject, which can have root causes.
    """

    name: str
    title: str
    kind: Kind
    classes: tuple[str, ...]
    label: Callable[[Subject], str]
    ranges: Ranges
    situations: tuple[Situation, ...]
    covers: Mapping[str, float]
    clear: Callable[[Subject], bool]
    root_causes: tuple[RootCause, ...]
    sizes: Mapping[str, int]
    epochs: int
    regression: Regression | None = None
    parts: Callable[[Subject], Iterable[Subject]] | None = None

    def draw(self, part: str, count: int, seed: int) -> Iterator[tuple[str, Subject]]:
        """Draw labels and parameters of a set: `train` (without the root causes), `improvement` or `test`."""
        rng = np.random.default_rng([seed, sorted(self.sizes).index(part)])
        while count:
            subject = self._draw_subject(rng)
            if not self.clear(subject):
                continue
            if part == "train" and any(rng.random() >= cause.share_in_training for cause in self.causes_of(subject)):
                continue
            yield self.label(subject), subject
            count -= 1

    def causes_of(self, subject: Subject) -> Iterator[RootCause]:
        """The root causes of a subject or, for a detector, of its objects, of each in turn."""
        for each in self.parts(subject) if self.parts else (subject,):
            yield from (cause for cause in self.root_causes if cause.holds(each))

    def _draw_subject(self, rng: np.random.Generator) -> Subject:
        remaining = rng.random()
        for situation in self.situations:
            remaining -= situation.share
            if remaining < 0:
                covers = {situation.cover: 1.0} if situation.cover else self.covers
                return self.kind.draw(rng, {**self.ranges, **situation.ranges}, covers)
        return self.kind.draw(rng, self.ranges, self.covers)
