"""Views of the map and the cards: the address leads back to each, and they are saved, chosen and deleted."""

from typing import Any

import gradio as gr

from page.assets import asset, scripted
from page.clusters.views import LONGEST_NAME, delete_view, load_views, save_view
from page.jobs import LATEST, PageSettings
from page.visitors import Window
from support.errors import SAFEError


class ViewsBar:
    """Lay out the bar. Its value is what the address colours the map by; the event `select` says that it is wanted."""

    def __init__(self, settings: PageSettings):
        def saved_views(sent: list) -> dict[str, Any]:
            """Called by the script with what to do: list, save or delete; answers with the views and a problem."""
            try:
                do, name, view, seen = (str(part) for part in sent)
                if do == "save":
                    return {"views": save_view(settings.out, name, view, seen=seen)}
                if do == "delete":
                    return {"views": delete_view(settings.out, name)}
                return {"views": load_views(settings.out)}
            except SAFEError as error:
                return {"views": load_views(settings.out), "problem": str(error)}
            except (TypeError, ValueError):
                return {"problem": "Not done: the page sent something other than a view. Reload it."}

        template = asset("clusters/views.html").replace("$LONGEST", str(LONGEST_NAME))
        self.widget = scripted(
            "clusters/views", "", html_template=template, server_functions=[saved_views], elem_id="views"
        )

    def wire(self, colour: gr.Dropdown, on_colour: Any, outputs: list, window: Window) -> None:
        """Connect the bar with the choice of a colour."""
        tell = "(name) => { document.dispatchEvent(new CustomEvent('safe-colour', { detail: name })); }"
        colour.input(None, colour, None, js=tell)
        self.widget.select(on_colour, [self.widget, window.run], outputs, **LATEST)
