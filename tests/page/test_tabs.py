"""The first two tabs of the real page, in a real browser."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from safe_dnn.rccs.clusters import LABELS_FILE, run_record
from safe_dnn.rccs.unsafe_set import FILENAMES_FILE
from tests.helpers.browsing import (
    MARKUP,
    TOOL,
    WAIT,
    Served,
    chosen,
    field,
    generate,
    give_accuracy,
    new_window,
    opened,
    served_from,
    unfold,
    wait_until,
)
from tests.helpers.places import names_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "example").mkdir()
    (folder / "example" / "accuracy.json").write_text('{"test_accuracy": 0.5, "test_size": 48}')
    with served_from(folder, "--example", folder / "example") as served:
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        yield page


def test_fields_can_be_edited_once_they_are_filled_in_and_not_before(browser, served):
    held: list[Route] = []
    answer = False
    page = new_window(browser)
    page.route("**/queue/join*", lambda route: route.continue_() if answer else held.append(route))
    page.goto(served.url)
    tabs = {
        "Failures": "failures-test", "Root cause clusters": "images", "Unsafe set": "improvement",
        "Labels": "classes-folder", "Retraining": "model",
    }  # fmt: skip
    for tab, name in tabs.items():
        page.get_by_role("tab", name=tab).click()
        expect(field(page, name)).to_be_disabled()
    answer = True
    for route in held:
        route.continue_()
    for tab, name in tabs.items():
        page.get_by_role("tab", name=tab).click()
        expect(field(page, name)).to_be_enabled()
    page.close()


def test_an_empty_analysis_opens_on_the_failures_and_a_tab_that_was_chosen_stays_after_a_reload(browser, served):
    page = new_window(browser)
    page.goto(served.url)
    failures, clusters = (page.get_by_role("tab", name=name) for name in ("Failures", "Root cause clusters"))
    expect(failures).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Failing images alone?").click()
    expect(field(page, "images")).to_be_focused()
    page.reload()
    expect(page.locator("#clusters-status")).to_contain_text("What do you have?")
    expect(clusters).to_have_attribute("aria-selected", "true")
    page.context.close()


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_address_chooses_the_tab_and_a_click_the_address_on_a_phone_as_well(browser, served, size):
    page = new_window(browser, viewport=dict(zip(("width", "height"), size, strict=True)))
    page.goto(f"{served.url}/#tab=safety_case")
    inside, tabs = page.locator("[role=tab][aria-selected=true]"), page.get_by_role("tab")
    expect(inside).to_have_text("Safety case")
    expect(tabs.filter(visible=True)).to_have_count(7)
    page.get_by_role("tab", name="Unsafe set").click()
    expect(page).to_have_url(re.compile("#tab=unsafe$"))
    page.reload()
    expect(field(page, "improvement")).to_be_visible()
    page.go_back()
    expect(inside).to_have_text("Safety case")
    page.context.close()


@pytest.fixture(scope="module")
def generated(browser: Browser, served: Served) -> Served:
    """The page after the first click: clusters in the output folder."""
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status")).to_contain_text("What do you have?")
        unfold(page)
        page.locator("#example-images").click()
        expect(field(page, "images")).to_have_value(str(served.out.parent / "example" / "failures"))
        field(page, "images").fill("/no/<b>where")
        page.locator("#generate").click()
        alert = page.locator("#clusters-status [role=alert]")
        expect(alert).to_contain_text("Expected an image folder. Received: /no/<b>where (No such file")
        expect(page.locator("#clusters-status .safe-empty li")).to_have_count(2)  # what to do stays in sight
        page.reload()
        expect(field(page, "images")).to_have_value("/no/<b>where")
        generate(page, served.images)
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text("Using vgg16-conv instead of vgg16")
    return served


# --- Start-up ---------------------------------------------------------------------------------------------------


def test_the_page_answers_without_tensorflow(tmp_path):
    with served_from(tmp_path, tool=TOOL) as served:
        assert httpx.get(served.url, timeout=WAIT / 1000).status_code == 200
        libraries = Path(f"/proc/{served.process}/maps").read_text()
    assert "numpy" in libraries
    assert "tensorflow" not in libraries


# --- First tab --------------------------------------------------------------------------------------------------


def test_the_last_run_is_shown_with_an_animated_gif_and_names_as_text_and_stays_after_an_error(generated, page):
    expect(page.locator("#clusters-status .safe-status")).to_contain_text("of 24 failures")
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")
    expect(field(page, "images")).to_have_value(str(generated.images))
    lines = (generated.out / LABELS_FILE).read_text().splitlines()
    size = sum(line.startswith("0\t") for line in lines)
    expect(page.locator("#reason-heading")).to_contain_text(f"{size} images · ")
    shown = page.locator("#reason-gif img")
    expect(shown).not_to_have_js_property("naturalWidth", 0)
    with Image.open(io.BytesIO(page.request.get(shown.evaluate("image => image.currentSrc")).body())) as gif:
        assert (gif.format, gif.is_animated, gif.n_frames) == ("GIF", True, size)
    rcc = next(int(line.split("\t")[0]) for line in lines if MARKUP.format(0) in line)
    page.locator(f"#reason-list [data-rcc='{rcc}']").click()
    expect(page.locator("#rcc-sample")).to_contain_text("<img src=x onerror")
    assert page.locator("img[onerror]").count() == 0
    unfold(page)
    field(page, "images").fill("")
    page.locator("#generate").click()
    alert = page.get_by_role("alert").filter(visible=True)
    expect(alert).to_contain_text("Expected an image folder. Received: nothing.")
    expect(page.locator("#generate")).to_be_enabled()
    assert (generated.out / LABELS_FILE).read_text().splitlines() == lines


def test_an_extractor_and_a_precision_chosen_under_more_options_are_those_that_are_used(generated, page):
    expect(page.locator("#reason-heading")).to_contain_text("RCC 0")
    unfold(page)
    page.get_by_role("button", name="More options").click()
    expect(field(page, "precision")).to_have_value(re.compile("^auto: "))
    chosen(page, "precision", "bfloat16: half of the time")
    chosen(page, "extractor", "vgg16-conv: the mean of each channel")
    page.locator("#generate").click()
    wait_until(lambda: "bfloat16" in run_record(generated.out)["extractor"]["identity"])
    expect(page.locator("#generate")).to_be_enabled(timeout=WAIT)
    assert run_record(generated.out)["extractor"]["name"] == "vgg16-conv"


def test_every_input_has_a_label_and_a_hint(served):
    inputs = [
        part["props"]
        for part in httpx.get(f"{served.url}/config", timeout=WAIT / 1000).json()["components"]
        if part["type"] in ("textbox", "dropdown", "radio", "checkbox", "number", "slider")
        and part["props"].get("visible") != "hidden"
    ]
    assert len(inputs) > 20
    for part in inputs:
        assert part["label"], part
        assert part.get("info") or part.get("placeholder"), part["label"]


# --- Second tab -------------------------------------------------------------------------------------------------


def test_an_improvement_folder_becomes_the_unsafe_set_that_the_list_and_the_grid_show(generated, page):
    page.get_by_role("tab", name="Unsafe set").click()
    give_accuracy(page, "0.5")
    field(page, "improvement").fill(str(generated.improvement))
    page.locator("#select").click()
    expect(page.locator("#unsafe-status strong")).to_contain_text("8 of 18 improvement images selected")
    # 24 failing images are half of 48; 0.3 · 48 · 0.5 = 7.2
    expect(field(page, "set-size")).to_have_attribute("placeholder", "8, by the formula")
    expect(page.locator("#unsafe-status")).to_contain_text("N = ⌈factor 0.3 · test-set size 48 · accuracy 0.5⌉ = 8")
    expect(page.locator("#unsafe-status")).to_contain_text(str(generated.out / FILENAMES_FILE))
    names = (generated.out / FILENAMES_FILE).read_text().splitlines()
    assert len(set(names)) == 8
    assert set(names) <= set(names_in(generated.improvement))

    shown, of_rccs = page.locator("#selected-grid [data-index] img"), page.locator("#unsafe-rccs [data-opens]")
    expect(shown).to_have_count(8)
    assert [image.get_attribute("alt") for image in shown.all()] == names
    assert sum(int(count) for count in of_rccs.all_inner_texts()[1:]) == 8
    of_rccs.nth(1).click()
    expect(shown).to_have_count(int(of_rccs.nth(1).inner_text()))
