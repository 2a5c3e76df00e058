"""Labelling on the real page by keyboard, from the first image to the last."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from safe_dnn.page.labels.tab import EACH, LabelsTab, class_examples
from safe_dnn.rccs.clusters import fingerprint, save_clusters
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.report.exports import show_unsafe_set
from safe_dnn.support.errors import confined
from safe_dnn.training.labels import save_labels
from tests.helpers.browsing import Served, draw, field, generate, opened, select_nine, served_from, wait_until
from tests.helpers.laid_out import laid_out, settings_of
from tests.helpers.places import rows_in
from tests.page.test_accessibility import serious

CLASSES = [f"sign_{i:02d}" for i in range(43)]


def class_folders(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "a.png").touch()
    return root


@pytest.fixture
def page(browser: Browser, selected: Served, tmp_path: Path) -> Iterator[Page]:
    """The tab Labels, with 43 classes and no label."""
    unsafe = load_unsafe_set(selected.out)
    without = tuple(image._replace(label="") for image in unsafe.images)
    save_labels(dataclasses.replace(unsafe, images=without), selected.out)
    with opened(browser, selected) as page:
        page.get_by_role("tab", name="Labels").click()
        field(page, "classes-folder").fill(str(class_folders(tmp_path / "train", CLASSES)))
        field(page, "classes-folder").press("Tab")
        expect(page.locator("#labelling [data-label]")).to_have_count(43)
        yield page


@pytest.fixture
def widget(page: Page) -> Locator:
    widget = page.locator("#labelling")
    page.get_by_role("tab", name="Labels").click()  # keys need nothing else
    expect(widget.locator("progress + output")).to_have_text("0 / 9 labelled")
    return widget


def rows(selected: Served) -> list[dict[str, str]]:
    """The unsafe set, RCC by RCC as the page shows it."""
    table = rows_in(selected.out / UNSAFE_SET_FILE)
    order = list(dict.fromkeys(row["rcc"] for row in table))
    return sorted(table, key=lambda row: order.index(row["rcc"]))


def labels(selected: Served) -> list[str]:
    return [row["label"] for row in rows(selected)]


def press(page: Page, widget: Locator, key: str, labelled: int) -> None:
    """Press a key, and wait for what follows: till then, the widget takes no other."""
    page.keyboard.press(key)
    expect(widget.locator(".safe-label")).not_to_have_attribute("aria-busy", "true")
    expect(widget.locator("progress + output")).to_have_text(f"{labelled} / 9 labelled")


@pytest.mark.slow
def test_each_of_43_classes_has_a_key_on_its_button_and_more_are_found_by_their_names(selected, page, widget, tmp_path):
    keys = widget.locator("[data-label] kbd").all_inner_texts()
    assert len(set(keys)) == 43
    assert (keys[9], keys[10], keys[33], keys[34], keys[42]) == ("0", "a", "y", "⇧A", "⇧I")
    assert {"u", "z", "⇧U", "⇧Z"}.isdisjoint(keys)  # which judge and undo on another tab
    press(page, widget, "Shift+I", 1)
    press(page, widget, "h", 2)
    assert labels(selected)[:2] == ["sign_42", "sign_17"]

    many = class_folders(tmp_path / "many", [f"sign_{i:02d}" for i in range(62)])
    field(page, "classes-folder").fill(str(many))
    field(page, "classes-folder").press("Tab")
    expect(widget.locator("[data-label]")).to_have_count(62)
    expect(widget.locator("[data-label=sign_61] kbd")).to_have_count(0)
    page.get_by_role("tab", name="Labels").click()  # keys need nothing else
    page.keyboard.press("/")
    page.keyboard.type("Sign_6")  # letters are no keys in there
    assert widget.get_by_label("Find a class").evaluate("(field) => field.list.options.length") == 62
    page.keyboard.type("9")
    press(page, widget, "Enter", 2)
    expect(widget.get_by_text("No class is called like this.")).to_be_visible()
    find = widget.get_by_label("Find a class")
    find.fill("61")
    press(page, widget, "Enter", 2)  # the first image, which had a label
    assert labels(selected)[0] == "sign_61"
    expect(find).to_have_value("")
    press(page, widget, "Enter", 2)  # nothing is typed, and nothing taken
    assert labels(selected)[:3] == ["sign_61", "sign_17", ""]


@pytest.mark.slow
def test_the_class_of_an_image_is_marked_and_that_of_its_folder_is_not_replaced_by_one_key(browser, tmp_path):
    with served_from(tmp_path) as served, opened(browser, served) as page:
        generate(page, served.images)
        for scene, named in (("night", "night"), ("wood", "wood"), ("snow", "")):  # in folders of classes
            (served.improvement / scene).mkdir()
            for image in served.improvement.glob(f"{named}*.png"):
                image.rename(served.improvement / scene / image.name)
        select_nine(page, served)
        page.get_by_role("tab", name="Labels").click()
        classes = class_folders(tmp_path / "train", ["night", "snow", "wood"])
        field(page, "classes-folder").fill(str(classes))
        field(page, "classes-folder").press("Tab")
        widget, has = page.locator("#labelling"), page.locator("#labelling [data-label][aria-pressed=true]")
        news = widget.locator("[role=status]")
        expect(widget.locator("progress + output")).to_have_text("9 / 9 labelled")
        first, own = (rows(served)[0][name] for name in ("image", "label"))
        expect(has).to_have_text(re.compile(own))
        other = next(place for place, name in enumerate(("night", "snow", "wood"), 1) if name != own)
        page.get_by_role("tab", name="Labels").click()
        press(page, widget, str(other), 9)
        expect(news).to_contain_text(f"{Path(first).name} lies in the folder {own}. Give “")
        assert labels(served)[0] == own
        page.keyboard.press("ArrowRight")
        press(page, widget, str(other), 9)  # of another image: asked anew
        assert labels(served)[:2] == [own, own]
        press(page, widget, str(other), 9)
        wait_until(lambda: labels(served)[1] != own)
        assert labels(served)[0] == own
        page.keyboard.press("ArrowLeft")
        expect(has).not_to_have_text(re.compile(own))
        press(page, widget, "z", 9)
        expect(has).to_have_text(re.compile(own))
        assert labels(served)[:2] == [own, own]
        assert serious(page) == []


def test_a_class_shows_images_of_the_first_folder_that_has_it(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    draw(tmp_path / "train" / "sea", {"night": 3}, seed=0)
    draw(tmp_path / "test" / "snow", {"wood": 1}, seed=1)
    settings = settings_of(out)
    folders = [tmp_path / "train", tmp_path / "test", tmp_path / "nowhere"]
    found = class_examples(folders, ["sea", "snow", "wood", "none", "..", "a/b", ""], settings)
    assert {name: len(pictures) for name, pictures in found.items()} == {"sea": EACH, "snow": 1}
    inside = settings._replace(root=tmp_path / "train")
    with confined(inside.root):
        assert class_examples(folders, ["sea", "snow", "wood"], inside) == {"sea": found["sea"]}


# --- Where somebody has changed the table in another program ----------------------------------------------------


ROW = "night_00.png,0,0.5,true,"


@pytest.fixture
def tab(clusters, tmp_path):
    """With a set of two images, one of them in a class folder."""
    out, improvement = tmp_path / "out", tmp_path / "improvement"
    save_clusters(clusters, out)
    for name in ("night_00.png", "snow/snow_00.png"):
        (improvement / name).parent.mkdir(parents=True, exist_ok=True)
        (improvement / name).touch()
    rows = (UnsafeImage("night_00.png", 0, 0.5, True), UnsafeImage("snow/snow_00.png", 1, 0.5, True))
    of = fingerprint(clusters)
    save_unsafe_set(UnsafeSet(improvement, rows, 2, "N = 2", 2, (1, 1, 0), (), of, run=of), out)
    show_unsafe_set(out)
    return laid_out(lambda: LabelsTab(settings_of(out)))


def out_of(tab):
    return tab._settings.out


def labels_of(tab):
    return [image.label for image in load_unsafe_set(out_of(tab)).images]


def typed(tab, new):
    table = out_of(tab) / UNSAFE_SET_FILE
    table.write_text(table.read_text().replace(ROW, new))


def test_a_damaged_table_is_told_with_the_line_and_is_written_again_once_it_is_deleted(tab):
    typed(tab, f'"{ROW}night')
    table = out_of(tab) / UNSAFE_SET_FILE
    damaged = table.read_bytes()
    assert "line 2" in tab.show("")[tab.status]
    assert table.read_bytes() == damaged
    table.unlink()
    assert "line 2" not in tab.show("")[tab.status]
    show_unsafe_set(out_of(tab))
    assert [row["label"] for row in rows_in(table)] == ["", "snow"]


# --- What follows a label ---------------------------------------------------------------------------------------


def label(tab, before: dict, what: str = "give", **sent: object) -> dict:
    """What a window is answered that shows an answer from before."""
    own = {"what": what, "view": before["view"], "index": None, "only": False, "all": False, "asked": None, "by": ""}
    return tab.view._label({**own, "classes": ["night", "snow"], **sent})


def at_hand(answer: dict) -> tuple[int, list[str]]:
    """The RCC, and the index of the image, if one is."""
    tiles = answer["parts"]["tiles"]
    return answer["view"]["rcc"], re.findall("data-index='([0-9]+)'[^>]*aria-current='true'", tiles)


def test_the_next_image_or_rcc_follows_and_what_is_replaced_is_asked_and_undone(tab):
    unsafe = load_unsafe_set(out_of(tab))
    more = [UnsafeImage(f"snow/{name}.png", 1, 0.5, True) for name in "ab"]
    save_unsafe_set(dataclasses.replace(unsafe, images=(*unsafe.images, *more)), out_of(tab))
    show_unsafe_set(out_of(tab))
    first = label(tab, {"view": {}}, "show")
    assert at_hand(first) == (0, ["0"])
    assert "0 / 4 labelled" in first["parts"]["state"]
    second = label(tab, first, label="night", index=0)
    assert (at_hand(second), second["news"], second["kept"]) == ((1, ["1"]), "RCC 0 is labelled. This is RCC 1.", True)
    third = label(tab, second, label="snow", index=2)
    assert at_hand(third) == (1, ["3"])
    passed = label(tab, third, label="snow", index=3)
    assert (at_hand(passed), passed["news"][:11]) == ((1, ["1"]), "Some images")
    assert at_hand(label(tab, passed, "show", only=True)) == (1, ["1"])
    asked = label(tab, passed, label="night", all=True)
    assert asked["news"] == "2 of this RCC have other labels. Give “night” again to replace them."
    assert (asked["asked"], asked["kept"], labels_of(tab)) == ("night", False, ["night", "", "snow", "snow"])
    done = label(tab, asked, label="night", all=True, asked=asked["asked"])
    assert (at_hand(done), done["news"]) == ((1, []), "Every image of the unsafe set has a label.")
    assert at_hand(label(tab, done, label="snow", index=2)) == (1, ["3"])  # of a finished RCC
    behind = label(tab, done, label="snow", index=1)
    assert "changed elsewhere" not in behind["news"]
    undone = label(tab, behind, "undo")
    assert (at_hand(undone), undone["news"]) == ((1, ["1"]), "Undone: snow_00.png has its label “night” again.")
    late = label(tab, done, label="snow", index=2)
    assert (
        late["news"]
        == "Not kept: snow_a.png"[:10] + "a.png was changed elsewhere, to “snow”. Give your label again to replace it."
    )
    assert label(tab, {"view": {"set": "x"}}, label="snow", index=0)["news"].startswith("Not kept: Another unsafe set")
    for sent in ([], {"what": "give"}, {"what": "undo", "view": 1}, {"what": "give", "label": 1, "view": late["view"]}):
        assert "Reload it" in tab.view._label(sent)["news"] or sent == []
