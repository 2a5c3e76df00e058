"""How steady RCCs are, on the real page, in a real browser."""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from rccs.clusters import RootCauseClusters, load_clusters, save_clusters
from rccs.confidence import confidence_text, place_text
from tests.helpers.browsing import FAKED, WAIT, Served, field, opened, served_from, unfold
from tests.helpers.steadied import steadied
from tests.page.test_accessibility import serious

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("steadiness"), tool=FAKED, FAKE_MAP="umap") as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(served.images))
            page.locator("#generate").click()
            expect(page.locator("#clusters-status strong")).to_contain_text("24 failures", timeout=WAIT)
        yield served


def make_steady(served: Served) -> RootCauseClusters:
    """A run of which it is known how steady its RCCs are."""
    found = load_clusters(served.out)
    scenes = {"n": 0, "<": 1, "w": 2}  # the names of the snows begin with markup
    labels = np.array([scenes[path[0]] for path in found.paths])
    labels[np.flatnonzero(labels == 2)[0]] = -1
    three = dataclasses.replace(
        found, labels=labels, is_core=labels >= 0, reach=np.ones(3, np.float32), steadiness=None
    )
    clusters = steadied(three)
    save_clusters(clusters, served.out)
    return clusters


def face(page: Page, rcc: int) -> Locator:
    return page.locator(f"#rcc-list [data-rcc='{rcc}']")


def test_a_loose_rcc_is_marked_and_says_how_often_its_images_are_together(browser, served):
    clusters = make_steady(served)
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status strong")).to_contain_text(" · 1 of 3 is loose")
        expect(face(page, 1)).to_contain_text(re.compile("RCC 1.*loose$"))
        expect(face(page, 1)).to_have_class(re.compile("loose"))
        expect(page.locator("#rcc-list .loose")).to_have_count(1)
        line = page.locator("#rcc-heading .safe-steady")
        expect(line).to_have_text(confidence_text(clusters, 0))
        for width, height in ((1440, 900), (1366, 768)):
            page.set_viewport_size({"width": width, "height": height})
            page.locator("#rcc-verdict").get_by_text("Unclear", exact=True).click()
            note = page.locator("#rcc-says").bounding_box()
            assert note["y"] + note["height"] <= height
            for judged in (page.locator("#rcc-gif"), page.locator("#rcc-sample"), line):
                box = judged.bounding_box()
                assert 0 < box["y"] <= box["y"] + box["height"] <= note["y"]
        face(page, -1).click()
        expect(line).to_have_text(confidence_text(clusters, -1))
        expect(page.locator("#rcc-heading .safe-near")).to_have_text(
            "Each of the others fails for a reason of its own, or for a rare one"
        )
        face(page, 1).click()
        expect(line).to_have_text(confidence_text(clusters, 1))
        assert serious(page) == []
        expect(line).to_have_attribute("data-loose", "")
        expect(line).to_have_attribute("title", re.compile(r"Below 75% an RCC is loose"))
        whole, filled = (line.locator(f".safe-steady-bar{part}").bounding_box() for part in ("", " i"))
        assert filled["width"] / whole["width"] == pytest.approx(0.52, abs=0.01)
        row = int(np.flatnonzero(clusters.labels == 1)[-1])
        tile = page.locator(f"#grid [data-index='{row}']")
        expect(tile).to_contain_text("near RCC 0")
        expect(tile).to_have_attribute("title", re.compile(place_text(clusters, row)))
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text("consensus of 100 random parts")
