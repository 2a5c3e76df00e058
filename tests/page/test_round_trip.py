"""From failures to a safety case on the page, by two engineers; what a model that is retrained has closed, verified."""

import html

import pytest
from playwright.sync_api import Locator, Page, expect

from safe_dnn.page.safety_case.tab import FIXED
from safe_dnn.rccs.review.journal import REGISTER
from safe_dnn.rccs.review.review import all_edits, load_review
from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.database import last_entry, reading
from safe_dnn.training.result import MODEL_FILE
from tests.helpers.answered import draw_case, redraw
from tests.helpers.browsing import WAIT, field, opened_twice, select_nine, served_from, wait_until
from tests.page.failures.test_tab import collect
from tests.page.retraining.test_tab import Given, label_all

BOB = "<b>Bob</b>"


def cell(page: Page, column: str) -> Locator:
    """Of the first reason in the register."""
    columns = [*FIXED, *(known.title for known in REGISTER.values())]
    return page.locator(f"#register [data-row='0'][data-col='{columns.index(column)}']").last


def fill_in(page: Page, column: str, text: str) -> None:
    cell(page, column).scroll_into_view_if_needed()
    cell(page, column).dblclick()
    editor = cell(page, column).locator("textarea, input").first
    expect(editor).to_be_focused()  # what is typed before is lost
    page.keyboard.type(text)
    page.keyboard.press("Enter")


@pytest.mark.slow
def test_two_engineers_go_from_failures_to_a_verified_safety_case(browser, tmp_path):
    first, fresh, given = draw_case(tmp_path / "first"), draw_case(tmp_path / "fresh"), Given(tmp_path)
    redraw(fresh)
    after = fresh.table.with_name("after.csv")  # all nights are right by now
    after.write_text(fresh.table.read_text().replace("night,wood,0.9,false", "night,night,0.9,true"))
    requirements = tmp_path / "requirements.yaml"
    requirements.write_text("label = wood: at most 30 % wrong\n")
    (tmp_path / "page").mkdir()
    with served_from(tmp_path / "page") as served, opened_twice(browser, served) as (ann, bob):
        out = served.out
        for page, name in ((ann, "Ann"), (bob, BOB)):
            page.locator("#engineer input").fill(name)
        # Failures, and their reasons
        ann.get_by_role("tab", name="Failures").click()
        collect(ann, first.table, first.test)
        expect(ann.locator("#failures-status strong").last).to_contain_text("26 failing images of 74")
        ann.locator("#find-reasons").click()
        expect(ann.locator("#clusters-status .safe-status")).to_contain_text("Most failures")
        # Judgements of two engineers
        expect(ann.locator("#reason-list [data-is=spot]").first).to_be_visible()
        ann.locator("#note-verdict").get_by_text("Unsafe", exact=True).click()
        wait_until(lambda: load_review(out).notes)
        bob.reload()
        expect(bob.locator("#note-verdict input[value=unsafe]")).to_be_checked()
        bob.get_by_role("tab", name="Safety case").click()
        fill_in(bob, "Hazard", "H3 <i>Gaze lost</i>")
        wait_until(lambda: load_review(out).notes[0].hazard)
        fill_in(bob, "Status", "closed")
        wait_until(lambda: load_review(out).notes[0].status)  # of the RCC with the same images as well
        bob.get_by_role("tab", name="Root cause clusters").click()
        assert {edit.engineer for edit in all_edits(out, load_review(out))} == {"Ann", BOB}
        with reading(out) as db:
            assert last_entry(db, "clusters").engineer == "Ann"
        bob.locator("#edits").get_by_text("Edits").click()
        expect(bob.locator("#edits [data-row='0'][data-col='1']").last).to_have_text(BOB)
        # Labels and retraining
        select_nine(ann, served)
        ann.get_by_role("tab", name="Retraining").click()
        for name, path in (("model", given.model), ("train", given.train), ("test", given.test)):
            field(ann, name).fill(str(path))
        field(ann, "train").press("Tab")
        ann.get_by_role("tab", name="Labels").click()
        label_all(ann)
        ann.get_by_role("tab", name="Retraining").click()
        ann.locator("#retrain").click()
        expect(ann.locator("#retraining-status strong")).to_contain_text("points", timeout=3 * WAIT)
        # Closure, on images that chose nothing
        bob.get_by_role("tab", name="Safety case").click()
        for name, path in (("predictions", fresh.table), ("tested", fresh.test), ("after", after)):
            field(bob, f"fresh-{name}").fill(str(path))
        bob.locator("#confirm").click()
        expect(bob.locator("#confirmed")).to_contain_text("confirmed. 12 of 12 fresh images are wrong")
        expect(bob.locator("#confirmed")).to_contain_text("label = night: reduced. Of 12 images, 12 were wrong")
        ann.reload()
        expect(ann.locator("#engineer input")).to_have_value("Ann")
        ann.get_by_role("tab", name="Safety case").click()
        expect(cell(ann, "Hazard")).to_contain_text("H3 <i>Gaze lost</i>")
        expect(cell(ann, "Status")).to_contain_text("closed")
        expect(ann.locator("#confirmed")).to_contain_text("74 images that chose nothing, 26 of them wrong")
        expect(field(ann, "fresh-tested")).to_have_value(str(fresh.test))
        # Report, evidence, verification
        bob.get_by_role("tab", name="Report").click()
        bob.locator("#report").click()
        expect(bob.locator("#report-state")).to_contain_text("Written on")
        bob.locator("#evidence").click()
        expect(bob.locator("#evidence-state")).to_contain_text("Written on")
        bob.locator("#verify").click()
        expect(bob.locator("#verified")).to_have_text("All is as the evidence says.")
        report = (out / REPORT_FILE).read_text(encoding="utf-8")
        assert all(f"<td>{name}</td>" in report for name in ("Ann", html.escape(BOB)))
        model = (out / MODEL_FILE).read_bytes()
        (out / MODEL_FILE).write_bytes(model[:-1] + bytes([model[-1] ^ 1]))
        bob.locator("#verify").click()
        expect(bob.locator("#verified")).to_contain_text(f"changed: {MODEL_FILE}")
        (out / MODEL_FILE).write_bytes(model)
    assert (out / SUMS_FILE).is_file()
    assert main(["verify", "--out", str(out)]) == 0
    assert main(["check", str(requirements), "--out", str(out)]) == 0
