"""How steady RCCs are, on the real page, in a real browser."""

import dataclasses
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rccs.clusters import RootCauseClusters, load_clusters, save_clusters
from rccs.confidence import no_steady_groups_text, place_text
from tests.helpers.browsing import FAKED, WAIT, Served, canvas_of, field, opened, served_from, unfold
from tests.helpers.steadied import steadied, without_steady_groups
from tests.page.test_accessibility import serious

pytestmark = pytest.mark.slow

LOOSE = "Loose: two of its images are together in only 52% of the clusterings of random parts"


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("steadiness"), tool=FAKED, FAKE_MAP="umap") as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(served.images))
            page.locator("#generate").click()
            expect(page.locator("#clusters-status strong")).to_contain_text("24 failures", timeout=WAIT)
        yield served


def change(served: Served, to: Callable[[RootCauseClusters], RootCauseClusters]) -> RootCauseClusters:
    """Make the run in the folder another one."""
    found = load_clusters(served.out)
    scenes = {"n": 0, "<": 1, "w": 2}  # the names of the snows begin with markup
    labels = np.array([scenes[path[0]] for path in found.paths])
    labels[np.flatnonzero(labels == 2)[0]] = -1
    three = dataclasses.replace(
        found, labels=labels, is_core=labels >= 0, reach=np.ones(3, np.float32), steadiness=None
    )
    clusters = to(three)
    save_clusters(clusters, served.out)
    return clusters


def face(page: Page, rcc: int) -> Locator:
    return page.locator(f"#rcc-list [data-rcc='{rcc}']")


def test_a_loose_rcc_is_marked_and_says_how_often_its_images_are_together(browser, served):
    change(served, steadied)
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status strong")).to_contain_text(" · 1 of 3 is loose")
        expect(face(page, 1)).to_contain_text(re.compile("RCC 1.*loose$"))
        expect(face(page, 1)).to_have_class(re.compile("loose"))
        expect(page.locator("#rcc-list .loose")).to_have_count(1)
        line = page.locator("#rcc-heading .safe-steady")
        expect(line).to_have_text("Steady: two of its images are together in 94% of the clusterings of random parts")
        face(page, -1).click()
        expect(line).to_have_text(
            "1 of them is near an RCC: together with its images in at least 20% of the clusterings"
        )
        expect(page.locator("#rcc-heading .safe-near")).to_have_text(
            "Each of the others fails for a reason of its own, or for a rare one"
        )
        face(page, 1).click()
        expect(line).to_have_text(LOOSE)
        expect(line).to_have_attribute("data-loose", "")
        expect(line).to_have_attribute("title", re.compile(r"Below 75% an RCC is loose"))
        whole, filled = (line.locator(f".safe-steady-bar{part}").bounding_box() for part in ("", " i"))
        assert filled["width"] / whole["width"] == pytest.approx(0.52, abs=0.01)
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text("consensus of 100 random parts")


def test_an_image_between_two_rccs_says_so_in_the_grid_enlarged_and_on_the_map(browser, served):
    clusters = change(served, steadied)
    row = int(np.flatnonzero(clusters.labels == 1)[-1])
    words = place_text(clusters, row)
    assert words.startswith("between RCC 1 and RCC 0")
    with opened(browser, served) as page:
        face(page, 1).click()
        tile = page.locator(f"#grid [data-index='{row}']")
        expect(tile).to_contain_text("near RCC 0")
        expect(tile).to_have_attribute("title", re.compile(words))
        expect(page.locator("#grid [data-index] span")).to_have_count(1)
        expect(page.locator("#rcc-heading")).to_contain_text("1 also near another RCC")
        tile.dblclick()
        expect(page.locator("#grid dialog p")).to_contain_text(words)
        page.locator("#grid dialog").click()
        assert canvas_of(page).evaluate(HOVER, words)


# Points at the map everywhere, until the tooltip says it of an image.
HOVER = """(canvas, words) => {
  const box = canvas.getBoundingClientRect(), tip = document.querySelector("#map .safe-map-tip span");
  for (let y = box.top; y < box.bottom; y += 4) for (let x = box.left; x < box.right; x += 4) {
    canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
    if (tip.textContent.endsWith(words)) return true;
  }
  return false;
}"""


def test_an_rcc_that_was_merged_is_said_to_be_changed(browser, served):
    change(served, steadied)
    with opened(browser, served) as page:
        face(page, 1).click()
        expect(page.locator("#rcc-heading .safe-steady")).to_have_text(LOOSE)
        page.locator("#merge").click()
        line = page.locator("#rcc-heading .safe-steady")
        expect(line).to_have_text("Changed by hand: how steady it is now is not known")
        expect(line.locator(".safe-steady-bar")).to_have_count(0)
        expect(page.locator("#rcc-list .loose")).to_have_count(0)
        expect(page.locator("#clusters-status strong")).not_to_contain_text("loose")
        page.locator("#undo").click()
        expect(face(page, 1)).to_contain_text(re.compile("RCC 1.*loose$"))


def test_it_is_seen_in_light_and_dark(browser, served):
    change(served, steadied)
    window = browser.new_context(viewport={"width": 1280, "height": 900})
    page = window.new_page()
    for theme in ("light", "dark"):
        page.goto(f"{served.url}/?__theme={theme}")
        face(page, 1).click()
        expect(page.locator("#rcc-heading .safe-steady")).to_have_text(LOOSE)
        fill, ground = (
            page.locator(f"#rcc-heading .safe-steady-bar{part}").evaluate("e => getComputedStyle(e).backgroundColor")
            for part in (" i", "")
        )
        assert contrast(fill, ground) >= 3, theme  # WCAG 2.1, 1.4.11
        assert serious(page) == []
    window.close()


def contrast(one: str, other: str) -> float:
    """Of two colours, by WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = np.array([float(part) for part in re.findall(r"[\d.]+", colour)[:3]]) / 255
        return float(
            np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_run_without_steady_groups_says_so_and_what_to_do(browser, served):
    clusters = change(served, without_steady_groups)
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status strong")).to_contain_text(
            "No root cause clusters in 24 failures: no steady groups"
        )
        expect(page.locator("#rcc-heading h2")).to_have_text("No cluster")
        expect(page.locator("#rcc-heading .safe-unsteady")).to_have_text(no_steady_groups_text(clusters))
        expect(page.locator("#rcc-heading")).not_to_contain_text("a reason of its own")
        expect(page.locator("#grid-title")).to_contain_text("24 images, the most typical first")
        expect(page.locator("#rcc-heading .safe-steady")).to_have_count(0)


def test_a_run_of_an_older_version_is_shown_without_it(browser, served):
    change(served, lambda clusters: clusters)
    with opened(browser, served) as page:
        expect(page.locator("#rcc-heading h2")).to_have_text("RCC 0")
        expect(page.locator("#grid [data-index]").first).to_be_visible()
        expect(page.locator(".safe-steady, .safe-unsteady, #rcc-list .loose, #grid [data-index] span")).to_have_count(0)
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text("became RCCs")
        expect(page.locator("#why")).not_to_contain_text("random parts")
        assert "loose" not in page.locator("#clusters-status").inner_text()
