from collections import Counter

import numpy as np
from PIL import Image

from safe_dnn.dnn.group_columns import chains, noun_of
from safe_dnn.rccs.spots.groups import in_words
from safe_dnn.rccs.spots.rates import Rate
from safe_dnn.support.text import count


def test_groups_are_said_beside_the_images():
    assert in_words(18, "person") == " (of 18 persons)"
    assert in_words(0, "person") == " (those of one person counted as independent)"
    assert in_words(0, "") == ""
    assert [count(n, "series") for n in (1, 2)] == ["1 series", "2 series"]
    nouns = [noun_of([name], []) for name in ("class_id", "body", "day", "batch", "epoch", "cls", "drivers", "series")]
    plurals = ["classes", "bodies", "days", "batches", "epochs", "groups by cls", "groups by drivers", "series"]
    assert [count(2, noun) for noun in nouns] == [f"2 {plural}" for plural in plurals]
    rate = Rate(0, 41, 32, 0.62, 0.89, 0.15, 1e-9, "more", 18, "person")
    assert "78% of 41 tested images like these (of 18 persons) are wrong (62–89%)" in rate.text
    assert "(nearly all of one person)" in rate._replace(groups=1).text
    few = rate._replace(verdict="too few")
    assert few.text.startswith("Images of 18 persons do not tell: of 41 tested images (of 18 persons) like these, 32 ")


def test_near_duplicates_that_do_not_follow_each_other_by_name_are_no_chain(tmp_path):
    """Eighty frames of one drive, each like the next; in any order, only what is all alike is one group."""
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 200, (5, 8, 8)).astype(float)
    frames = [scenes[i] * (1 - t) + scenes[i + 1] * t for i in range(4) for t in np.arange(20) / 20]
    for names, largest in ((range(80), 80), (rng.permutation(80), 8)):
        for name, frame in zip(names, frames, strict=True):
            picture = Image.fromarray(frame.astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
            picture.save(tmp_path / f"{name:02d}.png")
        paths = [f"{name:02d}.png" for name in range(80)]
        (_, size), *_ = Counter(chains(tmp_path, paths)).most_common()
        assert size in range(largest // 2, largest + 1)


def test_unasked_nothing_is_said_of_photographs_that_are_more_or_less_alike(tmp_path):
    rng = np.random.default_rng(0)
    scenes, paths = rng.integers(0, 200, (4, 8, 8)), [f"{name:03d}.png" for name in range(300)]
    for path, shares in zip(paths, rng.dirichlet(np.ones(4), 300), strict=True):
        pixels = np.tensordot(shares, scenes, 1).astype(np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / path)
    assert chains(tmp_path, paths, sure=True) == []
    assert len(set(chains(tmp_path, paths))) < 300
