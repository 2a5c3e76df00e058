"""A fresh test set on the page: fields, a button, the answers, and all of it there again in another window."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.helpers.answered import draw_case
from tests.helpers.browsing import FAKED, field, opened, served_from, unfold


@pytest.mark.slow
def test_a_fresh_test_set_confirms_what_was_found(browser, tmp_path):
    first, fresh = draw_case(tmp_path / "first"), draw_case(tmp_path / "fresh")
    for file in fresh.test.rglob("*.png"):
        pixels = np.array(Image.open(file)).astype(int) + 2
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
    after = fresh.table.with_name("after.csv")  # all nights are right by now
    after.write_text(fresh.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true"))
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page", tool=FAKED) as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(first.failing))
            page.locator("#generate").click()
            expect(page.locator("#spots")).to_contain_text("wrong")
            page.get_by_role("tab", name="Report").click()
            page.locator("#confirm").click()
            expect(page.locator("#report-status")).to_contain_text("Expected a table of predictions")
            field(page, "fresh-predictions").fill(str(fresh.table))
            field(page, "fresh-tested").fill(str(fresh.test))
            field(page, "fresh-after").fill(str(after))
            page.locator("#confirm").click()
            expect(page.locator("#confirmed")).to_contain_text("confirmed. 12 of 12 fresh images are wrong")
            expect(page.locator("#confirmed")).to_contain_text("label = night: reduced. Of 12 images, 12 were wrong")
        with opened(browser, served) as page:
            page.get_by_role("tab", name="Report").click()
            expect(page.locator("#confirmed")).to_contain_text("74 images that chose nothing, 26 of them wrong")
            expect(field(page, "fresh-tested")).to_have_value(str(fresh.test))
