"""The page's address, in a real browser: links that lead back to what the map and the cards showed."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browsing import FAKED, Served, canvas_of, generate, opened, served_from
from tests.page.test_accessibility import serious


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("views"), tool=FAKED) as served:
        names = sorted(path.name for path in served.images.iterdir())
        rows = [f"{name},{'dark' if 'night' in name else 'bright'}" for name in names]
        (served.images / "parameters.csv").write_text("\n".join(["image,sky", *rows]))
        with opened(browser, served) as page:
            generate(page, served)
        yield served


def shows_dark_ones_largest_first(page: Page) -> None:
    expect(canvas_of(page)).to_have_attribute("data-shown", "10")
    expect(page.locator("#map .safe-map-legend")).to_contain_text("sky")
    expect(page.locator("#colour-by input")).to_have_value("sky")
    expect(page.locator("#rcc-list [data-choice=order]")).to_have_value("images")


@pytest.mark.slow
def test_filters_colour_and_order_are_in_the_address_and_lead_back(browser, served):
    with opened(browser, served) as page, opened(browser, served) as other:
        canvas_of(page)
        page.locator("#map [data-do=filters]").click()
        page.locator("#map .safe-map-filters section", has_text="sky").get_by_role("button", name="dark").click()
        expect(page).to_have_url(re.compile("filters="))
        page.locator("#colour-by input").click()
        page.get_by_role("option", name="sky").click()
        page.locator("#rcc-list [data-choice=order]").select_option("images")
        expect(page).to_have_url(re.compile("(?=.*order=images)(?=.*colour=sky)"))
        assert '{"sky":["dark"]}' in unquote(page.url)
        page.reload()
        shows_dark_ones_largest_first(page)
        link = page.url

        assert serious(page) == []
        page.locator("#map [data-do=filters]").click()
        page.locator("#map [data-do=clear-filters]").click()
        expect(canvas_of(page)).to_have_attribute("data-shown", "24")

        canvas_of(other)
        other.goto(link)
        other.reload()
        shows_dark_ones_largest_first(other)
        other.goto(f"{served.url}/#")
        expect(other.locator("#map canvas")).to_have_attribute("data-shown", "24")
        expect(other.locator("#rcc-list [data-choice=order]")).to_have_value("place")
        expect(other.locator("#colour-by input")).to_have_value("RCC")
        other.go_back()
        shows_dark_ones_largest_first(other)


@pytest.mark.slow
def test_a_link_to_what_is_gone_says_so_and_shows_the_rest(browser, served):
    with opened(browser, served) as page:
        page.goto(f'{served.url}/#order=name&filters={{"sky":["purple"]}}&colour=weather')
        page.reload()
        told = page.locator("#views p")
        expect(told).to_have_text("The link asks for sky: purple, which is not there any more.")
        expect(page.get_by_text("The link colours the map by weather, which is not known").first).to_be_visible()
        expect(page.locator("#rcc-list [data-choice=order]")).to_have_value("name")
        expect(canvas_of(page)).to_have_attribute("data-shown", "24")
