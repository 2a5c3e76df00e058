"""The real page, served as an engineer serves it, in a real browser: what the tests of the page share."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from safe_dnn.rccs.clusters import LABELS_FILE
from safe_dnn.rccs.review.journal import Note, standing
from safe_dnn.rccs.review.review import all_edits, load_review, load_spot_notes, set_note, undo_edit
from tests.helpers import visiting
from tests.helpers.places import closed_port
from tests.helpers.scenes import draw_scenes

TOOL = Path(__file__).parents[2] / "SAFE_Tool.py"
CHROMIUM = "/usr/bin/chromium"
MARKUP = "<img src=x onerror=document.title='broken-into'>_{}.png"
WAIT = int(
    os.environ.get("WAIT", 120_000)
)  # milliseconds, for what the network, the drawing of GIFs or a loaded machine may hold up
expect.set_options(timeout=WAIT)


class Served(NamedTuple):
    """A page that is up.

    Attributes
    ----------
    url : str
    out : Path
        Its output folder.
    images, improvement : Path
    log : Path
        What the server wrote to stderr.
    process : int
        Its number.
    """

    url: str
    out: Path
    images: Path
    improvement: Path
    log: Path
    process: int


def draw(folder: Path, counts: dict[str, int], seed: int) -> Path:
    """Drawn images, those of the snow with markup in their names."""
    return draw_scenes(folder, counts, seed, snow=MARKUP)


@contextlib.contextmanager
def served_from(
    folder: Path, *options: str | Path, tool: Path = visiting.FAKED, delay: float = 0, **variables: str
) -> Iterator[Served]:
    """`SAFE_Tool.py ui` in a process of its own, on a free port, behind a proxy that leads nowhere, with drawn images.

    Unless with `tool=TOOL`, a stand-in for VGG16 needs no TensorFlow, and takes `delay` seconds for each batch;
    `variables` are those of `faked_tool.py`.
    """
    images = draw(folder / "failing", {"night": 10, "snow": 8, "wood": 6}, seed=0)
    improvement = draw(folder / "improvement", {"night": 6, "snow": 6, "wood": 6}, seed=1)
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{closed_port()}"
    )
    # None of Gradio's settings is taken from the environment.
    variables |= {"FAKE_DELAY": str(delay), "GRADIO_ROOT_PATH": "/elsewhere", **proxies}
    log = folder / "stderr.txt"
    with visiting.served(folder, *options, tool=tool, **variables) as (url, process):
        yield Served(url, folder / "out", images, improvement, log, process)
    said = log.read_text()
    # Ended while a window was still being answered
    assert "this is a defect" not in said, said
    assert "Traceback" not in said or "after interpreter shutdown" in said, said


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def new_window(browser: Browser, **options: Any) -> Page:
    """A page in a context of its own, with as much time for what is done in it as for what is expected of it."""
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT)
    return context.new_page()


@contextlib.contextmanager
def opened(browser: Browser, served: Served) -> Iterator[Page]:
    """The page in a fresh window; at the end, that it asked no other host and nothing went wrong in it."""
    requests, faults = [], []
    page = new_window(browser, viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        # An empty analysis opens on the failures.
        page.goto(served.url if (served.out / LABELS_FILE).exists() else f"{served.url}/#tab=clusters")
        expect(page).to_have_title(f"{served.out.name} – SAFE")
        yield page
        assert page.title() == f"{served.out.name} – SAFE"
        assert requests
        assert {
            url for url in requests if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(served.url)
        } == set()
        # Gradio and the browser complain where a window is closed or loaded anew while it still listens for progress.
        cut = "signal is aborted|Connection errored out|ERR_INCOMPLETE_CHUNKED_ENCODING|TypeError: network error"
        # Its queue says this where a stream is opened for a session that it has just forgotten.
        cut += "|^Unexpected error 404: Not Found$"
        faults = [fault for fault in faults if not re.search(cut, fault)]
        assert faults == [], faults
    finally:
        page.context.close()


@contextlib.contextmanager
def opened_twice(browser: Browser, served: Served) -> Iterator[tuple[Page, Page]]:
    """The page in two fresh windows (see `opened`)."""
    with opened(browser, served) as a, opened(browser, served) as b:
        yield a, b


def begin_another(page: Page, name: str) -> None:
    """Make another analysis, from the list in the header."""
    page.locator("header nav > details > summary").click()
    page.get_by_label("Name of a new analysis").fill(name)
    page.get_by_role("button", name="New", exact=True).click()


def field(page: Page, name: str):
    """A text field by the id of its widget."""
    return page.locator(f"#{name} textarea, #{name} input")


def unfold(page: Page) -> None:
    """Show the form of the second tab, which is folded where there is a result."""
    expect(field(page, "images")).to_be_enabled()  # the window has heard whether there is
    if not page.locator("#generate").is_visible():
        unfold_in_sight(page)
        expect(page.locator("#generate")).to_be_visible()


def unfold_in_sight(page: Page) -> None:
    """Show the form of the tab in sight, if it is folded."""
    for button in page.get_by_role("button", name="Other inputs or options").all():
        if button.is_visible():
            button.click()
            expect(page.get_by_role("button", name="Hide the form")).to_be_visible()


def chosen(page: Page, name: str, option: str) -> None:
    """Choose from a dropdown by the id of its widget."""
    field(page, name).click()
    page.get_by_role("option", name=option).click()


def generate(page: Page, images: Path, failures: int = 24) -> None:
    """The first click: clusters in the output folder."""
    unfold(page)
    field(page, "images").fill(str(images))
    page.locator("#generate").click()
    done = re.compile(f"of {failures} failures|Most failures: ")  # the second where right images are known
    expect(page.locator("#clusters-status .safe-status")).to_contain_text(done)


def give_accuracy(page: Page, accuracy: str) -> None:
    """In the third tab: what decides the number of images if none is given."""
    unfold_in_sight(page)
    if not page.locator("#by-formula").is_visible():
        page.get_by_text("How many images").click()
    if not field(page, "accuracy").is_visible():
        page.get_by_text("Number by the paper's formula").click()
    field(page, "accuracy").fill(accuracy)


def select(page: Page, improvement: Path, size: str, *, equal: bool = False) -> None:
    """In the third tab: an unsafe set, perhaps with as many images of each RCC."""
    page.get_by_role("tab", name="Unsafe set").click()
    unfold_in_sight(page)
    field(page, "improvement").fill(str(improvement))
    field(page, "set-size").fill(size)
    if equal:
        page.get_by_text("How many images").click()
        page.get_by_text("the same of each (the paper)").click()
    page.locator("#select").click()
    expect(page.locator("#unsafe-status strong")).to_contain_text(f"{size} of ")


def select_nine(page: Page, served: Served) -> None:
    """An unsafe set of 9 images without labels, 3 of each RCC."""
    select(page, served.improvement, "9", equal=True)


def forget(out: Path) -> None:
    """Take back all edits, and all that was said. (The page would not hear of a database that is gone.)"""
    for _ in standing(all_edits(out, load_review(out)))[0]:
        undo_edit(out)
    for rcc in load_review(out).notes:
        set_note(out, Note(rcc))
    for note in load_spot_notes(out).values():
        set_note(out, Note(note.about))


def write(page: Page, name: str, text: str) -> None:
    """Type into a field of the note, and leave it."""
    field(page, name).fill(text)
    field(page, name).blur()


def await_pictures(page: Page) -> None:
    """Wait for the pictures in sight: once something is edited, those of the state before are gone."""
    page.wait_for_function("[...document.images].every((one) => one.complete || !one.checkVisibility())")


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what the page does behind what it shows."""
    end = time.monotonic() + WAIT / 1000
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def canvas_of(page: Page) -> Locator:
    """The map, once it is drawn."""
    canvas = page.locator("#map canvas")
    expect(canvas).to_be_visible(timeout=2 * WAIT)
    expect(page.locator("#map .safe-map-none")).to_be_hidden()
    return canvas


def filter_by(page: Page, text: str) -> None:
    """Let the map show images with a name=value alone."""
    pane = page.locator("#map .safe-map-filters")
    expect(page.locator("#map canvas[data-shown]")).to_be_visible(timeout=2 * WAIT)
    if not pane.is_visible():
        page.locator("#map [data-do=filters]").click()
    name, value = text.split("=")
    boxes = pane.get_by_role("group", name=name, exact=True).get_by_role("checkbox")
    for box in boxes.all():
        box.set_checked(box.locator("xpath=..").locator("span").inner_text() == value, force=True)


def lasso_all(page: Page) -> float:
    """Draw a lasso around the whole map; when the mouse was released, by `time.monotonic`."""
    canvas = canvas_of(page)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    corners = [(0.005, 0.005), (0.995, 0.005), (0.995, 0.995), (0.005, 0.995), (0.005, 0.01)]
    first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*first)
    page.keyboard.down("Shift")  # otherwise the map is moved
    page.mouse.down()
    for corner in others:
        page.mouse.move(*corner, steps=4)
    released = time.monotonic()
    page.mouse.up()
    page.keyboard.up("Shift")
    return released
