"""What visitors type and what goes wrong behind the page: each ends in a sentence that the window shows."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import pytest

from page.app import _try_address, serve
from page.door import NOT_OURS, Page
from page.folders import as_named, folder_at
from page.forms import remember, remembered
from page.jobs import Job, Jobs, PageSettings, find_example
from page.results import Results
from support.defects import LOG_FILE, VISITOR_MESSAGE
from support.errors import SAFEError
from support.files import cache_folder
from tests.helpers.places import closed_port
from tests.helpers.scenes import draw_scene
from tests.helpers.visiting import Visitor, serving
from tests.support.test_entries import bad_paths

# --- Paths ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """A window of a page without a root, whose folder holds clusters and an unsafe set."""
    import numpy as np

    folder = tmp_path_factory.mktemp("typing")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for scene in ("night", "snow"):
        for i in range(4):
            draw_scene(scene, rng).save(folder / "images" / f"{scene}_{i}.png")
    with serving(folder, cwd=folder) as url:
        visitor = Visitor(url, "typing")
        images = str(folder / "images")
        assert "8 failures" in visitor.fire(
            visitor.handler("generate", "click"), [images, "pca", "", "", [], "auto", "auto"]
        )
        assert "4 of 8" in visitor.send("select", improvement=images, set_size="4", quota="equal")
        yield visitor
        assert "defect" not in (folder / "stderr.txt").read_text()
        visitor.client.close()


# What else is filled in where a path is mistyped
FIELDS: dict[str, dict[str, str]] = {
    "images": {},
    "predictions": {"images": "x", "tested": "x"},
    "tested": {"images": "x", "predictions": "x.csv"},
    "improvement": {"accuracy": "0.5"},
    "select-model": {"improvement": "x", "accuracy": "0.5", "select_test": "x"},
    "select-test": {"improvement": "x", "accuracy": "0.5", "select_model": "x"},
    "model": {"train": "x", "test": "x"},
    "train": {"model": "x", "test": "x"},
    "test": {"model": "x", "train": "x"},
    "labels-table": {},
    "failures-model": {"failures_test": "x"},
    "failures-answers": {"failures_kind": "answers", "failures_test": "x"},
    "failures-truth": {"failures_kind": "coco", "failures_results": "x", "failures_test": "x"},
    "failures-test": {"failures_model": "x"},
}
BUTTONS = {"images": "generate", "predictions": "generate", "tested": "generate", "improvement": "select",
           "select-model": "select", "select-test": "select", "labels-table": "take-labels"}  # fmt: skip


def button_of(field: str) -> str:
    """The button that sends a field."""
    return BUTTONS.get(field, "collect" if field.startswith("failures-") else "retrain")


@pytest.mark.parametrize("field", FIELDS)
def test_no_way_to_mistype_a_path_in_a_field_ends_without_a_sentence(visitor, tmp_path, field):
    for kind, path in bad_paths(tmp_path).items():
        if not path.strip() and field != "images":
            continue  # a field that is left empty, which some may be
        told = visitor.send(button_of(field), **(FIELDS[field] | {field.replace("-", "_"): path}))
        assert "Expected a" in told, (kind, told[-600:])
        assert '"success": false' not in told, kind


def test_no_way_to_mistype_the_folder_of_classes_ends_without_a_sentence(visitor, tmp_path):
    handler = visitor.handler("classes-folder", "submit")
    for kind, path in bad_paths(tmp_path).items():
        if path.strip():
            told = visitor.fire(handler, [path, None])
            assert "Expected a" in told, (kind, told[-600:])
            assert '"success": false' not in told, kind


def test_class_folders_whose_names_cannot_be_labels_are_told_of_and_break_no_tab(visitor, tmp_path):
    handler = visitor.handler("classes-folder", "submit")
    for number, name in enumerate((b"caf\xe9", b" night", b"snow ", "wide\u3000".encode(), b"bell\x07")):
        folder = tmp_path / str(number)
        (folder / os.fsdecode(name)).mkdir(parents=True)
        (folder / "sea").mkdir()
        told = visitor.fire(handler, [str(folder), None])
        assert "Expected class folders whose names are text" in told, told[-600:]
        assert "Rename it" in told


def test_the_page_is_not_started_on_a_folder_whose_name_it_cannot_show(tmp_path):
    with pytest.raises(SAFEError, match="output folder whose name is text"):
        serve(tmp_path / os.fsdecode(b"r\xe9sultats"), port=1)


@pytest.mark.parametrize("auth", ["ann", ":x", "ann:", f"ann:{os.fsdecode(bytes([233]))}"])
def test_a_password_that_cannot_be_typed_is_refused(tmp_path, auth):
    with pytest.raises(SAFEError, match="--auth must be USER:PASSWORD"):
        serve(tmp_path, port=1, auth=auth)


@pytest.mark.parametrize("host", ["a\0b", "x" * 300, "no such host", "256.1.1.1", "192.0.2.1"])
def test_an_address_that_is_none_of_this_machine_is_found_out_before_the_server_starts(host):
    with pytest.raises((OSError, ValueError)):
        _try_address(host, closed_port())


def test_an_address_of_this_machine_is_accepted():
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        _try_address(host, closed_port())


def test_a_case_study_with_numbers_beyond_measure_is_none(tmp_path):
    for number in ("Infinity", "1e999", "[]", "NaN"):
        (tmp_path / "accuracy.json").write_text(f'{{"test_accuracy": 0.5, "test_size": {number}}}')
        assert find_example(tmp_path) is None


def test_a_path_is_accepted_as_it_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = PageSettings(tmp_path, Jobs(), Results(tmp_path))
    assert settings.accept(" ~/images ") == f"{tmp_path}/images"
    assert settings.accept(None) == settings.accept(" ") == ""
    with pytest.raises(SAFEError, match=r"Expected a path\. Received: ~nosuchuser/x"):
        settings.accept("~nosuchuser/x")


# --- Defects ----------------------------------------------------------------------------------------------------


def answered(monkeypatch: pytest.MonkeyPatch, handler: Callable) -> dict:
    """What the door makes of a handler: Gradio itself, whose event loops outlive a test, is not started."""

    async def process_api(*_: Any, **__: Any) -> dict:
        return {"data": [handler()], "iterator": None}

    monkeypatch.setattr(gr.Blocks, "process_api", process_api)
    return asyncio.run(Page.process_api(Page.__new__(Page), None, []))


def test_a_defect_in_a_handler_is_a_sentence_in_the_window_and_a_traceback_in_the_log(monkeypatch, capsys):
    with pytest.raises(gr.Error) as caught:
        answered(monkeypatch, lambda: {}["night"])
    assert (caught.value.message, caught.value.print_exception) == (VISITOR_MESSAGE, False)
    assert "KeyError: 'night'" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_engineer_can_put_right_is_told_and_is_no_defect(monkeypatch):
    def handler() -> None:
        raise SAFEError("Expected <b>. Received: x\x1b")

    with pytest.raises(gr.Error) as caught:
        answered(monkeypatch, handler)
    assert (caught.value.message, caught.value.print_exception) == ("Expected &lt;b&gt;. Received: x\ufffd", False)
    assert not (cache_folder() / LOG_FILE).exists()


def test_a_name_that_is_no_unicode_does_not_break_off_an_answer(monkeypatch):
    for sent, received in (("caf\udce9", "caf\ufffd"), ("größe 図", "größe 図")):
        answer = answered(monkeypatch, lambda sent=sent: {"choices": [(sent, 0)], "__type__": "update"})
        assert answer["data"][0]["choices"][0][0] == received


@pytest.mark.parametrize("rooted", [False, True])
def test_a_path_that_is_no_unicode_leads_to_the_same_place_when_it_was_filled_in_again(tmp_path, monkeypatch, rooted):
    images = tmp_path / "caf\udce9" / "Stra\udcdfe"
    images.mkdir(parents=True)
    settings = PageSettings(tmp_path, Jobs(), Results(tmp_path), root=tmp_path if rooted else None)
    remember(tmp_path, "unsafe", {"folder": str(images)})
    filled_in = answered(monkeypatch, lambda: remembered(tmp_path, "unsafe"))["data"][0]["folder"]
    assert filled_in == f"{tmp_path}/caf\ufffd/Stra\ufffde"
    assert settings.accept(filled_in) == str(images)
    assert folder_at(filled_in, settings.root) == (images, "")
    assert settings.accept(f"{filled_in}/gone\ufffd") == f"{images}/gone\ufffd"  # the work says that nothing is there
    (tmp_path / "caf\ufffd").mkdir()
    assert settings.accept(f"{tmp_path}/caf\ufffd") == f"{tmp_path}/caf\ufffd"
    (images.parent / "Stra\udcfce").mkdir()
    with pytest.raises(SAFEError, match=r"Several names in .* are shown as Stra\ufffde\. Choose one by Browse\."):
        settings.accept(f"{images.parent}/Stra\ufffde")


def test_no_names_outside_the_root_are_read_for_a_path_that_is_no_unicode(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "caf\udce9").mkdir()
    (root / "link\udce9").symlink_to(tmp_path)
    settings = PageSettings(root, Jobs(), Results(root), root=root)
    assert as_named(tmp_path / "caf\ufffd", root) == tmp_path / "caf\ufffd"
    for path in (tmp_path / "caf\ufffd", root / "link\ufffd", root / "link\ufffd" / "caf\ufffd"):
        with pytest.raises(SAFEError, match=f"Expected a path below {root}"):
            settings.accept(str(path))


@pytest.mark.parametrize("forged", [[0], [[0]], {"a": 1}, [{}], "x"])
def test_what_is_no_number_of_an_rcc_is_refused_in_a_sentence(visitor, forged):
    assert len(visitor.loads()) == 6  # one for each tab
    for load in visitor.loads():
        visitor.fire(load, [])
    for widget, event, values in (
        ("unsafe-rcc", "input", [forged, None]),
        ("merge", "click", [0, forged, "", None, None]),
        ("merge", "click", [forged, None, "", None, None]),
    ):
        told = visitor.fire(visitor.handler(widget, event), values)
        assert NOT_OURS in told or "not in the list of choices" in told, (widget, told[-500:])


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("forged", [[0], [[0]], {"a": 1}, [{}], "x", None, 1e308, True])
def test_what_is_no_note_is_refused_in_a_sentence(visitor, forged, place):
    note = {"name": "a", "note": "", "verdict": ""}
    sent = [0, "0" * 16, [note], note]
    sent[place] = forged
    answer = visitor.serve("rcc-says", "keep_note", sent).json()
    assert answer["problem"].startswith("Not kept: ")
    for sent in ([], None, "x", [0], [0, "0" * 16, [], note], [0, "0" * 16, [note], {**note, "verdict": "fatal"}]):
        assert visitor.serve("rcc-says", "keep_note", sent).json()["problem"].startswith("Not kept: ")


@pytest.mark.parametrize("forged", [0, "", "[]", '[["a"]]', '[["a", "=", 1]]', "[" * 5000, [0], {"a": 1}, None, True])
def test_what_is_no_weak_spot_is_refused_in_a_sentence(visitor, forged):
    note = {"name": "a", "note": "", "verdict": ""}
    answer = visitor.serve("spot-says", "keep_note", [forged, "0" * 16, [note], note]).json()
    assert answer["problem"].startswith("Not kept: ")


def test_a_job_that_meets_a_defect_says_so_and_logs_it(capsys):
    def work(job: Job) -> None:
        raise ZeroDivisionError

    job = Job("clusters", 1, work)
    job.start()
    assert job.finished(10)
    assert job.outcome == VISITOR_MESSAGE
    assert "ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err
