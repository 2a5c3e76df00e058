"""Parts of the page without a browser."""

import asyncio
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import TypeVar

import gradio as gr

from safe_dnn.page.jobs import Jobs
from safe_dnn.page.settings import PageSettings, Results

Part = TypeVar("Part")


def settings_of(out: Path, root: Path | None = None) -> PageSettings:
    """Those of a page of its own."""
    return PageSettings(out, Jobs(), Results(out), root=root)


def laid_out(lay_out: Callable[[], Part]) -> Part:
    """A part of a page, laid out in a page of its own."""

    def inside() -> Part:
        with gr.Blocks():
            return lay_out()

    async def running() -> Part:
        return inside()

    # Where no event loop is running, as Playwright's is, Gradio makes some for each page and leaves them open.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(running())
    return inside()


def shown_in(html: str, element: str, attribute: str = "") -> list[str]:
    """Of each element of a kind in HTML, an attribute or, without one, the text in it."""
    elements = re.findall(rf"<{element}\b([^>]*)>(.*?)</{element}>", html, re.DOTALL)
    if not attribute:
        return [re.sub("<[^>]*>", "", unescape(inner)) for _, inner in elements]
    return [unescape(found[1]) for own, _ in elements if (found := re.search(rf"\b{attribute}='([^']*)'", own))]
