"""Where every event of the page enters and every answer leaves: a window gets an answer or a sentence, never less."""

import json
from pathlib import Path
from typing import Any

import gradio as gr
import orjson
from gradio.utils import get_upload_folder

from safe_dnn.page.messages import worded
from safe_dnn.page.serving.guard import ENGINEER, SETTINGS
from safe_dnn.page.settings import showing
from safe_dnn.report.markup import escaped
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError, is_within

NOT_OURS = "The page received something that none of its fields sends. Reload it and try again."


class Page(gr.Blocks):
    """Blocks whose every event ends in an answer that can be sent, or in a sentence that the window shows."""

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """The one function of Gradio through which all events go."""
        scope = named["request"].request.scope
        try:
            with showing(scope[SETTINGS], scope[ENGINEER]):  # Gradio's queue answers in a context of its own
                return _sendable(await super().process_api(*arguments, **named))
        except gr.Error as refusal:  # Gradio's own, and those of `preprocess_data`
            refusal.print_exception = False
            raise
        except SAFEError as error:
            sentence = worded(error)
        except Exception as error:  # noqa: BLE001, the door: Gradio would show a toast without a word
            sentence = report_defect(error)
        raise gr.Error(escaped(sentence), title="Not done", print_exception=False)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **named: Any) -> list[Any]:
        """What a browser has sent becomes what handlers take: what no widget can have sent goes no further."""
        if not block_fn.fn:  # an event that the browser answers itself
            raise gr.Error(NOT_OURS)
        for widget, sent in zip(block_fn.inputs, inputs, strict=False):
            # Gradio lets a list pass where one choice is expected, if all of it are choices.
            if isinstance(widget, gr.Dropdown) and not widget.multiselect and isinstance(sent, list):
                raise gr.Error(NOT_OURS)
            if isinstance(widget, gr.UploadButton) and not _is_brought(sent):
                raise gr.Error(NOT_OURS)
        try:
            return await super().preprocess_data(block_fn, inputs, *arguments, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(NOT_OURS) from error


def _is_brought(sent: Any) -> bool:
    """Whether files were just brought: Gradio would copy any that it may show, of all visitors."""
    folder, files = Path(get_upload_folder()).resolve(), sent if isinstance(sent, list) else []
    paths = [file.get("path") if isinstance(file, dict) else None for file in files]
    return bool(paths) and all(isinstance(path, str) and is_within(Path(path), folder) for path in paths)


def _sendable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as Gradio can send it: a name that is not valid Unicode would break off all that the window waits for.

    Such names are rare, and to look for them in Python takes far longer than to try.
    """
    try:
        orjson.dumps(answer["data"], default=str)
    except TypeError:
        text = json.dumps(answer["data"], ensure_ascii=False, default=str)
        valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return answer | {"data": json.loads(valid)}
    return answer
