"""The list of analyses and the pages of several, as browsers ask for them."""

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
from tests.helpers.browsing import Served, new_window, served_from, wait_until, write
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

    def post(self, action: str, **fields: str) -> httpx.Response:
        return self.client.post(f"/analyses/{action}", data=fields)

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
    visitor = several.visitor(name)
    values = [str(images or several.served.images), "", "", "", [], False, [], "auto", "pca", "auto"]
    return visitor.fire(visitor.handler("generate", "click"), values)


# --- The list ---------------------------------------------------------------------------------------------------


def test_a_folder_of_analyses_is_opened_with_its_list(several):
    assert several.client.get("/").headers["location"] == "/analyses"
    answer = several.client.get("/analyses")
    assert answer.status_code == 200
    for text in (ODD, "empty"):
        assert escape(text) in answer.text
    assert f'href="{address_of(ODD)}"' in answer.text


def test_the_list_runs_no_script_and_a_name_is_text(several):
    assert several.post("new", name=MARKED).status_code == 303
    answer = several.client.get("/analyses")
    assert MARKED not in answer.text
    assert escape(MARKED) in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    shutil.rmtree(several.served.out / MARKED)


def test_what_cannot_be_done_is_a_sentence_above_the_list(several):
    before = several.names()
    for action, fields, why in (
        ("new", {"name": "empty"}, "There is a folder empty already"),
        ("new", {"name": "x" * 300}, "longer than 200 bytes"),
        ("new", {"name": "../empty"}, "which has a slash"),
    ):
        answer = several.post(action, **fields)
        assert answer.status_code == 409, (action, fields)
        assert re.search(f'<p role="alert">[^<]*{why}', answer.text), (action, fields)
    assert several.names() == before
    assert several.client.get("/analyses/new").status_code == 303
    for method, path in (("POST", ""), ("PUT", "new"), ("POST", "x"), ("GET", "x")):
        assert several.client.request(method, f"/analyses/{path}").status_code == 404, (method, path)
    assert several.names() == before


def test_a_link_to_something_gone_says_so_and_shows_the_list(several):
    answer = several.client.get("/a/gone%20%3Cb%3E/")
    assert answer.status_code == 404
    assert "There is no analysis gone &lt;b&gt; any more" in answer.text
    assert f'href="{address_of("empty")}"' in answer.text
    assert several.client.post("/a/gone/gradio_api/queue/join", json={}).status_code == 404


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
    assert "24 failures" in full.fire(full.loads()[0], [])
    told = "".join(empty.fire(load, []) for load in empty.loads()[:2])
    assert "failures explain" not in told
    assert ODD not in told
    assert "24 failures" not in told


def test_only_the_routes_of_a_page_are_there_below_its_address(several):
    for path in ("login", "logout", "monitoring", "docs", "openapi.json", "redoc", "analyses", "a/empty/", "gradio_api",
                 "gradio_api/upload", "gradio_api/run/predict", "gradio_api/call/x", "gradio_api/mcp"):  # fmt: skip
        for method in ("GET", "POST"):
            answer = several.client.request(method, f"/a/empty/{path}")
            assert answer.status_code == 404, (method, path)
    assert several.client.get("/a/empty/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


# --- In a browser -----------------------------------------------------------------------------------------------


def test_an_engineer_goes_from_the_list_into_an_analysis_and_back(browser: Browser, several: Several):
    page = new_window(browser, viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)
    page.goto(several.served.url)
    expect(page.get_by_role("heading", name="Analyses")).to_be_visible()
    assert serious(page) == []
    page.get_by_role("link", name=ODD).click()
    expect(page.locator("#rcc-heading h2")).to_have_text("RCC 0")
    expect(page).to_have_title(f"{ODD} – SAFE")
    gif = page.evaluate("fetch(document.querySelector('img[src*=gifs]').src).then((answer) => answer.status)")
    assert gif == 200
    write(page, "note-name", "dark")
    wait_until(lambda: 0 in (notes := load_review(several.served.out / ODD).notes) and notes[0].name == "dark")
    page.get_by_role("navigation", name="Analyses").get_by_role("link").click()
    page.get_by_label("Name of a new analysis").fill("new one")
    page.get_by_role("button", name="New analysis").click()
    expect(page.locator("#clusters-status")).not_to_contain_text("failures explain")
    expect(page.locator("header nav b")).to_have_text("new one")
    assert faults == []
    # Its folder is renamed in the file manager.
    (several.served.out / "new one").rename(several.served.out / "renamed")
    page.reload()
    why = "There is no analysis new one any more. It was renamed, moved or deleted."
    expect(page.get_by_role("alert")).to_contain_text(why)
    assert not (several.served.out / "new one").exists()
    page.get_by_role("link", name="renamed").click()
    expect(page.locator("header nav b")).to_have_text("renamed")
    page.close()
