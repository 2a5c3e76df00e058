"""The first tab of the real page: from a network, or only its answers, to its failures and the reasons for them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn.api.generation import generate_clusters, restore_run, take_new_place
from safe_dnn.dnn.failures import load_failures
from safe_dnn.options import ClusteringSettings
from safe_dnn.page.assets import FORMS
from safe_dnn.page.failures.tab import NEEDED, FailuresTab, images_of
from safe_dnn.page.jobs import Job, Turn
from safe_dnn.page.steps import steps_of
from safe_dnn.rccs.answers import FALSE_DETECTION, MISSED
from safe_dnn.store.runs import earlier_runs
from safe_dnn.support.errors import SAFEError, confined
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from tests.helpers.answered import AnsweredCase, draw_case, record_light
from tests.helpers.browsing import Served, field, opened, served_from, unfold_in_sight
from tests.helpers.detected import draw_detected
from tests.helpers.laid_out import laid_out, settings_of, shown_in
from tests.helpers.small_models import lambda_model, saved
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
    record_light(case.test / "parameters.csv")
    answers = root / "answers.csv"
    columns = (line.split(",") for line in case.table.read_text().splitlines())
    answers.write_text("".join(f"{image},{predicted}\n" for image, _, predicted, *_ in columns))
    with served_from(root) as served:
        yield Given(served, answers, case)


@pytest.fixture
def page(browser: Browser, given: Given) -> Iterator[Page]:
    with opened(browser, given.served) as page:
        page.get_by_role("tab", name="Failures").click()
        expect(field(page, "failures-test")).to_be_enabled()
        yield page


def collect(page: Page, answers: Path, test: Path) -> None:
    unfold_in_sight(page)
    page.locator("#failures-kind").get_by_text("Table of its answers").click()
    field(page, "failures-answers").fill(str(answers))
    field(page, "failures-test").fill(str(test))
    page.locator("#collect").click()


@pytest.mark.slow
def test_a_table_of_answers_and_a_folder_become_root_cause_clusters_and_rates_without_the_command_line(given, page):
    collect(page, given.answers, given.case.test)
    # Before the accuracy, and as large
    expect(page.locator("#failures-status strong").first).to_contain_text("Doubtful: 64.9% of the answers are right")
    expect(page.locator("#failures-status strong").last).to_contain_text("26 failing images of 74")
    # 48 of 74 are right; the interval by Clopper and Pearson
    expect(page.locator("#failures-status strong").last).to_contain_text(
        "accuracy 64.86% · 95% interval 52.9% to 75.6%"
    )
    expect(page.locator("#failures-form")).to_be_hidden()  # it makes room for the result
    first = page.locator("#failures-reasons .safe-card").first
    expect(first).to_contain_text("light < 0.806596%25 of 26 wrong")
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#failing-title .safe-curve")).to_contain_text("How often it is wrong, by light")
    expect(page.locator("#failing-title")).to_contain_text("light < 0.8065: 25 wrong, 1 right")
    expect(page.locator("#failing-grid [data-is=right]")).to_have_count(1)
    first.click()
    expect(page.locator("#failing-title")).to_contain_text("26 failing images")
    expect(page.locator("#class-rates tbody tr").first).to_contain_text("night12 of 12100% (74–100%)wood (12)")
    answers = "Answers: from answers.csv, taken as they are."
    page.get_by_text("What was assumed").first.click()
    expect(page.locator("#failures-assumed li").first).to_contain_text(answers)  # the doubt is not said twice
    assert len([*(given.served.out / FAILURES).rglob("*.png")]) == 26
    page.locator("#find-reasons").click()
    expect(page.get_by_role("tab", name="Root cause clusters")).to_have_attribute("aria-selected", "true")
    expect(field(page, "images")).to_have_value(str(given.served.out / FAILURES))
    expect(page.locator("#clusters-status .safe-status")).to_contain_text("Most failures")
    expect(page.locator("#reason-list [data-is=spot]").first).to_contain_text("light < 0.8065")
    expect(page.locator("#reason-heading .safe-rate")).to_contain_text("25 of 26 test images are wrong (96%)")
    page.locator("#reason-heading [data-open-rcc]").first.click()
    expect(page.locator("#reason-heading .safe-rate")).to_contain_text("of 12 tested images like these, 12 are wrong")


@pytest.fixture
def collected(given: Given, page: Page) -> Page:
    """A window that shows the failures."""
    if not (given.served.out / ACCURACY_FILE).exists():
        collect(page, given.answers, given.case.test)
    expect(page.locator("#failures-status")).to_contain_text("64.86%")
    expect(page.locator("#cancel-failures")).to_be_hidden()  # the reasons that are found last open the first one
    return page


@pytest.mark.slow
def test_a_cell_of_the_confusion_matrix_shows_its_images_and_again_all_that_fail(collected):
    page, title = collected, collected.locator("#failing-title")
    page.locator("#failures-reasons .safe-card").first.click()
    expect(title).to_contain_text("26 failing images")
    expect(page.locator("#failing-grid [data-index]")).to_have_count(26)
    heads = page.locator("#matrix thead th")
    expect(heads).to_have_text(["night", "snow", "wood"])  # by name
    cell = page.get_by_role("button", name="snow taken for wood: 8")
    cell.click()
    expect(title).to_contain_text("8 images: snow taken for wood")
    tiles = page.locator("#failing-grid [data-index]")
    expect(tiles).to_have_count(8)
    expect(tiles.first).to_contain_text("snow → wood")
    expect(cell).to_have_attribute("aria-pressed", "true")
    tiles.first.press("Enter")  # enlarges it: a click may fall into the scrolling to the images
    expect(page.locator("#failing-grid dialog")).to_contain_text("snow/snow_")
    page.locator("#failing-grid dialog").click()
    cell.click()
    expect(title).to_contain_text("26 failing images")
    page.get_by_role("button", name="wood: 40 right").click()
    expect(title).to_contain_text("40 images: wood that are right")
    page.keyboard.press("ArrowUp")  # to snow taken for wood
    page.keyboard.press("Enter")
    expect(title).to_contain_text("8 images: snow taken for wood")
    assert serious(page) == []
    # Fields that the kind of network does not need are out of sight.
    unfold_in_sight(page)
    page.locator("#failures-kind").get_by_text("Detector: COCO").click()
    page.get_by_text("More options: classes").click()
    expect(field(page, "failures-iou")).to_be_visible()
    for name in ("model", "answers", "train", "rescale", "targets", "threshold"):
        expect(page.locator(f"#failures-{name}")).to_be_hidden()


@pytest.mark.slow
def test_a_reload_shows_the_failures_and_the_form(collected, given):
    collected.reload()
    expect(collected.locator("#failures-reasons")).to_contain_text("light < 0.8065")
    collected.get_by_role("tab", name="Unsafe set").click()
    expect(field(collected, "improvement")).to_be_enabled()  # what a window shows at first is there
    collected.get_by_role("tab", name="Failures").click()
    expect(collected.locator("#failures-status")).to_contain_text("64.86%")
    expect(field(collected, "failures-answers")).to_have_value(str(given.answers))
    expect(collected.locator("#failing-grid [data-index]")).to_have_count(26)
    cell = collected.get_by_role("button", name="snow taken for wood: 8")
    cell.click()
    collected.get_by_role("tab", name="Unsafe set").click()
    collected.get_by_role("tab", name="Failures").click()
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(collected.locator("#failing-grid [data-index]")).to_have_count(8)
    unfold_in_sight(collected)
    expect(field(collected, "failures-answers")).to_be_visible()
    expect(field(collected, "failures-test")).to_have_value(str(given.case.test))


@pytest.mark.slow
def test_a_regression_is_told_its_target_and_collected_again_with_the_threshold_of_the_slider(page, given, tmp_path):
    names = sorted(path.relative_to(given.case.test).as_posix() for path in given.case.test.rglob("*.png"))
    rows = [f"{name},{index % 2},{index / 100}" for index, name in enumerate(names)]
    (tmp_path / "known.csv").write_text("\n".join(["image,sunny,angle", *rows]))
    (tmp_path / "answers.csv").write_text("\n".join(["image,angle", *(f"{name},0" for name in names)]))
    collect(page, tmp_path / "answers.csv", given.case.test)
    alert = page.locator("#failures-status").get_by_role("alert")
    expect(alert).to_contain_text("Expected the targets and a threshold, since angle in")
    field(page, "failures-targets").fill(str(tmp_path / "known.csv"))  # it is in sight
    field(page, "failures-threshold").fill("0.5")
    target = page.locator("#failures-target input")
    target.click()
    expect(page.get_by_role("option")).to_contain_text(["sunny", "angle"])
    page.get_by_role("option").get_by_text("angle").click()
    page.locator("#collect").click()
    summary = page.locator("#failures-status strong").last  # after the doubt
    expect(summary).to_contain_text("23 failing images of 74")
    expect(page.locator("#fit")).to_contain_text("angle0.365")
    expect(page.locator("#predicted svg")).to_be_visible()
    expect(page.locator("#matrix")).to_be_hidden()
    slider, now = field(page, "errors-threshold").first, page.locator("#errors").get_by_role("status")
    expect(now).to_have_text("Above 0.5: 23 of 74 fail (31.1%).")
    slider.fill("0.6")
    expect(now).to_have_text("Above 0.6: 13 of 74 fail (17.6%). Collected above 0.5: 23.")
    assert serious(page) == []
    page.get_by_role("button", name="Collect with this threshold").click()
    expect(summary).to_contain_text("13 failing images of 74")
    expect(now).to_have_text("Above 0.6: 13 of 74 fail (17.6%).")
    page.reload()
    page.get_by_role("tab", name="Failures").click()
    unfold_in_sight(page)
    expect(field(page, "failures-threshold")).to_have_value("0.6")
    expect(target).to_have_value("angle")


# --- Without a browser --------------------------------------------------------------------------------------------


def tab_of(out: Path, root: Path | None = None) -> FailuresTab:
    return laid_out(lambda: FailuresTab(settings_of(out, root)))


def run(
    tab: FailuresTab, *, cancelled: bool = False, partial: bool = False, **fields: object
) -> SAFEError | str | None:
    """Collect with some fields of the form; what went wrong."""
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | {"trust_model": True, "partial": partial} | fields
    try:
        work = tab._work_of(form)
    except SAFEError as error:
        return error
    job = Job("failures", 1, work, Turn())
    if cancelled:
        job.cancel()
    job.run()
    return job.outcome


def values_of(tab: FailuresTab) -> dict:
    """What the widgets show, by id."""
    return {widget.elem_id: value for widget, value in tab.show().items()}


@pytest.mark.parametrize("kind", NEEDED)
def test_each_field_that_is_needed_is_asked_for(tmp_path, kind):
    fields = FORMS["failures"]
    assert list(NEEDED) == [kind for _, kind in fields["kind"]["choices"]]
    tab = tab_of(tmp_path / "out")
    for missing in NEEDED[kind]:
        what = fields[missing].get("what", fields[missing]["label"].lower())
        paths = {name: str(tmp_path) for name in NEEDED[kind] if name != missing}
        assert str(run(tab, kind=kind, **paths)) == f"Expected the {what}. Received: nothing."


def test_a_detector_is_shown_with_what_it_misses_and_detects_wrongly(tmp_path):
    case = draw_detected(tmp_path)
    tab = tab_of(case.out)
    assert run(tab, kind="coco", truth=str(case.truth), results=str(case.results), test=str(case.images)) is None
    shown = tab._settings.results.latest.failures
    values = values_of(tab)
    matrix = values["matrix"].props["parts"]
    names = shown_in(matrix, "th", "title")
    disc, missed, false = map(names.index, ("disc", MISSED, FALSE_DETECTION))
    titles = [images_of(shown, f"{disc},{column}").heading for column in (missed, false, disc)]
    for title, words in zip(titles, ("disc: missed", "disc: false detection", "disc that are right"), strict=True):
        assert words in title
    assert f"<td>{MISSED} (" in values["class-rates"]
    wrong = re.findall("data-wrong='true'[^>]*>([0-9,]+)", matrix)
    assert sum(int(number.replace(",", "")) for number in wrong) == len(shown.failing)
    assert "Doubtful" not in values["failures-status"]
    assert "objects found" in values["failures-assumed"]
    again = tab_of(case.out)._last_form()
    assert (again["answers"], again["test"]) == (str(case.out / "objects/predictions.csv"), str(case.out / "objects"))


def test_a_regression_has_no_matrix_and_its_largest_error_first_and_is_found_where_its_images_were_moved(tmp_path):
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
    assert [
        title.split(" · ")[0] for title in shown_in(values["failing-grid"].props["tiles"], "button", "title")
    ] == names[:-4:-1]
    now = case.test.rename(tmp_path / "now")
    take_new_place(case.out, case.test, now)
    assert tab._settings.results.latest.failures.root == now
    assert values["matrix-pane"]["elem_classes"] == "safe-away"
    assert "% within 70.5" in values["failures-status"]
    assert "a failure is an error above 70.5" in values["failures-status"]


def test_units_of_images_are_collected_and_a_link_beside_the_folder_that_leads_outside_is_not_read(tmp_path):
    case = draw_case(tmp_path / "root")
    (tmp_path / "secret.csv").write_text("image,secret\nnight/night_00.png,1\n")
    (tmp_path / "root" / "parameters.csv").symlink_to(tmp_path / "secret.csv")
    rows = [line.split(",") for line in case.table.read_text().splitlines()[1:]]
    units = [
        f"{image},{unit},yes,{'no' if right == 'false' and unit == 'low' else 'yes'}"
        for image, *_, right in rows
        for unit in ("low", "high")
    ]
    case.table.write_text("\n".join(["image,unit,label,predicted", *units]))
    tab = tab_of(case.out, tmp_path / "root")
    with confined(tmp_path / "root"):
        assert run(tab, kind="answers", answers=str(case.table), test=str(case.test)) is None
    assert len(load_failures(case.out).paths) == 148
    assert (case.out / "objects" / "parameters.csv").read_text().startswith("image,full_image,unit\n")


def test_clusters_of_failures_that_were_collected_before_are_told(fake_network, tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    paths = {"kind": "answers", "answers": str(case.table), "test": str(case.test)}
    assert run(tab, **paths) is None
    assert values_of(tab)["find-reasons"].variant == "primary"
    generate_clusters(case.out / FAILURES, case.out, ClusteringSettings(extractor="vgg16-conv"))
    assert "collected before" not in values_of(tab)["failures-status"]
    assert values_of(tab)["find-reasons"].variant == "secondary"  # what is done is not the loudest button
    # A better network: the nights are right.
    case.table.write_text(case.table.read_text().replace(",night,wood,0.9,false", ",night,night,0.9,true"))
    assert run(tab, **paths) is None
    assert "collected before: group the failing images again" in values_of(tab)["failures-status"]
    assert steps_of(tab._settings)["next"] == "failures"
    generate_clusters(case.out / FAILURES, case.out, ClusteringSettings(extractor="vgg16-conv"))
    shown = tab._now()
    restore_run(case.out, earlier_runs(case.out)[0].number)
    assert "collected before: group the failing images again" in values_of(tab)["failures-status"]
    assert tab._now() != shown  # so that windows that are open say so, too


def test_what_a_window_sends_that_shows_no_cell_shows_all_failures(tmp_path):
    case = draw_case(tmp_path)
    tab = tab_of(case.out)
    assert run(tab, kind="answers", answers=str(case.table), test=str(case.test)) is None
    key = tab._settings.results.latest.failures_key
    for cell in ("", "9,9", "-1,0", "1", "a,b", "0,0,0", "٣,0"):
        assert "26 failing images" in images_of(tab._settings.results.latest.failures, cell).heading, cell
    for sent in ([0, "other"], [10**9, f"{key} "], ["x", f"{key} "], None, [None, None], [0, None, 1]):
        assert tab.view.images.grid.picture(sent, 720) == ""
    assert tab.view.images.grid.picture([0, f"{key} "], 720).startswith("data:image/webp")


def test_with_a_root_neither_results_lie_outside_it_nor_is_a_model_with_code_run(tmp_path):
    root = tmp_path / "root"
    case = draw_case(root)
    paths = {"kind": "answers", "answers": str(case.table), "test": str(case.test)}
    elsewhere = tab_of(tmp_path / "out", root)
    (tmp_path / "out").mkdir()
    assert "Expected an output folder below" in str(run(elsewhere, **paths))
    tab = tab_of(case.out, root)
    assert run(tab, **paths) is None
    told = str(run(tab, kind="model", model=str(saved(lambda_model(), root / "m.keras")), test=str(case.test)))
    assert "contains code that runs" in told  # although it was trusted
    (tmp_path / "other").mkdir()
    with confined(tmp_path / "other"), pytest.raises(SAFEError, match="Expected results of images below"):
        tab_of(case.out, tmp_path / "other").show()


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


def test_with_a_root_a_column_of_a_table_that_a_link_leads_to_outside_is_not_read(tmp_path):
    root = tmp_path / "root"
    case = draw_case(root)
    (tmp_path / "secret.csv").write_text("image,secret,more\na.png,1,2\n")
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    tab = tab_of(case.out, root)
    paths = {"kind": "answers", "answers": str(case.table), "test": str(case.test), "threshold": "1"}
    for targets, target in ((f"{root / 'link.csv'}:secret", ""), (str(root / "link.csv"), "secret")):
        assert f"Expected a path below {root}" in str(run(tab, **paths, targets=targets, target=target))
    assert tab.on_targets(str(root / "link.csv")).choices == []
