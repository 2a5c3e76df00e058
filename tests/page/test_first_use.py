"""A newcomer's first use of the real page, from the example to a model that is better: how many clicks it takes."""

import json
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from casestudies.build import build_case
from rccs.review import load_review
from support.run_folder import RETRAINING_FILE
from tests.helpers.browsing import WAIT, field, opened, served_from, wait_until

# Minutes: a case study is built, its failures go through VGG16, and its network is retrained
pytestmark = pytest.mark.slow

SCALE = 0.15  # of the example that `make run` builds
MOST_CLICKS = 12
COUNT_CLICKS = """() => {
    window.clicks = [];
    addEventListener("click", (event) => {
        const at = event.target.closest("button, a, label, input, textarea") || event.target;
        if (event.isTrusted) window.clicks.push(at.id || at.textContent.trim().slice(0, 30) || at.tagName);
    }, true);
}"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "example"
    build_case("gd", folder, scale=SCALE)
    return folder


def test_from_the_example_to_a_better_model_takes_fewer_than_12_clicks(browser: Browser, example, tmp_path):
    with served_from(tmp_path, "--example", example) as served, opened(browser, served) as page:
        expect(field(page, "images")).to_be_enabled()
        page.evaluate(COUNT_CLICKS)
        started = time.monotonic()
        page.locator("#example-images").click()
        expect(field(page, "images")).to_have_value(str(example / "failures"))
        page.locator("#generate").click()
        expect(page.locator("#rcc-heading h2")).to_have_text("RCC 0", timeout=5 * WAIT)

        field(page, "rcc-name").click()
        page.keyboard.type("looks to the side")
        page.keyboard.press("Enter")
        wait_until(lambda: any(note.name == "looks to the side" for note in load_review(served.out).notes.values()))

        page.get_by_role("tab", name="Unsafe set").click()
        page.locator("#example-improvement").click()
        expect(field(page, "improvement")).to_have_value(str(example / "improvement"))
        # What the RCCs are compared with is still being looked at: one thing at a time.
        expect(page.locator("#clusters-status progress")).to_have_count(0, timeout=5 * WAIT)
        page.locator("#select").click()
        expect(page.locator("#unsafe-status strong")).to_contain_text("improvement images", timeout=5 * WAIT)

        page.get_by_role("tab", name="Retraining").click()
        page.locator("#example-model").click()
        expect(field(page, "model")).to_have_value(str(example / "model.keras"))
        page.locator("#retrain").click()
        expect(page.locator("#retraining-status strong")).to_contain_text("test accuracy", timeout=5 * WAIT)
        seconds = time.monotonic() - started
        clicks = page.evaluate("window.clicks")
        result = json.loads((served.out / RETRAINING_FILE).read_text())
        before, after = result["accuracy_before"], result["accuracy_after"]
        print(f"\nfrom the example to a better model: {len(clicks)} clicks ({', '.join(clicks)}), {seconds:.0f} s")
        print(f"accuracy {before:.1%} -> {after:.1%}")
        expect(page.locator("#retraining-figures")).to_contain_text(f"{after:.2%}")
        assert after > before
        assert 0 < len(clicks) < MOST_CLICKS
