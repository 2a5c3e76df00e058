"""The map of all failing images: its script alone in a browser. (Other tests use it on the real page.)"""

import itertools
import re
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn.page.assets import asset
from safe_dnn.page.clusters.failing_images import MAP_SCRIPTS
from safe_dnn.page.messages import as_text
from safe_dnn.rccs.image_map import COLOURS, STEPS, colour_apart, map_filters, packed
from safe_dnn.rccs.review.journal import judgements
from tests.helpers.browsing import new_window
from tests.helpers.scripts import run_alone

N = 20_000
SMOOTH = 50  # milliseconds for a frame


def of_points(xy: np.ndarray, labels: np.ndarray, columns: Mapping[str, np.ndarray], names: Mapping[int, str]) -> dict:
    """What the server sends of points between 0 and 1."""
    grid = np.rint(xy * STEPS).astype("<u2")
    rccs = [int(rcc) for rcc in np.unique(labels)]
    at = [int(np.flatnonzero(labels == rcc)[0]) for rcc in rccs]
    described = [
        {"rcc": rcc, "title": f"RCC {rcc}", "name": names.get(rcc, ""), "verdict": "", "at": at, "size": 1, "colour": c}
        | {"reach": [int(grid[at, 1])] * 2}
        for rcc, at, c in zip(rccs, at, colour_apart(xy[at]), strict=True)
    ]
    record = {
        "steps": STEPS, "x": packed(grid[:, 0]), "y": packed(grid[:, 1]), "rcc": packed(labels.astype("<i4")),
        "name": [f"{row}.png" for row in range(len(xy))], "between": {}, "bulk": [0, 0, STEPS // 2, STEPS // 2],
        "whole": [*grid.min(axis=0).tolist(), *grid.max(axis=0).tolist()], "rccs": described,
    }  # fmt: skip
    return {
        "value": [], "record": as_text(record), "filters": as_text(map_filters(columns)), "chosen": None, "shade": "",
        "verdicts": [*judgements(), ""], "found": "", "named": "", "seen": "run",
    }  # fmt: skip


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    page = new_window(browser, viewport={"width": 1000, "height": 700})
    yield page
    page.context.close()


def show(window: Page, props: dict, width: int = 700) -> None:
    style = asset("style.css")
    body = asset("clusters/map.html")
    faults = []
    window.on("pageerror", lambda error: faults.append(str(error)))
    style += "* { box-sizing: border-box; } body { height: 3000px; }"
    window.set_content(f"<style>{style}</style><div id='map' style='width:{width}px'>{body}</div>")
    run_alone(window, "#map", MAP_SCRIPTS, props)
    expect(window.locator("#map .safe-map-none")).to_be_hidden()
    assert faults == []


# Four images in a square that fills the bulk, and one far to the upper right; a fifth of them would be at its corner.
SQUARE = np.array([[0.1, 0.1], [0.4, 0.1], [0.1, 0.4], [0.4, 0.4], [1.0, 1.0]])
LABELS = np.array([0, 0, 1, 1, 2])


@pytest.fixture
def square(window: Page) -> Page:
    columns = {"sky": np.array(["dark", "dark", "dark", "bright", ""]), "light": np.array([0.0, 1, 2, 3, np.nan])}
    show(window, of_points(SQUARE, LABELS, columns, {1: "sunglasses at night, head turned"}))
    return window


def data(page: Page, name: str) -> str:
    """What the map says of itself, once it is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("#map canvas").get_attribute(f"data-{name}") or ""


def time_frames(window: Page) -> None:
    """Let a window keep what each frame takes from now on (see `frames`)."""
    window.evaluate("""() => {
      window.times = [];
      const ask = requestAnimationFrame;
      window.requestAnimationFrame = (paint) => ask((now) => {
        const start = performance.now(); paint(now); times.push(performance.now() - start); });
    }""")


def frames(page: Page) -> list[float]:
    """How long each frame took in which the map was drawn since the last call, in milliseconds."""
    return [took for took in page.evaluate("() => window.times.splice(0)") if took > 1]


def event(page: Page) -> list:
    return page.evaluate("() => window.alone.events.at(-1)")


def test_labels_are_names_cut_short_or_numbers_and_what_lies_outside_is_marked_until_it_is_fitted(square):
    assert data(square, "labels").split("|") == ["RCC 0", "sunglasses at night…"]
    outside = square.locator("#map .safe-map-outside")
    expect(outside).to_have_text("1 outside")
    outside.click()
    expect(outside).to_be_hidden()
    assert "RCC 2" in data(square, "labels")
    square.locator("#map").get_by_role("button", name="Fit").click()
    expect(outside).to_be_visible()
    square.evaluate(
        "() => window.alone.change({ named: JSON.stringify("
        "[{ rcc: 0, title: 'RCC 0 · fog', name: 'fog', verdict: '' }]) })"
    )
    assert data(square, "labels").split("|")[0] == "fog"


def test_an_rcc_at_hand_that_is_not_in_sight_is_shown(square):
    square.evaluate("() => window.alone.change({ chosen: 2 })")
    assert data(square, "labels").split("|")[0] == "RCC 2"
    expect(square.locator("#map .safe-map-outside")).to_be_hidden()
    for _ in range(12):
        square.locator("#map").get_by_role("button", name="Zoom in").click()
    square.evaluate("() => window.alone.change({ chosen: 0 })")
    assert data(square, "labels").split("|")[0] == "RCC 0"
    assert float(data(square, "zoom")) > 10


def test_filters_hide_images_and_count_what_is_left_and_what_is_selected_are_images_shown(square):
    show_button = square.locator("#map [data-do=filters]")
    show_button.click()
    pane = square.locator("#map .safe-map-filters")
    sky, light = (pane.get_by_role("group", name=name, exact=True) for name in ("sky", "light"))
    dark, bright = (sky.locator("label", has_text=text) for text in ("dark", "bright"))
    expect(dark).to_have_attribute("title", "3 of 3")
    dark.click()
    expect(pane.locator("header b")).to_have_text("3 of 5 shown")
    show_button.click()
    expect(show_button).to_have_text("Filter · 3 of 5")
    show_button.click()
    expect(light.locator("i").nth(3)).to_have_attribute("title", "3 to 3: 0 of 1")
    expect(bright).to_have_attribute("title", "1 of 1")
    light.get_by_label("light from").fill("1")
    expect(light.locator(".safe-map-kept")).to_have_text("1 to 3")
    expect(dark).to_have_attribute("title", "2 of 3")
    pane.get_by_role("button", name="Select").click()
    assert event(square) == ["select", [1, 2]]
    square.evaluate("() => window.alone.change({ found: JSON.stringify({ rows: [0, 1], at: 1 }) })")
    expect(pane.locator(".safe-map-hidden")).to_have_text("1 of 2 selected images are not shown")
    pane.get_by_role("button", name="Clear").click()
    assert data(square, "shown") == "5"
    light.get_by_label("light to").focus()
    square.keyboard.press("ArrowLeft")
    expect(light.locator(".safe-map-kept")).to_have_text("0 to 2")
    square.keyboard.press("Escape")
    assert data(square, "shown") == "5"
    light.get_by_text("unknown").click()
    assert data(square, "shown") == "1"
    sky.get_by_role("checkbox").first.focus()
    square.keyboard.press("ArrowDown")
    expect(bright.get_by_role("checkbox")).to_be_focused()
    light.get_by_role("button", name="All of light").click()
    square.evaluate(
        "() => window.alone.change({ named: JSON.stringify("
        "[{ rcc: 0, title: 'RCC 0 · fog', name: 'fog', verdict: 'unsafe' }]) })"
    )
    bright.click()
    pane.get_by_role("group", name="Verdict").get_by_text("not judged").click()
    assert data(square, "shown") == "1"
    square.evaluate(
        "() => window.alone.change({ named: JSON.stringify("
        "[{ rcc: 0, title: 'RCC 0', name: '', verdict: 'unsafe' }]) })"
    )
    assert data(square, "shown") == "1", "what was chosen stays chosen"


def test_a_filter_is_set_by_typing_name_and_value_and_what_no_filter_has_is_refused_in_words(square):
    square.locator("#map [data-do=filters]").click()
    pane = square.locator("#map .safe-map-filters")
    typed, kept = pane.get_by_label("Filter by name=value"), pane.locator(".safe-map-kept")

    def problem_with(text: str) -> str:
        typed.fill(text)
        typed.press("Enter")
        return typed.evaluate("field => field.validationMessage")

    assert problem_with("fog=1") == "Expected name=value. Names are RCC, sky, light"
    assert problem_with("sky=grey") == "No image has sky=grey. Expected dark, bright, unknown"
    assert problem_with("light = 3.5") == "No image has light=3.5. Expected numbers from 0 to 3"
    assert problem_with("light=") == "No image has light=. Expected numbers from 0 to 3"
    assert problem_with("bright") == "Expected name=value. Names are RCC, sky, light"
    assert data(square, "shown") == "5"
    expect(typed).to_have_value("bright")  # what was refused can be corrected
    assert problem_with("Sky = dark") == ""
    expect(typed).to_have_value("")
    expect(pane.get_by_role("checkbox", name="dark")).to_be_checked()
    expect(pane.locator("header b")).to_have_text("3 of 5 shown")
    assert problem_with("light=1.2") == ""
    expect(kept.nth(2)).to_have_text("1 to 1")
    expect(pane.locator("header b")).to_have_text("1 of 5 shown")
    pane.get_by_role("button", name="Clear").click()
    assert problem_with("light=unknown") == ""
    assert problem_with("rcc=2") == ""
    assert data(square, "shown") == "1"
    expect(typed).to_be_focused()


def test_the_keyboard_moves_goes_from_image_to_image_selects_and_opens(square):
    canvas, live = square.locator("#map canvas"), square.locator("#map .safe-map-live")
    canvas.focus()
    square.keyboard.press("+")
    assert data(square, "zoom") == "1.50"
    square.keyboard.press("0")
    assert data(square, "zoom") == "1.00"
    square.keyboard.press("ArrowRight")
    square.keyboard.press("ArrowRight")
    square.keyboard.press("ArrowUp")
    square.keyboard.press("Space")
    expect(live).to_have_text("RCC 1. 3.png. Not selected")
    square.keyboard.press("ArrowLeft")
    expect(live).to_have_text("RCC 1. 2.png. Not selected")
    square.keyboard.press("ArrowDown")
    expect(live).to_have_text("RCC 0. 0.png. Not selected")
    expect(square.locator("#map .safe-map-tip")).to_be_visible()
    square.keyboard.press("Space")
    expect(live).to_have_text("RCC 0. 0.png. Selected")
    square.keyboard.press("ArrowRight")
    square.keyboard.press("Space")
    assert event(square) == ["select", [0, 1]]
    square.keyboard.press("Space")
    assert event(square) == ["select", [0]]
    square.evaluate("() => document.addEventListener('safe-open', ({ detail }) => { window.openedRcc = detail; })")
    square.keyboard.press("Enter")
    assert square.evaluate("window.openedRcc") == 0
    assert square.evaluate("window.alone.props.value") == [1]
    square.keyboard.press("Escape")
    expect(square.locator("#map .safe-map-tip")).to_be_hidden()


def test_the_wheel_scrolls_the_page_until_the_map_has_the_focus_and_dragging_moves_the_map(square):
    box = square.locator("#map canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    square.mouse.move(*middle)
    square.mouse.wheel(0, 100)
    expect(square.locator("#map .safe-map-hint")).to_contain_text("hold Ctrl")
    square.wait_for_function("() => scrollY > 0")
    assert data(square, "zoom") == "1.00"
    square.evaluate("() => scrollTo(0, 0)")
    square.keyboard.down("Control")
    square.mouse.wheel(0, -100)
    square.keyboard.up("Control")
    square.wait_for_function("() => Number(document.querySelector('#map canvas').dataset.zoom) > 1.4")
    square.mouse.dblclick(*middle)
    square.wait_for_function("() => Number(document.querySelector('#map canvas').dataset.zoom) > 2.8")
    assert event(square) is None
    square.mouse.wheel(0, 4000)
    square.wait_for_function("() => Number(document.querySelector('#map canvas').dataset.zoom) < 1")
    assert square.evaluate("() => scrollY") == 0
    square.locator("#map").get_by_role("button", name="Fit").click()
    expect(square.locator("#map .safe-map-outside")).to_have_text("1 outside")
    square.mouse.move(*middle)
    square.mouse.down()
    square.mouse.move(box["x"] + 5, middle[1], steps=3)
    square.mouse.up()
    expect(square.locator("#map .safe-map-outside")).to_have_text("3 outside")


@pytest.mark.slow
def test_twenty_thousand_images_in_400_rccs_and_twelve_parameters_stay_smooth_and_small(window, capsys):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(-1, 399), N // 400)
    xy = np.clip(rng.random((400, 2))[labels] / 2 + rng.normal(0, 0.01, (N, 2)), 0, 1)
    columns = {f"number {k}": rng.normal(size=N) for k in range(12)}
    props = of_points(xy, labels, columns, {})
    assert len(props["filters"]) < 400_000
    show(window, props | {"chosen": 3})
    window.locator("#map [data-do=filters]").click()
    time_frames(window)
    drawing, filtering = [], []
    for _ in range(2):  # the better round counts: in one, another program may have had the processor
        window.locator("#map canvas").focus()
        for key in [*"++++++-----", "ArrowLeft", "ArrowUp", "0"]:
            window.keyboard.press(key)
            data(window, "zoom")
        drawing.append(frames(window))
        for k in (2, 7, 12, 5, 0):
            window.get_by_label("number 0 from").fill(str(k))
            data(window, "shown")
        assert data(window, "shown") == str(N)
        filtering.append(frames(window))
    for what, rounds, least in (("drawing", drawing, 12), ("filtering", filtering, 4)):
        times = min(rounds, key=np.median)
        with capsys.disabled():
            print(f"\n20,000 images, {what}: median {np.median(times):.1f} ms, longest {max(times):.1f} ms")
        assert min(map(len, rounds)) > least
        assert np.median(times) < SMOOTH


# --- Colours ----------------------------------------------------------------------------------------------------

# What people see who lack a kind of cones: Machado et al., IEEE TVCG 15(6), 2009, severity 1, on linear RGB.
SIGHT = {
    "all": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST_DIFFERENCE = 15  # CIE76; what is just noticeable is 2.3


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """A colour as CIE Lab, as someone sees it."""
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    white = np.array([0.95047, 1, 1.08883])
    part = XYZ @ np.clip(sight @ linear, 0, 1) / white
    x, y, z = np.where(part > 216 / 24389, np.cbrt(part), (24389 / 27 * part + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#0b0f19")])
def test_the_colours_differ_from_each_other_from_grey_and_from_the_ground_for_everybody(theme, ground):
    colouring = asset("clusters/map_colours.js")
    colours = re.findall("#[0-9a-f]{6}", re.search(rf"{theme}: \[(\"#.*?)\]", colouring)[1])
    grey = re.search(rf'GREY = {{.*?{theme}: "(#\w+)"', colouring)[1]
    assert len(colours) == COLOURS
    for sight, seeing in SIGHT.items():
        seen = [lab(colour, seeing) for colour in (*colours, grey, ground)]
        for one, two in itertools.combinations(range(len(seen)), 2):
            assert np.linalg.norm(seen[one] - seen[two]) > LEAST_DIFFERENCE, (sight, one, two)


# --- On the page ------------------------------------------------------------------------------------------------
