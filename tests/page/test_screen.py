"""The screen of reasons in a real browser: cards, keys, and addresses that lead back."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.confidence import confidence_text
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, set_note
from tests.helpers.browsing import Served, await_pictures, field, forget, generate, opened, served_from, wait_until
from tests.helpers.steadied import steadied
from tests.page.test_accessibility import serious

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_from(tmp_path_factory.mktemp("screen")) as served:
        names = sorted(path.name for path in served.images.iterdir())
        rows = [f"{name},{'dark' if 'night' in name else 'bright'}" for name in names]
        (served.images / "parameters.csv").write_text("\n".join(["image,sky", *rows]))
        with opened(browser, served) as page:
            generate(page, served.images)
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with opened(browser, served) as page:
        await_note(page)
        yield page


def await_note(page: Page) -> None:
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")
    expect(page.locator("#grid-title")).to_contain_text("RCC 0")
    await_pictures(page)


def begin_anew(served: Served, page: Page) -> None:
    """Take back what earlier tests have said, which the window would otherwise hear of later, and in conflict."""
    forget(served.out)
    page.reload()
    await_note(page)


def verdicts(served: Served) -> dict[int, str]:
    return {rcc: note.verdict for rcc, note in load_review(served.out).notes.items()}


def test_all_rccs_are_judged_named_and_filtered_by_keys_alone(served, page):
    cards = page.locator("#reason-list .safe-card")
    n = cards.count()
    assert n >= 3
    expect(page.locator("#reason-list output")).to_have_text(f"0 of {n} judged")
    for rcc, key in enumerate("usc"):
        expect(page.locator("#reason-heading h2")).to_have_text(re.compile(rf"^RCC {rcc}\b"))
        page.keyboard.press(key)
        wait_until(lambda rcc=rcc: bool(verdicts(served).get(rcc)))
        page.keyboard.press("j")
    assert [verdicts(served)[rcc] for rcc in range(3)] == ["unsafe", "safe", "unclear"]
    expect(page.locator("#reason-list output")).to_have_text(f"3 of {n} judged")
    page.keyboard.press("k")
    page.keyboard.press("n")
    page.keyboard.type("jut of the sea")  # no key but text, as long as the field has the focus
    page.keyboard.press("Enter")
    expect(cards.locator("b").filter(has_text="jut of the sea")).to_have_count(1)
    expect(page.locator("#reason-heading h2")).to_have_text(f"RCC {n - 2} · jut of the sea")  # which may come later
    page.keyboard.press("x")
    wait_until(lambda: verdicts(served).get(n - 2) == "")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys and terms")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#reason-list [data-choice=show]").select_option("unsafe")
    # The one at hand stays in sight though it does not match.
    expect(page.locator("#reason-list .safe-card:visible")).to_have_count(2)
    expect(page.locator("#reason-list output")).to_contain_text(f"1 of {n} · ")


def test_the_address_leads_back_to_the_tab_and_the_rcc(served, page, browser):
    for rcc in range(3):  # before that, the next step is to judge
        set_note(served.out, Note(rcc, verdict="unsafe"))
    page.locator("#reason-list [data-rcc='2']").click()
    expect(page).to_have_url(re.compile("#rcc=2$"))
    page.locator("#reason-list [data-rcc='1']").click()
    expect(page).to_have_url(re.compile("#rcc=1$"))
    done = page.locator("[role=tab][data-done]")
    expect(done).to_have_text(["Root cause clusters"])
    page.get_by_role("button", name="Next: choose the images to label").click()
    expect(page.locator("#next-step")).to_be_hidden()
    expect(page).to_have_url(re.compile("#rcc=1&tab=unsafe$"))
    page.reload()
    expect(field(page, "improvement")).to_be_visible()
    page.go_back()
    expect(page.locator("#reason-heading h2")).to_have_text(re.compile("^RCC 1"))
    page.go_back()
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 2")
    page.goto(f"{served.url}/#rcc=77")
    page.reload()
    lost = page.locator(".safe-screen-lost")
    expect(lost).to_have_text("The link leads to RCC 77, which is not there any more.")
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")


def test_images_that_are_selected_become_a_new_rcc_which_can_be_taken_back(served, page):
    cards = page.locator("#reason-list .safe-card")
    n = cards.count()
    for place in range(3):
        page.locator("#grid [data-index]").nth(place).click()
    expect(page.locator("#move-to")).to_contain_text("3 images selected")
    page.locator("#move-to input").click()
    page.get_by_role("option", name="A new RCC").click()
    page.locator("#move").click()
    expect(page.get_by_text(f"RCC {n} was made of 3 images.")).to_be_visible()
    expect(cards).to_have_count(n + 1)
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")  # which goes on being looked at
    page.locator(f"#reason-list [data-rcc='{n}']").click()
    expect(page).to_have_url(re.compile(f"#rcc={n}$"))
    page.reload()
    expect(page.locator("#reason-heading")).to_contain_text("3 images")
    await_pictures(page)
    page.locator("#undo").click()
    expect(cards).to_have_count(n)
    expect(page.locator("#reason-heading h2")).to_have_text("RCC 0")  # where its images are again
    expect(page).to_have_url(re.compile("#rcc=0$"))


def test_the_images_most_like_one_are_listed_whatever_rcc_they_are_in(page):
    similar = page.get_by_role("button", name="Similar images")
    expect(similar).to_be_disabled()
    tile = page.locator("#grid [data-index]").nth(2)
    name = tile.get_attribute("title").split(" · ")[0]
    tile.click()
    similar.click()
    expect(page.locator("#grid-title")).to_contain_text("then the 23 failing images most like it")
    expect(page.locator("#grid [data-index]")).to_have_count(24)
    expect(page.locator("#grid [aria-pressed=true]")).to_have_count(1)
    assert page.locator("#grid [data-index]").first.get_attribute("title").startswith(name)


def test_an_image_is_enlarged_brightened_and_followed_by_the_next(page):
    tiles = page.locator("#grid [data-index]")
    tiles.nth(0).dblclick()
    dialog = page.locator("#grid dialog")
    name, first = dialog.locator("p:not([role])"), tiles.nth(0).get_attribute("title")
    expect(name).to_have_text(first)
    dialog.get_by_label("Brighten").fill("3")
    expect(dialog.get_by_alt_text("The image enlarged", exact=True)).to_have_css("filter", "brightness(3)")
    dialog.get_by_role("button", name="Close").focus()
    page.keyboard.press("ArrowRight")
    expect(name).to_have_text(tiles.nth(1).get_attribute("title"))
    dialog.get_by_role("button", name="The image before").click()
    expect(name).to_have_text(first)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_an_rcc_is_merged_and_what_was_merged_is_taken_back(served, page):
    cards = page.locator("#reason-list .safe-card:not([data-rcc='-1'])")
    expect(cards.first).to_be_visible()
    n = cards.count()
    page.locator("#reason-list [data-rcc='1']").click()
    expect(page.locator("#reason-heading h2")).to_have_text(re.compile("^RCC 1"))
    page.locator("#merge-into input").click()
    page.get_by_role("option", name=re.compile("^RCC 0")).click()
    await_pictures(page)
    page.locator("#merge").click()
    expect(cards).to_have_count(n - 1)
    await_pictures(page)
    page.locator("#undo").click()
    expect(cards).to_have_count(n)
    assert load_review(served.out).clusters.n_rccs == n
    page.keyboard.press("b")
    expect(page.locator("#reason-gif canvas")).to_have_css("filter", "brightness(2)")


# --- Keys that come before an answer, and what is undone ---------------------------------------------------------


def judged(served: Served) -> dict[int, str]:
    return {rcc: verdict for rcc, verdict in verdicts(served).items() if verdict}


def test_what_is_undone_is_named_and_redone_and_no_field_is_emptied_instead(served, page):
    begin_anew(served, page)
    name = page.locator("#engineer input")
    name.fill("")
    name.press_sequentially("Ada")
    page.locator(".safe-header h1").click()
    page.keyboard.press("u")
    wait_until(lambda: judged(served) == {0: "unsafe"})
    for undo, redo in (("Control+z", "Control+y"), ("z", "Shift+Z")):
        page.keyboard.press(undo)
        expect(page.get_by_text("Undone: Judged RCC 0 unsafe").last).to_be_visible()
        wait_until(lambda: judged(served) == {})
        page.keyboard.press(redo)
        expect(page.get_by_text("Redone: Judged RCC 0 unsafe").last).to_be_visible()
        wait_until(lambda: judged(served) == {0: "unsafe"})
    expect(name).to_have_value("Ada")
    page.get_by_role("tab", name="Report").click()
    page.keyboard.press("Control+z")  # where there is nothing to undo
    page.get_by_role("tab", name="Root cause clusters").click()
    expect(name).to_have_value("Ada")
    assert judged(served) == {0: "unsafe"}
    for key in "sz":  # what was judged just now is what is taken back
        page.keyboard.press(key)
    expect(page.get_by_text("Undone: Judged RCC 0 safe (was unsafe)").last).to_be_visible()
    assert serious(page) == []


# --- How steady RCCs are ----------------------------------------------------------------------------------------


def test_a_loose_rcc_is_marked_and_says_how_often_its_images_are_together(browser, served):
    # The last test: the RCCs stay as steady as that.
    forget(served.out)
    clusters = steadied(load_clusters(served.out))
    save_clusters(clusters, served.out)
    with opened(browser, served) as page:
        expect(page.locator("#clusters-status .safe-status")).to_contain_text(" · 1 of 3 is loose")
        loose = page.locator("#reason-list [data-rcc='1']")
        expect(loose).to_contain_text(re.compile("RCC 1.*loose$"))
        expect(page.locator("#reason-list [data-loose='true']")).to_have_count(1)
        line = page.locator("#reason-heading .safe-steady")
        expect(line).to_have_text("Steady")
        expect(line).to_have_attribute("title", re.compile(confidence_text(clusters, 0)))
        for width, height in ((1440, 900), (1366, 768)):
            page.set_viewport_size({"width": width, "height": height})
            page.locator("#note-verdict").get_by_text("Unclear", exact=True).click()
            note = page.locator("#note").bounding_box()
            assert note["y"] + note["height"] <= height
            merge = [page.locator("#merge")] if height > 860 else []  # on a low screen, merging is further down
            for judged in (page.locator("#reason-gif"), page.locator("#rcc-sample"), line, *merge):
                box = judged.bounding_box()
                assert 0 < box["y"] <= box["y"] + box["height"] <= note["y"]
        loose.click()
        expect(line).to_have_text("Loose")
        assert serious(page) == []
        expect(line).to_have_attribute("data-loose", "")
        expect(line).to_have_attribute("title", re.compile(r"Below 75% an RCC is loose"))
        whole, filled = (line.locator(f".safe-steady-bar{part}").bounding_box() for part in ("", " i"))
        assert filled["width"] / whole["width"] == pytest.approx(0.52, abs=0.01)
        page.get_by_role("button", name="How these were found").click()
        expect(page.locator("#why")).to_contain_text("consensus of 100 random parts")
