"""The DNN's answers to images, and which classes it confuses.

They are known if the test set is; without it, SAFE works on a folder of failing images alone, as in the paper.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.support.text import percent, printable

CONFIDENCE, ERROR = "confidence", "error"
MISSED, FALSE_DETECTION = "missed", "false detection"
NO_CLASS = frozenset({MISSED, FALSE_DETECTION})
"""Answers that are no class, whatever the network: it does not see what is there, or sees what is not there."""
MANY = 0.2  # of an RCC's images, for a confusion to be worth a headline


class Answers(NamedTuple):
    """The DNN's answers to images; entry i belongs to image i.

    Attributes
    ----------
    label, predicted : ndarray of shape (n_images,), str
        The true class and the one that the DNN gave; for a regression, numbers separated by spaces. Empty if unknown.
    score : ndarray of shape (n_images,), float32
        NaN if unknown.
    kind : "confidence" or "error"
        What the score is: the probability of the predicted class or, for a regression, the error.
    target : str
        What the true value is called: `label`, or the name of a regression's only target.
    """

    label: np.ndarray
    predicted: np.ndarray
    score: np.ndarray
    kind: str
    target: str = "label"

    def taken(self, rows: np.ndarray | Sequence[int]) -> "Answers":
        """The answers to some of the images."""
        rows = np.asarray(rows, np.int64)
        return self._replace(label=self.label[rows], predicted=self.predicted[rows], score=self.score[rows])

    def text(self, row: int) -> str:
        """For example `speed 80 → speed 60 (93%)`; empty if nothing is known of the image."""
        label, predicted = printable(str(self.label[row])), printable(str(self.predicted[row]))
        if self.kind == ERROR:
            label, predicted = rounded(label), rounded(predicted)
        score = float(self.score[row])
        if not label and not predicted:
            return ""
        answer = f"{label or '?'} → {predicted}" if predicted else label
        if np.isnan(score):
            return answer
        return f"{answer} ({f'{percent(score)}%' if self.kind == CONFIDENCE else f'error {score:.3g}'})"

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What can be searched for and drawn on the map: target, `predicted` and the score, where they are known."""
        columns = {self.target: self.label, "predicted": self.predicted}
        if self.target != "label":
            columns = {name: np.array([float(text or "nan") for text in texts]) for name, texts in columns.items()}
        columns |= {self.kind: self.score.astype(np.float64)}
        return {name: column for name, column in columns.items() if known_in(column)}


def known_in(column: np.ndarray) -> bool:
    """Whether any value of a column is known."""
    return bool((column != "").any() if column.dtype.kind == "U" else np.isfinite(column).any())


def commonest_confusion(answers: Answers) -> str:
    """For example `62% are speed limit 80 taken for 60`; empty if no confusion is common or none is known.

    Where many classes are taken for one, or one for many, that is what images have in common: `all are taken for 60`.
    """
    if answers.kind == ERROR:
        return ""  # numbers, all different
    known = (answers.label != "") & (answers.predicted != "")
    pairs = [*zip(answers.label[known].tolist(), answers.predicted[known].tolist(), strict=True)]
    total = len(pairs)
    if total < 2:
        return ""
    times = Counter(pairs)
    order = sorted(pairs, key=lambda pair: (-times[pair], pair))
    first, share = order[0], times[order[0]] / total
    (label, n_label), (target, n_target) = (Counter(side).most_common(1)[0] for side in zip(*order, strict=True))
    if share >= MANY and share >= max(n_target, n_label) / total - MANY:
        return f"{_share(share)} {confused(*map(printable, first))}"
    if max(n_target, n_label) / total < MANY:
        return ""
    if n_target >= n_label:
        return f"{_share(n_target / total)} {target if target in NO_CLASS else f'taken for {printable(target)}'}"
    return f"{_share(n_label / total)} {printable(label)}, taken for others"


def confused(label: str, predicted: str) -> str:
    """Confused images in words: `80 taken for 60`, or `car: missed`."""
    return f"{label}: {predicted}" if predicted in NO_CLASS else f"{label} taken for {predicted}"


def rounded(numbers: str) -> str:
    """Numbers with three decimals; small ones with three digits."""
    return " ".join(f"{x:.3g}" if abs(x) < 1 else f"{round(x, 3):.12g}" for x in map(float, numbers.split()))


def _share(share: float) -> str:
    return "All are" if share == 1 else f"{percent(share)}% are"
