"""Scripts of widgets, each alone in a browser: what is intricate in them, without a server."""

import base64
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from safe_dnn.page.assets import asset, script
from safe_dnn.page.clusters.reasons import note_fields
from safe_dnn.page.failures.tab import matrix_table
from safe_dnn.rccs.gifs import MOST_FRAMES, _drawn
from safe_dnn.rccs.review.journal import SAFE, UNSAFE, Note
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.report.markup import filled
from tests.helpers.browsing import new_window
from tests.helpers.scripts import run_alone


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """A window with an address, which scripts read and write."""
    page = new_window(browser)
    page.route("http://page.test/**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    yield page
    page.context.close()


@pytest.fixture
def page(window: Page) -> Page:
    window.goto("http://page.test/")
    return window


def put(page: Page, **parts: str) -> None:
    """Put a part of the page by each id."""
    page.evaluate(
        "(html) => { document.body.innerHTML = html; }",
        "".join(f"<div id='{name.replace('_', '-')}'>{html}</div>" for name, html in parts.items()),
    )


def events(page: Page) -> list:
    return page.evaluate("alone.events")


def asked(page: Page) -> list:
    return page.evaluate("alone.asked")


def change(page: Page, **props: object) -> None:
    """What the server sends later."""
    page.evaluate("(more) => alone.change(more)", props)


# --- What all scripts are made of -------------------------------------------------------------------------------


def test_keys_undo_and_redo_as_in_other_programs_and_not_while_something_is_typed(page):
    put(page, widget="<input><input type='radio'><button>")
    for key, held, meant in (
        ("z", (), "undo"), ("Z", ("shiftKey",), "redo"), ("Z", ("modifierCapsLock",), "undo"),
        ("z", ("modifierCapsLock", "shiftKey"), "redo"),
        ("z", ("ctrlKey",), "undo"), ("Z", ("ctrlKey", "shiftKey"), "redo"),
        ("y", ("metaKey",), "redo"), ("y", (), ""), ("z", ("altKey",), ""), ("x", ("ctrlKey",), ""),
    ):  # fmt: skip
        found = page.evaluate(
            """([script, key, held]) => Function("element", "key", "held", `${script}
              const more = Object.fromEntries(held.map((name) => [name, true]));
              return [...element.children].map((target) => {
                let found; target.addEventListener("keydown", (event) => { found = undoes(event); }, { once: true });
                target.dispatchEvent(new KeyboardEvent("keydown", { key, ...more }));
                return found;
              });`)(document.querySelector("#widget"), key, held)""",
            [script(), key, held],
        )
        assert found == ["", meant, meant], (key, held)


# --- The matrix -------------------------------------------------------------------------------------------------


def test_arrow_keys_go_over_empty_cells_of_the_matrix_and_a_second_click_leaves_the_cell(page):
    put(page, matrix=asset("widgets/choices.html"))
    names, counts = ["cat", "dog", "none"], np.array([[1200, 0, 3], [0, 9, 0], [2, 1, 0]])
    matrix: Any = SimpleNamespace(names=names, counts=counts, wrong=counts * (1 - np.eye(3, dtype=int)))
    run_alone(page, "#matrix", ["widgets/choices.js"], {"value": "", "first": "", "parts": matrix_table(matrix)})
    buttons = page.locator("#matrix button")
    assert [one.get_attribute("aria-label") for one in buttons.all()] == [
        "cat: 1,200 right", "cat taken for none: 3", "dog: 9 right", "none taken for cat: 2", "none taken for dog: 1",
    ]  # fmt: skip
    assert [one.get_attribute("tabindex") for one in buttons.all()] == [
        "-1",
        "0",
        "-1",
        "-1",
        "-1",
    ]  # the first wrong one
    page.keyboard.press("Tab")
    for key, label in (
        ("ArrowLeft", "cat: 1,200 right"), ("ArrowDown", "none taken for cat: 2"),
        ("ArrowDown", "none taken for cat: 2"), ("ArrowRight", "none taken for dog: 1"),
        ("ArrowUp", "dog: 9 right"),
    ):  # fmt: skip
        page.keyboard.press(key)
        expect(page.locator("#matrix :focus")).to_have_attribute("aria-label", label)
    for pressed in ("true", "false"):
        page.keyboard.press("Enter")
        expect(page.locator("#matrix :focus")).to_have_attribute("aria-pressed", pressed)
    assert events(page) == [["select", "1,1"], ["select", ""]]


def test_a_card_opens_its_images_and_a_second_click_goes_back_to_the_first(page):
    put(page, reasons=asset("widgets/choices.html"))
    run_alone(page, "#reasons", ["widgets/choices.js"], {"value": "0", "first": "0", "parts": ""})
    change(page, parts="".join(f"<button data-opens='{at}'>{at}</button>" for at in (0, 1)))
    pressed = page.locator("button[aria-pressed=true]")
    expect(pressed).to_have_text("0")
    for value in ("1", "0"):
        page.get_by_role("button", name="1").click()
        assert events(page)[-1] == ["select", value]
        expect(pressed).to_have_text(value)


# --- Cards ------------------------------------------------------------------------------------------------------


def card(rcc: int, images: int, **more: object) -> dict:
    """What a card says."""
    number = f"RCC {rcc}" if rcc >= 0 else "No cluster"
    return {
        "key": rcc, "rcc": rcc, "number": number, "images": images, "share": images / 200,
        "title": number, "kind": "listed", "more": False, "of": None, "loose": False, **note_fields(Note(rcc)), **more,
    }  # fmt: skip


def as_sent(*cards: dict) -> str:
    return filled("page/clusters/cards.html", cards=cards)


def of_rate(rate: float, low: float, high: float, expected: float = float("nan")) -> SimpleNamespace:
    return SimpleNamespace(rate=rate, low=low, high=high, expected=expected, compared=expected == expected)


MANY = {rcc: card(rcc, 20 + rcc, of=of_rate(0.5, 0.4, 0.6)) for rcc in range(12)}
MANY[3] |= {"name": "tunnel 10", "words": "dark"}
MANY[7] |= {"name": "Tunnel 9", "loose": True}


@pytest.fixture
def cards(page: Page) -> Page:
    put(page, reason_list=filled("page/clusters/reason_list.html", unsafe=UNSAFE))
    props = {"value": 0, "cards": as_sent(*MANY.values(), card(-1, 99))}
    run_alone(page, "#reason-list", ["clusters/reason_list.js"], props)
    return page


def listed(page: Page) -> list[int]:
    return page.evaluate(
        "[...document.querySelectorAll('[data-rcc]:not([hidden])')].map(({ dataset }) => +dataset.rcc)"
    )


def choose(page: Page, what: str, option: str) -> None:
    page.locator(f"[data-choice='{what}']").select_option(option)


def test_cards_are_in_the_order_chosen_with_the_images_in_no_cluster_last(cards):
    assert listed(cards) == [*range(12), -1]
    choose(cards, "order", "images")
    assert listed(cards) == [*range(11, -1, -1), -1]
    choose(cards, "order", "name")
    assert listed(cards) == [7, 3, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11, -1]  # 9 before 10, and those without a name after


def test_cards_that_do_not_match_are_hidden_and_the_one_at_hand_stays(cards):
    cards.locator("[data-choice='search']").fill("TUNNEL  d")
    assert listed(cards) == [0, 3]
    expect(cards.locator("output")).to_have_text("1 of 12 · 0 of 12 judged")
    cards.locator("[data-choice='search']").fill("")
    choose(cards, "show", "not judged")
    cards.locator("[data-rcc='7']").click()
    judged = {**MANY, 7: MANY[7] | note_fields(Note(7, "", verdict=UNSAFE))}
    change(cards, cards=as_sent(*judged.values(), card(-1, 99)))
    expect(cards.locator("[data-rcc='7']")).to_be_focused()
    assert 7 in listed(cards)
    expect(cards.locator("output")).to_have_text("11 of 12 · 1 of 12 judged")
    cards.locator("[data-rcc='8']").click()
    choose(cards, "show", "not judged")
    cards.locator("[data-choice='search']").fill("rcc")
    assert 7 not in listed(cards)
    assert events(cards) == [["select", 7], ["select", 8]]


def test_what_is_no_reason_is_folded_but_for_what_was_judged_and_does_not_count(page):
    put(page, reason_list=filled("page/clusters/reason_list.html", unsafe=UNSAFE))
    rest = [
        card(rcc, 5, kind="undecided", fold="3 not known to fail more often", of=of_rate(0.2, 0.1, 0.3))
        for rcc in (1, 2, 3)
    ]
    rest[1] |= note_fields(Note(2, verdict=UNSAFE))
    spot = card(0, 9, key='[["light", "<", 0.4]]', of=of_rate(0.9, 0.8, 0.95, 0.2), title="light < 0.4")
    props = {"value": spot["key"], "cards": as_sent(spot, *rest)}
    run_alone(page, "#reason-list", ["clusters/reason_list.js"], props)
    assert listed(page) == [0, 2]
    expect(page.locator("output")).to_have_text("1 of 2 judged")
    fold = page.locator("[data-fold]")
    for shown in ([0, 1, 2, 3], [0, 2]):
        fold.click()
        assert listed(page) == shown
    choose(page, "show", "not judged")  # whoever asks for some gets all of these
    assert listed(page) == [0, 1, 3]
    expect(fold).to_be_hidden()
    # An RCC that is a weak spot as well is found by its number.
    change(page, value=0)
    expect(page.locator("[aria-pressed='true']")).to_have_attribute("data-is", "spot")


# --- The curve --------------------------------------------------------------------------------------------------


def test_a_click_on_the_curve_asks_for_the_images_of_its_range(page):
    bins = "".join(
        f"<rect class='safe-bin' x='{30 * place}' width='25' height='90' data-column='age' {of}/>"
        for place, of in enumerate(
            ("data-low='20' data-high='25'", "data-low='' data-high='2.5'", "data-value='dark grey'")
        )
    )
    put(page, curve=filled("page/clusters/curve.html"))
    run_alone(
        page, "#curve", ["clusters/curve.js"], {"value": "", "curve": f"<svg width='90' height='90'>{bins}</svg>"}
    )
    for one in page.locator(".safe-bin").all():
        one.click()
    sent = (["age", "20", "25", ""], ["age", "", "2.5", ""], ["age", "", "", "dark grey"])
    assert events(page) == [["select", each] for each in sent]
    change(page, curve="")
    expect(page.locator(".safe-curve")).to_be_empty()


# --- The player of a GIF ----------------------------------------------------------------------------------------


def test_the_player_counts_images_as_the_caption_of_each_frame_does(page, tmp_path):
    frames = [Image.new("P", (8, 8), i) for i in range(MOST_FRAMES)]
    for i, frame in enumerate(frames):
        frame.putpalette([i, i, i] * 256)
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    source = f"data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}"
    (tmp_path / "page.html").touch()
    page.goto((tmp_path / "page.html").as_uri())  # scripts take GIFs apart only on pages that can be trusted
    put(page, player=asset("clusters/player.html"))
    run_alone(page, "#player", ["clusters/player.js"], {"source": source, "name": "RCC 0", "count": 851})
    expect(page.locator("output")).to_be_visible()
    numbers = [row + 1 for row in _drawn([("", "")] * 851)]
    for frame in (0, 42, 96, 99):
        page.locator("input").fill(str(frame))
        expect(page.locator("output")).to_have_text(f"{numbers[frame]} / 851")


# --- Keys of the screen -----------------------------------------------------------------------------------------


NOTE = """<div id='note-name'><input></div><div id='note-text'><textarea></textarea></div>
<div id='note-verdict'><input type=radio name=v value=unsafe><input type=radio name=v value=safe></div>
<div id='about'><p role=status></p></div>"""


def test_keys_go_through_the_reasons_and_judge_the_one_at_hand_and_what_is_typed_is_stored_until_it_is_kept(page):
    listing = filled("page/clusters/reason_list.html", unsafe=UNSAFE)
    put(page, reason_list=listing, screen=filled("page/clusters/screen.html"), clusters_pane="", note=NOTE)
    props = {"value": 0, "cards": as_sent(card(0, 3), card(1, 2), card(2, 1))}
    run_alone(page, "#reason-list", ["clusters/reason_list.js"], props)
    run_alone(page, "#screen", ["clusters/screen.js"], {"keys": {"u": UNSAFE, "s": SAFE}})
    run_alone(page, "#about", ["clusters/note.js"], {"value": "", "problem": ""})
    judged = page.locator("#note-verdict :checked")

    def answer(key: int, kept: tuple = ("", "", ""), problem: str = "") -> None:
        change(page, value=json.dumps({"key": key, "saved": kept}), problem=problem)

    answer(0)
    for key in ("j", "u", "s"):
        page.keyboard.press(key)
    expect(page.locator("[data-rcc][aria-pressed='true']")).to_have_attribute("data-rcc", "1")
    expect(page.locator("#note")).to_have_attribute("inert", "")
    page.wait_for_timeout(50)
    expect(judged).to_have_count(0)  # the fields are another one's
    answer(0)  # to what was asked before
    expect(page.locator("#note")).to_have_attribute("inert", "")
    answer(1)
    expect(judged).to_have_value(SAFE)
    assert page.url.endswith("#rcc=1")
    page.locator("#note-name input").fill("jury")
    stored = "localStorage.getItem(Object.keys(localStorage).find((name) => name.startsWith('safe-note')))"
    assert json.loads(page.evaluate(stored))[1:] == ["jury", SAFE, ""]
    answer(1, ("", SAFE, ""), "Not kept: Changed elsewhere")
    expect(page.locator("#about p")).to_have_text("Not kept: Changed elsewhere")
    assert page.evaluate(stored)
    answer(1, ("jury", SAFE, ""))
    assert page.evaluate("localStorage.length") == 0
    page.go_back()
    expect(page.locator("[data-rcc][aria-pressed='true']")).to_have_attribute("data-rcc", "0")


# --- Labelling --------------------------------------------------------------------------------------------------

IMAGES = [UnsafeImage(f"{index}.png", 0, 0.5, True, label) for index, label in enumerate(("", "cat", ""))]


def test_keys_go_from_image_to_image_and_label_and_a_question_is_answered_by_the_same_label_again(page):
    put(page, label=asset("labels/label.html"))
    parts = {
        "state": filled("page/labels/state.html", rccs=[(0, "RCC 0", 1, 3)], at_hand=0, images=IMAGES, done=1, undo=1),
        "classes": filled("page/labels/classes.html", classes=[("cat", "1"), ("dog", "A")]),
        "tiles": filled("page/labels/tiles.html", tiles=[(i, one, one.image) for i, one in enumerate(IMAGES)], at=0),
    }
    server = """{ class_pictures: async () => ({}), label: async ({ what, label = "", index, all, asked }) => {
      alone.asked.push([what, label, index, all, asked]);
      const answer = { news: label && `${label}?`, asked: label || null, kept: label === asked };
      return { ...answer, view: { rcc: 0 }, parts: %s };
    } }"""
    props = {"version": 1, "classes": ["cat", "dog"], "train": ""}
    run_alone(page, "#label", ["labels/label.js"], props, server % json.dumps(parts))
    at = page.locator("figcaption")
    expect(at).to_have_text("0.png · no label yet · 1 of 3")
    page.keyboard.press("ArrowRight")
    expect(at).to_have_text("1.png · cat · 2 of 3")
    expect(page.locator("[data-label='cat']")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("a")  # the key of a class is with Shift, and there are two classes
    page.keyboard.press("2")
    page.keyboard.press("Shift+A")
    expect(page.locator(".safe-label-news")).to_have_text("dog?")
    page.get_by_text("All of this RCC are").click()
    page.keyboard.press("Shift+A")
    expect(page.get_by_label("This image is")).to_be_checked()  # it was kept
    page.keyboard.press("z")
    page.wait_for_function("alone.asked.length === 4")
    assert asked(page) == [
        ["show", "", None, False, None], ["give", "dog", 1, False, None], ["give", "dog", 0, True, "dog"],
        ["undo", "", 0, False, "dog"],
    ]  # fmt: skip
