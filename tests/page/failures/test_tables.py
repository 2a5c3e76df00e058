"""A table alone, without images, in the first tab of the real page."""

import shutil

import pytest
from playwright.sync_api import expect

from tests.helpers.answered import draw_case, record_light
from tests.helpers.browsing import field, opened, served_from, unfold_in_sight
from tests.page.test_accessibility import serious

pytestmark = pytest.mark.slow


def test_a_table_without_images_has_reasons_and_curves_also_in_a_window_that_is_opened_later(browser, tmp_path):
    case = draw_case(tmp_path / "case")
    table = shutil.copy(case.table, tmp_path / "answers.csv")
    light = record_light(tmp_path / "known.csv")
    shutil.rmtree(tmp_path / "case")
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page") as served:
        with opened(browser, served) as page:
            page.get_by_role("tab", name="Failures").click()
            expect(field(page, "failures-test")).to_be_enabled()
            page.locator("#failures-kind").get_by_text("Table of its answers").click()
            field(page, "failures-answers").fill(str(table))
            field(page, "failures-parameters").fill(str(light))
            page.locator("#collect").click()
            check(page)
            assert serious(page) == []
        with opened(browser, served) as page:
            page.get_by_role("tab", name="Failures").click()
            check(page)
            unfold_in_sight(page)
            expect(field(page, "failures-parameters")).to_have_value(str(light))
            page.get_by_role("tab", name="Root cause clusters").click()
            expect(page.locator("#clusters-status")).to_contain_text("Clusters need images")
            page.get_by_role("tab", name="Report").click()
            page.locator("#report").click()
            expect(page.locator("#report-state")).to_contain_text("Written on")
    assert "light &lt; 0.8065" in (served.out / "report.html").read_text()
    assert list((served.out / "failures").glob("[!.]*")) == []


def check(page):
    """The headline, the reasons, the curve and no picture."""
    expect(page.locator("#failures-status")).to_contain_text("26 failing images of 74")
    expect(page.locator("#failures-status")).to_contain_text("No images were given")
    expect(page.locator("#failures-reasons .safe-card").first).to_contain_text("light < 0.806596%25 of 26 wrong")
    expect(page.locator("#failing-title .safe-curve")).to_contain_text("How often it is wrong, by light")
    expect(page.locator("#matrix tbody tr")).to_have_count(3)
    expect(page.locator("#failures-pane img[src]")).to_have_count(0)
    expect(page.locator("#find-reasons")).to_be_disabled()
