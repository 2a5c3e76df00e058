import numpy as np
import pytest

from dnn.predictions import Judgement
from support.errors import SAFEError
from training.finetuning import Epoch, FineTuning
from training.repetitions import Repetition, Steps, median_of, repeat, repetitions_text
from training.settings import Settings, Wishes, choose_seeds

SETTINGS = Settings(0.1, seed=3)


def test_of_an_even_number_the_lower_of_the_middle_two_is_the_median():
    assert median_of([0.5]) == 0
    assert median_of([0.9, 0.5]) == 1
    assert median_of([0.9, 0.5, 0.7]) == 2
    assert median_of([0.9, 0.5, 0.7, 0.8]) == 2
    assert median_of([0.5, 0.5, 0.5]) == 1


@pytest.mark.parametrize("seeds", [0, -1, 100, "0", "-3", "2.5", "many", "", "nan", "inf"])
def test_a_bad_number_of_repetitions_is_refused(seeds):
    with pytest.raises(SAFEError, match=r"--seeds\) must be a whole number from 1 to 99\. Received: "):
        choose_seeds(Wishes(seeds=seeds))


def test_the_spread_is_told_in_a_line():
    accuracies = [0.894, 0.912, 0.907, 0.905, 0.907]
    rows = [Repetition(i, accuracy, 12 + i, 2) for i, accuracy in enumerate(accuracies)]
    expected = (
        "5 repetitions: accuracy 0.894 to 0.912, mean 0.905; kept: seed 2, the median; improved 12 to 16, mean 14.0"
    )
    assert repetitions_text(rows, 2) == expected + "; worsened 2"
    assert "kept: seed 0, the lower median" in repetitions_text(rows[:2], 0)
    assert repetitions_text(rows[:1], 0) == "1 repetition: accuracy 0.894; kept: seed 0; improved 12; worsened 2"
    assert repetitions_text([], 0) == ""


def test_a_test_set_that_is_no_longer_read_whole_ends_the_repetitions_with_a_sentence():
    class Model:
        def get_weights(self):
            return [np.zeros(1)]

    def judged(*indices):
        n = len(indices)
        return Judgement(np.array(indices), np.zeros(n, int), np.ones(n, np.float32), np.ones(n, bool))

    answers = iter([judged(0, 1, 2), judged(0, 1)])
    tuning = FineTuning(Model(), (Epoch(0, 0.0, 1.0, 1.0, 0.0),), 0, "", 1.0, 0.0)
    steps = Steps(lambda settings, progress: tuning, lambda model, progress: next(answers), lambda weights: Model())
    result = repeat(steps, SETTINGS, 3, judged(0, 1, 2), progress=print, should_stop=lambda: False)
    assert len(result.repetitions) == 1
    assert result.tuning.stopped.startswith("after 1 of 3 repetitions, since the next one failed (Expected the 3 test")
