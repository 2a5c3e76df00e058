"""Several analyses in one folder, which one page shows, each at an address of its own."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx
import pytest
from markupsafe import escape
from playwright.sync_api import Browser, expect

from safe_dnn.page.analyses import address_of, make, names_in
from safe_dnn.rccs.clusters import CLUSTERS_FILE
from safe_dnn.rccs.gifs import GIF_FOLDER
from safe_dnn.rccs.review.review import load_review
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.runs import CLUSTERS, present_runs
from tests.helpers.browsing import Served, begin_another, new_window, served_from, wait_until, write
from tests.helpers.visiting import SECONDS, Visitor
from tests.page.test_accessibility import serious

pytestmark = pytest.mark.slow

ODD = "50% dark #1? 🚗"
MARKED = "<b onclick=x>'\"&"


class Several(NamedTuple):
    served: Served
    client: httpx.Client

    def visitor(self, name: str) -> Visitor:
        return Visitor(self.served.url + address_of(name).rstrip("/"), f"window of {name}")

    def new(self, name: str, beside: str = "") -> httpx.Response:
        return self.client.post(f"{address_of(beside)}new", data={"name": name})

    def listed(self, at: str = ODD) -> str:
        with contextlib.closing((visitor := self.visitor(at)).client):
            return visitor.serve("header", "analyses_beside", []).json()["list"]

    def names(self) -> list[str]:
        return names_in(self.served.out)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    """A page of two analyses, of which the first has RCCs."""
    folder = tmp_path_factory.mktemp("several")
    for name in (ODD, "empty"):
        make(folder / "out", name)
    (folder / "tmp").mkdir()
    with (
        served_from(folder, delay=0.4, TMPDIR=str(folder / "tmp")) as served,
        httpx.Client(base_url=served.url, timeout=SECONDS) as client,
    ):
        several = Several(served, client)
        assert "24 failures" in generate(several, ODD)
        yield several


def generate(several: Several, name: str, images: Path | None = None) -> str:
    return several.visitor(name).send("generate", images=str(images or several.served.images))


# --- The list ---------------------------------------------------------------------------------------------------


def test_a_folder_of_analyses_is_opened_with_the_one_that_was_changed_last(several):
    answer = several.client.get("/?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{address_of(ODD)}?x=1")
    assert several.client.get(address_of(ODD).rstrip("/")).headers["location"] == address_of(ODD)
    listed = several.listed()
    for name in (ODD, "empty"):
        assert escape(name) in listed
        assert f'href="../..{address_of(name)}"' in listed


def test_a_name_is_text_in_the_list(several):
    assert several.new(MARKED, ODD).headers["location"] == f"../..{address_of(MARKED)}"
    listed = several.listed()
    assert MARKED not in listed
    assert escape(MARKED) in listed
    shutil.rmtree(several.served.out / MARKED)


def test_what_cannot_be_made_is_a_sentence(several):
    before = several.names()
    for name, why in (
        ("empty", "There is a folder empty already"), ("x" * 300, "longer than 200 bytes"),
        ("../empty", "which has a slash"),
    ):  # fmt: skip
        answer = several.new(name)
        assert answer.status_code == 409, name
        assert re.search(f'<p role="status">[^<]*{why}', answer.text), name
    assert several.names() == before


# --- Apart ------------------------------------------------------------------------------------------------------


def test_a_page_gives_out_the_gifs_of_its_own_analysis_and_no_others(several):
    out = several.served.out
    gif = quote(str(out / ODD / GIF_FOLDER / "RCC_00.gif"))
    own = address_of(ODD)
    assert several.client.get(f"{own}gradio_api/file={gif}").headers["content-type"] == "image/gif"
    for place in ("/", "/a/empty/", "/a/gone/", "/a/../", "/a/.hidden/"):
        assert several.client.get(f"{place}gradio_api/file={gif}").status_code == 404, place
    run = present_runs(out / ODD)[CLUSTERS].folder
    names = (f"{ODD}/labels.txt", f"{ODD}/gifs/../labels.txt", f"{ODD}/{DATABASE_FILE}", run / CLUSTERS_FILE)
    for name in names:
        for place in ("/", own, "/a/empty/"):
            assert several.client.get(f"{place}gradio_api/file={quote(str(out / name))}").status_code == 404


def test_a_window_of_one_analysis_is_told_nothing_of_another(several):
    empty, full = several.visitor("empty"), several.visitor(ODD)
    assert "24 failures" in full.open()
    told = "".join(empty.fire(load, [None] * len(load["inputs"])) for load in empty.loads()[:2])
    assert "failures explain" not in told
    assert ODD not in told
    assert "24 failures" not in told


# --- In a browser -----------------------------------------------------------------------------------------------


def test_an_engineer_goes_from_the_list_into_an_analysis_and_back(browser: Browser, several: Several):
    page = new_window(browser, viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)
    page.goto(several.served.url)
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")
    expect(page).to_have_title(f"{ODD} – SAFE")
    gif = page.evaluate("fetch(document.querySelector('img[src*=gifs]').src).then((answer) => answer.status)")
    assert gif == 200
    page.locator("header nav > details > summary").click()
    expect(page.get_by_role("link", name="empty")).to_be_visible()
    page.locator("h1").evaluate("heading => heading.click()")  # as the page opens a tab itself
    expect(page.get_by_role("link", name="empty")).to_be_visible()
    assert serious(page) == []
    page.locator("header nav > details > summary").click()
    write(page, "note-name", "dark")
    wait_until(lambda: 0 in (notes := load_review(several.served.out / ODD).notes) and notes[0].name == "dark")
    begin_another(page, "new one")
    expect(page.locator("header nav > b")).to_have_text("new one")
    expect(page.locator("#clusters-status")).not_to_contain_text("failures explain")
    assert faults == []
    # Its folder is renamed in the file manager.
    (several.served.out / "new one").rename(several.served.out / "renamed")
    page.reload()
    why = "There is no analysis new one any more. It was renamed, moved or deleted."
    expect(page.get_by_role("status")).to_contain_text(why)
    assert not (several.served.out / "new one").exists()
    page.get_by_role("link", name="Go on").click()
    page.locator("header nav > details > summary").click()
    page.get_by_role("link", name="renamed").click()
    expect(page.locator("header nav > b")).to_have_text("renamed")
    page.close()
