"""Labels by click and key on the real page, a real model retrained, what got better."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from safe_dnn import api
from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.page.jobs import Job, Turn, _Stopped
from safe_dnn.page.retraining import tab as retraining_tab
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE
from safe_dnn.support.progress import report_progress
from safe_dnn.training.finetuning import Epoch
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, compare_answers
from tests.helpers.browsing import WAIT, Served, field, opened, unfold_in_sight
from tests.helpers.laid_out import laid_out, settings_of, shown_in
from tests.helpers.places import rows_in
from tests.helpers.scenes import draw_scene
from tests.helpers.small_models import draw_set

CLASSES = ("night", "snow", "wood")


class Given:
    """A model and its class folders; the model has learned nothing yet."""

    def __init__(self, folder: Path):
        import keras

        rng = np.random.default_rng(3)
        self.train, self.test, self.model = folder / "train", folder / "test", folder / "given.keras"
        for part, count in ((self.train, 12), (self.test, 6)):
            for name in CLASSES:
                (part / name).mkdir(parents=True)
                for i in range(count):
                    draw_scene(name, rng, side=32).save(part / name / f"{i:02d}.png")
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.layers.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.AveragePooling2D(8),
                keras.layers.Flatten(), keras.layers.Dense(len(CLASSES), activation="softmax"),
            ]
        )  # fmt: skip
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        model.save(self.model)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("model"))


@pytest.fixture
def page(browser: Browser, selected: Served, given: Given) -> Iterator[Page]:
    with opened(browser, selected) as page:
        page.get_by_role("tab", name="Retraining").click()
        for name, path in (("model", given.model), ("train", given.train), ("test", given.test)):
            field(page, name).fill(str(path))
        yield page


def label_all(page: Page) -> None:
    """Give all images of each RCC one label; they are pure: what most of its images are, all of them are."""
    labelling = page.locator("#labelling")
    for number in range(1, 4):
        expect(labelling.locator("figcaption")).to_contain_text("no label yet")
        shown = labelling.locator("figcaption").inner_text()
        scene = next((name for name in ("night", "wood") if name in shown), "snow")
        labelling.get_by_text("All of this RCC are").click()
        labelling.locator(f"[data-label={scene}]").click()
        expect(labelling.locator("progress + output")).to_have_text(f"{3 * number} / 9 labelled")


@pytest.mark.slow
def test_images_are_labelled_the_model_is_retrained_and_the_page_says_what_got_better(selected, page, given):
    # The folder that was given in the one tab is filled in in the other.
    field(page, "train").press("Tab")
    page.get_by_role("tab", name="Labels").click()
    expect(field(page, "classes-folder")).to_have_value(str(given.train))
    expect(page.locator("#next-step")).to_be_hidden()
    label_all(page)
    assert all(row["label"] for row in rows_in(selected.out / UNSAFE_SET_FILE))
    page.get_by_role("button", name="Next: retrain").click()
    whole = given.model.read_bytes()
    page.get_by_text("How it is trained").click()
    field(page, "epochs").fill("40")
    page.locator("#retrain").click()
    expect(page.locator("#retraining-status strong")).to_contain_text("points", timeout=3 * WAIT)
    result = json.loads((selected.out / RETRAINING_FILE).read_text())
    assert result["accuracy_after"] > result["accuracy_before"]
    expect(page.locator("#retraining-figures")).to_contain_text(f"{result['accuracy_after']:.2%}")
    expect(page.locator("#curves svg[role=img]")).to_be_visible()
    # The other nine improvement images, without labels, took part in a second pass.
    assert (result["unlabelled_size"], len(result["history"])) == (9, 81)
    expect(page.locator("#curves")).to_contain_text("second pass")
    opens_what_it_shows(page, result)
    assert given.model.read_bytes() == whole
    assert (selected.out / MODEL_FILE).is_file()
    page.reload()
    page.get_by_role("tab", name="Retraining").click()
    expect(page.locator("#retraining-status strong")).to_contain_text("points")
    expect(page.locator("#retrain")).to_be_hidden()  # the form makes room for the result
    for name, value in (("model", given.model), ("train", given.train), ("test", given.test), ("epochs", 40)):
        expect(field(page, name)).to_have_value(str(value))
    assert page.evaluate("scrollY") == 0
    page.get_by_role("tab", name="Unsafe set").click()
    expect(field(page, "improvement")).to_have_value(str(selected.improvement))
    unfold_in_sight(page)
    expect(field(page, "set-size")).to_be_visible()  # what differs from the usual is in sight
    expect(field(page, "set-size")).to_have_value("9")


def opens_what_it_shows(page: Page, result: dict) -> None:
    """Tiles and cells of the confusion matrices list their images, and a click enlarges one."""
    title, tiles = page.locator("#changed-title"), page.locator("#changed-grid [data-index]")
    for kind in ("improved", "worsened"):
        page.locator(f"#retraining-figures [data-opens={kind}]").click()
        expect(title).to_contain_text(f"{kind.capitalize()}: {len(result[kind])} image")
        expect(tiles).to_have_count(len(result[kind]))
    cell = page.locator("#matrix-after button").first
    number = int(cell.inner_text())
    cell.click()
    expect(title).to_contain_text(f"{number} image")
    expect(tiles).to_have_count(number)
    expect(page.locator("#matrix-before [aria-pressed=true]")).to_have_count(0)  # one is at hand, or none
    tiles.first.click()
    expect(page.locator("#changed-grid dialog img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#classes-changed tbody tr")).to_have_count(len(CLASSES))


# --- Without a browser --------------------------------------------------------------------------------------------


@pytest.fixture
def tab(tmp_path) -> RetrainingTab:
    """Of two tables of answers: of four woods, two became right and one wrong."""
    test, out = draw_set(tmp_path / "test", 4), tmp_path / "out"
    paths = labelled_images(test).paths
    for name, wrong in (("before", "01"), ("after", "2")):
        said = [f"{path},{'red' if path[:4] == 'blue' and path[-5] in wrong else path.split('/')[0]}" for path in paths]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,predicted", *said]) + "\n")
    compare_answers(tmp_path / "before.csv", tmp_path / "after.csv", test, out)
    return laid_out(lambda: RetrainingTab(settings_of(out)))


def test_a_comparison_by_tables_is_shown_without_claiming_that_a_model_was_trained(tab):
    shown = {widget.elem_id: value for widget, value in tab.show().items() if widget.elem_id}
    assert "SAFE has trained no model" in shown["retraining-status"]
    assert MODEL_FILE not in shown["retraining-status"]
    figures = shown["retraining-figures"].props["parts"]
    titles = ["Accuracy before → after", "Improved", "Worsened", "Still wrong"]
    assert (shown_in(figures, "dt"), shown_in(figures, "button")) == (titles, ["2", "1", "0"])
    assert "83.33% → 91.67%" in figures
    assert "<svg" not in shown["curves"]
    assert "blue" in shown["classes-changed"]
    assert "2 images, wrong before and right now" in shown["changed-title"]
    hints = shown_in(shown["changed-grid"].props["tiles"], "button", "title")
    assert [hint.partition(" · ")[2] for hint in hints] == ["blue → red · now blue"] * 2


def retrain(out: Path, job: Job, **sent: object) -> None:
    """Send the form of the tab Retraining."""
    tab = laid_out(lambda: retraining_tab.RetrainingTab(settings_of(out)))
    form = dict.fromkeys(tab.form.named(tab.form.widgets), "") | dict.fromkeys(("model", "train", "test"), str(out))
    tab._work_of(form | sent)(job)


@pytest.mark.parametrize(("checked", "unlabelled"), [(True, 0), (False, None), ("", None)])
def test_labelled_images_only_are_what_the_box_asks_for(tmp_path, monkeypatch, checked, unlabelled):
    asked = []
    monkeypatch.setattr(api, "retrain", lambda unlabelled, **more: asked.append(unlabelled))
    retrain(tmp_path, Job("retraining", 1, print, Turn()), one_pass=checked)
    assert asked == [unlabelled]


def test_stopping_ends_a_retraining_at_once_until_there_is_an_epoch_to_keep(tmp_path, monkeypatch):
    def stopped_while(watch, **more):
        on_epoch, should_stop = watch
        epochs = tuple(Epoch(i, 0.5, 0.5, 0.5, 0.1) for i in range(2))
        on_epoch(epochs[:1], (1,))
        report_progress("Retraining", 0, 1)
        job.cancel()
        with pytest.raises(_Stopped):
            report_progress("Retraining", 0, 1)
        on_epoch(epochs, (1,))
        report_progress("Retraining", 1, 1)
        stopped.append(should_stop())

    stopped, job = [], Job("retraining", 1, print, Turn())
    monkeypatch.setattr(api, "retrain", stopped_while)
    retrain(tmp_path, job)
    assert stopped == [True]
