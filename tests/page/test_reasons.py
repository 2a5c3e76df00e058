"""Failure rates and weak spots on the real page, in a real browser."""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from support.run_folder import COMPARISON_FILE
from tests.helpers.answered import AnsweredCase, draw_case, draw_people
from tests.helpers.browsing import FAKED, Served, field, opened, served_from, wait_until


class Compared(NamedTuple):
    """A page that is up, with the RCCs of a test set that the DNN has answered."""

    served: Served
    case: AnsweredCase


def generate(page: Page, case: AnsweredCase) -> None:
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
    first = page.locator("#rcc-bar .thumbnail-item").first
    expect(first).to_contain_text("fails more")
    expect(first).to_have_class(re.compile("selected"))
    expect(page.locator("#rcc-heading .safe-rate")).to_contain_text(
        "Fails more often than elsewhere: 100% of 12 tested images like these are wrong"
    )
    expect(page.locator("#rcc-heading .safe-confusion")).to_have_text("All are night taken for wood")


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
    with Image.open(io.BytesIO(httpx.get(compared.served.url + source).content)) as gif:
        shown = int(re.search(r"(\d+) of \d+ test images", spot.inner_text())[1])
        assert gif.n_frames == shown
    expect(page.locator("#grid [aria-pressed=true]")).to_have_count(shown)


def test_images_are_found_by_what_they_were_taken_for(page):
    field(page, "find").fill("label=snow predicted=wood")
    field(page, "find").press("Enter")
    expect(page.locator("#grid-title")).to_contain_text("8 images found")


def test_a_window_that_was_open_before_hears_of_the_comparison(browser, compared, tmp_path):
    """It shows the RCCs without rates first, and adds them without choosing another RCC."""
    with opened(browser, compared.served) as watching:
        expect(watching.locator("#rcc-heading .safe-rate")).to_be_visible()
        watching.locator("#rcc-bar .thumbnail-item").nth(1).click()
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


def test_predictions_can_be_given_on_the_page_and_are_filled_in_again(browser, compared, tmp_path):
    case = compared.case
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_bytes(case.table.read_bytes())
    with opened(browser, compared.served) as page:
        page.get_by_text("More options").click()
        field(page, "predictions").fill(str(elsewhere))
        page.locator("#generate").click()
        alert = page.locator("#clusters-status [role=alert]")
        expect(alert).to_contain_text("Expected the table of predictions (--predictions) and the folder of test images")
        field(page, "tested").fill(str(case.test))
        generate(page, case)
        expect(page.locator("#rcc-heading .safe-rate")).to_be_visible()
        expect(page.locator("#generate")).to_be_enabled()
        page.reload()
        expect(field(page, "predictions")).to_have_value(str(elsewhere))
        expect(field(page, "tested")).to_have_value(str(case.test))


def test_what_does_not_matter_is_offered_and_set_aside_with_one_click(browser, tmp_path):
    people = draw_people(tmp_path / "people")
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page", tool=FAKED) as served, opened(browser, served) as page:
        field(page, "images").fill(str(people.failing))
        page.locator("#generate").click()
        expect(page.locator("#offer")).to_contain_text("8 of 8 RCCs are one person each")
        expect(page.locator("#generate")).to_be_enabled()
        page.get_by_role("button", name="Set person aside").click()
        expect(page.locator("#set-aside")).to_contain_text("person")
        expect(page.locator("#clusters-status strong")).to_contain_text("2 root cause clusters")
        expect(page.locator("#generate")).to_be_enabled()
        expect(page.locator("#offer")).to_be_hidden()
        page.reload()
        expect(page.locator("#set-aside")).to_contain_text("person")
