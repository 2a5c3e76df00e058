"""Labels by click and key on the real page, a real model retrained, what got better."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from dnn.predictions import labelled_images
from support.run_folder import MODEL_FILE, RETRAINING_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from tests.helpers.browsing import FAKED, WAIT, Served, field, generate, opened, select_nine, served_from
from tests.helpers.scenes import draw_scene
from training.compared import compare_answers

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
                keras.layers.Input((32, 32, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.AveragePooling2D(8),
                keras.layers.Flatten(),
                keras.layers.Dense(len(CLASSES), activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        model.save(self.model)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With clusters, and an unsafe set of 9 images without labels."""
    with served_from(tmp_path_factory.mktemp("retraining"), tool=FAKED) as served:
        with opened(browser, served) as page:
            generate(page, served)
            select_nine(page, served)
        yield served


@pytest.fixture
def page(browser: Browser, served: Served, given: Given) -> Iterator[Page]:
    with opened(browser, served) as page:
        page.get_by_role("tab", name="Retraining").click()
        for name, path in (("model", given.model), ("train", given.train), ("test", given.test)):
            field(page, name).fill(str(path))
        yield page


def labels_in(served: Served) -> dict[str, str]:
    with (served.out / UNSAFE_SET_FILE).open(newline="") as file:
        return {row["image"]: row["label"] for row in csv.DictReader(file)}


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


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("model", "model"),
        pytest.param("train", "training folder", marks=pytest.mark.slow),
        pytest.param("test", "test folder", marks=pytest.mark.slow),
    ],
)
def test_of_fields_left_empty_the_error_says_which(page, name, called):
    field(page, name).fill("")  # nothing was sent before, with which the page would fill it in again
    page.locator("#retrain").click()
    alert = page.locator("#retraining-status [role=alert]")
    expect(alert).to_have_text(f"Expected the {called}. Received: nothing.")


@pytest.mark.slow
def test_an_unlabelled_set_is_refused_with_what_to_do(served, page):
    page.locator("#retrain").click()
    alert = page.locator("#retraining-status [role=alert]")
    expect(alert).to_contain_text("Expected a label for each of the 9 images", timeout=2 * WAIT)
    assert not (served.out / MODEL_FILE).exists()


def test_images_are_labelled_by_key_and_by_rcc_and_each_step_is_saved(served, page, given):
    # The folder that was given in the one tab is filled in in the other.
    field(page, "train").press("Tab")
    page.get_by_role("tab", name="Labels").click()
    expect(field(page, "classes-folder")).to_have_value(str(given.train))
    expect(page.locator("#next-step")).to_be_hidden()
    labelling = page.locator("#labelling")
    expect(labelling.locator("[data-label]")).to_have_text([re.compile(name) for name in CLASSES])
    expect(labelling.locator("progress + output")).to_have_text("0 / 9 labelled")
    labelling.locator(".safe-label").focus()
    page.keyboard.press("2")
    expect(labelling.locator("progress + output")).to_have_text("1 / 9 labelled")
    assert sorted(labels_in(served).values()) == [""] * 8 + ["snow"]
    page.keyboard.press("u")
    expect(labelling.locator("progress + output")).to_have_text("0 / 9 labelled")
    assert set(labels_in(served).values()) == {""}

    label_all(page)
    expect(labelling.locator("progress + output")).to_have_text("9 / 9 labelled")
    assert all(labels_in(served).values())
    page.get_by_role("button", name="Next: retrain").click()
    expect(page.locator("#retrain")).to_be_visible()


def test_the_model_is_retrained_and_the_page_says_what_got_better(served, page, given):
    whole = given.model.read_bytes()
    page.get_by_text("How it is trained").click()
    field(page, "epochs").fill("40")
    page.locator("#retrain").click()
    expect(page.locator("#retraining-status strong")).to_contain_text("test accuracy", timeout=3 * WAIT)
    result = json.loads((served.out / RETRAINING_FILE).read_text())
    assert result["accuracy_after"] > result["accuracy_before"]
    expect(page.locator("#retraining-figures")).to_contain_text(f"{result['accuracy_after']:.2%}")
    expect(page.locator("#curves svg[role=img]")).to_be_visible()
    # The other nine improvement images, without labels, took part in a second pass.
    assert (result["unlabelled_size"], len(result["history"])) == (9, 81)
    expect(page.locator("#curves")).to_contain_text("second pass")
    expect(page.locator("#retraining-figures")).to_contain_text("in a second pass 9 without a label")
    opens_what_it_shows(page, result)
    assert given.model.read_bytes() == whole
    assert (served.out / MODEL_FILE).is_file()
    page.reload()
    page.get_by_role("tab", name="Retraining").click()
    expect(page.locator("#retraining-status strong")).to_contain_text("test accuracy")
    for name, value in (("model", given.model), ("train", given.train), ("test", given.test), ("epochs", 40)):
        expect(field(page, name)).to_have_value(str(value))
    assert page.evaluate("scrollY") == 0
    # One click starts the next round: the failures of the new model.
    page.locator("#next-round").click()
    expect(page.get_by_role("tab", name="Failures")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#failures-figures")).to_contain_text(f"{result['accuracy_after']:.1%}", timeout=WAIT)
    expect(page.locator("#failures-status strong")).to_contain_text("of 18")
    expect(field(page, "failures-model")).to_have_value(str(served.out / MODEL_FILE))
    expect(field(page, "failures-test")).to_have_value(str(given.test))
    page.get_by_role("tab", name="Unsafe set").click()
    expect(field(page, "improvement")).to_have_value(str(served.improvement))
    expect(field(page, "set-size")).to_be_visible()  # what differs from the usual is in sight
    expect(field(page, "set-size")).to_have_value("9")


def opens_what_it_shows(page: Page, result: dict) -> None:
    """Tiles and cells of the confusion matrices list their images, and a click enlarges one."""
    title, tiles = page.locator("#changed-title"), page.locator("#changed-grid [data-index]")
    for kind in ("improved", "worsened"):
        page.locator(f"#retraining-figures [data-opens={kind}]").click()
        expect(title).to_contain_text(f"{kind.capitalize()}: {len(result[kind])} image")
        expect(tiles).to_have_count(len(result[kind]))
    for side, place in (("before", 2), ("after", 3)):
        cell = page.locator(f"#matrix-{side} button").first
        number = int(cell.inner_text())
        cell.click()
        expect(title).to_contain_text(f"{number} image")
        row, column = int(cell.get_attribute("data-row")), int(cell.get_attribute("data-column"))
        names = page.locator(f"#matrix-{side} tbody th").all_inner_texts()
        assert number == sum((one[1], one[place]) == (names[row], names[column]) for one in result["answers"])
        expect(tiles).to_have_count(number)
    expect(page.locator("#matrix-before [aria-pressed=true]")).to_have_count(0)  # one is at hand, or none
    tiles.first.click()
    expect(page.locator("#changed-grid dialog img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#classes-changed tbody tr")).to_have_count(len(CLASSES))


@pytest.mark.slow
def test_the_curve_of_a_training_that_is_stopped_has_room_for_all_epochs(served, page):
    if not all(labels_in(served).values()):  # where the tests above did not run
        page.get_by_role("tab", name="Labels").click()
        label_all(page)
        page.get_by_role("tab", name="Retraining").click()
    epochs = field(page, "epochs")
    if not epochs.is_visible():
        page.get_by_text("How it is trained").click()
    epochs.fill("9000")
    page.locator("#retrain").click()
    drawing = page.locator("#retraining-status svg[role=img]")
    expect(drawing.get_by_text("9000", exact=True)).to_be_visible(timeout=3 * WAIT)
    page.locator("#cancel-retraining").click()
    told = page.locator("#retraining-status strong")
    expect(told).to_contain_text("stopped: on request")
    expect(page.locator("#retraining-status .safe-notice")).to_have_text(f"Written to {served.out / MODEL_FILE}.")


@pytest.mark.slow
def test_a_file_that_is_no_model_is_a_readable_error(served, page):
    field(page, "model").fill(str(served.out / UNSAFE_SET_FILE))
    page.locator("#retrain").click()
    expect(page.locator("#retraining-status [role=alert]")).to_contain_text("Expected")
    expect(page.locator("#retrain")).to_be_enabled()
    page.get_by_role("tab", name="Unsafe set").click()
    expect(page.locator("#unsafe-status")).to_be_visible()
    page.get_by_role("tab", name="Retraining").click()
    page.wait_for_timeout(1000)  # what was asked for is answered
    expect(page.locator("#retraining-status [role=alert]")).to_contain_text("Expected")


@pytest.mark.slow
def test_with_the_model_and_its_test_folder_the_set_holds_images_that_it_is_likely_to_get_wrong(served, given, page):
    page.get_by_role("tab", name="Unsafe set").click()
    field(page, "accuracy").fill("")
    for name, text in (("set-size", ""), ("select-model", str(given.model)), ("select-test", "")):
        field(page, name).fill(text)
    page.locator("#select").click()
    alert = page.locator("#unsafe-status [role=alert]")
    expect(alert).to_contain_text("Received only the model")

    field(page, "select-test").fill(str(given.test))
    page.locator("#select").click()
    status = page.locator("#unsafe-status")
    expect(status).to_contain_text("test-set size 18 · accuracy", timeout=2 * WAIT)
    expect(status).to_contain_text("given.keras is most likely to get wrong")
    assert json.loads((served.out / SELECTION_FILE).read_text())["model"] == str(given.model)

    page.reload()  # what was asked for is filled in again, and in sight
    page.get_by_role("tab", name="Unsafe set").click()
    expect(field(page, "select-model")).to_be_visible(timeout=WAIT)
    expect(field(page, "select-model")).to_have_value(str(given.model))


@pytest.mark.slow
def test_a_comparison_by_tables_is_shown_without_claiming_that_a_model_was_trained(browser, served, given, tmp_path):
    paths = labelled_images(given.test).paths
    for name, wrong in (("before", "snow"), ("after", "night")):
        rows = [f"{path},{wrong if path.startswith('wood') else path.split('/')[0]}" for path in paths]
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,predicted", *rows]) + "\n")
    compare_answers(tmp_path / "before.csv", tmp_path / "after.csv", given.test, served.out)
    with opened(browser, served) as page:
        page.get_by_role("tab", name="Retraining").click()
        status = page.locator("#retraining-status")
        expect(status).to_contain_text("no test image changed", timeout=WAIT)
        expect(status).to_contain_text("SAFE has trained no model")
        expect(status).not_to_contain_text(MODEL_FILE)
        expect(page.locator("#retraining-figures")).to_contain_text("Accuracy before → after")
        expect(page.locator("#retraining-figures")).not_to_contain_text("Trained on")
        expect(page.locator("#curves svg[role=img]")).to_have_count(0)
        expect(page.locator("#matrix-after button").first).to_be_visible()
