"""40 RCCs judged, some of them named, without a mouse: what each step takes, and what is on disk afterwards."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from rccs.review import load_review
from tests.helpers.browsing import FAKED, WAIT, Served, canvas_of, field, opened, served_from, wait_until
from tests.page.test_large import many

pytestmark = pytest.mark.slow

KEYS = {"u": "unsafe", "s": "safe", "c": "unclear"}
RCCS = 40
# What holds up the browser for longer than 50 ms, as the browser itself finds it
WATCH = """() => {
    window.long = [];
    new PerformanceObserver((list) => { for (const task of list.getEntries()) window.long.push(task.duration); })
        .observe({ type: "longtask" });
    addEventListener("pointerdown", () => { window.mouse = true; }, true);
}"""


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        expect(page.locator("#rcc-heading h2")).to_be_visible(timeout=WAIT)
        canvas_of(page)
        page.evaluate(WATCH)
        yield page


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("judging")
    many(folder, [8] * RCCS, 10)
    with served_from(folder, tool=FAKED) as served:
        yield served


def test_40_rccs_are_judged_and_named_by_keyboard_alone(served, page):
    heading = page.locator("#rcc-heading h2")
    judged: dict[int, str] = {}
    steps = []
    order = [int(card.get_attribute("data-rcc")) for card in page.locator("#rcc-list .safe-card").all()]
    for place, rcc in enumerate(order[:RCCS]):
        started = time.monotonic()
        expect(heading).to_have_text(f"RCC {rcc}")
        key = list(KEYS)[place % len(KEYS)]
        if place % 10 == 0:
            page.keyboard.press("n")
            page.keyboard.type(f"reason {place}")
            page.keyboard.press("Enter")
        page.keyboard.press(key)
        judged[rcc] = KEYS[key]
        page.keyboard.press("j")
        steps.append(time.monotonic() - started)
    expect(page.locator("#rcc-list output")).to_have_text(f"{RCCS} of {RCCS} judged")
    wait_until(lambda: {rcc: note.verdict for rcc, note in load_review(served.out).notes.items()} == judged)
    names = {note.name for note in load_review(served.out).notes.values()} - {""}
    assert names == {"reason 0", "reason 10", "reason 20", "reason 30"}
    long = page.evaluate("window.long")
    print(f"\n{RCCS} RCCs judged in {sum(steps):.0f} s; a step: {np.median(steps):.2f} s, at most {max(steps):.2f} s")
    print(f"the browser was held up for at most {max(long, default=0):.0f} ms")
    assert not page.evaluate("Boolean(window.mouse)")
    page.reload()
    expect(page.locator("#rcc-list output")).to_have_text(f"{RCCS} of {RCCS} judged", timeout=WAIT)
    expect(field(page, "rcc-name")).to_be_visible()
