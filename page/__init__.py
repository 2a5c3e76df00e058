"""The web page (Gradio): one file per tab. Nothing outside this folder knows about Gradio."""

import inspect
import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported


def _import_gradio() -> None:
    """Import Gradio without the type stubs for editors that it writes each time: a third of the time to start.

    It leaves them out for a class whose source it cannot find.
    """
    find = inspect.getfile

    def getfile(thing: object) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no stubs wanted")
        return find(thing)

    inspect.getfile = getfile
    try:
        import gradio  # noqa: F401
    finally:
        inspect.getfile = find


_import_gradio()
