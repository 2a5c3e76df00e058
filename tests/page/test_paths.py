"""Paths that are suggested while one is typed, in a real browser."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browsing import field, opened, served_from


def suggested(page: Page) -> list[str]:
    return page.locator("#suggested-paths option").evaluate_all("all => all.map(({ value }) => value)")


@pytest.mark.slow
def test_what_lies_in_the_folder_that_is_typed_is_suggested_and_nothing_outside_the_root(browser: Browser, tmp_path):
    models = tmp_path / "models" / "<b>last year"
    models.mkdir(parents=True)
    for name in ("net.keras", "net.onnx", "notes.txt"):
        (models / name).touch()
    (tmp_path / "link").symlink_to("/etc")
    with served_from(tmp_path, "--root", tmp_path) as served, opened(browser, served) as page:
        images = field(page, "images")
        expect(images).to_be_enabled()
        images.focus()
        expect(page.locator(f"#suggested-paths option[value='{served.images}/']")).to_have_count(1)
        assert images.evaluate("(field) => field.list.id") == "suggested-paths"
        assert f"{tmp_path}/link/" not in suggested(page)
        images.fill("/etc/")
        expect(page.locator("#suggested-paths option")).to_have_count(0)
        page.get_by_role("tab", name="Failures").click()
        model = field(page, "failures-model")
        model.fill(f"{tmp_path}/mo")
        expect(page.locator(f"#suggested-paths option[value='{tmp_path}/models/']")).to_have_count(1)
        model.fill(f"{models}/")
        expect(page.locator("#suggested-paths option")).to_have_count(2)
        assert suggested(page) == [f"{models}/net.keras", f"{models}/net.onnx"]
