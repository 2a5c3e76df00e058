"""What tests of the page in a browser share: a page that is up, with clusters and an unsafe set of drawn images."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.helpers.browsing import Served, generate, opened, select_nine, served_from


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With three RCCs: nights, snows, woods."""
    with served_from(tmp_path_factory.mktemp("served")) as served:
        with opened(browser, served) as page:
            generate(page, served.images)
        yield served


@pytest.fixture(scope="module")
def selected(browser: Browser, served: Served) -> Served:
    """The same with an unsafe set of 9 images without labels."""
    with opened(browser, served) as page:
        select_nine(page, served)
    return served
