"""The page by axe-core: no serious finding, filled and empty, light and dark. And by keyboard."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from safe_dnn.rccs.clusters import LABELS_FILE
from tests.helpers.browsing import (
    WAIT,
    Served,
    canvas_of,
    field,
    generate,
    give_accuracy,
    new_window,
    opened,
    served_from,
    unfold,
)

pytestmark = pytest.mark.slow

# Gradio's own widgets: what is wrong inside them is not ours to mend.
NOT_OURS = {"include": [["body"]], "exclude": [[".table-wrap"], [".gradio-dataframe"]]}
TABS = ("Failures", "Root cause clusters", "Unsafe set", "Labels", "Retraining", "Report", "Safety case")


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("axe")) as served:
        yield served


# What fades or slides for ever, as a sign of work, does not keep anybody waiting.
STILL = """() => document.getAnimations().every((one) => one.playState !== "running"
  || one.effect.getComputedTiming().endTime === Infinity)"""


def serious(page: Page) -> list[str]:
    """What axe finds once nothing moves or fades any more: a colour on its way has another contrast.

    What it finds is looked for once more, since something may have begun to fade while it looked.
    """
    return _found(page) and _found(page)


def _found(page: Page) -> list[str]:
    page.wait_for_function(STILL)
    found = Axe().run(page, context=NOT_OURS, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_no_tab_has_a_serious_finding_in_light_or_dark(browser, served, filled):
    with opened(browser, served) as page:
        if filled:
            generate(page, served.images)
            page.get_by_role("tab", name="Unsafe set").click()
            field(page, "improvement").fill(str(served.improvement))
            give_accuracy(page, "0.5")
            page.locator("#select").click()
            expect(page.locator("#unsafe-status strong")).to_contain_text("improvement images")
    # In a window of its own: Gradio complains in the console where a page is left while it listens for progress.
    findings = {}
    page = new_window(browser, viewport={"width": 1280, "height": 900})
    for theme in ("light", "dark"):
        page.goto(f"{served.url}/?__theme={theme}")
        expect(page.locator("#reason-heading h2" if filled else ".safe-empty").first).to_be_visible(timeout=WAIT)
        if theme == "dark":  # scrollbars, too
            expect(page.locator("html")).to_have_css("color-scheme", "dark")
        for tab in TABS:
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
            if filled and tab == TABS[1]:
                canvas_of(page)
                page.locator("#map [data-do=filters]").click()
            if found := serious(page):
                findings[f"{tab}, {theme}"] = found
    page.context.close()
    assert findings == {}


# Of what has the focus: the ids around it, and whether an outline shows it.
FOCUSED = """() => {
  const at = document.activeElement, ids = [], { outlineStyle, outlineWidth } = getComputedStyle(at);
  for (let around = at; around; around = around.parentElement) if (around.id) ids.push(around.id);
  return at === document.body ? null : { ids, shown: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
}"""


def test_the_keyboard_reaches_what_can_be_used_and_is_seen_there(browser, served):
    wanted = {
        "Failures": "failures-kind failures-model failures-test collect failures-options",
        "Root cause clusters": "images generate more-options reason-gif rcc-sample note-name note-verdict note-text "
        "merge-into reason-list screen-bar map colour-by grid move-to undo runs why",
        "Unsafe set": "improvement accuracy select",
        "Labels": "classes-folder labels-table take-labels",
        "Retraining": "model train test retrain training-options",
        "Report": "report export-all evidence verify",
        "Safety case": "scope download-register register fresh-predictions fresh-tested confirm",
    }
    with opened(browser, served) as page:
        if not (served.out / LABELS_FILE).exists():  # a second one would fold the form
            generate(page, served.images)
        expect(page.locator("#map canvas")).to_be_visible(timeout=WAIT)
        unfold(page)
        for tab in TABS:
            page.get_by_role("tab", name=tab).click()
            if tab == "Unsafe set":  # its form is folded, and the accuracy is one of the further options
                give_accuracy(page, "0.5")
                page.get_by_role("tab", name=tab).click()
            reached, unseen = set(), []
            for _ in range(180):
                page.keyboard.press("Tab")
                if focused := page.evaluate(FOCUSED):
                    reached |= set(focused["ids"])
                    if not focused["shown"]:
                        unseen.append(focused["ids"])
            assert set(wanted[tab].split()) - reached == set()
            assert unseen == []
