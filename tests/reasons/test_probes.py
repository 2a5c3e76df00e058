"""Probes: networks of a line each, of which it is known why they fail, are asked about changed images."""

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.figures import Figures
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import (
    CANNOT_TELL,
    CAUSE,
    MADE,
    NOT_THE_CAUSE,
    PROBES_FILE,
    Probe,
    Turned,
    changed_pixels,
    images_of,
    load_probes,
    probe,
    probes_text,
    spread_over,
)
from safe_dnn.store.runs import PROBES, add_run
from safe_dnn.support.errors import SAFEError
from tests.helpers.spots import weak_spot

SIDE = 24
CHECKS = (np.indices((6, 6)).sum(axis=0) % 2)[..., None]


def scenes(n: int, *, seed: int, light: float = 1.0, logo: bool = False) -> list:
    """Squares on a gradient, as light as that; with a chequered corner or without."""
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(n):
        image = np.linspace(90, 200, SIDE)[:, None, None] * rng.uniform(0.9, 1.1) * np.ones((SIDE, SIDE, 3))
        image[4:12, 6:16] = rng.uniform(30, 60)
        image = image * light + rng.normal(0, 3, image.shape)
        if logo:
            image[-6:, -6:] = 40 + 60 * CHECKS
        drawn.append(image.clip(0, 255).astype(np.uint8))
    return drawn


def fails_in_the_dark(pixels: np.ndarray) -> bool:
    return float(pixels.mean()) >= 70


def fails_on_a_logo(pixels: np.ndarray) -> bool:
    """Whatever its light and contrast."""
    corner, light = pixels[-6:, -6:].astype(float), np.broadcast_to(CHECKS, (6, 6, 3)) == 1
    return float(corner[light].mean()) < 1.5 * float(corner[~light].mean()) + 1


def asked_of(network):
    return lambda pixels, rows: np.array([network(one) for one in pixels])


DARK = weak_spot((Literal("light", "<", 0.4),), 40, 20, 0.3, 0.7, 0.1)


def probed(network, right: list, failing: list, of: np.ndarray | None = None, stated=frozenset()) -> list[Probe]:
    asked = Reason("weak spot 1", "[]", spot=DARK, stated=set(stated), figures=Figures(10, 9))
    groups = np.arange(len(right) + len(failing)) if of is None else of
    first, last = np.arange(len(right)), np.arange(len(right), len(right) + len(failing))
    images = images_of(first, right, groups[first]), images_of(last, failing, groups[last])
    return probe(asked, *images, asked_of(network))


def test_darkness_that_makes_the_network_fail_is_the_cause():
    found, *_ = probed(fails_in_the_dark, scenes(16, seed=0), scenes(12, seed=1, light=0.3))
    assert (found.verdict, found.attribute) == (CAUSE, "brightness")
    assert found.made.turned == found.made.tested == 16
    assert found.undone.turned == 12
    assert found.text == (
        "Cause: the light. 100% (79–100%) of 16 right images fail when darkened as far as these, 0% when changed as "
        "much otherwise; 100% (74–100%) of 12 failing images are right when brightened, 83% when changed as much "
        "otherwise."
    )


def test_darkness_that_only_comes_with_a_logo_is_not_the_cause():
    found, *_ = probed(
        fails_on_a_logo, scenes(16, seed=0), scenes(12, seed=1, light=0.3, logo=True), stated=["brightness"]
    )
    assert found.verdict == NOT_THE_CAUSE
    assert found.text.startswith("Not the cause: the light alone. 0% (0–21%) of 16 right images fail when darkened")


def test_where_any_change_as_large_does_harm_what_undoing_repairs_tells_the_cause():
    def ask(pixels, rows):
        grey = [float(np.ptp(one.mean(axis=(0, 1)))) < 5 for one in pixels]
        again = [row < 16 or row % 3 == 0 for row in rows]
        return np.array([fails_in_the_dark(one) for one in pixels]) & grey & again

    right, failing = scenes(16, seed=0), scenes(18, seed=1, light=0.3)
    images = images_of(np.arange(16), right, np.arange(16)), images_of(np.arange(16, 34), failing, np.arange(16, 34))
    found, *_ = probe(Reason("RCC 0", "", stated={"brightness"}, figures=Figures(10, 9)), *images, ask)
    assert found.made.otherwise == found.made.turned == 16
    assert (found.undone.turned, found.undone.otherwise) == (6, 0)
    assert (found.verdict, found.attribute) == (CAUSE, "brightness")


def test_what_pixels_cannot_make_and_too_few_images_are_said():
    (found,) = probed(lambda _: True, scenes(16, seed=0), scenes(12, seed=1))
    assert (found.verdict, found.attribute) == (CANNOT_TELL, "")
    assert "or changing pixels cannot make light < 0.4" in found.text
    found, *others = probed(lambda _: True, scenes(16, seed=0), scenes(12, seed=1, light=0.3), stated={"site"})
    assert (found.attribute, found.verdict, others[0].verdict) == ("", CANNOT_TELL, NOT_THE_CAUSE)
    (found,) = probed(lambda _: True, [], scenes(12, seed=1))
    assert found.text.startswith("Cannot tell. There are too few images")


@pytest.mark.parametrize("name", MADE)
def test_each_attribute_is_made_and_undone_as_far_as_wanted(name):
    rng = np.random.default_rng(2)
    coloured = [(one * np.array([1.0, 0.7, 0.8]) + rng.normal(0, 6, one.shape)).clip(0, 255).astype(np.uint8)
                for one in scenes(12, seed=3)]  # fmt: skip
    whole = images_of(np.arange(12), coloured, np.arange(12))
    for wanted in (0.7, 1.3):
        failing = whole._replace(measured=whole.measured | {name: whole.measured[name] * wanted})
        asked = Reason("RCC 0", "", stated={name}, figures=Figures(10, 5))
        found = next(p for p in probe(asked, whole, failing, asked_of(lambda _: True)) if p.attribute == name)
        changed = [changed_pixels(one, found)[0] for one in coloured]
        value = images_of(np.arange(12), changed, np.arange(12)).measured[name].mean()
        assert value == pytest.approx(found.failing, rel=0.1)


def test_images_of_few_groups_tell_less():
    def ask(pixels, rows):
        return np.array([fails_in_the_dark(one) or row % 3 == 0 for one, row in zip(pixels, rows, strict=True)])

    right, failing = scenes(16, seed=0), scenes(12, seed=1, light=0.3)
    widths = []
    for of in (np.arange(28), np.arange(28) % 3):
        images = images_of(np.arange(16), right, of[:16]), images_of(np.arange(16, 28), failing, of[16:])
        asked = Reason("RCC 0", "", stated={"brightness"}, figures=Figures(10, 9))
        made = next(one for one in probe(asked, *images, ask) if one.attribute == "brightness").made
        widths.append(made.high - made.low)
    assert widths[1] > 1.2 * widths[0]
    assert set(spread_over(np.arange(6), np.array([0, 0, 0, 0, 1, 2]), 3).tolist()) >= {4, 5}


def test_probes_are_read_as_they_were_written(tmp_path):
    every = [
        *probed(fails_in_the_dark, scenes(16, seed=0), scenes(12, seed=1, light=0.3)),
        Probe("RCC 0", "abc", ""),
        Probe("RCC 1", "def", "", CAUSE, "noise", 0.1, 0.2, Turned(12, 10, 0.5, 0.98, 1, 0.9, 0.01)),
    ]
    run = add_run(tmp_path, PROBES, {PROBES_FILE: probes_text(every)})
    assert [one.text for one in load_probes(run)] == [one.text for one in every]
    (run.folder / PROBES_FILE).chmod(0o600)
    (run.folder / PROBES_FILE).write_text("reason\nx\n")
    with pytest.raises(SAFEError, match="Compute the probes again"):
        load_probes(run)
