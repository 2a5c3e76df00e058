"""Whose name is on what is said on the page: that of the login, or the one that was typed in the browser."""

import asyncio

import pytest
from playwright.sync_api import expect

from page.serving.entrance import Entrance
from pipeline.reporting.report import report_html
from rccs.review.review import all_edits, load_review
from store.database import changing, reading
from store.entries import LONGEST_ENGINEER, append, entries
from store.runs import CLUSTERS, runs_of
from tests.helpers.browsing import FAKED, generate, opened, served_from, wait_until


@pytest.mark.parametrize(
    ("cookie", "login", "engineer"),
    [
        ("safe-engineer=Ann%20%C3%89l", "", "Ann Él"),
        ("safe-engineer=Ann", "bob", "bob"),
        ("safe-engineer=%0Ax%20%00" + "y" * 200, "", "x �" + "y" * (LONGEST_ENGINEER - 3)),
        ("other=1", "", ""),
    ],
)
def test_a_request_speaks_with_the_name_of_the_login_or_else_with_the_one_in_the_cookie(
    tmp_path, cookie, login, engineer
):
    async def answer(scope, receive, send):
        with changing(tmp_path) as db:
            append(db, "rcc", "a", {}, author="window")

    scope = {"type": "http", "path": "/gradio_api/component_server", "headers": [(b"cookie", cookie.encode())]}
    asyncio.run(Entrance(answer, None, None, login)(scope, None, None))
    with reading(tmp_path) as db:
        (entry,) = entries(db, "true")
    assert (entry.window, entry.engineer) == ("window", engineer)


@pytest.mark.slow
def test_a_name_typed_once_is_on_all_that_is_said_and_started_from_a_browser(browser, tmp_path):
    with served_from(tmp_path, tool=FAKED) as served:
        with opened(browser, served) as ann, opened(browser, served) as bob:
            for page, name in ((ann, "Ann"), (bob, "<b>Bob</b>")):
                page.locator("#engineer input").fill(name)
            generate(ann, served)
            expect(bob.locator("#rcc-heading h2")).to_have_text("RCC 0")
            ann.locator("#rcc-verdict").get_by_text("Unsafe", exact=True).click()
            wait_until(lambda: load_review(served.out).notes)
            bob.locator("#rcc-name input").fill("night")
            wait_until(lambda: load_review(served.out).notes[0].name)
            again = ann.context.new_page()
            again.goto(served.url)
            expect(again.locator("#engineer input")).to_have_value("Ann")
            again.locator("#edits").get_by_text("Edits").click()
            for row, name in enumerate(("<b>Bob</b>", "Ann")):
                expect(again.locator(f"#edits [data-row='{row}'][data-col='1']").last).to_have_text(name)
        assert [edit.engineer for edit in all_edits(served.out, load_review(served.out))] == ["Ann", "<b>Bob</b>"]
        with reading(served.out) as db:
            (clusters,) = entries(db, "number = ?", runs_of(served.out, CLUSTERS)[0].number)
        assert clusters.engineer == "Ann"
        assert "<td>&lt;b&gt;Bob&lt;/b&gt;</td>" in report_html(served.out)
