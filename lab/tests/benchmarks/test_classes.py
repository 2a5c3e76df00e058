"""The benchmark of what is found inside classes."""

import numpy as np

from lab.benchmarks import classes
from lab.benchmarks.classes import in_run, section
from safe_dnn.reasons.comparison import Known


def test_a_run_tells_what_is_found_inside_a_class_that_is_mostly_wrong_and_one_mostly_right(monkeypatch):
    rng = np.random.default_rng(0)
    label = rng.choice([f"sign {i}" for i in range(14)], 4000)
    columns = {"label": label, "brightness": rng.uniform(size=4000), "hue_deg": rng.uniform(0, 360, 4000)}
    monkeypatch.setattr(classes, "GAIN", 0.4)
    found = in_run(Known(columns, frozenset(["brightness", "hue_deg"])), 0)
    assert found == {"false": False, "wrong": True, "right": True, "known": True}
    text = section({"drawn": [found, {**found, "right": False}]})
    assert "| drawn | 0 of 2 | 2 of 2 | 1 of 2 | 1 of 2 | 2 of 2 |" in text
