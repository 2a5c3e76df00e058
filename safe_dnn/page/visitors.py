"""Who a window of the page belongs to, and what it shows, to distinguish the edits of several visitors."""

import gradio as gr

from safe_dnn.page.results import Shown
from safe_dnn.rccs.review.journal import Maker

# The browser keeps the name; where it may not, the window has one for as long as it is open.
_NAME = """() => {
  const hex = (n) => n.toString(16).padStart(2, "0");
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), hex).join("");
  try {
    let name = localStorage.getItem("safe-visitor");
    if (!name) localStorage.setItem("safe-visitor", name = fresh());
    return name;
  } catch { return fresh(); }
}"""


class Window:
    """What a window shows; `parts` are the inputs of a handler that edits, from which `maker` makes its `Maker`.

    Attributes
    ----------
    visitor : Textbox
        A random name of the browser's own.
    run : State
        Fingerprint of the clusters as they were found.
    seen : State
        The number of the last edit that is shown.
    """

    def __init__(self) -> None:
        self.visitor = gr.Textbox(
            "", label="Visitor", info="A name of this browser's", visible="hidden", elem_id="visitor"
        )
        self.run, self.seen = gr.State(""), gr.State(0)
        self.parts = [self.visitor, self.run, self.seen]
        self.outputs = [self.run, self.seen]

    def wire(self, app: gr.Blocks) -> None:
        """Have the browser give its name when a window is opened."""
        app.load(None, None, self.visitor, js=_NAME)

    def show(self, shown: Shown) -> dict:
        """What is shown from now on."""
        return {self.run: shown.run, self.seen: shown.review.last_number}


def maker_of(visitor: object, run: object, seen: object) -> Maker:
    """Whoever makes an edit, from the values of `Window.parts`."""
    return Maker(visitor_of(visitor), str(run), seen if isinstance(seen, int) else None)


def visitor_of(sent: object) -> str:
    """The name of a visitor that a browser has sent; empty if it is something else."""
    return sent if isinstance(sent, str) and sent.isalnum() and len(sent) <= 64 else ""
