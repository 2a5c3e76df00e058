"""Parts of the page without a browser."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

Part = TypeVar("Part")


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
