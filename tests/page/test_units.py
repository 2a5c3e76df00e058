"""A table with several rows for an image, from failures to the report, in the real page."""

import pytest
from playwright.sync_api import expect

from safe_dnn.rccs.review.review import load_review
from tests.helpers.answered import draw_case, record_light
from tests.helpers.browsing import opened, served_from
from tests.page.failures.test_tab import collect

pytestmark = pytest.mark.slow


def test_units_are_tested_by_row_and_grouped_by_image_up_to_the_report(browser, tmp_path):
    case = draw_case(tmp_path / "case")
    record_light(case.test / "parameters.csv")
    rows = [line.split(",") for line in case.table.read_text().splitlines()[1:]]
    units = [
        f"{image},{unit},yes,{'no' if right == 'false' and (unit == 'car' or scene == 'night') else 'yes'}"
        for image, scene, *_, right in rows
        for unit in ("car", "sky")
    ]
    case.table.write_text("\n".join(["image,unit,label,predicted", *units]))
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page") as served, opened(browser, served) as page:
        page.get_by_role("tab", name="Failures").click()
        collect(page, case.table, case.test)
        expect(page.locator("#failures-status strong").last).to_contain_text("38 failing units of 148")
        expect(page.locator("#failures-reasons .safe-card").first).to_contain_text("unit = car and light < 0.8065")
        expect(page.locator("#failures-pane")).to_contain_text("The units are of 74 full images")
        expect(page.locator("#matrix tbody tr")).to_have_count(1)  # no unit is truly absent
        expect(page.locator("#class-rates tbody tr")).to_contain_text("yes38 of 148")
        page.get_by_text("What was assumed").first.click()
        expect(page.locator("#failures-assumed")).to_contain_text("The test images are 148 units of 74 images")
        page.locator("#find-reasons").click()
        expect(page.locator("#clusters-status .safe-status")).to_contain_text("Most failures")
        page.locator("#reason-list .safe-card", has_text="light < 0.8065").first.click()
        expect(page.locator("#reason-heading")).to_contain_text("25 of 26 test units (of 26 full images) are wrong")
        page.locator("#reason-list .safe-card", has_text="light < 0.5").click()
        expect(page.locator("#reason-heading")).to_contain_text("24 of 24 test units (of 12 full images) are wrong")
        assert len(load_review(served.out).clusters.paths) == 38
        page.get_by_role("tab", name="Report").click()
        page.locator("#report").click()
        expect(page.locator("#report-state")).to_contain_text("Written on")
    report = (served.out / "report.html").read_text()
    assert "The units are of 74 full images" in report
    assert "(of 12 full images)" in report
    assert ": 148 units" in report
    assert "failing units" in report
    assert "of all 148 test units are wrong" in report
    assert "full_image is left out" not in report
