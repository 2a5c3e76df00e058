"""Saved views: how they are kept, and in a real browser links that lead back to what the map and the cards showed."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, expect

from page.clusters.views import LONGEST_VIEW, delete_view, load_views, save_view
from support.errors import SAFEError
from tests.helpers.browsing import FAKED, Served, canvas_of, generate, opened, served_from
from tests.page.test_accessibility import serious


def test_views_are_kept_by_name_and_those_of_another_window_stay(tmp_path):
    assert load_views(tmp_path) == {}
    save_view(tmp_path, "  night,\n unsafe ", "show=unsafe")
    assert save_view(tmp_path, "all", "") == {"all": "", "night, unsafe": "show=unsafe"}
    with pytest.raises(SAFEError, match="There is a view night, unsafe already"):
        save_view(tmp_path, "night, unsafe", "order=name")
    assert load_views(tmp_path)["night, unsafe"] == "show=unsafe"
    save_view(tmp_path, "night, unsafe", "order=name", seen="show=unsafe")
    assert load_views(tmp_path) == {"all": "", "night, unsafe": "order=name"}
    assert delete_view(tmp_path, "all") == {"night, unsafe": "order=name"}
    assert delete_view(tmp_path, "all") == load_views(tmp_path)


def test_what_is_no_view_is_refused(tmp_path, monkeypatch):
    for name, view in (("", "a"), ("x" * 61, "a"), (" \n", "a"), ("a", "x" * (LONGEST_VIEW + 1))):
        with pytest.raises(SAFEError, match="Expected a"):
            save_view(tmp_path, name, view)
    assert load_views(tmp_path) == {}
    monkeypatch.setattr("page.clusters.views.MOST_VIEWS", 1)
    save_view(tmp_path, "first", "a")
    with pytest.raises(SAFEError, match="Delete one first"):
        save_view(tmp_path, "one more", "a")
    assert list(load_views(tmp_path)) == ["first"]


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("views"), tool=FAKED) as served:
        names = sorted(path.name for path in served.images.iterdir())
        rows = [f"{name},{'dark' if 'night' in name else 'bright'}" for name in names]
        (served.images / "parameters.csv").write_text("\n".join(["image,sky", *rows]))
        with opened(browser, served) as page:
            generate(page, served)
        yield served


def bar(page: Page, name: str):
    if page.locator("#views details[open]").count() == 0:
        page.locator("#views summary").click()
    return page.locator("#views").get_by_role("button", name=name, exact=True)


def shows_dark_ones_largest_first(page: Page) -> None:
    expect(canvas_of(page)).to_have_attribute("data-shown", "10")
    expect(page.locator("#map .safe-map-legend")).to_contain_text("sky")
    expect(page.locator("#colour-by input")).to_have_value("sky")
    expect(page.locator("#rcc-list [data-choice=order]")).to_have_value("images")


@pytest.mark.slow
def test_filters_colour_and_order_are_in_the_address_and_saved_and_chosen_by_name(browser, served):
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

        bar(page, "Save view").click()
        page.keyboard.type("dark, by sky")
        page.keyboard.press("Enter")
        expect(page.locator("#views p")).to_have_text("Saved as dark, by sky.")
        assert set(load_views(served.out)) == {"dark, by sky"}
        assert serious(page) == []

        expect(page.locator("#views select")).to_have_value("+dark, by sky")
        page.locator("#map [data-do=filters]").click()
        page.locator("#map [data-do=clear-filters]").click()
        expect(page.locator("#views select")).to_have_value("")

        canvas_of(other)
        saved = other.locator("#views select")
        other.locator("#views summary").click()
        saved.focus()
        expect(saved.locator("option")).to_have_text(["not a saved one", "dark, by sky"])
        saved.select_option("dark, by sky")
        shows_dark_ones_largest_first(other)
        other.go_back()
        expect(other.locator("#map canvas")).to_have_attribute("data-shown", "24")
        expect(other.locator("#rcc-list [data-choice=order]")).to_have_value("place")
        expect(other.locator("#colour-by input")).to_have_value("RCC")
        # The other window takes the name for another view: only after it was told of the one that is there.
        bar(other, "Save view").click()
        other.keyboard.type("dark, by sky")
        other.keyboard.press("Enter")
        expect(other.locator("#views p")).to_contain_text("Save again to replace it")
        assert "filters" in load_views(served.out)["dark, by sky"]
        other.keyboard.press("Escape")
        other.goto(link)
        other.reload()
        shows_dark_ones_largest_first(other)
        bar(other, "Delete").click()
        expect(saved.locator("option")).to_have_text(["none saved yet"])
        assert load_views(served.out) == {}


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
