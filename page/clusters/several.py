"""Several RCCs that are ticked among the cards: judged or merged at once, and undone at once."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from page.assets import scripted
from page.jobs import EACH, EDITS, PageSettings, tell
from page.visitors import Window
from rccs.dbscan.outcome import NOISE
from rccs.review.edits import Maker, judge_rccs, merge_rccs
from rccs.review.notes import VERDICTS, title
from support.text import count

MERGE = "merge"


class SeveralView:
    """Lay out the bar, which is in sight while RCCs are ticked; `wire` connects it."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.widget = scripted("clusters/several", [], elem_id="several")

    def wire(self, rcc: gr.State, spot: gr.HTML, window: Window, outputs: list, changed: Callable) -> None:
        """Connect the bar (see `RunsView.wire`)."""

        def on_several(sent: object, rcc: int, spot: object, *parts: object) -> dict:
            parts_sent: list[Any] = sent if isinstance(sent, list) and sent else [""]
            what, *ticked = parts_sent
            try:
                seen = {int(one): str(verdict) for one, verdict in ticked if int(one) > NOISE}
            except (TypeError, ValueError):
                seen = {}
            if not seen or what not in (MERGE, *filter(None, VERDICTS)):
                return gr.skip()  # other clients may send anything
            return changed(rcc, parts, lambda maker: self._do(what, seen, maker), spot)

        self.widget.select(on_several, [self.widget, rcc, spot, *window.parts], outputs, **EACH, **EDITS)

    def _do(self, what: str, seen: dict[int, str], maker: Maker) -> None:
        out, clusters = self._settings.out, self._settings.results.shown(maker.run).clusters
        if what != MERGE:
            judge_rccs(out, seen, what, maker=maker)
            tell(f"{count(len(seen), 'RCC')} judged {what}. Undo takes all back.")
            return
        into, *others = sorted(seen, key=lambda rcc: (-len(clusters.members(rcc)), rcc))
        merge_rccs(out, *others[:1], into, *others[1:], maker=maker)
        tell(f"{count(len(others), 'RCC')} merged into {title(into)}. Undo takes all back.")
