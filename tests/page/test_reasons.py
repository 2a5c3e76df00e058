"""Failure rates and weak spots on the real page, in a real browser."""

import io
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from page.jobs import Jobs, PageSettings
from page.note_view import OnWeakSpots
from page.results import Results
from pipeline.comparison import explain_failures
from pipeline.generation import ClusteringSettings, generate_clusters
from rccs.clusters import fingerprint, load_clusters
from rccs.conditions import Literal
from rccs.review import load_notes
from rccs.spot_notes import SpotNote, load_spot_notes, notes_of_run, set_spot_note
from rccs.weak_spots import WeakSpot
from reasons import load_reasons, reasons_files
from support.errors import SAFEError
from support.output_folder import save_files
from support.run_folder import COMPARISON_FILE, SPOT_NOTES_FILE
from tests.helpers.answered import AnsweredCase, draw_case, draw_people
from tests.helpers.browsing import (
    FAKED,
    Served,
    asks_for_no_news,
    canvas_of,
    field,
    opened,
    served_from,
    unfold,
    wait_until,
)
from tests.page.test_accessibility import serious


class Compared(NamedTuple):
    """A page that is up, with the RCCs of a test set that the DNN has answered."""

    served: Served
    case: AnsweredCase


def generate(page: Page, case: AnsweredCase) -> None:
    unfold(page)
    field(page, "images").fill(str(case.failing))
    page.locator("#generate").click()
    expect(page.locator("#clusters-status strong")).to_contain_text("of 26 failures")


@pytest.fixture(scope="module")
def compared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    root = tmp_path_factory.mktemp("reasons")
    case = draw_case(root / "answered")
    with served_from(root, tool=FAKED) as served:
        with opened(browser, served) as page:
            generate(page, case)
            wait_until((served.out / COMPARISON_FILE).is_file)
            expect(page.locator("#rcc-heading .safe-rate")).to_be_visible()
        yield Compared(served, case)


@pytest.fixture
def page(browser: Browser, compared: Compared) -> Iterator[Page]:
    with opened(browser, compared.served) as page:
        expect(page.locator("#spots .safe-spot").first).to_be_visible()
        yield page


def test_the_rcc_that_fails_more_comes_first_and_says_how_often(page):
    first = page.locator("#rcc-list .safe-card").first
    expect(first).to_contain_text("fails more")
    expect(first).to_have_class(re.compile("selected"))
    expect(page.locator("#rcc-heading .safe-rate")).to_contain_text(
        "Fails more often than elsewhere: 100% of 12 tested images like these are wrong"
    )
    expect(page.locator("#rcc-heading .safe-confusion")).to_have_text("All are night taken for wood")


def test_the_line_on_a_card_stands_at_the_rate_with_which_the_rcc_is_compared(page, compared):
    out = compared.served.out
    clusters = load_clusters(out)
    rates = load_reasons(out, clusters).rates(clusters)
    # Not at the rate of all test images: of several RCCs that all fail more often, some may fail less often than that.
    assert rates[0].elsewhere < load_reasons(out, clusters).base
    for rcc, rate in rates.items():
        line = page.locator(f"#rcc-list [data-rcc='{rcc}'] .safe-rate-base")
        if math.isnan(rate.elsewhere) or not rate.tested:
            expect(line).to_have_count(0)
        else:
            left = line.evaluate("line => parseFloat(line.style.left)")
            assert left == pytest.approx(100 * rate.elsewhere, abs=0.06)


@pytest.mark.slow
def test_the_table_says_what_is_taken_for_what(page):
    page.locator("#taken").get_by_text("What is taken for what").click()
    expect(page.locator("#confusions")).to_contain_text("night")
    expect(page.locator("#confusions")).to_contain_text("12")


def test_a_weak_spot_that_is_clicked_shows_its_images_as_a_gif_in_the_grid_and_on_the_map(page, compared):
    spot = page.locator("#spots .safe-spot").first
    where = spot.locator("b").inner_text()
    expect(spot).to_contain_text(re.compile(r"\d+ of \d+ test images are wrong: \d+%"))
    spot.click()
    expect(spot).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#grid-title")).to_contain_text(f"with {where}")
    expect(page.locator("#grid [data-index]").first).to_contain_text("night → wood (90%)")
    source = page.locator("#spot-gif img").get_attribute("src")
    assert "weak_spot_01.gif" in source
    with Image.open(io.BytesIO(httpx.get(f"{compared.served.url}/{source}").content)) as gif:
        shown = int(re.search(r"(\d+) of \d+ test images", spot.inner_text())[1])
        assert gif.n_frames == shown
    expect(page.locator("#grid [aria-pressed=true]")).to_have_count(shown)


@pytest.mark.slow
def test_the_map_is_filtered_by_what_the_dnn_takes_images_for_and_what_is_shown_is_selected(page):
    canvas_of(page)
    page.locator("#map [data-do=filters]").click()
    pane = page.locator("#map .safe-map-filters")
    expect(pane.locator("header b")).to_have_text("26 of 26 shown")
    predicted = pane.locator("section", has=page.get_by_text("predicted", exact=True))
    wood = predicted.locator("[data-bin]").first
    expect(wood).to_have_attribute("aria-label", re.compile(r"^wood: (\d+) of \1$"))
    images = int(wood.locator("output").inner_text())
    wood.click()
    expect(pane.locator("header b")).to_have_text(f"{images} of 26 shown")
    pane.get_by_role("button", name="Select").click()
    expect(page.locator("#grid-title")).to_contain_text(f"{images} images selected on the map")
    expect(page.locator("#grid [aria-pressed=true]")).to_have_count(images)


@pytest.fixture
def two_spots(compared: Compared) -> Iterator[list[WeakSpot]]:
    """A second weak spot, and nothing said of either."""
    out = compared.served.out
    clusters = load_clusters(out)
    reasons = load_reasons(out, clusters)
    snow = WeakSpot((Literal("label", "=", "snow"),), 16, 8, 0.25, 0.75, 0.3)
    rows = np.flatnonzero(clusters.answers.label == "snow")
    two = reasons._replace(spots=(reasons.spots[0], snow), images=(reasons.images[0], rows))
    save_files(out, reasons_files(two, clusters, clusters))
    yield list(two.spots)
    (out / SPOT_NOTES_FILE).unlink(missing_ok=True)
    save_files(out, reasons_files(reasons, clusters, clusters))


def noted(compared: Compared, spot: WeakSpot) -> tuple[str, str, str]:
    return notes_of_run(compared.served.out).get(spot.conditions, SpotNote(spot.conditions, ""))[2:]


@pytest.mark.slow
def test_a_weak_spot_is_named_and_judged_and_this_is_there_again(browser, compared, two_spots):
    night, snow = two_spots
    with opened(browser, compared.served) as page, opened(browser, compared.served) as watching:
        first, second = (page.locator("#spots .safe-spot").nth(place) for place in range(2))
        expect(page.locator("#spot-heading h2")).to_have_text(night.where)
        first.click()
        field(page, "spot-name").fill("<b>night</b>")
        page.locator("#spot-verdict").get_by_text("Unsafe").click()
        field(page, "spot-note").fill("hazard H3")
        wait_until(lambda: noted(compared, night) == ("<b>night</b>", "hazard H3", "unsafe"))
        for one in (page, watching):  # the other one hears of it
            expect(one.locator("#spots .safe-spot").nth(0)).to_contain_text("⚠ unsafe<b>night</b>")
        expect(field(watching, "spot-name")).to_have_value("<b>night</b>")
        expect(watching.locator("#spot-verdict input[value=unsafe]")).to_be_checked()
        # What is typed right after a click is about what was clicked; the verdicts of RCCs are others.
        second.click()
        field(page, "spot-name").fill("snow")
        wait_until(lambda: noted(compared, snow) == ("snow", "", ""))
        expect(page.locator("#spot-heading h2")).to_have_text("label = snow")
        expect(page.locator("#spot-verdict input[value='']")).to_be_checked()
        expect(page.locator("#rcc-verdict input[value='']")).to_be_checked()
        expect(second).to_contain_text("snow")
        page.reload()
        expect(first).to_contain_text("<b>night</b>")
        expect(field(page, "spot-name")).to_have_value("snow")  # the address says which one was at hand
        first.click()
        expect(field(page, "spot-note")).to_have_value("hazard H3")
    assert load_notes(compared.served.out) == {}


@pytest.mark.slow
def test_weak_spots_with_all_verdicts_have_no_serious_finding_in_light_or_dark(browser, compared, two_spots):
    out, tested = compared.served.out, str(compared.case.test)
    for spot, verdict in zip(two_spots, ("unclear", "safe"), strict=True):
        set_spot_note(out, SpotNote(spot.conditions, tested, "name", "", verdict))
    window = browser.new_context(viewport={"width": 1280, "height": 900})
    page = window.new_page()
    for theme in ("light", "dark"):
        page.goto(f"{compared.served.url}/?__theme={theme}")
        for place, verdict in enumerate(("unclear", "safe")):
            expect(page.locator("#spots .safe-spot-verdict").nth(place)).to_contain_text(verdict)
        page.wait_for_timeout(400)
        assert serious(page) == [], theme
        set_spot_note(out, SpotNote(two_spots[0].conditions, tested, "name", "", "unsafe"))
        expect(page.locator("#spots .safe-spot-verdict").nth(0)).to_contain_text("unsafe")
        assert serious(page) == [], theme
        set_spot_note(out, SpotNote(two_spots[0].conditions, tested, "name", "", "unclear"))
    window.close()


@pytest.mark.slow
def test_a_weak_spot_at_hand_stays_while_more_is_found(browser, compared, two_spots):
    out = compared.served.out
    clusters = load_clusters(out)
    with opened(browser, compared.served) as page:
        page.locator("#spots .safe-spot").nth(1).click()
        field(page, "spot-name").fill("snow")
        two = load_reasons(out, clusters)
        reversed_ = two._replace(base=0.5, spots=two.spots[::-1], images=two.images[::-1])
        save_files(out, reasons_files(reversed_, clusters, clusters))
        expect(page.locator("#spots .safe-spots-base")).to_contain_text("50.0% of all test images are wrong")
        expect(page.locator("#spots .safe-spot").nth(0)).to_have_attribute("aria-pressed", "true")
        expect(field(page, "spot-name")).to_have_value("snow")
        expect(page.locator("#spot-heading h2")).to_have_text("label = snow")


@pytest.mark.slow
def test_two_windows_that_name_a_weak_spot_differently_are_asked(browser, compared, two_spots):
    night, _ = two_spots
    with opened(browser, compared.served) as a, opened(browser, compared.served) as b:
        for page in (a, b):
            expect(page.locator("#spot-heading h2")).to_have_text(night.where)
            page.locator("#spots .safe-spot").nth(0).click()
        asks_for_no_news(b)
        field(a, "spot-name").fill("night")
        wait_until(lambda: noted(compared, night)[0] == "night")
        field(b, "spot-name").fill("no light")
        question = b.locator("#spot-says [role=status]")
        expect(question).to_contain_text("Another window changed the name: “night”. Yours is not kept yet.")
        expect(field(b, "spot-name")).to_have_value("no light")
        assert noted(compared, night)[0] == "night"
        question.get_by_text("Keep mine").click()
        wait_until(lambda: noted(compared, night)[0] == "no light")
        expect(field(a, "spot-name")).to_have_value("no light")


@pytest.mark.slow
def test_notes_on_weak_spots_that_are_damaged_are_told_and_the_page_goes_on(browser, compared, two_spots):
    night, _ = two_spots
    (compared.served.out / SPOT_NOTES_FILE).write_text("x")
    with opened(browser, compared.served) as page:
        expect(page.locator("#clusters-status")).to_contain_text("must begin with the column names conditions,where")
        expect(page.locator("#spot-heading h2")).to_have_text(night.where)
        page.locator("#spots .safe-spot").nth(0).click()
        field(page, "spot-name").fill("typed all the same")
        expect(page.locator("#spot-says [role=status]")).to_contain_text("Not kept: ")
        expect(field(page, "spot-name")).to_have_value("typed all the same")
    assert (compared.served.out / SPOT_NOTES_FILE).read_text() == "x"


@pytest.mark.slow
def test_images_are_found_by_what_they_were_taken_for(page):
    field(page, "find").fill("label=snow predicted=wood")
    field(page, "find").press("Enter")
    expect(page.locator("#grid-title")).to_contain_text("8 images found")


@pytest.mark.slow
def test_a_window_that_was_open_before_hears_of_the_comparison(browser, compared, tmp_path):
    """It shows the RCCs without rates first, and adds them without choosing another RCC."""
    with opened(browser, compared.served) as watching:
        expect(watching.locator("#rcc-heading .safe-rate")).to_be_visible()
        watching.locator("#rcc-list .safe-card").nth(1).click()
        expect(watching.locator("#rcc-heading h2")).to_have_text("RCC 1")
        comparison = compared.served.out / COMPARISON_FILE
        kept = comparison.read_bytes()
        comparison.unlink()
        expect(watching.locator("#rcc-heading .safe-rate")).to_have_count(0)
        expect(watching.locator("#spots-pane")).to_be_hidden()
        comparison.write_bytes(kept)
        expect(watching.locator("#spots .safe-spot").first).to_be_visible()
        expect(watching.locator("#rcc-heading .safe-rate")).to_be_visible()
        expect(watching.locator("#rcc-heading h2")).to_have_text("RCC 1")


@pytest.mark.slow
def test_predictions_can_be_given_on_the_page_and_are_filled_in_again(browser, compared, tmp_path):
    case = compared.case
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_bytes(case.table.read_bytes())
    with opened(browser, compared.served) as page:
        unfold(page)
        page.get_by_text("More options").click()
        field(page, "predictions").fill(str(elsewhere))
        page.locator("#generate").click()
        alert = page.locator("#clusters-status [role=alert]")
        expect(alert).to_contain_text("Expected the table of predictions (--predictions) and the folder of test images")
        field(page, "tested").fill(str(case.test))
        generate(page, case)
        expect(page.locator("#rcc-heading .safe-rate")).to_be_visible()
        expect(page.locator("#generate")).to_be_enabled()
    with opened(browser, compared.served) as page:
        expect(field(page, "predictions")).to_have_value(str(elsewhere))
        expect(field(page, "tested")).to_have_value(str(case.test))


@pytest.mark.slow
def test_what_does_not_matter_is_offered_and_set_aside_with_one_click(browser, tmp_path):
    people = draw_people(tmp_path / "people")
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page", tool=FAKED) as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(people.failing))
            page.locator("#generate").click()
            # Groups of ten images: two of them may be joined.
            expect(page.locator("#offer")).to_contain_text(re.compile(r"([78]) of \1 RCCs are one person each"))
            expect(page.locator("#generate")).to_be_enabled()
            page.get_by_role("button", name="Set person aside").click()
            expect(page.locator("#set-aside")).to_contain_text("person")
            expect(page.locator("#clusters-status strong")).to_contain_text("2 root cause clusters")
            expect(page.locator("#generate")).to_be_enabled()
            expect(page.locator("#offer")).to_be_hidden()
            canvas_of(page)
        with opened(browser, served) as page:
            expect(page.locator("#set-aside")).to_contain_text("person")


@pytest.mark.slow
def test_a_note_typed_in_a_window_that_shows_an_earlier_run_is_kept_with_its_condition(fake_network, tmp_path):
    case = draw_case(tmp_path)
    settings = ClusteringSettings(extractor="vgg16-conv")
    first = fingerprint(generate_clusters(case.failing, case.out, settings))
    explain_failures(case.out)
    spot = load_reasons(case.out, load_clusters(case.out)).spots[0]
    case.table.unlink()  # the next run knows of no test set
    generate_clusters(case.failing / "night", case.out, settings)
    subject = OnWeakSpots(PageSettings(case.out, Jobs(), Results(case.out)))
    blank = subject.blank(spot.conditions)
    kept = subject.keep(first, blank._replace(name="night"), [blank])
    assert kept.notice.startswith("Kept. This condition is not among the new weak spots")
    key = (spot.conditions, str(case.test))
    assert load_spot_notes(case.out) == {key: SpotNote(*key, "night")}
    with pytest.raises(SAFEError, match="generated again in another window"):
        subject.keep("0" * 16, blank._replace(name="snow"), [blank])
    assert load_spot_notes(case.out) == {key: SpotNote(*key, "night")}
