"""Waiting times of the page with many reasons: loading it, and judging by keyboard.

The analysis is generated: RCCs of `PER_RCC` images, with answers, measured attributes, failure rates and weak spots.
The times are measured in the browser, from the key to the frame in which the answer is shown.
"""

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.features.extractor import DIMENSIONS
from safe_dnn.pipeline.descriptions import describe_rccs, refresh_rccs
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.clusters import RootCauseClusters, save_clusters
from safe_dnn.rccs.dbscan.projection import Projection
from safe_dnn.rccs.image_map import stored_map
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import Comparison, Reasons, save_reasons
from safe_dnn.support.files import prepare_folder

PER_RCC, NOISE_IMAGES, PER_SPOT, CLASSES = 20, 20, 40, 12
COMPONENTS = 256
STEPS = 15  # RCCs that are judged, one after the other
SLOW = 60_000  # milliseconds that are waited for anything

# `until` takes the time from the next key, click or choice to the frame in which something is shown; `whole` from the
# beginning of the navigation.
TIMES = """
window.until = (shows) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error(`not shown within a minute: ${shows}`)), 60_000);
  let begun = 0;
  const begin = (event) => { begun ||= event.timeStamp; };
  for (const name of ["keydown", "change"]) addEventListener(name, begin, { capture: true, once: true });
  const look = () => { if (begun && shows()) done(performance.now() - begun); else requestAnimationFrame(look); };
  look();
});
window.whole = (rccs, spots) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error("the page is not there within a minute")), 60_000);
  const is = (selector, n) => document.querySelectorAll(selector).length >= n;
  const look = () => {
    const none = document.querySelector("#map .safe-map-none");
    const map = none && !none.checkVisibility() && document.querySelector("#map canvas")?.width > 0;
    if (map && is("#reason-list .safe-card", rccs) && is("#reason-list [data-is=spot]", spots)
      && is("#grid [data-index]", 1) && is("#rcc-heading h2", 1)
      && document.querySelector("#rcc-gif img")?.src) done(performance.now());
    else requestAnimationFrame(look);
  };
  look();
});
"""


def make_analysis(folder: Path, n_rccs: int, n_spots: int) -> Path:
    """Write an analysis with this many RCCs and weak spots, unless it is there; its output folder."""
    out, images = folder / "out", folder / "images"
    if (folder / "made").exists():
        return out
    rng = np.random.default_rng(0)
    prepare_folder(images)
    labels = np.array([*np.repeat(np.arange(n_rccs), PER_RCC), *[-1] * NOISE_IMAGES])
    n = len(labels)
    paths = tuple(f"image_{row:05d}.png" for row in range(n))
    for row, path in enumerate(paths):
        pixels = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(images / path)
        os.utime(images / path, (row, row))
    centres = rng.normal(size=(n_rccs + 1, COMPONENTS)) * 0.97 ** np.arange(COMPONENTS)
    points = (centres[labels] + 0.2 * rng.normal(size=(n, COMPONENTS))).astype(np.float32)
    dimension = DIMENSIONS["vgg16-conv"]
    classes = np.array([f"class {number}" for number in range(CLASSES)])
    label = rng.integers(0, CLASSES, n)
    answers = Answers(
        classes[label], classes[(label + 1 + rng.integers(0, CLASSES - 1, n)) % CLASSES],
        rng.uniform(0.2, 1, n).astype(np.float32), CONFIDENCE,
    )  # fmt: skip
    clusters = RootCauseClusters(
        image_root=images, paths=paths, labels=labels, is_core=labels >= 0, points=points,
        reach=np.full(n_rccs, 4, np.float32), reducer="pca", eps=1.0, min_samples=5,
        projection=Projection(
            "vgg16-conv", np.zeros(dimension, np.float32), np.zeros((COMPONENTS, dimension), np.float32)
        ),
        extractor_identity="vgg16-conv-generated-float32", notice="", weights="", settings=(),
        k_distances=np.zeros(1, np.float32), knee=None, skipped=(), answers=answers,
        attributes=rng.uniform(0, 1, (n, len(ATTRIBUTES))).astype(np.float32),
    )  # fmt: skip
    spots = tuple(
        WeakSpot((Literal(f"parameter {number}", "<", 0.5),), 80, 40, 0.39, 0.61, 0.1) for number in range(n_spots)
    )
    rows = tuple(np.sort(rng.choice(n, PER_SPOT, replace=False)) for _ in spots)
    of_right = rng.integers(0, n - NOISE_IMAGES, 10_000)
    comparison = Comparison(np.arange(n), np.roll(np.arange(n), 1), of_right)
    record = describe_rccs(clusters)[1] | {"predictions": {"tested": str(folder / "test"), "notes": []}}
    prepare_folder(out)
    run = save_clusters(clusters, out, more=record)
    save_reasons(Reasons(spots, rows, comparison, 0.1), clusters, out, run)
    refresh_rccs(out)
    stored_map(out, clusters)
    (folder / "made").touch()
    return out


def timed_review(url: str, n_rccs: int, n_spots: int) -> dict:
    """Waiting times in seconds.

    Returns
    -------
    dict
        `first`, until the whole page is there for the first time since the server was started; `loaded`, the same in a
        second window; medians of `verdict`, from the key to the verdict on the card, `following`, from the key to the
        next RCC's heading, and `pictures`, to its images; the longest of these as `verdict_most`, `following_most` and
        `pictures_most`; `filtered`, from the choice of a filter to the list.
    """
    from tests.helpers.browsing import launched  # here, since it needs Playwright

    with launched() as browser:
        first = _load(browser, url, n_rccs, n_spots)[1]
        page, loaded = _load(browser, url, n_rccs, n_spots)
        steps = [_step(page) for _ in range(STEPS)]
        filtered = [_filter(page, shows) for shows in ("unsafe", "all", "open", "all")]
    times: dict[str, Any] = {"rccs": n_rccs, "spots": n_spots, "first": first, "loaded": loaded}
    for name in steps[0]:
        times[name] = median(step[name] for step in steps)
        times[f"{name}_most"] = max(step[name] for step in steps)
    return {**times, "filtered": median(filtered), "seconds": loaded}


def _load(browser: Any, url: str, n_rccs: int, n_spots: int) -> tuple[Any, float]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(SLOW)
    page.add_init_script(TIMES)
    page.goto(url, wait_until="commit")
    took = page.evaluate("([rccs, spots]) => window.whole(rccs, spots)", [n_rccs, n_spots]) / 1000
    time.sleep(3)  # it has heard the first news
    return page, took


def _step(page: Any) -> dict[str, float]:
    """Judge the RCC at hand, then go to the next one."""
    chosen = "document.querySelector('#reason-list .safe-card.selected')"
    verdict = _timed(page, f"Boolean({chosen}.querySelector('.safe-chip-unsafe'))", lambda: page.keyboard.press("u"))
    name = "document.querySelector('#rcc-heading h2')?.textContent"
    here = page.evaluate(name)
    page.evaluate("(here) => { window.here = here; }", here)
    page.evaluate(f"() => {{ window.shown = window.until(() => {name} !== window.here); }}")
    listed = "document.querySelector('#grid-title')?.textContent"
    pictures = _timed(
        page, f"{name} !== window.here && {listed}.includes({name} + ':')", lambda: page.keyboard.press("j")
    )
    following = page.evaluate("window.shown") / 1000
    return {"verdict": verdict, "following": following, "pictures": pictures}


def _filter(page: Any, shows: str) -> float:
    expected = {"unsafe": f"^{STEPS} of", "all": r"^\d+ of \d+ judged", "open": r"^\d+ of \d+ ·"}[shows]
    done = f"new RegExp({expected!r}).test(document.querySelector('#reason-list output').textContent)"
    return _timed(page, done, lambda: page.select_option("#reason-list [data-choice=show]", shows))


def _timed(page: Any, shows: str, act: Any) -> float:
    """Seconds from what `act` does to the frame in which a condition of the page holds."""
    page.evaluate(f"() => {{ window.took = window.until(() => {shows}); }}")
    act()
    return page.evaluate("window.took") / 1000
