"""Clusters and an unsafe set by features of another network, in the real page."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from tests.helpers.browsing import WAIT, field, opened, unfold, wait_until
from tests.helpers.places import names_in

pytestmark = pytest.mark.slow


def of(folder: Path) -> Path:
    """A file with two features of each image of a folder."""
    file, names = folder.with_suffix(".npz"), names_in(folder)
    rows = [[10 * ("night" in name), 10 * ("snow" in name)] for name in names] + np.random.default_rng(0).random(
        (len(names), 2)
    )
    np.savez(file, paths=[f"{folder.name}/{name}" for name in names], features=rows)
    return file


def test_features_from_a_file_are_those_of_clusters_and_of_the_unsafe_set(browser, served):
    with opened(browser, served) as page:
        unfold(page)
        page.get_by_role("button", name="More options").click()
        field(page, "features").fill("/no/where.npz")
        page.locator("#generate").click()
        expect(page.locator("#clusters-status [role=alert]")).to_contain_text("own features")
        field(page, "features").fill(str(of(served.images)))
        page.locator("#generate").click()
        wait_until(lambda: run_record(served.out)["extractor"]["name"] == "own")
        expect(page.locator("#generate")).to_be_enabled(timeout=WAIT)
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text(f"features of {served.images.name}.npz")
        page.reload()
        expect(field(page, "features")).to_have_value(str(of(served.images)))

        page.get_by_role("tab", name="Unsafe set").click()
        field(page, "improvement").fill(str(served.improvement))
        field(page, "set-size").fill("9")
        page.locator("#select").click()
        expect(page.locator("#unsafe-status [role=alert]")).to_contain_text("Received none for 18 of 18 images")
        page.get_by_text("How many images").click()
        field(page, "select-features").fill(str(of(served.improvement)))
        page.locator("#select").click()
        expect(page.locator("#unsafe-status strong")).to_contain_text("of 18 improvement")
        assert load_unsafe_set(served.out).extractor.weights == of(served.improvement)
