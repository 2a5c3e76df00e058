"""The tab Labels where somebody has changed the table of the unsafe set in another program."""

import gradio as gr
import pytest

from page.jobs import AWAY, Jobs, PageSettings, take_labels
from page.labels.tab import LabelsTab
from page.results import Results
from pipeline.descriptions import show_unsafe_set
from rccs.clusters import fingerprint, save_clusters
from rccs.unsafe_set import UNSAFE_SET_FILE, UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from tests.helpers.laid_out import laid_out

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
    return laid_out(lambda: LabelsTab(PageSettings(out, Jobs(), Results(out))))


def out_of(tab):
    return tab._settings.out


def labels(tab):
    return [image.label for image in load_unsafe_set(out_of(tab)).images]


def typed(tab, new):
    table = out_of(tab) / UNSAFE_SET_FILE
    table.write_text(table.read_text().replace(ROW, new))


def told(tab, updates):
    """What is said of the table; empty if nothing is in sight."""
    return "" if AWAY in (updates[tab.typed]["elem_classes"] or "") else updates[tab.told]


def test_labels_that_were_typed_into_the_table_are_counted_and_taken_over_on_request(tab):
    typed(tab, ROW + "night")
    said = told(tab, tab.show(""))
    assert "unsafe_set.csv was changed in another program: 1 label differs." in said
    assert labels(tab) == ["", ""]  # what was typed comes first
    assert told(tab, tab.on_typed("")) == ""
    assert labels(tab) == ["night", "snow"]  # its class folder
    table = out_of(tab) / UNSAFE_SET_FILE
    table.write_text(table.read_text().replace(",night", ",sea"))
    assert "1 label differs" in told(tab, tab.show(""))
    assert told(tab, tab.on_write("")) == ""
    assert labels(tab) == ["night", "snow"]


def test_a_damaged_table_is_told_with_the_line_and_can_only_be_written_again(tab):
    typed(tab, f'"{ROW}night')
    damaged = (out_of(tab) / UNSAFE_SET_FILE).read_bytes()
    updates = tab.show("")
    assert "line 2" in told(tab, updates)
    assert updates[tab.take_typed].interactive is False
    assert "line 2" in tab.on_typed("")[tab.status]
    assert (out_of(tab) / UNSAFE_SET_FILE).read_bytes() == damaged
    assert told(tab, tab.on_write("")) == ""


def test_before_work_that_replaces_the_table_labels_are_taken_over_and_said(tab, monkeypatch):
    messages = []
    monkeypatch.setattr(gr, "Info", messages.append)
    take_labels(out_of(tab))
    typed(tab, ROW + "night")
    take_labels(out_of(tab))
    assert messages == ["1 label typed into unsafe_set.csv in another program was taken over."]
    assert labels(tab) == ["night", ""]
    typed(tab, '"')
    take_labels(out_of(tab))  # the work says why it is refused
    assert len(messages) == 1
