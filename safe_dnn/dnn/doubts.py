"""Whether a network works at all: a dead or blind one has no reasons for failing, whatever images show.

Answers to a test set in, sentences out, the gravest first. They are shown before any reason.
"""

from collections import Counter

import numpy as np

from safe_dnn.rccs.answers import ERROR, NO_CLASS, Answers
from safe_dnn.support.text import count, printable, some

LEVEL = 0.05
LEAST_TESTED = 20  # images, for a network to be better than a constant answer beyond chance
LEAST_IMAGES = 5  # of a class, for a sentence that no answer is this class
MOSTLY = 0.75  # of the answers, for a sentence that they are nearly always the same class
SAME = 1e-3  # of the spread of the targets, within which answers of a regression are the same


def doubts_about(answers: Answers, right: np.ndarray | None = None, noun: str = "image") -> tuple[str, ...]:
    """Sentences on answers that are nearly all the same, no better than a constant one, or never one of the classes.

    Also on what no answer can be better than: images of one class alone, one target for all, or errors of a regression
    that are all above its threshold, or none of them, if it is known which answers are `right`.

    Of `LEAST_TESTED` images or more, a network is better than the constant answer if McNemar's test (of a regression,
    the t-test of the differences of squared errors) says so beyond chance, one-sided at `LEVEL`. `noun` is what was
    tested.
    """
    rows = np.flatnonzero((answers.label != "") & (answers.predicted != ""))
    known = answers.taken(rows)
    if not len(rows):
        return ()
    is_regression = known.kind == ERROR
    doubts = _of_numbers(known, noun) if is_regression else _of_classes(known, noun)
    score = answers.score
    if is_regression and right is not None and (right.all() or not right.any()) and np.isfinite(score).all():
        which = "no error is" if right.all() else "all errors are"
        doubts.append(f"Doubtful: {which} above the threshold; they are from {score.min():.3g} to {score.max():.3g}.")
    return tuple(doubts)


def _of_classes(known: Answers, noun: str) -> list[str]:
    from scipy.special import bdtrc

    label, predicted = known.label, known.predicted
    answered = {*predicted.tolist()}
    if len({*label.tolist()}) == 1 and answered.isdisjoint(NO_CLASS):
        return [f"Doubtful: all of {count(len(label), noun)} are of one class, {printable(label[0])}."]
    if len(answered) == 1:
        return [f"Doubtful: the answer is {printable(*answered)} for all of {count(len(label), noun)}."]
    if not answered.isdisjoint(NO_CLASS):
        return []
    images = Counter(label.tolist())
    commonest, times = max(images.items(), key=lambda item: (item[1], item[0]))
    answer, n_answers = max(Counter(predicted.tolist()).items(), key=lambda item: (item[1], item[0]))
    right, constant = label == predicted, label == commonest
    gained, lost = int((right & ~constant).sum()), int((constant & ~right).sum())
    doubts = []
    if n_answers >= MOSTLY * len(label) > images[answer]:
        doubts.append(
            f"Doubtful: the network answers {printable(answer)} for {n_answers / len(label):.0%} of "
            f"{count(len(label), noun)}, but only {images[answer] / len(label):.0%} of the {noun}s are in this class."
        )
    if len(label) >= LEAST_TESTED and bdtrc(gained - 1, max(gained + lost, 1), 0.5) >= LEVEL:
        doubts.append(
            f"Doubtful: {right.mean():.1%} of the answers are right, which is no better, beyond chance, than to answer "
            f"{printable(commonest)} to all {noun}s ({times / len(label):.1%}). Are its classes in another order, or "
            "its pixels scaled in another way?"
        )
    never = sorted(name for name in images.keys() - answered if images[name] >= LEAST_IMAGES)
    if never:
        named = [f"{printable(name)} ({count(images[name], noun)})" for name in never]
        doubts.append(f"Doubtful: no answer is {some(named)}.")
    return doubts


def _of_numbers(known: Answers, noun: str) -> list[str]:
    from scipy.special import stdtr

    texts = (known.label.tolist(), known.predicted.tolist())
    target, answer = (np.array([text.split() for text in column], np.float64) for column in texts)
    mean = target.mean(axis=0)
    if not np.ptp(target, axis=0).any():
        return [f"Doubtful: {known.target} is {printable(known.label[0])} for all of {count(len(target), noun)}."]
    if (np.ptp(answer, axis=0) <= SAME * target.std(axis=0)).all():
        same = " ".join(f"{number:.4g}" for number in np.median(answer, axis=0))
        return [f"Doubtful: the answer is {same} for all of {count(len(target), noun)}."]
    gain = ((target - mean) ** 2).sum(axis=1) - ((target - answer) ** 2).sum(axis=1)
    if len(gain) < LEAST_TESTED or stdtr(len(gain) - 1, -gain.mean() / (gain.std(ddof=1) / len(gain) ** 0.5)) < LEVEL:
        return []
    rest = gain.sum() / ((target - mean) ** 2).sum()
    return [
        "Doubtful: the answers are no nearer to the targets, beyond chance, than the mean of the targets is "
        f"(R² {rest:.2f})."
    ]
