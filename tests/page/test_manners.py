"""How the page behaves out of the ordinary: the connection drops, images are many, the window is small."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn.page.pictures import PER_PAGE
from safe_dnn.rccs.clusters import LABELS_FILE
from tests.helpers.browsing import (
    WAIT,
    Served,
    draw,
    field,
    generate,
    new_window,
    opened,
    served_from,
    unfold,
)
from tests.helpers.scenes import draw_scene

# --- In a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With clusters; each further batch of 32 images takes a second."""
    with served_from(tmp_path_factory.mktemp("manners"), delay=1) as served:
        with opened(browser, served) as page:
            generate(page, served.images)
        yield served


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "many", {"night": 100, "snow": 120, "wood": 100}, seed=5)


def finish(page: Page, images: int) -> None:
    # Hundreds of images are clustered a hundred times.
    expect(page.locator("#clusters-status .safe-status")).to_contain_text(f"of {images} failures", timeout=3 * WAIT)
    expect(page.locator("#generate")).to_be_enabled()


def regenerate(page: Page, folder: Path) -> None:
    expect(field(page, "images")).not_to_have_value("")  # the page has filled in the last run's
    unfold(page)
    field(page, "images").fill(str(folder))
    page.locator("#generate").click()


@pytest.mark.slow
def test_after_the_connection_was_lost_the_job_is_followed_again_and_nothing_is_lost(browser, served, many):
    page = new_window(browser)
    page.goto(served.url)
    regenerate(page, many)
    expect(page.locator("#clusters-status")).to_contain_text(re.compile(r"\d+ / 320"))
    with page.expect_event("requestfailed"):  # it has asked, and got no answer
        page.context.set_offline(True)
    page.context.set_offline(False)
    finish(page, 320)
    expect(page.locator("#reason-heading h2")).to_be_visible()
    page.context.close()


# Where elements begin on the page, once that is the same at two looks
TOPS = """ids => {
  const now = ids.map(id => document.querySelector(id).getBoundingClientRect().top + scrollY), before = window.tops;
  window.tops = String(now);
  return before === window.tops ? now : null;
}"""


@pytest.mark.slow
def test_choosing_another_rcc_moves_nothing_and_the_page_fits_a_tablet(browser, served, many):
    with opened(browser, served) as page:
        expect(page.locator("#reason-heading h2")).to_be_visible(timeout=WAIT)
        if "320 failures" not in page.locator("#clusters-status").inner_text():
            regenerate(page, many)
            finish(page, 320)
        page.set_viewport_size({"width": 820, "height": 1100})
        faces = page.locator("#reason-list .safe-card")
        expect(faces.nth(2)).to_be_visible()
        places = []
        for number in (0, 1, 2, 0):
            faces.nth(number).click()
            expect(page.locator("#reason-heading h2")).to_have_text(f"RCC {number}")
            expect(page.locator("#grid-title")).to_contain_text(f"RCC {number}")
            page.evaluate("window.tops = null")
            of = ["#note-name", "#reason-list", "#map", "#grid", "#undo-row"]
            places.append(page.wait_for_function(TOPS, arg=of, polling=250).json_value())
        assert np.ptp(places, axis=0).max() <= 2, places
        page.evaluate("""async () => {  // faster than pictures are sent
            const cards = document.querySelectorAll("#reason-list .safe-card");
            for (const number of [1, 0, 2]) {
                cards[number].click();
                await new Promise((done) => setTimeout(done, 30));
            }
        }""")
        expect(page.locator("#reason-heading h2")).to_have_text("RCC 2")
        expect(page.locator("#grid-title")).to_contain_text("RCC 2")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
def test_the_grid_is_paged_and_begins_with_the_most_typical_image(browser, served, tmp_path):
    alike = tmp_path / "alike"
    alike.mkdir()
    rng = np.random.default_rng(0)
    for scene, count in (("night", 70), ("wood", 10)):
        image = draw_scene(scene, rng)
        for i in range(count):
            image.save(alike / f"{scene}_{i:02d}.png")
    with opened(browser, served) as page:
        regenerate(page, alike)
        finish(page, 80)
        labels = [line.split("\t") for line in (served.out / LABELS_FILE).read_text().splitlines()]
        size = sum(rcc == "0" for rcc, _ in labels)
        assert size > PER_PAGE
        tiles = page.locator("#grid [data-index]")
        expect(tiles).to_have_count(PER_PAGE)
        expect(page.locator("#grid-title")).to_contain_text("the most typical first · page 1 of")
        expect(page.locator("#grid-back")).to_be_disabled()
        first = tiles.first.get_attribute("title")
        page.locator("#grid-next").click()
        expect(page.locator("#grid-title")).to_contain_text("page 2 of")
        expect(tiles).to_have_count(min(PER_PAGE, size - PER_PAGE))
        expect(tiles.first).not_to_have_attribute("title", first)
        page.locator("#grid-back").click()
        expect(tiles.first).to_have_attribute("title", first)
