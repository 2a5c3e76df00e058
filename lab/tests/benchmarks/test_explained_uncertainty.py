import numpy as np
import pytest

from lab.benchmarks.explained_uncertainty import Compared, placed_unseen, set_for_rivals
from lab.benchmarks.reasons.cases import ReasonsCase, failing_images, images_beside
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.extractor import DIMENSIONS, Extractor
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.rccs.dbscan.contrast import uncertainty_coefficient
from safe_dnn.reasons.known import Known


def compared(root, *, by_looks, kind=CONFIDENCE):
    """A third of the images is wrong: those of one look, or at random."""
    rng, n = np.random.default_rng(0), 300
    features = rng.random((n, DIMENSIONS["vgg16-conv"])).astype(np.float32)
    wrong = np.arange(n) % 3 == 0 if by_looks else rng.random(n) < 1 / 3
    features[:, :5] += 20 * (np.arange(n) % 3 == 0)[:, np.newaxis]
    label = np.where(rng.random(n) < 0.5, "left", "right")
    predicted = np.where(wrong, np.where(label == "left", "right", "left"), label)
    answers = Answers(label, predicted, np.ones(n, np.float32), kind)
    tested = AnsweredImages(root / "p.csv", root, tuple(f"{i:03}.png" for i in range(n)), answers, ~wrong)
    extractor = Extractor("vgg16-conv", "vgg16-conv-float32", None)
    case = ReasonsCase("drawn", tested, Known({}, frozenset(), ()), features, extractor, {}, {})
    return Compared("drawn", case, failing_images(case), images_beside(case), None)


@pytest.mark.parametrize("kind", [CONFIDENCE, ERROR])
def test_rivals_get_failing_images_first_with_their_labels_and_answers(tmp_path, kind):
    one = compared(tmp_path, by_looks=True, kind=kind)
    tested = set_for_rivals(one)
    n = len(one.images.paths)
    assert tested.wrong.tolist() == [True] * n + [False] * (len(tested.wrong) - n)
    np.testing.assert_array_equal(tested.probabilities.argmax(axis=1) != tested.labels, tested.wrong)


def test_domino_tells_failures_by_looks_of_unseen_images_and_nothing_of_random_ones(tmp_path):
    by_looks, by_chance = (compared(tmp_path, by_looks=of_looks) for of_looks in (True, False))
    assert uncertainty_coefficient(placed_unseen("Domino", by_looks), by_looks.wrong) > 0.5
    assert uncertainty_coefficient(placed_unseen("Domino", by_chance), by_chance.wrong) < 0.05
