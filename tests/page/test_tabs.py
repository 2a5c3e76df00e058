"""The first two tabs of the real page, in a real browser."""

import dataclasses
import io
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from features.extractor import EXTRACTORS, PRECISIONS
from page.clusters_form import EXTRACTOR_MEANINGS, PRECISION_MEANINGS, requested_extractor, requested_precision
from support.run_folder import FILENAMES_FILE, LABELS_FILE, NOTES_FILE, RUN_FILE, SELECTION_FILE
from tests.helpers.browsing import MARKUP, WAIT, Served, field, generate, opened, served_from, unfold, wait_until
from tests.helpers.places import names_in


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("page")) as served:
        yield served


class Start(NamedTuple):
    seconds: float  # of a processor
    libraries: str


@pytest.fixture(scope="module")
def start(served: Served) -> Start:
    """What it took until the page had answered."""
    assert httpx.get(served.url, timeout=WAIT / 1000).status_code == 200
    status = Path(f"/proc/{served.process}/stat").read_text().rpartition(")")[2].split()
    ticks = int(status[11]) + int(status[12])  # in the process and in the kernel for it
    return Start(ticks / os.sysconf("SC_CLK_TCK"), Path(f"/proc/{served.process}/maps").read_text())


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        yield page


@pytest.mark.slow
def test_fields_can_be_edited_once_they_are_filled_in_and_not_before(browser, served):
    held: list[Route] = []
    answer = False
    page = browser.new_page()
    page.route("**/queue/join*", lambda route: route.continue_() if answer else held.append(route))
    page.goto(served.url)
    tabs = {
        "Failures": "failures-test",
        "Root cause clusters": "images",
        "Unsafe set": "improvement",
        "Labels": "classes-folder",
        "Retraining": "model",
    }
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


@pytest.fixture(scope="module")
def generated(browser: Browser, served: Served, start: Start) -> Served:
    """The page after the first click: clusters in the output folder."""
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status")).to_contain_text("No root cause clusters yet")
        unfold(page)
        field(page, "images").fill("/nowhere")
        page.locator("#generate").click()
        expect(page.locator("#clusters-status [role=alert]")).to_contain_text("/nowhere")
        expect(page.locator("#clusters-status .safe-empty li")).to_have_count(3)  # what to do stays in sight
        generate(page, served)
        expect(page.locator("#clusters-status")).to_contain_text("Using vgg16-conv instead of vgg16")
    return served


@pytest.fixture
def fetched(page: Page) -> Callable[[str], bytes]:
    """`fetched("#rcc-gif img")`: the bytes of the image that an element shows."""

    def fetch(selector: str) -> bytes:
        image = page.locator(selector)
        expect(image).to_have_attribute("src", re.compile("."))
        expect(image).not_to_have_js_property("naturalWidth", 0)
        return page.request.get(image.evaluate("image => image.currentSrc")).body()

    return fetch


def heading_of(page: Page) -> tuple[str, int]:
    """Name and size of the RCC that is shown, for example ("RCC 0", 10)."""
    text = page.locator("#rcc-heading").inner_text()
    found = re.search(r"(RCC \d+|No cluster)\s+(\d+) images? · [\d.]+ ?% of all failing images", text)
    assert found, text
    return found[1], int(found[2])


def open_unsafe_tab(page: Page) -> None:
    page.get_by_role("tab", name="Unsafe set").click()
    expect(page.locator("#improvement")).to_be_visible()


def select(page: Page, folder: Path, accuracy: str) -> None:
    """Fill in the second tab, click, and wait until it is done."""
    field(page, "improvement").fill(str(folder))
    field(page, "accuracy").fill(accuracy)
    page.locator("#select").click()
    page.wait_for_timeout(500)  # until the page has heard of the click
    expect(page.locator("#select")).to_be_enabled(timeout=WAIT)


def sizes_in(folder: Path) -> list[int]:
    """Images of each RCC, by `labels.txt`."""
    labels = [int(line.split("\t")[0]) for line in (folder / LABELS_FILE).read_text().splitlines()]
    return [labels.count(rcc) for rcc in range(max(labels) + 1)]


# --- Start-up ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_answers_with_less_than_twice_the_work_of_loading_gradio_and_without_tensorflow(start):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    gradio = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Not seconds: those of the same work double where other programs use the processor
    assert start.seconds < 2 * gradio, f"{start.seconds:.2f} s, and {gradio:.2f} s for Gradio"
    assert "numpy" in start.libraries
    assert "tensorflow" not in start.libraries


# --- First tab --------------------------------------------------------------------------------------------------


def test_the_gif_shown_is_animated_with_a_frame_for_each_image_of_the_rcc(generated, page, fetched):
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    name, size = heading_of(page)
    assert (name, size) == ("RCC 0", sizes_in(generated.out)[0])
    with Image.open(io.BytesIO(fetched("#rcc-gif img"))) as gif:
        assert gif.format == "GIF"
        assert gif.is_animated
        assert gif.n_frames == size


@pytest.mark.slow
def test_another_rcc_is_chosen_in_the_bar_along_the_bottom(generated, page, fetched):
    sizes = sizes_in(generated.out)
    assert len(sizes) >= 2
    faces = page.locator("#rcc-list .safe-card")
    expect(faces.first).to_be_visible()
    assert faces.count() >= len(sizes)
    faces.nth(1).click()
    expect(page.locator("#rcc-heading h2")).to_have_text("RCC 1")
    assert heading_of(page) == ("RCC 1", sizes[1])
    expect(page.locator("#rcc-sample button.thumbnail-item")).to_have_count(min(5, sizes[1]))
    expect(page.locator("#rcc-gif img")).to_have_attribute("src", re.compile(r"RCC_01\.gif"))
    with Image.open(io.BytesIO(fetched("#rcc-gif img"))) as gif:
        assert gif.n_frames == sizes[1]


@pytest.mark.slow
def test_of_clicks_on_rccs_in_quick_succession_the_last_one_counts(generated, page):
    faces = page.locator("#rcc-list .safe-card")
    expect(page.locator("#grid-title")).to_contain_text("RCC 0")
    for last, pause in ((1, 0), (0, 20), (1, 40), (0, 30)):  # milliseconds; an answer takes some 100
        faces.nth(1 - last).click()
        page.wait_for_timeout(pause)
        faces.nth(last).click()
        expect(page.locator("#grid-title")).to_contain_text(f"RCC {last}")
        page.wait_for_timeout(200)  # for whatever else may be on its way
        expect(page.locator("#grid-title")).to_contain_text(f"RCC {last}")
        expect(page.locator("#rcc-heading h2")).to_have_text(f"RCC {last}")
        expect(page.locator("#rcc-list .safe-card.selected")).to_contain_text(f"RCC {last}")


@pytest.mark.slow
def test_images_clicked_in_quick_succession_are_all_selected(generated, page):
    expect(page.locator("#grid-title")).to_contain_text("RCC 0")
    tiles = page.locator("#grid [data-index]")
    for number in range(5):
        tiles.nth(number).click()
    expect(page.locator("#move-to")).to_contain_text("5 images selected")
    page.wait_for_timeout(300)
    expect(page.locator("#move-to")).to_contain_text("5 images selected")


@pytest.mark.slow
def test_a_name_and_a_verdict_are_on_the_card_at_once_and_again_after_a_reload(generated, page):
    faces = page.locator("#rcc-list .safe-card")
    expect(page.locator("#grid-title")).to_contain_text("RCC 0")
    first = faces.first.evaluate_handle("face => face")
    faces.nth(1).click()
    expect(page.locator("#rcc-heading h2")).to_have_text("RCC 1")
    field(page, "rcc-name").fill("<i>snow</i>")
    field(page, "rcc-note").focus()
    expect(faces.nth(1).locator("b")).to_have_text("<i>snow</i>")
    page.locator("#rcc-verdict").get_by_text("Unclear").click()
    expect(faces.nth(1).locator(".safe-chip")).to_have_text("? unclear")
    assert first.evaluate("face => face.isConnected")  # no picture was built anew
    page.reload()  # and so it is when the cards are drawn again; the address says which one was at hand
    expect(faces.nth(1)).to_contain_text(re.compile(r"^<i>snow</i>RCC 1 · \d+ images · \d+%.*\? unclear$"))
    expect(page.locator("#rcc-heading h2")).to_have_text("RCC 1")
    expect(field(page, "rcc-name")).to_have_value("<i>snow</i>")
    field(page, "rcc-name").fill("")
    page.locator("#rcc-verdict").get_by_text("Not judged", exact=True).click()  # leaves the field, too
    expect(faces.nth(1).locator("b")).not_to_have_text("<i>snow</i>")
    expect(faces.nth(1).locator(".safe-chip")).to_have_count(0)


def test_a_reload_shows_the_last_run(generated, page):
    page.reload()
    expect(page.locator("#clusters-status strong")).to_contain_text("of 24 failures")
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    expect(field(page, "images")).to_have_value(str(generated.images))


def test_markup_in_file_names_is_shown_as_text(generated, page):
    rcc = next(
        int(line.split("\t")[0])
        for line in (generated.out / LABELS_FILE).read_text().splitlines()
        if MARKUP.format(0) in line
    )
    page.locator("#rcc-list .safe-card").nth(rcc).click()
    expect(page.locator("#rcc-heading")).to_contain_text(f"RCC {rcc}" if rcc >= 0 else "No cluster")
    expect(page.locator("#rcc-sample")).to_contain_text("<img src=x onerror")
    assert page.locator("img[onerror]").count() == 0
    assert page.title() == "SAFE"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "Expected an image folder. Received: nothing."),
        ("/no/such/<b>folder</b>", "Expected an image folder. Received: /no/such/<b>folder</b> (No such file"),
    ],
)
def test_a_bad_folder_is_a_readable_error_and_the_last_run_stays(generated, page, typed, message):
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    before = (generated.out / LABELS_FILE).read_bytes()
    unfold(page)
    field(page, "images").fill(typed)
    page.locator("#generate").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text(message)
    expect(page.locator("#rcc-heading")).to_be_visible()
    expect(page.locator("#generate")).to_be_enabled()
    assert (generated.out / LABELS_FILE).read_bytes() == before


@pytest.mark.slow
def test_an_extractor_chosen_under_more_options_is_the_one_that_is_used(generated, page):
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    before = (generated.out / LABELS_FILE).read_bytes()
    unfold(page)
    page.get_by_role("button", name="More options").click()
    expect(page.locator("#extractor input[value=auto]")).to_be_checked()
    page.locator("#extractor").get_by_text("vgg16-fc2: the paper's 4,096 features alone").click()
    unfold(page)
    page.locator("#generate").click()
    alert = page.get_by_role("alert").filter(visible=True)
    expect(alert).to_contain_text("VGG16's ImageNet weights could not be downloaded", timeout=WAIT)
    expect(page.locator("#generate")).to_be_enabled()
    assert (generated.out / LABELS_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("extractor", "notice", "expected"),
    [
        ("vgg16", "", "auto"),
        ("vgg16-conv", "Using vgg16-conv instead of vgg16.", "auto"),
        ("vgg16-conv", "", "vgg16-conv"),
        ("vgg16-fc2", "", "vgg16-fc2"),  # also what an older version chose by itself
    ],
)
def test_the_form_keeps_the_extractor_of_a_run(clusters, extractor, notice, expected):
    run = dataclasses.replace(clusters, notice=notice, projection=clusters.projection._replace(extractor=extractor))
    assert requested_extractor(run) == expected


def test_every_extractor_and_precision_has_a_sentence_in_the_form():
    assert tuple(EXTRACTOR_MEANINGS) == EXTRACTORS
    assert set(PRECISION_MEANINGS) == set(PRECISIONS)


@pytest.mark.parametrize(
    ("identity", "here", "expected"),
    [
        ("vgg16-conv-4224-0-float32", set(), "auto"),
        ("vgg16-conv-4224-0-float32", {"amx_bf16"}, "float32"),
        ("vgg16-conv-4224-0-tiles-bfloat16", {"avx512_bf16"}, "auto"),
        ("vgg16-conv-4224-0-tiles-bfloat16", set(), "bfloat16"),
    ],
)
def test_the_form_keeps_the_precision_of_a_run(clusters, monkeypatch, identity, here, expected):
    monkeypatch.setattr("features.weights._processor_flags", lambda: here)
    assert requested_precision(dataclasses.replace(clusters, extractor_identity=identity)) == expected


@pytest.mark.slow
def test_a_precision_chosen_under_more_options_is_the_one_that_is_used(generated, page):
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    unfold(page)
    page.get_by_role("button", name="More options").click()
    expect(page.locator("#precision input[value=auto]")).to_be_checked()
    page.locator("#precision").get_by_text("bfloat16: half of the time").click()
    unfold(page)
    page.locator("#generate").click()
    expect(page.locator("#clusters-status progress")).to_have_count(0, timeout=WAIT)
    expect(page.locator("#generate")).to_be_enabled(timeout=WAIT)
    assert "bfloat16" in json.loads((generated.out / RUN_FILE).read_text())["extractor"]["identity"]


def test_every_input_has_a_label_and_a_hint(served, page):
    inputs = [
        part["props"]
        for part in page.request.get(f"{served.url}/config").json()["components"]
        if part["type"] in ("textbox", "dropdown", "radio", "checkbox", "number", "slider")
        and part["props"].get("visible") != "hidden"
    ]
    assert len(inputs) > 20
    for part in inputs:
        assert part["label"], part
        assert part.get("info") or part.get("placeholder"), part["label"]


# --- Second tab -------------------------------------------------------------------------------------------------


def test_an_improvement_folder_becomes_the_unsafe_set_that_the_table_and_the_list_show(generated, page):
    open_unsafe_tab(page)
    select(page, generated.improvement, "0.5")
    # 24 failing images are half of 48; 0.3 · 48 · 0.5 = 7.2
    expect(page.locator("#unsafe-status strong")).to_contain_text("8 of 18 improvement images selected")
    expect(page.locator("#unsafe-status")).to_contain_text("N = ⌈factor 0.3 · test-set size 48 · accuracy 0.5⌉ = 8")
    expect(page.locator("#unsafe-status")).to_contain_text(str(generated.out / FILENAMES_FILE))
    names = (generated.out / FILENAMES_FILE).read_text().splitlines()
    assert len(set(names)) == 8
    assert set(names) <= set(names_in(generated.improvement))

    page.get_by_text("All selected images").click()
    first_column = page.locator("#unsafe-table [role=gridcell][data-col='0']")
    expect(first_column).to_have_text(names)
    expect(page.locator("#unsafe-gallery button.thumbnail-item").first).to_be_visible()
    assert page.locator("#unsafe-gallery button.thumbnail-item").count() <= 8

    assert json.loads((generated.out / SELECTION_FILE).read_text())["quota"] == "size"
    page.get_by_text("How many images").click()
    page.get_by_text("the same of each (the paper)").click()
    page.locator("#select").click()
    wait_until(lambda: json.loads((generated.out / SELECTION_FILE).read_text())["quota"] == "equal")
    expect(page.locator("#select")).to_be_enabled(timeout=WAIT)


@pytest.mark.slow
def test_a_long_name_of_an_rcc_leaves_the_numbers_in_sight(generated, page):
    notes = generated.out / NOTES_FILE
    name = "glasses " * 10
    expect(page.locator("#rcc-heading")).to_contain_text("RCC 0")
    field(page, "rcc-name").fill(name)
    field(page, "rcc-note").focus()
    wait_until(lambda: notes.is_file() and name.strip() in notes.read_text())
    open_unsafe_tab(page)
    select(page, generated.improvement, "0.5")
    table = page.locator("#unsafe-rccs")
    expect(table.locator("[role=gridcell]").first).to_contain_text(name.strip())
    number = table.locator("[role=gridcell][data-col='4']").first.bounding_box()
    box = table.bounding_box()
    assert number["x"] + number["width"] <= box["x"] + box["width"] + 1
    page.get_by_role("tab", name="Root cause clusters").click()
    field(page, "rcc-name").fill("")
    field(page, "rcc-note").focus()
    wait_until(lambda: name.strip() not in notes.read_text())


@pytest.mark.slow
def test_an_accuracy_in_per_cent_is_a_readable_error_and_the_last_set_stays(generated, page):
    open_unsafe_tab(page)
    select(page, generated.improvement, "0.5")
    expect(page.locator("#unsafe-status strong")).to_contain_text("8 of 18")
    before = (generated.out / FILENAMES_FILE).read_bytes()
    select(page, generated.improvement, "93")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_text(
        "test_accuracy must be between 0 and 1. Received: 93; a percentage?", timeout=WAIT
    )
    expect(page.locator("#unsafe-gallery")).to_be_visible()
    assert (generated.out / FILENAMES_FILE).read_bytes() == before
    page.reload()
    open_unsafe_tab(page)
    expect(page.locator("#unsafe-status strong")).to_contain_text("8 of 18")
    expect(field(page, "improvement")).to_have_value(str(generated.improvement))


def test_the_server_gives_out_its_gifs_and_nothing_else_of_the_disk(generated, page):
    gif, labels = generated.out / "gifs" / "RCC_00.gif", generated.out / LABELS_FILE
    api = f"{generated.url}/gradio_api/file="
    assert page.request.get(f"{api}{gif}").status == 200
    for path in (labels, generated.images / "night_00.png", "/etc/passwd", f"{gif}/../../{LABELS_FILE}"):
        assert page.request.get(f"{api}{path}").status in (403, 404), path
