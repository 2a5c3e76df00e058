"""Two models side by side on the real page: chosen by name, counted, and each count opens its images."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dnn.failures import collect_failures
from page.jobs import Jobs, PageSettings
from page.results import Results
from page.retraining.models import MOST_KEPT, ModelsView
from page.serving.analyses import TOP
from support.errors import SAFEError
from support.run_folder import ACCURACY_FILE
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.browsing import FAKED, Served, field, opened, served_from, unfold
from tests.helpers.laid_out import laid_out
from tests.helpers.two_analyses import WRONG_A, WRONG_B, collect, draw_test
from tests.page.test_accessibility import serious

BETA = "beta <b>2"  # markup in the name of a folder is text


def fill(case: AnsweredCase, out: Path) -> None:
    """A network that fails on 12 nights, 8 snows and 6 woods; and, in another analysis, one that knows nights."""
    collect_failures(case.table, case.test, out)
    rows = case.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true").splitlines()
    first_wood = next(i for i, row in enumerate(rows) if row.startswith("wood") and row.endswith("true"))
    rows[first_wood] = rows[first_wood].replace("wood,wood,0.9,true", "wood,night,0.9,false")
    table = case.table.with_name("network_2.csv")
    table.write_text("\n".join(rows) + "\n")
    collect_failures(table, case.test, out / BETA)


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With clusters of the failures in the output folder, and another analysis in it."""
    folder = tmp_path_factory.mktemp("models")
    fill(draw_case(folder / "case"), folder / "out")
    with served_from(folder, tool=FAKED) as served:
        with opened(browser, served) as page:
            unfold(page)
            field(page, "images").fill(str(served.out / "failures"))
            page.locator("#generate").click()
            expect(page.locator("#clusters-status strong")).to_contain_text("of 26 failures")
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        page.get_by_role("tab", name="Retraining").click()
        page.get_by_role("button", name="Two models side by side").click()
        expect(field(page, "model-a")).to_have_value(re.compile("^predictions.csv, tested 20"))
        yield page


def count_of(page: Page, table: str, row: str, column: int):
    """The cell of a table, by the name of its row and the number of the count."""
    return page.locator(f"#models-{table} tbody tr", has=page.locator("th", has_text=row)).locator("td").nth(column)


@pytest.mark.slow
def test_a_model_of_another_analysis_stands_beside_with_counts_that_open_their_images(served, page):
    # There is only one model here, so that the other analysis is chosen already.
    expect(field(page, "analysis-b")).to_have_value(BETA)
    expect(field(page, "model-b")).to_have_value(re.compile("^network_2.csv, tested 20"))
    page.locator("#compare-models").click()
    status = page.locator("#models-status")
    expect(status).to_contain_text(f"B {BETA}: network_2.csv, tested")
    # 12 nights are right only for B, and one wood only for A.
    expect(status.locator("strong")).to_contain_text("B is better beyond doubt: +14.9 points for B (95% interval ")
    expect(page.locator("#models-figures")).to_contain_text("64.86% · 79.73%")
    title, tiles = page.locator("#models-title"), page.locator("#models-grid [data-index]")
    for which, images in (("both", 47), ("only-a", 1), ("only-b", 12), ("neither", 14)):
        page.locator(f"#models-figures [data-opens={which}]").click()
        expect(title).to_contain_text(f"{images} image")
        expect(tiles).to_have_count(images)
    expect(tiles.first).to_contain_text("snow · A: wood · B: wood")

    night = count_of(page, "classes", "night", 2)
    expect(night).to_have_text("12")
    expect(count_of(page, "classes", "night", 6)).to_contain_text("B is better")
    night.locator("button").click()
    expect(title).to_contain_text("12 images of night: only B is right")
    expect(page.locator("#models-figures [aria-pressed=true]")).to_have_count(0)  # one count is at hand
    reason = page.locator("#models-reasons tbody tr").filter(has_text="12 (100%)").first
    reason.locator("button").last.click()
    expect(title).to_contain_text(re.compile(r"12 images of RCC \d: B is right"))
    expect(tiles).to_have_count(12)
    assert serious(page) == []
    page.locator("#analysis-b input").click()
    page.get_by_role("option", name="(this one)").click()
    expect(field(page, "model-b")).to_have_value("")  # there is no second one
    page.locator("#compare-models").click()
    expect(page.locator("#models-status [role=alert]")).to_contain_text("Expected another model")
    expect(page.locator("#models-figures")).to_be_hidden()


# --- Without a browser --------------------------------------------------------------------------------------------


def view_of(out: Path, **more: object) -> ModelsView:
    return laid_out(lambda: ModelsView(PageSettings(out, Jobs(), Results(out, more.get("root")), **more)))


def status_of(view: ModelsView, *chosen: object) -> str:
    return view.on_compare(*chosen)[view._status]


@pytest.fixture
def home(tmp_path) -> Path:
    test_set = draw_test(tmp_path / "test")
    home = collect(tmp_path / "home", test_set, WRONG_A, name="first")
    collect(home / "beta", test_set, WRONG_B, name="second")
    return home


def test_analyses_below_the_same_folder_are_offered_whichever_of_them_is_open(home):
    for out, name, other in ((home, TOP, "beta"), (home / "beta", "beta", TOP)):
        view = view_of(out, home=None if out == home else home)
        choices = view.on_choices(None, None, None)
        assert [value for _, value in choices[view._analysis].choices] == [name, other]
        assert choices[view._analysis].value == other
        assert "only-b" in view.on_compare(ACCURACY_FILE, other, ACCURACY_FILE)[view._images.chosen]


def test_what_is_no_analysis_and_images_outside_the_root_are_refused(home):
    view = view_of(home)
    for name in ("../test", "gone", "/", "..", "\0", 7, None):
        assert "There is no analysis" in status_of(view, ACCURACY_FILE, name, ACCURACY_FILE)
    told = status_of(view_of(home, root=home.resolve()), ACCURACY_FILE, "beta", ACCURACY_FILE)
    assert "Expected a model that was tested on images below" in told


def test_only_the_last_comparisons_are_kept_and_an_older_one_says_so(home):
    view = view_of(home)
    keys = [view.on_compare(ACCURACY_FILE, "beta", ACCURACY_FILE)[view._images.key] for _ in range(MOST_KEPT + 1)]
    assert view._images_of(keys[-1], "only-b").paths[0].endswith("plain_00.png")
    assert view._images.grid.picture([0, f"{keys[-1]} only-b"], 720).startswith("data:image")
    assert view._images.grid.picture([5, f"{keys[-1]} only-b"], 720) == ""
    with pytest.raises(SAFEError, match="Click Compare again"):
        view._images_of(keys[0], "only-b")
