"""Very many tested images, a search with groups, and very many points on the map, for `lab/benchmarks/speed/`."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.benchmarks.speed.start import CHROMIUM
from safe_dnn.dnn.tested import AnsweredImages, predictions_text, read_predictions
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.spots.groups import Groups
from safe_dnn.rccs.spots.rates import failure_rates, nearest_failing, regions
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Known, compared_images, weak_spots_of
from safe_dnn.reasons.known_groups import KnownGroups
from safe_dnn.support.files import prepare_folder

CLASSES, NUMBERS, WRONG = 40, 12, 0.05
DARK = 0.2  # of the first number, below which the DNN fails ten times as often
CLUSTERED, COMPONENTS, RCCS = 5_000, 256, 40
CATEGORIES, RECORDED, MEASURED_TOO = 10, 9, 9  # columns of `search_with_groups`, beside both classes


def compare_tested(n: int, work: str) -> dict:
    """Reading a table of n answers, weak spots, and rates of RCCs; generated, and the images are empty files."""
    root = _test_set(n, Path(work))
    rng = np.random.default_rng(1)
    begin = time.perf_counter()
    tested = read_predictions(root.parent / f"{root.name}.csv", root)
    read = time.perf_counter()
    numbers = np.random.default_rng(0).random((NUMBERS, n))
    columns = {f"number {k}": column for k, column in enumerate(numbers)}
    columns |= {"label": tested.answers.label, "predicted": tested.answers.predicted}
    spots = find_weak_spots(columns, ~tested.right, never_together=("label", "predicted"))
    searched = time.perf_counter()
    clustered = tuple(tested.paths[row] for row in np.flatnonzero(~tested.right)[:CLUSTERED].tolist())
    compared = compared_images(tested, root, clustered)
    labels = np.sort(rng.integers(RCCS, size=len(clustered)))
    centres = rng.normal(0, 3, (RCCS, COMPONENTS))
    failing = centres[labels] + rng.normal(size=(len(labels), COMPONENTS))
    right = rng.normal(0, 3, (len(compared.rows) - len(compared.failing), COMPONENTS))
    of_failing, of_right = (regions(nearest, labels) for nearest in nearest_failing(failing, right))
    rates = failure_rates(of_failing[compared.failing], of_right, RCCS, labels=labels[compared.failing])
    done = time.perf_counter()
    return {
        "images": len(tested.paths), "spots": len(spots), "rates": len(rates), "dark": int(_is_dark(spots)),
        "reading": read - begin, "searching": searched - read, "rating": done - searched, "seconds": done - begin,
    }  # fmt: skip


def _is_dark(spots: Sequence[WeakSpot]) -> bool:
    """Whether the weak spot that was put in is among those found."""
    return any({literal.column for literal in spot.literals} == {"number 0"} for spot in spots)


def _test_set(n: int, work: Path) -> Path:
    root = work / f"tested-{n}"
    table = work / f"{root.name}.csv"
    if table.exists():
        return root
    names = [f"{i // 2000:04d}/{i:07d}.png" for i in range(n)]
    for name in names:
        file = root / name
        if file.name.endswith("000.png"):
            prepare_folder(file.parent)
        file.touch()
    rng = np.random.default_rng(2)
    first = np.random.default_rng(0).random(n)  # the first number of `compare_tested`
    wrong = rng.random(n) < np.where(first < DARK, 10 * WRONG, WRONG)
    label = rng.integers(CLASSES, size=n)
    classes = np.array([f"class {c}" for c in range(CLASSES)])
    answers = Answers(classes[label], classes[(label + wrong) % CLASSES], rng.random(n).astype(np.float32), CONFIDENCE)
    paths = tuple(f"{root.name}/{name}" for name in names)
    table.write_text(predictions_text(AnsweredImages(table, work, paths, answers, ~wrong)), encoding="utf-8")
    return root


def search_with_groups(n: int, n_groups: int) -> dict:
    """Weak spots of n generated answers, and their rates of new images; images of a group fail alike (0: no groups)."""
    rng = np.random.default_rng(0)
    of = rng.integers(max(n_groups, 1), size=n)
    label = rng.choice(list("abcdefg"), n)
    numbers = [f"number {k}" for k in range(RECORDED + MEASURED_TOO)]
    columns = {f"category {k}": rng.choice(list("pqrst"), n) for k in range(CATEGORIES)}
    columns |= {name: rng.random(n) for name in numbers}
    of_group = rng.beta(2, 8, max(n_groups, 1))[of] if n_groups else np.full(n, 0.2)
    within_class = (columns["category 0"] == "p") & (label == "a")
    wrong = rng.random(n) < of_group + 0.3 * (columns["number 0"] < DARK / 2) + 0.2 * within_class
    predicted = np.where(wrong, rng.choice(list("hijk"), n), label)
    answers = Answers(label, predicted, np.full(n, np.float32(0.5)), CONFIDENCE)
    tested = AnsweredImages(Path(), Path(), tuple(map(str, range(n))), answers, ~wrong)
    known = Known(columns | {LABEL: label, PREDICTED: predicted}, frozenset(numbers[RECORDED:]))
    groups = KnownGroups(Groups("person", np.unique(of, return_inverse=True)[1]), True, ()) if n_groups else None
    begin, busy = time.perf_counter(), time.process_time()
    spots = weak_spots_of(tested, known, groups)
    return {
        "images": n, "groups": n_groups, "columns": len(known.columns), "spots": len(spots),
        "dark": int(_is_dark(spots)), "seconds": time.perf_counter() - begin, "processor": time.process_time() - busy,
    }  # fmt: skip


def draw_map(n: int) -> dict:
    """Time of a frame of the map with n points in 400 RCCs, while it is moved and magnified by keys; milliseconds."""
    from playwright.sync_api import sync_playwright

    from tests.page.test_map import data, frames, of_points, show, time_frames

    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(-1, 399, n))
    xy = np.clip(rng.random((400, 2))[labels] / 2 + rng.normal(0, 0.01, (n, 2)), 0, 1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1000, "height": 700})
        show(window, of_points(xy, labels, {}, {}) | {"chosen": 3})
        time_frames(window)
        window.locator("#map canvas").focus()
        for key in ("+", "-", *["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"] * 5):
            window.keyboard.press(key)
            data(window, "zoom")
        times = frames(window)
        browser.close()
    return {"points": n, "frames": len(times), "frame": float(np.median(times)), "longest": max(times)}


MEASURED = {function.__name__: function for function in (compare_tested, search_with_groups, draw_map)}
