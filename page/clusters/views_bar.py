"""What the map and the cards show is in the page's address, which leads back to it; here stands what a link lacks."""

from typing import Any

import gradio as gr

from page.assets import scripted
from page.jobs import LATEST
from page.visitors import Window


class ViewsBar:
    """Lay out the bar. Its value is what the address colours the map by; the event `select` says that it is wanted."""

    def __init__(self) -> None:
        self.widget = scripted("clusters/views", "", elem_id="views")

    def wire(self, colour: gr.Dropdown, on_colour: Any, outputs: list, window: Window) -> None:
        """Connect the bar with the choice of a colour."""
        tell = "(name) => { document.dispatchEvent(new CustomEvent('safe-colour', { detail: name })); }"
        colour.input(None, colour, None, js=tell)
        self.widget.select(on_colour, [self.widget, window.run], outputs, **LATEST)
