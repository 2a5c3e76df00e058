"""Two engineers, each in a window of their own, on one page: who looks at an older state is told to reload.

Nothing that is typed is lost, and nothing is shown as something else's.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.runs import earlier_runs
from safe_dnn.training.result import MODEL_FILE
from tests.helpers.browsing import (
    WAIT,
    Served,
    draw,
    field,
    forget,
    generate,
    new_window,
    opened,
    opened_twice,
    select,
    served_from,
    unfold,
    wait_until,
    write,
)
from tests.helpers.small_models import colour_model, draw_set, saved
from tests.page.labels.test_tab import class_folders

pytestmark = pytest.mark.slow


@pytest.fixture
def windows(browser: Browser, served: Served) -> Iterator[tuple[Page, Page]]:
    """Two windows that show RCC 0, of which nothing has been said."""
    forget(served.out)
    with opened_twice(browser, served) as (a, b):
        for page in (a, b):
            expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")
            expect(page.locator("#grid-title")).to_contain_text("RCC 0")
        yield a, b


def noted(served: Served, rcc: int) -> tuple[str, str, str]:
    note = load_review(served.out).notes.get(rcc)
    return (note.name, note.note, note.verdict) if note else ("", "", "")


def choose(page: Page, rcc: int) -> None:
    page.locator(f"#reason-list [data-rcc='{rcc}']").click()
    expect(page.locator("#reason-heading h2")).to_have_text(re.compile(rf"^RCC {rcc}\b"))
    expect(page.locator("#grid-title")).to_contain_text(f"RCC {rcc}")


def state_of(page: Page) -> Locator:
    """What the window says of what was typed."""
    return page.locator("#note-about [role=status]")


# --- Names, notes and verdicts ----------------------------------------------------------------------------------


def test_a_change_from_a_window_that_shows_an_older_state_is_refused_and_what_was_typed_stays(served, windows):
    a, b = windows
    write(a, "note-name", "dark")
    wait_until(lambda: noted(served, 0) == ("dark", "", ""))
    write(b, "note-text", "hazard H3")
    expect(state_of(b)).to_have_text("Not kept: Changed elsewhere: reload the page.")
    b.locator("#reason-list [data-rcc='1']").click()  # which would lose it
    expect(b.locator("#reason-list .safe-card[aria-pressed=true]")).to_have_attribute("data-rcc", "0")
    expect(field(b, "note-text")).to_have_value("hazard H3")
    b.locator("#undo").click()
    expect(b.get_by_text("Changed elsewhere: reload the page.").first).to_be_visible()
    assert noted(served, 0) == ("dark", "", "")
    b.reload()
    expect(state_of(b)).to_contain_text("Not kept when this page was left: “hazard H3”")
    expect(field(b, "note-name")).to_have_value("dark")
    write(b, "note-text", "hazard H3")
    wait_until(lambda: noted(served, 0) == ("dark", "hazard H3", ""))
    b.keyboard.press("u")
    wait_until(lambda: noted(served, 0)[2] == "unsafe")
    # Whoever chooses a reason sees what is said of it by now.
    choose(a, 1)
    expect(a.locator("#reason-list [data-rcc='0']")).to_contain_text("unsafe")
    choose(a, 0)
    expect(field(a, "note-text")).to_have_value("hazard H3")


def test_a_reload_says_what_was_not_kept_also_where_the_address_names_another_reason(served, windows):
    a, b = windows
    write(a, "note-name", "dark")
    wait_until(lambda: noted(served, 0) == ("dark", "", ""))
    b.reload()
    choose(b, 1)
    write(b, "note-name", "noise")
    wait_until(lambda: noted(served, 1) == ("noise", "", ""))
    choose(a, 2)
    write(a, "note-name", "blur")
    wait_until(lambda: noted(served, 2) == ("blur", "", ""))
    write(b, "note-text", "hazard H3")
    expect(state_of(b)).to_have_text("Not kept: Changed elsewhere: reload the page.")
    b.reload()
    expect(b.locator("#reason-heading h2")).to_have_text("RCC 1 · noise")
    b.wait_for_timeout(2000)  # nothing that the page asks afterwards takes the sentence away
    expect(state_of(b)).to_contain_text("Not kept when this page was left: “hazard H3”. Changed")


def test_what_is_half_typed_survives_another_card_a_reload_and_a_closed_window(browser, served):
    forget(served.out)
    page = new_window(browser)
    page.goto(served.url)
    for turn in range(2):
        expect(page.locator("#grid-title")).to_contain_text("RCC 0")
        choose(page, 1)
        field(page, "note-name").focus()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(f"in one event {turn}")
        choose(page, 2)
        wait_until(lambda turn=turn: noted(served, 1)[0] == f"in one event {turn}")
        field(page, "note-text").fill(f"pasted {turn}")
        page.keyboard.type(" and typed")
        page.goto("about:blank")
        page.goto(served.url)
        wait_until(lambda turn=turn: noted(served, 2)[1] == f"pasted {turn} and typed")
    page.context.close()
    assert noted(served, 0) == ("", "", "")


@contextlib.contextmanager
def name_held_back(page: Page) -> Iterator[None]:
    """RCC 0 was named and then judged, and another one chosen, in a window; the name arrives at the end."""
    late: list[Route] = []

    def hold_name(route: Route) -> None:
        if "dark" in (route.request.post_data or "") and not late:
            late.append(route)
        else:
            route.continue_()

    page.route("**/gradio_api/queue/join*", hold_name)
    with page.expect_request("**/gradio_api/queue/join*"):
        write(page, "note-name", "dark")
    page.locator("#note-verdict").get_by_text("Unsafe").click()
    page.locator("#reason-list [data-rcc='1']").click()  # sends all that is typed as well
    expect(page.locator("#grid-title")).to_contain_text("RCC 1")
    yield
    with page.expect_response("**/gradio_api/queue/join*"):
        late[0].continue_()
    page.unroute_all(behavior="wait")


def test_a_judgement_is_not_taken_back_by_a_name_that_arrives_after_it(served, windows):
    page, _ = windows
    with name_held_back(page):
        assert noted(served, 0) == ("dark", "", "unsafe")
    # What is typed now is about the reason in sight, also while the answer about the other one is on its way.
    write(page, "note-name", "noisy")
    wait_until(lambda: noted(served, 1) == ("noisy", "", ""))
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 1 · noisy")
    assert noted(served, 0) == ("dark", "", "unsafe")


def test_a_name_that_arrives_late_and_is_refused_leaves_the_fields_with_the_reason_in_sight(served, windows):
    page, other = windows
    with name_held_back(page):
        other.reload()
        expect(field(other, "note-name")).to_have_value("dark")
        write(other, "note-name", "darker")
        wait_until(lambda: noted(served, 0) == ("darker", "", "unsafe"))
    expect(page.locator(".toast-body")).to_contain_text("Not kept")
    expect(state_of(page)).to_be_empty()  # nothing was typed about the reason in sight
    expect(field(page, "note-name")).to_have_value("")
    write(page, "note-name", "noisy")
    expect(state_of(page)).to_have_text("Not kept: Changed elsewhere: reload the page.")
    page.reload()
    expect(state_of(page)).to_contain_text("Not kept when this page was left: “noisy”")
    assert (noted(served, 0), noted(served, 1)) == (("darker", "", "unsafe"), ("", "", ""))


# --- While the clusters are generated anew, and afterwards ------------------------------------------------------


def notes_of_runs(served: Served) -> list[dict]:
    """The notes of earlier runs."""
    return [load_review(served.out, original=load_clusters(served.out, run)).notes for run in earlier_runs(served.out)]


def test_what_is_said_while_gifs_are_drawn_is_kept_with_the_clusters_that_it_is_about(browser, tmp_path):
    drawing = tmp_path / "held"
    with served_from(tmp_path, FAKE_HELD=str(drawing)) as served, opened(browser, served) as page:
        generate(page, served.images)
        expect(page.locator("#grid-title")).to_contain_text("RCC 0")
        other = draw(tmp_path / "other", {"sea": 9, "wood": 7}, seed=8)
        unfold(page)
        field(page, "images").fill(str(other))
        drawing.touch()
        page.locator("#generate").click()
        expect(page.locator("#clusters-status progress")).to_be_visible(timeout=WAIT)
        write(page, "note-text", "said of the first images")
        wait_until(lambda: noted(served, 0)[1] == "said of the first images")
        drawing.unlink()
        expect(page.locator("#clusters-status .safe-status")).to_contain_text("16 failures")
        assert "said of the first images" in {notes[0].note for notes in notes_of_runs(served) if 0 in notes}
        assert noted(served, 0) == ("", "", "")
        expect(field(page, "note-text")).to_have_value("")

        # A window that does not know yet that they are others
        with opened(browser, served) as late:
            expect(late.locator("#grid-title")).to_contain_text("RCC 0")
            late.evaluate("for (let id = setInterval(() => 0); id > 0; id--) clearInterval(id)")  # it looks no more
            unfold(page)
            field(page, "images").fill(str(served.images))
            page.locator("#generate").click()
            expect(page.locator("#clusters-status .safe-status")).to_contain_text("24 failures")
            expect(field(page, "note-text")).to_have_value("said of the first images")
            write(late, "note-name", "by the sea")
            expect(state_of(late)).to_contain_text("Not kept: The clusters have been generated again")
            expect(field(late, "note-name")).to_have_value("by the sea")
        assert noted(served, 0)[0] == ""


def open_labelling(page: Page, train: Path) -> Locator:
    page.get_by_role("tab", name="Labels").click()
    field(page, "classes-folder").fill(str(train))
    field(page, "classes-folder").press("Tab")
    widget = page.locator("#labelling")
    expect(widget.locator("[data-label]")).to_have_count(3)
    return widget


def test_labels_come_back_nothing_unseen_is_undone_and_a_full_disk_is_told(browser, tmp_path):
    train = class_folders(tmp_path / "train", ["night", "snow", "wood"])
    full = tmp_path / "full"
    with served_from(tmp_path, FAKE_FULL=str(full)) as served, opened_twice(browser, served) as (a, b):
        generate(a, served.images)
        select(a, served.improvement, "9")
        a_labels, b_labels = open_labelling(a, train), open_labelling(b, train)

        def labels() -> list[str]:
            return [image.label for image in load_unsafe_set(served.out).images]

        def press(page: Page, key: str) -> None:
            expect(page.locator("#labelling .safe-label")).not_to_have_attribute("aria-busy", "true")  # takes no other
            page.keyboard.press(key)

        def give(page: Page, widget: Locator, place: int, key: str) -> None:
            widget.locator("[data-index]").nth(place).click()
            press(page, key)

        for widget in (a_labels, b_labels):
            expect(widget.locator("progress + output")).to_have_text("0 / 9 labelled")
        give(a, a_labels, 0, "1")
        expect(a_labels.locator("progress + output")).to_have_text("1 / 9 labelled")
        give(b, b_labels, 1, "2")
        expect(b_labels.locator("progress + output")).to_have_text("2 / 9 labelled")
        press(a, "z")
        expect(a_labels.locator("[role=status]")).to_contain_text("Not undone: Images were labelled elsewhere.")
        expect(a_labels.locator("progress + output")).to_have_text("2 / 9 labelled")
        press(a, "z")
        wait_until(lambda: sorted(labels())[-2:] == ["", "night"])

        # A label that somebody else has given is neither replaced nor taken back unseen.
        give(a, a_labels, 2, "1")
        wait_until(lambda: labels().count("night") == 2)
        news = b_labels.locator("[role=status]")
        give(b, b_labels, 2, "3")
        expect(news).to_contain_text("was changed elsewhere, to “night”. Give your label again to replace it.")
        assert "wood" not in labels()
        press(b, "3")
        wait_until(lambda: "wood" in labels())
        press(a, "z")
        expect(a_labels.locator("[role=status]")).to_contain_text("Not undone: Images were labelled elsewhere.")
        assert sorted(labels())[-2:] == ["night", "wood"]

        full.touch()
        before = labels()
        give(a, a_labels, 1, "1")
        expect(a_labels.locator("[role=status]")).to_contain_text("Not kept: Could not use")
        expect(a_labels.locator("[role=status]")).to_contain_text("database or disk is full.")
        expect(a_labels.locator("progress + output")).to_have_text("2 / 9 labelled")
        assert labels() == before
        a.get_by_role("tab", name="Root cause clusters").click()
        write(a, "note-name", "typed on a full disk")
        expect(state_of(a)).to_contain_text("database or disk is full.")
        expect(field(a, "note-name")).to_have_value("typed on a full disk")
        full.unlink()
        write(a, "note-name", "typed on a full disk")
        expect(state_of(a)).to_be_hidden()
        assert noted(served, 0)[0] == "typed on a full disk"

        # Selected again, in other numbers
        select(a, served.improvement, "12")
        expect(open_labelling(a, train).locator("progress + output")).to_have_text("2 / 12 labelled")


def test_nothing_of_a_run_is_shown_with_another_and_all_of_it_comes_back_with_it(browser, tmp_path):
    given = saved(colour_model(), tmp_path / "given.keras")
    train, test = draw_set(tmp_path / "train", 6, seed=1), draw_set(tmp_path / "test", 4, {"red": ("blue", 3)}, seed=2)
    improvement = draw_set(tmp_path / "colours", 3, {"red": ("blue", 4)}, seed=3)
    with served_from(tmp_path) as served, opened_twice(browser, served) as (a, b):
        generate(a, served.images)
        write(a, "note-name", "first images")
        select(a, improvement, "8")
        a.get_by_role("tab", name="Retraining").click()
        for name, value in {"model": given, "train": train, "test": test}.items():
            field(a, name).fill(str(value))
        a.get_by_text("How it is trained").click()
        field(a, "epochs").fill("3")
        a.locator("#retrain").click()
        expect(a.locator("#retraining-status strong")).to_contain_text(re.compile("points|accuracy"))
        figures = a.locator("#retraining-figures dl").inner_text()  # no seconds, which Gradio shows above
        model = (served.out / MODEL_FILE).read_bytes()

        # Another data set: nothing of the first is to be seen, in either window.
        other = draw(tmp_path / "other", {"sea": 9, "wood": 7}, seed=8)
        a.get_by_role("tab", name="Root cause clusters").click()
        unfold(a)
        field(a, "images").fill(str(other))
        a.locator("#generate").click()
        expect(a.locator("#clusters-status .safe-status")).to_contain_text("16 failures")
        b.reload()
        for page in (b, a):
            page.get_by_role("tab", name="Retraining").click()
            expect(page.locator("#retraining-pane")).to_be_hidden()
            page.get_by_role("tab", name="Labels").click()
            expect(page.locator("#label-status")).to_contain_text("No images to label yet.")
            page.get_by_role("tab", name="Unsafe set").click()
            expect(page.locator("#unsafe-pane")).to_be_hidden()
            expect(page.locator("#unsafe-status")).to_contain_text("The last unsafe set belongs to earlier clusters.")
            expect(page.get_by_text("first images").filter(visible=True)).to_have_count(0)
            for name in ("improvement", "model", "train", "test"):
                expect(field(page, name)).to_have_value("")
        assert not (served.out / MODEL_FILE).exists()

        # The earlier run, whole
        a.get_by_role("tab", name="Root cause clusters").click()
        a.get_by_role("button", name="Earlier runs").click()
        with a.expect_navigation(timeout=WAIT):
            a.locator("#restore").click()
        expect(field(a, "note-name")).to_have_value("first images")
        expect(field(a, "images")).to_have_value(str(served.images))
        b.reload()
        for page in (a, b):
            page.get_by_role("tab", name="Retraining").click()
            expect(field(page, "model")).to_have_value(str(given))
            expect(page.locator("#retraining-figures dl")).to_have_text(figures, use_inner_text=True)
            page.get_by_role("tab", name="Labels").click()
            expect(page.locator("#labelling progress + output")).to_have_text("8 / 8 labelled")
            page.get_by_role("tab", name="Unsafe set").click()
            expect(page.locator("#unsafe-status strong")).to_contain_text("8 of ")
        assert (served.out / MODEL_FILE).read_bytes() == model
