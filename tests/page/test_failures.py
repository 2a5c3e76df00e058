"""The first tab of the real page: from a network, or only its answers, to its failures and the reasons for them."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from page.failures_tab import KINDS, NEEDED, STOPPED, FailuresTab
from page.jobs import STOPPED as JOB_STOPPED
from page.jobs import Job, Jobs, PageSettings
from page.results import Results, check_within
from pipeline.generation import ClusteringSettings, generate_clusters
from rccs.answers import MISSED, NO_OBJECT, NOTHING
from support.errors import SAFEError
from support.run_folder import ACCURACY_FILE, CLUSTERS_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.browsing import FAKED, Served, field, opened, served_from, unfold
from tests.helpers.detected import draw_detected
from tests.helpers.laid_out import laid_out
from tests.page.test_accessibility import serious


class Given(NamedTuple):
    """A page that is up, and all that an engineer has: a table of answers and the folder of test images."""

    served: Served
    answers: Path
    case: AnsweredCase


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    root = tmp_path_factory.mktemp("failures")
    case = draw_case(root / "case")
    answers = root / "answers.csv"
    columns = (line.split(",") for line in case.table.read_text().splitlines())
    answers.write_text("".join(f"{image},{predicted}\n" for image, _, predicted, *_ in columns))
    with served_from(root, tool=FAKED) as served:
        yield Given(served, answers, case)


@pytest.fixture
def page(browser: Browser, given: Given) -> Iterator[Page]:
    with opened(browser, given.served) as page:
        page.get_by_role("tab", name="Failures").click()
        expect(field(page, "failures-test")).to_be_enabled()
        yield page


def collect(page: Page, answers: Path, test: Path) -> None:
    page.locator("#failures-kind").get_by_text("Table of its answers").click()
    field(page, "failures-answers").fill(str(answers))
    field(page, "failures-test").fill(str(test))
    page.locator("#collect").click()


def files_of(out: Path) -> dict[str, bytes]:
    names = (ACCURACY_FILE, FAILURES_FILE, PREDICTIONS_FILE)
    images = {path.relative_to(out).as_posix(): path.read_bytes() for path in (out / FAILURES).rglob("*.png")}
    return images | {name: (out / name).read_bytes() for name in names}


@pytest.mark.slow
def test_who_opens_the_page_with_nothing_is_told_where_failing_images_come_from(browser, given):
    with opened(browser, given.served) as page:
        expect(field(page, "images")).to_be_visible()  # who has failing images types their folder at once
        expect(page.locator("#clusters-status")).to_contain_text("None yet? The tab Failures collects them")
        page.get_by_role("tab", name="Failures").click()
        expect(page.locator("#failures-status .safe-empty li")).to_have_count(3)


def test_of_fields_left_empty_a_sentence_says_which(page, given):
    page.locator("#collect").click()
    alert = page.locator("#failures-status [role=alert]")
    expect(alert).to_have_text("Expected the model (.keras, .h5 or .onnx). Received: nothing.")
    expect(page.locator("#failures-status .safe-empty li")).to_have_count(3)
    assert not (given.served.out / ACCURACY_FILE).exists()


@pytest.mark.slow
def test_fields_that_a_network_does_not_need_are_out_of_sight(page):
    page.locator("#failures-kind").get_by_text("Detector: COCO").click()
    page.get_by_text("More options: classes").click()
    expect(field(page, "failures-iou")).to_be_visible()
    for name in ("model", "answers", "train", "rescale", "targets", "threshold"):
        expect(page.locator(f"#failures-{name}")).to_be_hidden()
    page.locator("#failures-kind").get_by_text("Model", exact=True).click()
    expect(page.locator("#failures-rescale")).to_be_visible()
    for name in ("answers", "truth", "results", "iou", "score"):
        expect(page.locator(f"#failures-{name}")).to_be_hidden()


def test_a_table_of_answers_and_a_folder_become_root_cause_clusters_and_rates_without_the_command_line(
    browser, given, page
):
    with opened(browser, given.served) as other:
        other.get_by_role("tab", name="Failures").click()
        collect(page, given.answers, given.case.test)
        for window in (page, other):
            expect(window.locator("#failures-status strong")).to_contain_text("26 failing images of 74")
            # 48 of 74 are right: 64.9%; the interval by Clopper and Pearson
            expect(window.locator("#failures-figures")).to_contain_text("64.9%95% interval 52.9% to 75.6%")
            expect(window.locator("#class-rates tbody tr").first).to_contain_text(
                "night12 of 12100% (74–100%)wood (12)"
            )
            expect(window.locator("#failures-assumed li")).to_have_text("Answers: from answers.csv, taken as they are.")
    assert len(files_of(given.served.out)) == 26 + 3
    page.locator("#find-reasons").click()
    expect(page.get_by_role("tab", name="Root cause clusters")).to_have_attribute("aria-selected", "true")
    expect(field(page, "images")).to_have_value(str(given.served.out / FAILURES))
    expect(page.locator("#clusters-status strong")).to_contain_text("of 26 failures")
    expect(page.locator("#rcc-heading .safe-rate")).to_contain_text("100% of 12 tested images like these are wrong")
    expect(page.locator("#spots .safe-spot").first).to_be_visible()
    expect(page.locator("#generate")).to_be_enabled()
    page.get_by_role("tab", name="Unsafe set").click()
    expect(field(page, "accuracy")).to_have_value("0.648649")
    # What is typed instead, and used, stays.
    field(page, "accuracy").fill("0.7")
    field(page, "improvement").fill(str(given.case.test))
    page.locator("#select").click()
    expect(page.locator("#unsafe-status strong")).to_contain_text("improvement images selected")
    page.reload()
    page.get_by_role("tab", name="Unsafe set").click()
    expect(field(page, "accuracy")).to_be_enabled()
    expect(field(page, "accuracy")).to_have_value("0.7")


@pytest.fixture
def collected(given: Given, page: Page) -> Page:
    """A window that shows the failures."""
    if not (given.served.out / ACCURACY_FILE).exists():
        collect(page, given.answers, given.case.test)
    expect(page.locator("#failures-figures")).to_contain_text("64.9%")
    return page


@pytest.mark.slow
def test_a_cell_of_the_confusion_matrix_shows_its_images_and_again_all_that_fail(collected):
    page, title = collected, collected.locator("#failing-title")
    expect(title).to_contain_text("26 failing images")
    expect(page.locator("#failing-grid [data-index]")).to_have_count(26)
    heads = page.locator("#matrix thead th")
    expect(heads).to_have_text(["wood", "snow", "night"])  # 26, 14 and 12 confusions
    cell = page.get_by_role("button", name="snow taken for wood: 8")
    cell.click()
    expect(title).to_contain_text("8 images: snow taken for wood")
    tiles = page.locator("#failing-grid [data-index]")
    expect(tiles).to_have_count(8)
    expect(tiles.first).to_contain_text("snow → wood")
    expect(cell).to_have_attribute("aria-pressed", "true")
    tiles.first.click()  # enlarges it
    expect(page.locator("#failing-grid dialog")).to_contain_text("snow/snow_")
    page.locator("#failing-grid dialog").click()
    cell.click()
    expect(title).to_contain_text("26 failing images")
    page.get_by_role("button", name="wood: 40 right").click()
    expect(title).to_contain_text("40 images: wood that are right")
    page.keyboard.press("ArrowDown")  # to snow taken for wood
    page.keyboard.press("Enter")
    expect(title).to_contain_text("8 images: snow taken for wood")


@pytest.mark.slow
def test_a_reload_shows_the_failures_and_the_form(collected, given):
    collected.reload()
    collected.get_by_role("tab", name="Unsafe set").click()
    expect(field(collected, "improvement")).to_be_enabled()  # what a window shows at first is there
    collected.wait_for_timeout(300)
    collected.get_by_role("tab", name="Failures").click()
    expect(collected.locator("#failures-figures")).to_contain_text("64.9%")
    expect(field(collected, "failures-answers")).to_have_value(str(given.answers))
    expect(collected.locator("#failing-grid [data-index]")).to_have_count(26)
    cell = collected.get_by_role("button", name="snow taken for wood: 8")
    cell.click()
    collected.get_by_role("tab", name="Unsafe set").click()
    collected.get_by_role("tab", name="Failures").click()
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(collected.locator("#failing-grid [data-index]")).to_have_count(8)
    expect(field(collected, "failures-answers")).to_be_visible()
    expect(field(collected, "failures-test")).to_have_value(str(given.case.test))


@pytest.mark.slow
def test_a_table_that_cannot_be_used_is_a_readable_error_and_replaces_nothing(collected, given, tmp_path):
    before = files_of(given.served.out)
    (tmp_path / "bad.csv").write_text("image,predicted\nnight/nowhere.png,<b>wood</b>\n")
    collect(collected, tmp_path / "bad.csv", given.case.test)
    expect(collected.locator("#failures-status [role=alert]")).to_contain_text("Expected rows about the images in")
    expect(collected.locator("#failures-figures")).to_contain_text("64.9%")
    expect(collected.locator("#collect")).to_be_enabled()
    assert files_of(given.served.out) == before


@pytest.mark.slow
def test_finding_the_reasons_takes_away_nothing_that_was_typed(collected, given):
    before = (given.served.out / CLUSTERS_FILE).exists()
    collected.get_by_role("tab", name="Root cause clusters").click()
    unfold(collected)
    field(collected, "images").fill("/typed/and/not/sent")
    collected.get_by_role("tab", name="Failures").click()
    collected.locator("#find-reasons").click()
    expect(collected.get_by_text("What you have typed there has not been used yet")).to_be_visible()
    expect(field(collected, "images")).to_be_visible()
    expect(field(collected, "images")).to_have_value("/typed/and/not/sent")
    expect(collected.locator("#generate")).to_be_enabled()
    assert (given.served.out / CLUSTERS_FILE).exists() == before


@pytest.mark.slow
def test_the_failures_have_no_serious_finding_in_light_or_dark(browser, given, collected):
    for theme in ("light", "dark"):
        window = browser.new_context(viewport={"width": 1280, "height": 900})
        page = window.new_page()
        page.goto(f"{given.served.url}/?__theme={theme}")
        page.get_by_role("tab", name="Failures").click()
        expect(page.locator("#failures-figures")).to_contain_text("64.9%")
        page.locator("#matrix button[data-wrong=true]").first.click()
        page.wait_for_timeout(400)
        assert serious(page) == [], theme
        window.close()


# --- Without a browser --------------------------------------------------------------------------------------------


def tab_of(out: Path, root: Path | None = None) -> FailuresTab:
    return laid_out(lambda: FailuresTab(PageSettings(out, Jobs(), Results(out, root), root=root)))


def run(tab: FailuresTab, *, cancelled: bool = False, **fields: object) -> SAFEError | str | None:
    """Collect with some fields of the form; what went wrong."""
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | fields
    job = Job("failures", 1, lambda job: tab._collect(job, form, trust=True))
    if cancelled:
        job.cancel()
    job.start()
    assert job.finished(60)
    return job.outcome


def values_of(tab: FailuresTab) -> dict:
    """What the widgets show, by id."""
    return {widget.elem_id: value for widget, value in tab.show().items()}


@pytest.mark.parametrize("kind", NEEDED)
def test_each_field_that_is_needed_is_asked_for(tmp_path, kind):
    assert list(NEEDED) == [kind for _, kind in KINDS]
    tab = tab_of(tmp_path / "out")
    for missing, what in NEEDED[kind].items():
        paths = {name: str(tmp_path) for name in NEEDED[kind] if name != missing}
        assert str(run(tab, kind=kind, **paths)) == f"Expected the {what}. Received: nothing."


def test_what_is_stopped_changes_nothing(tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    outcome = run(tab, kind="answers", answers=str(case.table), test=str(case.test), cancelled=True)
    assert outcome == JOB_STOPPED
    assert not (case.out / ACCURACY_FILE).exists()
    assert STOPPED == "Stopped. Nothing was changed."


def test_a_detector_is_shown_with_what_it_misses_and_detects_wrongly(tmp_path):
    pytest.importorskip("pycocotools")
    case = draw_detected(tmp_path)
    tab = tab_of(case.out)
    assert run(tab, kind="coco", truth=str(case.truth), results=str(case.results), test=str(case.images)) is None
    shown = tab.collected.shown()
    assert shown.detector
    values = values_of(tab)
    matrix = values["matrix"].props
    assert MISSED in matrix["columns"]
    assert NO_OBJECT in matrix["rows"]
    assert NOTHING not in {*matrix["rows"], *matrix["columns"]}
    nothing = matrix["nothing"]
    assert (matrix["rows"][nothing], matrix["columns"][nothing]) == (NO_OBJECT, MISSED)
    disc = matrix["rows"].index("disc")
    titles = [str(tab.view._list(shown, f"{row},{column}")[tab.view.images.title]) for row, column in
              ((disc, nothing), (nothing, disc), (disc, disc))]  # fmt: skip
    for title, words in zip(titles, ("disc, missed", "false detections of disc", "disc that are found"), strict=True):
        assert words in title
    assert f"<td>{MISSED} (" in values["class-rates"]
    assert sum(wrong for row in matrix["cells"] for _, wrong in row) == len(shown.failures.failing)
    assert "<th scope='row'>nothing" not in values["class-rates"]
    assert "Found" in values["failures-figures"]


def test_a_regression_has_no_matrix_and_its_largest_error_first(tmp_path):
    case = draw_case(tmp_path)
    names = sorted(path.relative_to(case.test).as_posix() for path in case.test.rglob("*.png"))
    (tmp_path / "targets.csv").write_text("image,angle\n" + "".join(f"{name},0\n" for name in names))
    rows = (f"{name},{index}\n" for index, name in enumerate(names))
    (tmp_path / "answers.csv").write_text("image,angle\n" + "".join(rows))
    tab = tab_of(case.out)
    paths = {"answers": str(tmp_path / "answers.csv"), "targets": str(tmp_path / "targets.csv"), "test": str(case.test)}
    assert "Expected a threshold" in str(run(tab, kind="answers", **paths))
    assert run(tab, kind="answers", **paths, threshold="70.5") is None
    values = values_of(tab)
    assert "3 failing images, largest error first" in values["failing-title"]
    assert [tile["name"] for tile in values["failing-grid"].props["tiles"]] == names[:-4:-1]
    assert values["matrix-pane"]["elem_classes"] == "safe-away"
    assert "&gt; 70.5" in values["failures-figures"]


def test_a_network_without_failures_has_no_reasons_to_find(tmp_path):
    case = draw_case(tmp_path)
    images = (path.relative_to(case.test) for path in case.test.rglob("*.png"))
    (tmp_path / "answers.csv").write_text("image,predicted\n" + "".join(f"{path},{path.parent}\n" for path in images))
    tab = tab_of(case.out)
    assert run(tab, kind="answers", answers=str(tmp_path / "answers.csv"), test=str(case.test)) is None
    values = values_of(tab)
    assert "100.0%" in values["failures-figures"]
    assert "No failing images" in values["failing-title"]
    assert not values["find-reasons"].interactive


def test_clusters_of_failures_that_were_collected_before_are_told(fake_network, tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    paths = {"kind": "answers", "answers": str(case.table), "test": str(case.test)}
    assert run(tab, **paths) is None
    generate_clusters(tab.collected.folder, case.out, ClusteringSettings(extractor="vgg16-conv"))
    assert "collected before" not in values_of(tab)["failures-status"]
    # A better network: the nights are right.
    rows = [row for row in case.table.read_text().splitlines() if not row.startswith("night/")]
    case.table.write_text("\n".join(rows) + "\n")
    assert run(tab, **paths) is None
    assert "collected before: find the reasons again" in values_of(tab)["failures-status"]


def test_what_a_window_sends_that_shows_no_cell_shows_all_failures(tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    assert run(tab, kind="answers", answers=str(case.table), test=str(case.test)) is None
    key = tab.collected.key
    for cell in ("", "9,9", "-1,0", "1", "a,b", "0,0,0", None, 3, ["0,1"], "٣,0"):
        assert "26 failing images" in tab.view._on_cell(cell, key)[tab.view.images.title], cell
    for sent in ([0, "other"], [10**9, key], ["x", key], None, [None, None]):
        assert tab.view.images._picture(sent) == ""
    assert re.match("data:image/webp", tab.view.images._picture([0, key]))


def test_with_a_root_neither_paths_nor_results_lie_outside_it(tmp_path):
    root = tmp_path / "root"
    case = draw_case(root)
    paths = {"kind": "answers", "answers": str(case.table), "test": str(case.test)}
    elsewhere = tab_of(tmp_path / "out", root)
    (tmp_path / "out").mkdir()
    assert "Expected an output folder below" in str(run(elsewhere, **paths))
    tab = tab_of(case.out, root)
    (tmp_path / "secret.csv").write_bytes(case.table.read_bytes())
    assert "Expected a path below" in str(run(tab, **(paths | {"answers": str(tmp_path / "secret.csv")})))
    assert run(tab, **paths) is None
    assert "26 failing images" in values_of(tab)["failures-status"]
    code = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"function": "…"}}]}}
    with zipfile.ZipFile(root / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(code))
    told = str(run(tab, kind="model", model=str(root / "m.keras"), test=str(case.test)))
    assert "contains code that runs" in told  # although it was trusted
    (tmp_path / "other").mkdir()
    with pytest.raises(SAFEError, match="Expected failures on images below"):
        tab_of(case.out, tmp_path / "other").show()
    with pytest.raises(SAFEError, match="holds some of"):
        check_within(case.out, tmp_path / "other")


def test_with_a_root_a_file_beside_a_detectors_folder_that_leads_outside_is_not_read(tmp_path):
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text("image,secret\n")
    (root / "parameters.csv").symlink_to(tmp_path / "secret.csv")
    (root / "out").mkdir()
    paths = dict.fromkeys(("truth", "results", "test"), str(root / "images"))
    told = str(run(tab_of(root / "out", root), kind="coco", **paths))
    assert f"Expected a path below {root}" in told
    assert "read beside the folder" in told


def test_predictions_of_other_failures_are_an_error(tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    assert run(tab, kind="answers", answers=str(case.table), test=str(case.test)) is None
    table = case.out / PREDICTIONS_FILE
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(SAFEError, match="of the same failures"):
        tab.show()
    table.write_text("image,label\n")
    with pytest.raises(SAFEError, match="missing or damaged"):
        tab.show()
