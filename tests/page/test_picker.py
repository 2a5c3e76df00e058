"""The dialog that chooses a path, in a real browser: by keyboard and by mouse, of any name, in light and dark."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from page.picker import MODEL, TABLE, Kind
from tests.helpers.browsing import FAKED, Served, field, opened, served_from
from tests.page.test_accessibility import serious

NO_UTF8 = "caf\udce9"  # the byte E9


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind(True), "a folder"),
        (TABLE, "a .csv file"),
        (Kind(True, (".txt",)), "a folder or a .txt file"),
        (MODEL, "a .keras, .h5, .hdf5 or .onnx file"),
    ],
)
def test_what_a_field_takes_is_said_in_words(kind, words):
    assert kind.words == words


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("picker")
    with served_from(folder, "--root", folder, tool=FAKED) as served:
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
        at_hand = dialog.locator("[aria-selected=true] bdi")
        typed = str(served.images / "gone")
        expect(field(page, "images")).to_be_enabled()
        field(page, "images").fill(typed)
        page.keyboard.press("Tab")
        expect(button(page, "images")).to_be_focused()
        page.keyboard.press("Enter")
        expect(place).to_have_text("failing")
        expect(dialog.get_by_role("status")).to_contain_text("does not exist: this is the nearest folder")
        expect(dialog.get_by_role("option")).to_have_count(1)
        page.keyboard.press("ArrowLeft")
        expect(place).to_have_text(root.name)
        expect(at_hand).to_have_text("failing")  # where one came from
        expect(dialog.get_by_role("option", name="failing")).to_contain_text("24 images")
        assert "link" not in dialog.inner_text()
        for theme in ("light", "dark"):
            page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
            page.wait_for_timeout(300)  # colours change by degrees
            assert serious(page) == []
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button(page, "images")).to_be_focused()
        expect(field(page, "images")).to_have_value(typed)

        page.keyboard.press("Enter")
        page.keyboard.type("AF")
        expect(at_hand).to_have_text("caf\ufffd")
        page.keyboard.press("ArrowRight")
        expect(place).to_have_text("caf\ufffd")
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
        dialog.get_by_role("option").locator("i").click()
        expect(place).to_have_text("<b>last year")
        expect(dialog.get_by_role("option")).to_have_text(["net.keras", "net.onnx"])
        expect(dialog.get_by_role("button", name="Use")).to_be_disabled()
        dialog.get_by_role("option", name="net.onnx").click()
        dialog.get_by_role("button", name="Use net.onnx").click()
        expect(field(page, "failures-model")).to_have_value(str(root / "models" / "<b>last year" / "net.onnx"))
        expect(button(page, "failures-model")).to_be_focused()
