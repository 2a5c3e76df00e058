"""Handlers behind the door: a sentence for the window, a traceback for the log."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from safe_dnn.page.serving.guard import ENGINEER, SETTINGS, Page
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder


def answered(monkeypatch: pytest.MonkeyPatch, handler: Callable) -> dict:
    """What the door makes of a handler: Gradio itself, whose event loops outlive a test, is not started."""

    async def process_api(*_: Any, **__: Any) -> dict:
        return {"data": [handler()], "iterator": None}

    monkeypatch.setattr(gr.Blocks, "process_api", process_api)
    scope = {SETTINGS: SimpleNamespace(cache=None, root=None), ENGINEER: ""}
    request = SimpleNamespace(request=SimpleNamespace(scope=scope))
    return asyncio.run(Page.process_api(Page.__new__(Page), None, [], request=request))


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
