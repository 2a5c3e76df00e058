"""What visitors type and what goes wrong behind the page: each ends in a sentence that the window shows."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from safe_dnn.page.app import serve
from safe_dnn.page.jobs import Job
from safe_dnn.page.serving.connections import listen
from safe_dnn.page.serving.door import Page
from safe_dnn.page.serving.entrance import Entrance
from safe_dnn.rccs.clusters import fingerprint, load_clusters
from safe_dnn.store.chain import LONGEST_ENGINEER, append, entries
from safe_dnn.store.database import changing, reading
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder
from tests.helpers.places import closed_port
from tests.helpers.scenes import draw_scenes
from tests.helpers.visiting import Visitor, served
from tests.support.test_entries import bad_paths

# --- Paths ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """A window of a page without a root, whose folder holds clusters and an unsafe set."""
    folder = tmp_path_factory.mktemp("typing")
    draw_scenes(folder / "images", {"night": 4, "snow": 4})
    with served(folder, cwd=folder) as (url, _):
        visitor = Visitor(url, "typing")
        images = str(folder / "images")
        assert "8 failures" in visitor.fire(
            visitor.handler("generate", "click"), [images, "", "", "", [], False, [], "auto", "pca", "auto"]
        )
        assert "4 of 8" in visitor.send("select", improvement=images, set_size="4", quota="equal")
        yield visitor
        assert "defect" not in (folder / "stderr.txt").read_text()
        visitor.client.close()


def test_no_way_to_mistype_a_path_ends_without_a_sentence(visitor, tmp_path):
    """Of one field; the tests of security try them all."""
    for path in bad_paths(tmp_path).values():
        told = visitor.send("generate", images=path)
        assert "Expected a" in told, (path[:100], told[-600:])
        assert '"success": false' not in told, path[:100]


def test_the_page_is_not_started_on_a_folder_whose_name_it_cannot_show(tmp_path):
    with pytest.raises(SAFEError, match="output folder whose name is text"):
        serve(tmp_path / os.fsdecode(b"r\xe9sultats"), port=1)


@pytest.mark.parametrize("auth", ["ann", ":x", "ann:", f"ann:{os.fsdecode(bytes([233]))}"])
def test_a_password_that_cannot_be_typed_is_refused(tmp_path, auth):
    with pytest.raises(SAFEError, match="--auth must be USER:PASSWORD"):
        serve(tmp_path, port=1, auth=auth)


def test_an_address_that_cannot_be_used_is_found_out_before_the_server_starts():
    for host in ("x" * 300, "no such host", "256.1.1.1", "192.0.2.1"):
        with pytest.raises(SAFEError, match="Could not listen on"):
            listen(host, closed_port())
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "::1"):
        listen(host, closed_port()).close()


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


def test_each_part_of_an_answer_is_sent_whole_and_not_again_when_the_handler_is_done():
    page, handler = Page.__new__(Page), SimpleNamespace(outputs=[None])
    page.pending_diff_streams = defaultdict(dict)
    sent = [page.handle_streaming_diffs(handler, [part], "window", "run", part is None) for part in ("a", "ab", None)]
    assert sent == [["a"], [[["replace", [], "ab"]]], [gr.skip()]]  # by then another answer may be in sight


def test_what_is_no_note_on_an_rcc_or_a_weak_spot_is_refused_in_a_sentence(visitor):
    note, run = {"name": "a", "note": "", "verdict": ""}, "0" * 16
    forged = ([0], [[0]], {"a": 1}, [{}], "x", None, 1e308, True)
    sent = [[*[0, run, [note], note][:place], value, *[0, run, [note], note][place + 1 :]]
            for place in range(4) for value in forged]  # fmt: skip
    sent += [[], None, "x", [0], [0, run, [], note], [0, run, [note], {**note, "verdict": "fatal"}]]
    spots = [0, "", "[]", '[["a"]]', '[["a", "=", 1]]', "[" * 5000, [0], {"a": 1}, None, True]
    for widget, many in (("rcc-says", sent), ("spot-says", [[spot, run, [note], note] for spot in spots])):
        for one in many:
            assert visitor.serve(widget, "keep_note", one).json()["problem"].startswith("Not kept: "), one


def test_a_job_that_meets_a_defect_says_so_and_logs_it(capsys):
    def work(job: Job) -> None:
        raise ZeroDivisionError

    job = Job("clusters", 1, work)
    job.start()
    assert job.finished(10)
    assert job.outcome == VISITOR_MESSAGE
    assert "ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_where_a_folder_of_images_lies_by_now_is_asked_once_and_looked_at(visitor, tmp_path_factory):
    # The last test: the folder stays in its new place.
    out = tmp_path_factory.getbasetemp() / "typing0" / "out"
    images, now, run = out.parent / "images", out.parent / "disk" / "images", fingerprint(load_clusters(out))
    picture = visitor.serve("grid", "grid_picture", [0, run]).text
    now.parent.mkdir()
    images.rename(now)
    [ask] = [one for one in visitor.loads() if visitor.id_of("moved-to") in one["outputs"]]
    assert f"no longer in {images}" in visitor.fire(ask, [])
    assert "missing" in visitor.send("take-place", moved_to=str(out))
    assert visitor.serve("grid", "grid_picture", [0, run]).text != picture
    assert '"success": true' in visitor.send("take-place", moved_to=str(now))
    assert visitor.serve("grid", "grid_picture", [0, run]).text == picture
    assert "no longer in" not in visitor.fire(ask, [])


# --- Whose name is on what is said ------------------------------------------------------------------------------


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
    scope["app"] = SimpleNamespace(auth=None)
    asyncio.run(Entrance(answer, None, None, login)(scope, None, None))
    with reading(tmp_path) as db:
        (entry,) = entries(db, "true")
    assert (entry.window, entry.engineer) == ("window", engineer)
