"""The benchmark of near-duplicates."""

import numpy as np
from PIL import Image

from lab.benchmarks import near_duplicates
from lab.benchmarks.near_duplicates import measured, section


def test_copies_are_looked_for_among_all_images(tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "COPIES", 5)
    for seed in range(40):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((100, 100), Image.Resampling.BICUBIC).save(tmp_path / f"{seed}.png")
    case = measured(tmp_path, 100)
    assert (case.images, case.others) == (40, 0)
    assert set(case.found.values()) == {1.0}
    assert "| drawn (40) | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 100.0 % | 0.000 % |" in section(
        {"drawn": case}
    )
