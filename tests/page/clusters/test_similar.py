"""Similar images beside an enlarged one, on the real page, in a real browser."""

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn.page.clusters.similar import SimilarImages
from safe_dnn.pipeline.generation import ClusteringSettings, generate_clusters
from safe_dnn.rccs.clusters import fingerprint
from safe_dnn.store.runs import COMPARISON, present_runs
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.browsing import Served, field, generate, give_accuracy, opened, served_from, wait_until
from tests.helpers.laid_out import settings_of
from tests.page.test_accessibility import serious


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With RCCs of a test set that the DNN has answered, and an unsafe set."""
    root = tmp_path_factory.mktemp("similar")
    case = draw_case(root / "answered")
    with served_from(root) as served:
        with opened(browser, served) as page:
            cluster(page, served, case)
            page.get_by_role("tab", name="Unsafe set").click()
            field(page, "improvement").fill(str(served.improvement))
            give_accuracy(page, "0.6")
            page.locator("#select").click()
            expect(page.locator("#unsafe-status strong")).to_contain_text("improvement images selected")
        yield served


def cluster(page: Page, served: Served, case: AnsweredCase) -> None:
    """Generate RCCs, and wait until they are compared."""
    generate(page, case.failing, 26)
    wait_until(lambda: COMPARISON in present_runs(served.out))
    expect(page.locator("#reason-list [data-is=spot]").first).to_be_visible()
    expect(page.locator("#generate")).to_be_enabled()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        expect(page.locator("#grid [data-index]").first).to_be_visible()
        yield page


def enlarge(page: Page, name: str):
    """The enlarged image of the grid, found by a part of its name."""
    field(page, "find").fill(name)
    field(page, "find").press("Enter")
    # The title alone may still be that of the search before, with its image below.
    found = page.locator("#grid [data-index]")
    expect(found).to_have_count(1)
    expect(found).to_have_attribute("title", re.compile(name))
    found.dblclick()
    dialog = page.locator("#grid dialog")
    expect(dialog.locator("figure").first).to_contain_text(name)
    return dialog


@pytest.mark.slow
def test_right_and_improvement_images_are_shown_beside_a_failing_one_with_class_prediction_and_distance(page):
    dialog = enlarge(page, "snow_03")
    dialog.get_by_role("button", name="Right").click()
    tiles = dialog.locator(".safe-similar-list button")
    expect(tiles).to_have_count(12)
    expect(dialog.locator(".safe-similar-told")).to_contain_text(
        "Of 48 images that the network gets right. Nearest first"
    )
    distances = [float(text.split()[-1]) for text in dialog.locator(".safe-similar-distance").all_inner_texts()]
    assert distances == sorted(distances)
    beside = dialog.locator(".safe-lightbox-beside")
    expect(beside).to_contain_text(re.compile(r"snow/snow_\d\d\.png · snow → snow \(90%\) · distance \d+\.\d\d"))
    expect(beside.locator("img")).to_have_attribute("src", re.compile("^data:image/webp"))
    tiles.nth(2).click()
    expect(tiles.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(beside).to_contain_text(tiles.nth(2).get_attribute("title").split(" · ")[0])
    assert serious(page) == []
    # The kind stays with the next image, and nothing of it is left when the image is closed.
    page.keyboard.press("Escape")
    dialog = enlarge(page, "night_05")
    expect(tiles).to_have_count(12)
    dialog.get_by_role("button", name="Right").click()
    expect(tiles).to_have_count(0)
    expect(beside).to_have_count(0)
    dialog.get_by_role("button", name="Improvement").click()
    expect(dialog.locator(".safe-similar-told")).to_contain_text("Of 18 improvement images.")
    expect(beside).to_contain_text("night_")
    expect(dialog.locator(".safe-similar-list")).to_contain_text("in the unsafe set for RCC ")


@pytest.mark.slow
def test_features_that_are_missing_are_computed_with_progress(browser, tmp_path):
    case = draw_case(tmp_path / "answered")
    with served_from(tmp_path, delay=0.5) as served, opened(browser, served) as page:
        cluster(page, served, case)
        shutil.rmtree(tmp_path / "cache")
        dialog = enlarge(page, "snow_01")
        dialog.get_by_role("button", name="Right").click()
        told = dialog.locator(".safe-similar-told")
        expect(dialog.get_by_role("button", name="Stop")).to_be_visible()
        expect(told).to_contain_text("Extracting features")
        expect(dialog.locator(".safe-similar-list button")).to_have_count(12)


def test_what_a_script_sends_is_checked_and_other_runs_are_refused(fake_network, draw_folder, tmp_path):
    out = tmp_path / "out"
    clusters = generate_clusters(
        draw_folder(tmp_path / "in", {"night": 10, "snow": 8}), out, ClusteringSettings(extractor="vgg16-conv")
    )
    similar, run = SimilarImages(settings_of(out)), fingerprint(clusters)
    for sent in (None, [], [0, run], [99, run, "right", "look"], ["0", run, "right", "look"], [0, run, "x", "look"]):
        assert similar.ask(sent)["says"] == "The page asked for something other than similar images. Reload it."
        assert similar.picture(sent) == ""
    assert "generated again in another window" in similar.ask([0, "0" * 16, "right", "look"])["says"]
    assert similar.picture([0, run, "right", 0]) == ""  # not gathered
    answer = similar.ask([0, run, "right", "look"])
    assert answer["working"]
    wait_until(lambda: not similar.ask([0, run, "right", "wait"])["working"])
    assert "answers to its whole test set are not known" in similar.ask([0, run, "right", "wait"])["says"]
