"""The page with 400 RCCs and 200 weak spots: how soon it is there, and how soon a judgement is shown."""

from collections.abc import Iterator

import pytest

from lab.benchmarks.speed.review_times import STEPS, make_analysis, timed_review
from safe_dnn.rccs.review.review import load_review
from tests.helpers.browsing import served_from

# A minute: 8,000 images are drawn
pytestmark = pytest.mark.slow

RCCS, SPOTS = 400, 200
# Seconds. Measured while other work kept both cores busy: 8.5, 0.13, 0.84, 1.1 and 0.02.
BOUNDS = {"loaded": 15.0, "verdict": 0.6, "following": 2.5, "pictures": 4.0, "filtered": 0.3}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    folder = tmp_path_factory.mktemp("reasons")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("safe_dnn.rccs.image_map._umap", lambda points, start: start)
        make_analysis(folder, RCCS, SPOTS)
    with served_from(folder) as served:
        times = timed_review(served.url, RCCS, SPOTS)
        print("\n" + ", ".join(f"{name} {value:.2f}" for name, value in times.items()))
        yield times | {"judged": len(load_review(served.out).notes)}


@pytest.mark.parametrize("what", BOUNDS)
def test_it_is_shown_soon(timed, what):
    assert timed["judged"] == STEPS
    assert timed[what] < BOUNDS[what]
