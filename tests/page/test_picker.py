"""The dialog that chooses a path, in a real browser: by keyboard and by mouse, of any name, in light and dark."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browsing import Served, field, opened, served_from
from tests.page.test_accessibility import serious

NO_UTF8 = "caf\udce9"  # the byte E9


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("picker")
    with served_from(folder, "--root", folder) as served:
        models = folder / "models" / "<b>last year"
        models.mkdir(parents=True)
        for name in ("net.keras", "net.onnx", "notes.txt"):
            (models / name).touch()
        (folder / "link").symlink_to("/etc")
        yield served


def button(page: Page, name: str):
    return page.locator(f"#{name} > .safe-browse")


@pytest.mark.slow
def test_an_image_folder_is_chosen_by_keyboard_and_a_model_by_mouse(browser, served):
    root = served.images.parent
    inner = served.images / NO_UTF8
    inner.mkdir()
    with opened(browser, served) as page:
        dialog, place = page.locator("#picker dialog"), page.locator("#picker nav b")
        at_hand = dialog.locator("option:checked")
        typed = str(served.images / "gone")
        expect(field(page, "images")).to_be_enabled()
        field(page, "images").fill(typed)
        page.keyboard.press("Tab")
        expect(button(page, "images")).to_be_focused()
        page.keyboard.press("Enter")
        expect(place).to_have_text("failing")
        expect(dialog.get_by_role("status")).to_contain_text("does not exist: this is the nearest folder")
        expect(dialog.get_by_role("status")).to_contain_text("24 images")
        expect(dialog.get_by_role("option")).to_have_text(["caf\ufffd/"])
        page.keyboard.press("Backspace")
        expect(place).to_have_text(root.name)
        expect(at_hand).to_have_text("failing/")  # where one came from
        assert "link" not in dialog.inner_text()
        assert serious(page) == []
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button(page, "images")).to_be_focused()
        expect(field(page, "images")).to_have_value(typed)

        page.keyboard.press("Enter")
        expect(place).to_have_text("failing")
        page.keyboard.press("c")
        expect(at_hand).to_have_text("caf\ufffd/")
        page.keyboard.press("Enter")
        expect(place).to_have_text("caf\ufffd")
        expect(dialog.get_by_role("button", name="Use caf")).to_be_enabled()
        page.keyboard.press("Enter")  # the folder itself
        expect(dialog).to_be_hidden()
        expect(button(page, "images")).to_be_focused()
        chosen = page.evaluate("JSON.stringify(document.querySelector('#images textarea').value)")
        assert json.loads(chosen) == str(inner)
        page.locator("#generate").click()
        expect(page.locator("#clusters-status")).to_contain_text("Received no images")  # and it is found

        page.get_by_role("tab", name="Failures").click()
        button(page, "failures-model").click()
        expect(place).to_have_text("caf\ufffd")  # where one was last
        dialog.get_by_role("button", name=root.name).click()
        dialog.get_by_role("option", name="models").dblclick()
        expect(place).to_have_text("models")
        dialog.get_by_role("option").click()
        dialog.get_by_role("button", name="Open").click()
        expect(place).to_have_text("<b>last year")
        expect(dialog.get_by_role("option")).to_have_text(["net.keras", "net.onnx"])
        expect(dialog.get_by_role("button", name="Use")).to_be_disabled()
        dialog.get_by_role("option", name="net.onnx").click()
        dialog.get_by_role("button", name="Use net.onnx").click()
        expect(field(page, "failures-model")).to_have_value(str(root / "models" / "<b>last year" / "net.onnx"))
        expect(button(page, "failures-model")).to_be_focused()
