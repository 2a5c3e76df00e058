"""How steady RCCs are, on the real page, in a real browser."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from rccs.clusters import load_clusters, save_clusters
from rccs.confidence import confidence_text, place_text
from tests.helpers.browsing import FAKED, generate, opened, served_from
from tests.helpers.steadied import steadied
from tests.page.test_accessibility import serious


@pytest.mark.slow
def test_a_loose_rcc_is_marked_and_says_how_often_its_images_are_together(browser, tmp_path):
    with served_from(tmp_path, tool=FAKED) as served:
        with opened(browser, served) as page:
            generate(page, served)
        clusters = steadied(load_clusters(served.out))
        save_clusters(clusters, served.out)
        with opened(browser, served) as page:
            expect(page.locator("#clusters-status strong")).to_contain_text(" · 1 of 3 is loose")
            loose = page.locator("#rcc-list [data-rcc='1']")
            expect(loose).to_contain_text(re.compile("RCC 1.*loose$"))
            expect(loose).to_have_class(re.compile("loose"))
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
            loose.click()
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
