"""The web page (Gradio): a folder for each tab. Nothing outside this folder knows about Gradio."""

import gc
import inspect
import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported


def _import_gradio() -> None:
    """Import Gradio quickly: without the type stubs for editors that it writes each time, and without collections.

    It leaves stubs out for a class whose source it cannot find. Of the objects that an import makes hardly any is
    garbage, yet they are many: the collector would look through all of them several times.
    """
    find = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no stubs wanted")
        return find(thing)

    inspect.getfile = getfile  # type: ignore[assignment]
    collecting = gc.isenabled()
    gc.disable()
    try:
        import gradio  # noqa: F401
    finally:
        inspect.getfile = find
        gc.freeze()  # what is imported stays: later collections need not look at it either
        if collecting:
            gc.enable()


_import_gradio()
