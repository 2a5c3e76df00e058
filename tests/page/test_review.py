"""What the engineer does with the clusters on the real page: looks closer, names, judges, edits, exports, goes back."""

import csv
import dataclasses
import itertools
import re
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dbscan.outcome import NOISE
from rccs.clusters import load_clusters, save_clusters
from rccs.review import load_edits
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, NOTES_FILE
from tests.helpers.browsing import (
    WAIT,
    Served,
    asks_for_no_news,
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
from tests.page.test_accessibility import serious

# A minute and a half, most of it for UMAP and for many windows
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("review")) as served:
        names = sorted(path.name for path in served.images.iterdir())
        rows = [f"{name},{number},{'dark' if 'night' in name else 'bright'}" for number, name in enumerate(names)]
        (served.images / "parameters.csv").write_text("\n".join(["image,number,<b>sky</b>", *rows]))
        with opened(browser, served) as page:
            generate(page, served)
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        expect(page.locator("#rcc-heading h2")).to_be_visible(timeout=WAIT)
        yield page


def labels_of(served: Served) -> dict[str, int]:
    rows = (line.split("\t") for line in (served.out / LABELS_FILE).read_text().splitlines())
    return {path: int(rcc) for rcc, path in rows}


def notes_of(served: Served) -> list[dict]:
    path = served.out / NOTES_FILE
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_name_a_note_and_a_verdict_are_kept_as_they_are_typed_and_shown_after_a_reload(served, page):
    field(page, "rcc-name").fill("<b>dark</b>")
    field(page, "rcc-note").fill("hazard H3")
    page.locator("#rcc-verdict").get_by_text("Unsafe").click()
    wait_until(lambda: bool(notes_of(served)) and notes_of(served)[0]["verdict"] == "unsafe")
    assert notes_of(served) == [{"rcc": "0", "name": "<b>dark</b>", "note": "hazard H3", "verdict": "unsafe"}]
    page.reload()
    expect(field(page, "rcc-name")).to_have_value("<b>dark</b>")
    expect(field(page, "rcc-note")).to_have_value("hazard H3")
    expect(page.locator("#rcc-list [data-rcc='0'] b")).to_have_text("<b>dark</b>")
    assert page.locator("#rcc-list b b").count() == 0


def test_what_is_typed_as_soon_as_an_rcc_is_shown_is_kept_though_its_pictures_come_later(served, page):
    faces = page.locator("#rcc-list .safe-card")
    for name in ("snow", "more snow", ""):  # at the end none: other tests know this RCC without a name
        faces.nth(1).click()
        expect(page.locator("#rcc-heading h2")).to_contain_text("RCC 1")
        field(page, "rcc-name").fill(name)
        field(page, "rcc-note").focus()
        expect(page.locator("#grid-title")).to_contain_text("RCC 1")  # the rest has come
        page.wait_for_timeout(300)
        expect(field(page, "rcc-name")).to_have_value(name)
        wait_until(lambda name=name: name == {note["rcc"]: note["name"] for note in notes_of(served)}.get("1", ""))
        faces.nth(0).click()
        expect(page.locator("#grid-title")).to_contain_text("RCC 0")


def test_the_player_pauses_and_shows_any_image_of_the_rcc(page):
    slider = page.locator("#rcc-gif input[type=range]")
    expect(slider).to_be_visible(timeout=WAIT)
    page.locator("#rcc-gif").get_by_role("button", name="Pause").click()
    slider.fill("2")
    expect(page.locator("#rcc-gif output")).to_have_text(re.compile(r"3 / \d+"))
    page.locator("#rcc-gif select").select_option("4")
    page.locator("#rcc-gif").get_by_role("button", name="Play").click()
    expect(page.locator("#rcc-gif output")).not_to_have_text(re.compile(r"^3 /"))


def test_a_gif_that_is_gone_is_told_in_its_place(browser, served):
    gif = next((served.out / "gifs").glob("RCC_*0.gif"))
    away = gif.rename(served.out / "away.gif")
    try:
        with opened(browser, served) as page:
            expect(page.locator("#rcc-gif p")).to_contain_text("Generate the RCCs again")
            expect(page.locator("#rcc-gif img")).to_be_hidden()
    finally:
        away.rename(gif)


def test_the_map_shows_the_rcc_chosen_while_it_was_being_drawn(browser, served):
    (served.out / "map.npz").unlink(missing_ok=True)
    with opened(browser, served) as page:
        page.locator("#rcc-list .safe-card").nth(1).click(timeout=WAIT)
        expect(page.locator("#rcc-heading h2")).to_contain_text("RCC 1")
        expect(canvas_of(page)).to_have_attribute("data-chosen", "1")


def test_the_map_selects_by_lasso_and_the_images_are_shown_beside_it(served, page):
    lasso_all(page)
    expect(page.locator("#grid-title")).to_contain_text("24 images selected on the map")
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(24)
    expect(page.locator("#move")).to_be_enabled()


def hovered(page: Page, other_than: str = "nothing") -> Locator:
    """What the map tells of a point, once the mouse has found one; of another RCC than the one named."""
    canvas = canvas_of(page)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tip = page.locator("#map .safe-map-tip")
    page.mouse.move(0, 0)  # what the mouse came across on its way here is no longer told
    expect(tip).to_be_hidden()
    for row, column in itertools.product(range(8, 60), range(2, 60)):
        page.mouse.move(box["x"] + column / 60 * box["width"], box["y"] + row / 60 * box["height"])
        if tip.is_visible() and other_than not in tip.locator("b").inner_text():
            break
    return tip


def test_a_point_of_the_map_shows_its_image(page):
    tip = hovered(page)
    expect(tip).to_be_visible()
    expect(tip.locator("b")).to_contain_text(re.compile("RCC|No cluster"))
    expect(tip.locator("img")).to_have_attribute("src", re.compile("^data:image/webp"))


def test_a_click_on_a_point_of_the_map_chooses_its_rcc(page):
    tip = hovered(page, other_than="RCC 0")
    title = tip.locator("b").inner_text()
    assert title.startswith("RCC")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#rcc-heading h2")).to_have_text(title)
    expect(page.locator("#rcc-list .safe-card.selected")).to_contain_text(title)
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(1)


def test_the_arrow_keys_go_through_the_rccs(page):
    faces = page.locator("#rcc-list .safe-card")
    faces.first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#rcc-heading h2")).to_contain_text("RCC 1")
    expect(faces.nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#rcc-heading h2")).to_contain_text("RCC 0")
    page.keyboard.press("ArrowLeft")
    expect(faces.first).to_be_focused()


def test_the_map_is_coloured_by_a_parameter(page):
    canvas = canvas_of(page)
    legend = page.locator("#map .safe-map-legend")
    expect(legend).to_be_hidden()
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.locator("#colour-by input").click()
    page.get_by_role("option", name="<b>sky</b>").click()
    expect(legend).to_have_text("<b>sky</b>brightdark")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before
    page.locator("#colour-by input").click()
    page.get_by_role("option", name="number").click()
    expect(legend).to_have_text(re.compile(r"number0\.\d+22\.\d"))
    assert "sky: " not in hovered(page).inner_text()
    expect(page.locator("#map .safe-map-tip span")).to_contain_text(re.compile(r"number: \d+"))
    page.locator("#colour-by input").click()
    page.get_by_role("option", name="RCC", exact=True).click()
    expect(legend).to_be_hidden()


def test_images_are_found_by_name_and_parameter_and_selected(served, page):
    canvas_of(page)
    hint = re.search("or (.*)", field(page, "find").get_attribute("placeholder"))[1]
    field(page, "find").fill(hint)
    field(page, "find").press("Enter")
    expect(page.locator("#grid-title")).to_contain_text("images found")
    field(page, "find").fill("night number<11")
    field(page, "find").press("Enter")
    expect(page.locator("#grid-title")).to_contain_text(re.compile(r"3 images found: 3 of RCC \d"))
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(3)
    expect(page.locator("#move")).to_be_enabled()
    for typed, told in (
        ("nowhere", "No failing image matches nowhere"),
        ("<i>x</i>", "No failing image matches <i>x</i>"),
        ("", "nothing"),
    ):
        field(page, "find").fill(typed)
        field(page, "find").press("Enter")
        expect(page.get_by_text(told).first).to_be_visible()
    expect(page.locator("#grid [data-index][aria-pressed=true]")).to_have_count(3)


def test_choosing_an_rcc_lists_all_of_its_images(served, page):
    labels = labels_of(served)
    page.locator("#rcc-list .safe-card").nth(1).click()
    expect(page.locator("#grid-title")).to_contain_text("RCC 1: ")
    expect(page.locator("#grid [data-index]")).to_have_count(sum(rcc == 1 for rcc in labels.values()))


def test_an_image_is_enlarged_by_the_keyboard(page):
    tile = page.locator("#grid [data-index]").first
    tile.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#grid dialog")
    expect(dialog).to_be_visible()
    expect(dialog.locator("img")).to_have_attribute("src", re.compile("^data:image/webp"))
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_images_are_moved_and_moved_back(served, page):
    before = labels_of(served)
    page.locator("#grid [data-index]").first.click()
    expect(page.locator("#move-to")).to_contain_text("1 image selected")
    page.locator("#move-to input").click()
    page.get_by_role("option", name="No cluster").click()
    page.locator("#move").click()
    expect(page.locator("#edits")).to_contain_text("Edits (1)")
    after = labels_of(served)
    assert sum(before[path] != after[path] for path in before) == 1
    assert [after[path] for path in before if before[path] != after[path]] == [-1]
    page.locator("#undo").click()
    expect(page.locator("#edits")).to_contain_text("Edits (2)")
    assert labels_of(served) == before
    expect(page.locator("#redo")).to_be_enabled()


def test_rccs_are_merged_and_taken_apart_again(served, page):
    before = labels_of(served)
    kept = max(before.values())
    expect(page.locator("#rcc-heading h2")).to_have_text("RCC 0")
    into = page.locator("#merge-into input").input_value()
    field(page, "rcc-name").fill("<b>dark</b>")
    page.locator("#merge").click()
    page.get_by_role("button", name="Merge as written here").click()  # the other one has no name
    target = int(re.search(r"RCC (\d+)", into)[1])
    expect(page.locator("#rcc-heading h2")).to_have_text(f"RCC {target}")
    after = labels_of(served)
    assert 0 not in after.values()
    assert max(after.values()) == kept
    page.locator("#undo").click()
    expect(page.locator("#rcc-list")).to_contain_text("RCC 0")
    assert labels_of(served) == before


def test_all_rccs_are_exported_with_their_report(served, page):
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


def test_the_report_shows_names_as_text_and_asks_nobody_for_anything(served, page, browser):
    page.get_by_role("tab", name="Report").click()
    page.locator("#report").click()
    expect(page.locator("#report-state b")).to_have_text("Up to date.", timeout=WAIT)
    expect(page.locator("[role=tab][data-done]").last).to_have_text("Report")
    with page.context.expect_page() as opening:
        page.get_by_role("link", name="Open").click()
    expect(opening.value.locator("h1")).to_contain_text("Why the network fails")
    opening.value.close()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download report.html").click()
    text = waiting.value.path().read_text()
    assert "onerror=document" not in text.replace("&lt;img src=x onerror=document", "")
    asked = []
    reader = browser.new_page()
    reader.on("request", lambda request: asked.append(request.url))
    reader.set_content(text)
    assert reader.locator("h1").count() == 1
    assert [url for url in asked if not url.startswith("data:")] == []
    reader.close()
    # Whoever judges anew is told that the report does not say so yet.
    page.get_by_role("tab", name="Root cause clusters").click()
    field(page, "rcc-name").fill("renamed after the report")
    page.get_by_role("tab", name="Report").click()
    old = "Out of date: names, judgements and edits changed since."
    expect(page.locator("#report-state b")).to_have_text(old, timeout=WAIT)
    expect(page.locator("#export-state b")).to_have_text(old)
    expect(page.locator("[role=tab][data-done]").last).not_to_have_text("Report")


def test_an_earlier_run_is_compared_and_opened_again(served, browser):
    with opened(browser, served) as page:
        expect(page.locator("#rcc-heading h2")).to_be_visible(timeout=WAIT)
        field(page, "rcc-name").fill("<b>dark</b>")
        wait_until(lambda: "<b>dark</b>" in {note["name"] for note in notes_of(served)})
        unfold(page)
        page.locator("#reducer").get_by_text("PCA + UMAP").click()
        generate(page, served)
        expect(page.locator("#clusters-status progress")).to_have_count(0, timeout=2 * WAIT)
        page.get_by_role("button", name="Earlier runs").click()
        expect(page.locator("#earlier-run input")).to_have_value(
            re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), timeout=WAIT
        )
        page.locator("#compare").click()
        expect(page.locator("#compared")).to_contain_text("24 images in common")
        earlier, present = page.locator("#compared table").first.locator("thead th").all()
        expect(present).to_contain_text("(present)")
        expect(earlier).not_to_contain_text("present")
        names = page.locator("#compared table").last.locator("tbody b").filter(has_text="<b>dark</b>")
        expect(names.first).to_be_visible()
        assert serious(page) == []
        how_found = page.get_by_role("button", name="How these were found")
        how_found.click()  # Gradio draws what is within only now
        expect(page.locator("#why")).to_contain_text("PCA, then UMAP")
        with page.expect_navigation(timeout=WAIT):
            page.locator("#restore").click()
        how_found.click()
        expect(page.locator("#why")).to_contain_text("PCA, then neighbour averaging")
        expect(page.locator("#reducer input[value=pca]")).to_be_checked(timeout=WAIT)
        expect(field(page, "rcc-name")).to_have_value("<b>dark</b>")


def test_a_window_that_shows_older_clusters_says_so_and_changes_nothing(served, browser):
    with opened(browser, served) as old:
        expect(old.locator("#rcc-heading h2")).to_be_visible(timeout=WAIT)
        expect(old.locator("#grid [data-index]").first).to_be_visible()
        asks_for_no_news(old)
        clusters = load_clusters(served.out)  # and others take their place, by a command: the page hears of no job
        labels = np.where(np.arange(len(clusters.labels)) == 0, NOISE, clusters.labels)
        changed = dataclasses.replace(clusters, labels=labels, is_core=clusters.is_core & (labels != NOISE))
        save_clusters(changed, served.out)
        whole = (served.out / CLUSTERS_FILE).read_bytes()
        old.locator("#merge").click()
        expect(old.get_by_text("generated again in another window")).to_be_visible()
        assert (served.out / CLUSTERS_FILE).read_bytes() == whole
        assert "merge" not in {edit.kind for edit in load_edits(served.out)}


def test_a_job_is_followed_in_every_window_and_cancelled(served, browser, tmp_path):
    many = draw(tmp_path / "many", {"night": 150, "wood": 150}, seed=5)
    with opened(browser, served) as first, opened(browser, served) as second:
        unfold(first)
        field(first, "images").fill(str(many))
        first.locator("#generate").click()
        expect(first.locator("#cancel-clusters")).to_be_visible(timeout=WAIT)
        expect(second.locator("#clusters-status progress")).to_be_visible(timeout=WAIT)
        second.get_by_role("tab", name="Unsafe set").click()
        second.locator("#select").click()  # other work
        expect(second.get_by_text("SAFE does one thing at a time").first).to_be_visible(timeout=WAIT)
        second.get_by_role("tab", name="Root cause clusters").click()
        expect(first.locator("#clusters-status")).to_contain_text(re.compile(r"\d+ / 300"))
        second.locator("#cancel-clusters").click()
        for page in (first, second):
            expect(page.locator("#clusters-status")).to_contain_text(
                "Stopped. What was extracted is kept", timeout=WAIT
            )
            expect(page.locator("#generate")).to_be_enabled()
            expect(page.locator("#cancel-clusters")).to_be_hidden()
    assert len(labels_of(served)) == 24


def test_the_page_fits_a_tablet(served, browser):
    window = browser.new_context(viewport={"width": 820, "height": 1180})
    page = window.new_page()
    page.goto(served.url)
    expect(page.locator("#rcc-heading h2")).to_be_visible(timeout=WAIT)
    canvas_of(page)  # all is there; Gradio complains where a window is closed while it still listens
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    window.close()
