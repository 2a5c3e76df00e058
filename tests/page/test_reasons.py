"""Failure rates and weak spots on the real page, in a real browser."""

import dataclasses
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, notes_of_run
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import load_reasons, save_reasons
from safe_dnn.reasons.run_record import groups_of, settings_of
from safe_dnn.store.runs import CLUSTERS, COMPARISON, present_runs
from safe_dnn.support.text import rate_text
from tests.helpers.answered import AnsweredCase, draw_case, draw_people, record_light
from tests.helpers.browsing import (
    Served,
    canvas_of,
    field,
    filter_by,
    forget,
    generate,
    lasso_all,
    opened,
    served_from,
    unfold,
    wait_until,
    write,
)
from tests.helpers.spots import weak_spot
from tests.page.test_accessibility import serious


class Compared(NamedTuple):
    """A page that is up, with the RCCs of a test set that the DNN has answered."""

    served: Served
    case: AnsweredCase


@pytest.fixture(scope="module")
def compared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    root = tmp_path_factory.mktemp("reasons")
    case = draw_case(root / "answered")
    with served_from(root) as served:
        with opened(browser, served) as page:
            generate(page, case.failing, 26)
            wait_until(lambda: COMPARISON in present_runs(served.out))
            wait_until(lambda: load_reasons(served.out, load_clusters(served.out)).comparison is not None)
            expect(page.locator("#reason-list [data-is=spot]")).to_be_visible()
        yield Compared(served, case)


@pytest.fixture
def page(browser: Browser, compared: Compared) -> Iterator[Page]:
    with opened(browser, compared.served) as page:
        expect(page.locator("#reason-list [data-is=spot]").first).to_be_visible()
        yield page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "dark"])
def test_the_first_reason_is_at_hand_once_reasons_are_known_unless_something_was_said(name, browser, tmp_path):
    case, apart = draw_case(tmp_path / "answered"), tmp_path / "apart"
    apart.touch()
    with served_from(tmp_path, FAKE_APART=str(apart)) as served, opened(browser, served) as page:
        unfold(page)
        field(page, "images").fill(str(case.failing))
        page.locator("#generate").click()
        title = page.locator("#reason-heading h2")
        expect(title).to_have_text("RCC 0")  # before they are compared
        if name:
            write(page, "note-name", name)
            expect(title).to_have_text("RCC 0 · dark")
        apart.unlink()
        expect(page.locator("#reason-list [data-is=spot]")).to_be_visible()
        expect(page.locator("#clusters-status strong")).to_contain_text("Most failures")
        expect(title).to_have_text("RCC 0 · dark" if name else "label = night")
        expect(page.locator("#grid-title")).to_contain_text("RCC 0" if name else "label = night")


@pytest.mark.slow
def test_the_reasons_are_told_in_a_sentence_and_listed_and_the_first_one_shows_its_images(page, compared):
    clusters = load_clusters(compared.served.out)
    reasons = load_reasons(compared.served.out, clusters)
    [spot] = reasons.spots
    expect(page.locator("#clusters-status strong")).to_have_text("Most failures: the class is night (100% wrong).")
    wrong, rest = reasons.where_none_holds
    baseline = f"{rate_text(reasons.base)} of all 74 test images are wrong, {rate_text(wrong / rest)} where this reason"
    expect(page.locator("#clusters-status")).to_contain_text(baseline)
    expect(page.locator("#reason-list output")).to_have_text("0 of 1 judged")
    first = page.locator("#reason-list .safe-card").first
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(first.locator("b")).to_have_text("label = night")
    expect(first.locator(".safe-card-rate")).to_have_text(rate_text(spot.figures.rate))
    facts = "12 of 12 wrong, 23% expected without it: about 9 failures more · RCC 0"
    expect(first.locator(".safe-card-facts")).to_have_text(facts)
    # The line on a card is at the rate that is expected without the reason.
    assert spot.figures.expected < reasons.base
    left = first.locator(".safe-rate-base").evaluate("line => parseFloat(line.style.left)")
    assert left == pytest.approx(100 * spot.figures.expected, abs=0.06)
    # RCCs that do not fail more often are no reasons, and folded.
    expect(page.locator("#reason-list [data-rcc='1']")).to_be_hidden()
    fold = page.locator("#reason-list [data-fold]")
    expect(fold).to_have_text("2 not known to fail more often")
    fold.click()
    expect(page.locator("#reason-list [data-rcc='1']")).to_be_visible()

    expect(page.locator("#reason-heading")).to_contain_text("12 of 12 test images are wrong (100%)")
    first.click()
    expect(page.locator("#grid-title")).to_contain_text("with label = night")
    expect(page.locator("#grid [data-index] span").first).to_have_text("night → wood")
    expect(page.locator("#grid [data-index]").first).to_have_attribute("title", re.compile(r"night → wood \(90%\)"))
    expect(page.locator("#grid [aria-pressed=true]")).to_have_count(12)
    source = page.locator("#reason-gif img").get_attribute("src")
    with Image.open(io.BytesIO(httpx.get(f"{compared.served.url}/{source}").content)) as gif:
        assert gif.n_frames == 12
    # The RCC by itself, whose card is the reason's.
    page.locator("#reason-heading [data-open-rcc='0']").click()
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#reason-heading .safe-confusion")).to_have_text("All are night taken for wood")
    page.set_viewport_size({"width": 1024, "height": 768})  # where all stand one below the other
    first.click()
    expect(page.locator("#reason-gif")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    assert page.locator("#reason-gif").bounding_box()["y"] < 768 - 150  # so that a click changes something in sight


@pytest.fixture
def two_spots(compared: Compared) -> Iterator[list[WeakSpot]]:
    """A second weak spot, and nothing said of either."""
    out = compared.served.out
    clusters = load_clusters(out)
    reasons = load_reasons(out, clusters)
    snow = weak_spot((Literal("label", "=", "snow"),), 16, 8, 0.35, 0.75, 0.3)
    rows = np.flatnonzero(clusters.answers.label == "snow")
    held = reasons.comparison.right_in_spots
    comparison = reasons.comparison._replace(right_in_spots=np.vstack([held, np.zeros_like(held)]))
    two = dataclasses.replace(
        reasons, spots=(reasons.spots[0], snow), images=(reasons.images[0], rows), comparison=comparison
    )
    save_reasons(two, clusters, out, present_runs(out)[CLUSTERS])
    yield list(two.spots)
    forget(out)
    save_reasons(reasons, clusters, out, present_runs(out)[CLUSTERS])


def unfold_reasons(page: Page) -> None:
    """Show those that are folded, of each kind."""
    expect(page.locator("#reason-list .safe-card").first).to_be_visible()
    for fold in page.locator("#reason-list [data-fold]").all():
        fold.click()


def noted(compared: Compared, spot: WeakSpot) -> tuple[str, str, str]:
    return notes_of_run(compared.served.out).get(spot.conditions, Note((spot.conditions, "")))[1:4]


@pytest.mark.slow
def test_the_images_that_are_listed_are_those_of_the_reason_in_sight(browser, compared, two_spots):
    night, snow = two_spots
    with opened(browser, compared.served) as page:
        listed = page.locator("#grid-title")
        expect(page.locator("#reason-heading h2")).to_have_text(night.where)
        expect(listed).to_contain_text(f"with {night.where}")
        unfold_reasons(page)
        page.locator("#reason-list [data-is=spot]").nth(1).click()
        expect(listed).to_contain_text(f"with {snow.where}")
        lasso_all(page)
        expect(listed).to_contain_text("selected on the map")
        page.locator("#map canvas").press("Escape")  # nothing is selected any more
        expect(listed).to_contain_text(f"with {snow.where}")


@pytest.mark.slow
def test_a_weak_spot_is_named_and_judged_and_this_is_there_again(browser, compared, two_spots):
    night, snow = two_spots
    with opened(browser, compared.served) as page, opened(browser, compared.served) as watching:
        first, second = (page.locator("#reason-list [data-is=spot]").nth(place) for place in range(2))
        expect(page.locator("#reason-heading h2")).to_have_text(night.where)
        first.click()
        write(page, "note-name", "<b>night</b>")
        page.locator("#note-verdict").get_by_text("Unsafe").click()
        write(page, "note-text", "hazard H3")
        wait_until(lambda: noted(compared, night) == ("<b>night</b>", "hazard H3", "unsafe"))
        watching.reload()
        for one in (page, watching):
            expect(one.locator("#reason-list [data-is=spot]").nth(0).locator("b")).to_have_text("<b>night</b>")
            expect(one.locator("#reason-list [data-is=spot]").nth(0)).to_contain_text("⚠ unsafe")
        expect(field(watching, "note-name")).to_have_value("<b>night</b>")
        expect(watching.locator("#note-verdict input[value=unsafe]")).to_be_checked()
        # So does what names the RCC with the same images.
        expect(watching.locator("#reason-heading .safe-confusion").first).to_contain_text("in RCC 0 · <b>night</b>")
        unfold_reasons(page)
        second.click()
        expect(page.locator("#reason-heading h2")).to_have_text("label = snow")
        write(page, "note-name", "snow")
        wait_until(lambda: noted(compared, snow) == ("snow", "", ""))
        expect(page.locator("#reason-heading h2")).to_have_text("label = snow")
        expect(page.locator("#note-verdict input[value='']")).to_be_checked()
        expect(second).to_contain_text("snow")
        page.reload()
        expect(first).to_contain_text("<b>night</b>")
        expect(field(page, "note-name")).to_have_value("snow")  # the address says which one was at hand
        assert serious(page) == []
        first.click()
        expect(field(page, "note-text")).to_have_value("hazard H3")
    assert load_review(compared.served.out).notes[0][1:4] == ("<b>night</b>", "hazard H3", "unsafe"), "one reason"


@pytest.mark.slow
def test_predictions_and_parameters_can_be_given_on_the_page_and_are_filled_in_again(browser, compared, tmp_path):
    case = compared.case
    given = {"predictions": tmp_path / "elsewhere.csv", "parameters": record_light(tmp_path / "known.csv")}
    given["predictions"].write_bytes(case.table.read_bytes())
    with opened(browser, compared.served) as page:
        unfold(page)
        page.get_by_text("More options").click()
        for name, table in given.items():
            field(page, name).fill(str(table))
        page.locator("#generate").click()
        alert = page.locator("#clusters-status [role=alert]")
        expect(alert).to_contain_text("Expected the table of predictions and the folder of test images together")
        field(page, "tested").fill(str(case.test))
        generate(page, case.failing, 26)
        wait_until(lambda: settings_of(compared.served.out).get("parameters") == str(given["parameters"]))
        wait_until(lambda: COMPARISON in present_runs(compared.served.out))
        expect(page.locator("#generate")).to_be_enabled()
        for text, shown in (("predicted=wood", "20"), ("label=night", "12")):
            filter_by(page, text)
            expect(canvas_of(page)).to_have_attribute("data-shown", shown)
        expect(page.locator("#map .safe-map-filters section", has_text="light")).to_have_count(1)
    with opened(browser, compared.served) as page:
        for name, value in {**given, "tested": case.test}.items():
            expect(field(page, name)).to_have_value(str(value))


@pytest.mark.slow
def test_groups_are_named_and_what_does_not_matter_is_set_aside(browser, tmp_path):
    people = draw_people(tmp_path / "people")
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page") as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(people.failing))
            page.get_by_text("More options").click()
            page.locator("#group input").fill("person")
            page.locator("#group input").press("Enter")
            page.locator("#generate").click()
            expect(page.locator("#reason-list")).to_contain_text("The images are of 4 persons, with an intra-group")
            expect(page.locator("#generate")).to_be_enabled()
            unfold(page)
            page.locator("#set-aside input").fill("person")
            page.locator("#set-aside input").press("Enter")
            page.locator("#generate").click()
            expect(page.locator("#clusters-status .safe-status")).to_contain_text("2 root cause clusters")
            expect(page.locator("#generate")).to_be_enabled()
        assert groups_of(served.out) == ("person",)
        with opened(browser, served) as page:
            for name in ("group", "set-aside"):
                expect(page.locator(f"#{name}")).to_contain_text("person")
