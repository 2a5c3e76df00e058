"""How much there is to read before anything is clicked or scrolled, in a real browser."""

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from safe_dnn.dnn.failures import collect_failures
from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.training.result import compare_answers
from tests.helpers.browsing import Served, field, opened, select_nine, served_from
from tests.helpers.scenes import draw_scene

pytestmark = pytest.mark.slow

MOST = 200
CLASSES = [f"{i}_class" for i in range(8)]
# What is in sight: not cut off by the window or by what scrolls, and not Gradio's hidden second row of tabs
WORDS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), words = [];
  const range = document.createRange();
  while (walker.nextNode()) {
    const text = walker.currentNode, parent = text.parentElement;
    if (parent.closest(".tab-container.visually-hidden")) continue;
    if (!parent.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    range.selectNodeContents(text);
    let { left, top, right, bottom } = range.getBoundingClientRect();
    [left, top] = [Math.max(left, 0), Math.max(top, 0)];
    [right, bottom] = [Math.min(right, innerWidth), Math.min(bottom, innerHeight)];
    for (let around = parent; around !== document.body; around = around.parentElement) {
      const { overflow, display } = getComputedStyle(around), box = around.getBoundingClientRect();
      if (overflow === "visible" || display === "inline") continue;
      [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
      [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    if (right - left >= 1 && bottom - top >= 1) words.push(...text.textContent.split(/\\s+/).filter(Boolean));
  }
  return words;
}"""


def seen(page) -> list[str]:
    return page.evaluate(WORDS)


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory):
    """Eight classes, each taken for the next in every second image; after a retraining in every fourth."""
    root = tmp_path_factory.mktemp("words")
    rng, test = np.random.default_rng(0), root / "test"
    for i, name in enumerate(CLASSES):
        (test / name).mkdir(parents=True)
        for number in range(12):
            draw_scene(("night", "snow", "wood")[i % 3], rng, side=32).save(test / name / f"{number:02d}.png")
    following = dict(zip(CLASSES, [*CLASSES[1:], CLASSES[0]], strict=True))
    for table, every in (("before", 2), ("after", 4)):
        said = ((path, path.split("/")[0], int(path[-6:-4])) for path in labelled_images(test).paths)
        rows = [f"{path},{name if number % every else following[name]}" for path, name, number in said]
        (root / f"{table}.csv").write_text("\n".join(["image,predicted", *rows]) + "\n")
    with served_from(root) as served:
        with opened(browser, served) as page:
            assert len(seen(page)) < MOST / 2
        collect_failures(root / "before.csv", test, served.out)
        with opened(browser, served) as page:
            page.get_by_role("tab", name="Failures").click()
            page.locator("#find-reasons").click()
            expect(page.locator("#clusters-status .safe-status")).to_contain_text(
                re.compile("of 48 failures|Most failures: ")
            )
            select_nine(page, served)
        compare_answers(root / "before.csv", root / "after.csv", test, served.out)
        yield served


def test_a_first_screen_has_at_most_two_hundred_words(browser, served: Served):
    with opened(browser, served) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        for tab, shown in {
            "Failures": "#failing-grid [data-index]", "Unsafe set": "#selected-grid [data-index]",
            "Labels": ".safe-label img", "Retraining": "#matrix-after button",
            "Report": "#report", "Safety case": "#register [data-row='0']:visible",
        }.items():  # fmt: skip
            page.get_by_role("tab", name=tab).click()
            expect(page.locator(shown).first).to_be_visible()
            page.evaluate("scrollTo(0, 0)")
            words = seen(page)
            assert MOST / 4 < len(words) <= MOST, (tab, " ".join(words))


def test_each_answer_to_the_question_of_an_empty_analysis_leads_to_its_first_field(browser, tmp_path):
    with served_from(tmp_path) as served, opened(browser, served) as page:
        expect(field(page, "images")).to_be_enabled()
        expect(page.locator(".toast-body")).to_have_count(0)  # nothing has gone wrong yet
        page.get_by_role("button", name="Failing images").click()
        expect(field(page, "images")).to_be_focused()
        page.get_by_role("button", name="A model and its test set").click()
        expect(page).to_have_url(re.compile("tab=failures$"))
        expect(field(page, "failures-model")).to_be_focused()
