"""What the engineer does with the clusters on the real page: looks closer, names, judges, edits, exports, goes back."""

import itertools
import random
import re
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from safe_dnn.rccs.clusters import LABELS_FILE
from tests.helpers.browsing import (
    TOOL,
    WAIT,
    Served,
    canvas_of,
    draw,
    field,
    generate,
    lasso_all,
    opened,
    served_from,
    unfold,
    wait_until,
)

# A minute and a half, most of it for UMAP and for many windows
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("review"), tool=TOOL) as served:
        names = sorted(path.name for path in served.images.iterdir())
        rows = [f"{name},{number},{'dark' if 'night' in name else 'bright'}" for number, name in enumerate(names)]
        (served.images / "parameters.csv").write_text("\n".join(["image,number,<b>sky</b>", *rows]))
        with opened(browser, served) as page:
            generate(page, served.images)
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        expect(page.locator("#reason-heading h2")).to_be_visible(timeout=WAIT)
        yield page


def test_an_idle_window_keeps_no_connection(page):
    page.wait_for_load_state("networkidle")  # of which a browser has six for all its windows


def test_the_player_pauses_and_shows_any_image_of_the_rcc_and_a_gif_that_is_gone_is_drawn_again(browser, served, page):
    slider = page.locator("#reason-gif input[type=range]")
    expect(slider).to_be_visible(timeout=WAIT)
    page.locator("#reason-gif").get_by_role("button", name="Pause").click()
    slider.fill("2")
    expect(page.locator("#reason-gif output")).to_have_text(re.compile(r"3 / \d+"))
    page.locator("#reason-gif").get_by_role("button", name="Play").click()
    expect(page.locator("#reason-gif output")).not_to_have_text(re.compile(r"^3 /"))
    gif = next((served.out / "gifs").glob("RCC_*0.gif"))
    away = gif.rename(served.out / "away.gif")
    try:
        with opened(browser, served) as without:
            expect(without.locator("#reason-gif p")).to_contain_text("No GIF of exactly these images yet. It is drawn")
            expect(without.locator("#reason-gif").locator("img:visible, canvas:visible")).to_have_count(1, timeout=WAIT)
        assert gif.is_file()
    finally:
        away.rename(gif)


def test_the_map_selects_by_lasso_shows_the_image_of_a_point_and_a_click_chooses_its_rcc(served, page):
    lasso_all(page)
    expect(page.locator("#grid-title")).to_contain_text("24 images selected on the map")
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(24)
    expect(page.locator("#move")).to_be_enabled()
    tip = hovered(page, other_than="RCC 0")
    wait_until(lambda: tip.locator("img").evaluate("image => image.complete && image.naturalWidth > 0"))
    title = tip.locator("b").inner_text()
    assert title.startswith("RCC")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#reason-heading h2")).to_have_text(title)
    expect(page.locator("#reason-list .safe-card[aria-pressed=true]")).to_contain_text(title)
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(1)


def hovered(page: Page, other_than: str = "nothing") -> Locator:
    """What the map tells of a point, once the mouse has found one; of another RCC than the one named."""
    canvas = canvas_of(page)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tip = page.locator("#map .safe-map-tip")
    page.mouse.move(0, 0)  # what the mouse came across on its way here is no longer told
    expect(tip).to_be_hidden()
    places = list(itertools.product(range(8, 60), range(2, 60)))
    random.Random(0).shuffle(places)  # row by row, most of the map would be passed over first
    for row, column in places:
        page.mouse.move(box["x"] + column / 60 * box["width"], box["y"] + row / 60 * box["height"])
        if tip.is_visible() and other_than not in tip.locator("b").inner_text():
            break
    return tip


def test_the_report_and_the_export_are_given_out_and_say_when_they_were_made(served, page):
    page.get_by_role("tab", name="Report").click()
    expect(page.locator("#export-state")).to_have_text("Not packed yet.")
    page.locator("#export-all").click()
    link = page.get_by_role("link", name="Download export.zip")
    expect(link).to_be_visible(timeout=WAIT)
    with page.expect_download() as waiting:
        link.click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".png") for name in names) == 24
    assert any(name.endswith("labels.csv") for name in names)
    assert any(name.endswith("report.html") for name in names)
    page.locator("#report").click()
    expect(page.locator("#report-state")).to_contain_text("Written on", timeout=WAIT)
    expect(page.locator("[role=tab][data-done]").last).to_have_text("Report")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download report.html").click()
    assert "Why the network fails" in waiting.value.path().read_text()


def test_a_job_is_followed_in_every_window_and_cancelled(served, browser, tmp_path):
    many = draw(tmp_path / "many", {"night": 450, "wood": 450}, seed=5)
    with opened(browser, served) as first, opened(browser, served) as second:
        unfold(first)
        field(first, "images").fill(str(many))
        first.locator("#generate").click()
        expect(first.locator("#cancel-clusters")).to_be_visible(timeout=WAIT)
        expect(second.locator("#clusters-status progress")).to_be_visible(timeout=WAIT)
        second.get_by_role("tab", name="Unsafe set").click()
        second.locator("#select").click()  # other work
        expect(second.get_by_text("An analysis does one thing at a time").first).to_be_visible(timeout=WAIT)
        second.get_by_role("tab", name="Root cause clusters").click()
        expect(first.locator("#clusters-status")).to_contain_text(re.compile(r"\d+ / 900"))
        second.locator("#cancel-clusters").click()
        for page in (first, second):
            expect(page.locator("#clusters-status")).to_contain_text("Stopped. What was finished is kept", timeout=WAIT)
            expect(page.locator("#generate")).to_be_enabled()
            expect(page.locator("#cancel-clusters")).to_be_hidden()
    assert (served.out / LABELS_FILE).read_text().count("\n") == 24
