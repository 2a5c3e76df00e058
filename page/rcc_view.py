"""The RCC at hand: its GIF, what its images have in common, five of them, and what the engineer says of it."""

import html
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from clustering import NOISE
from errors import SAFEError
from images import printable
from inspection import gif_path, gif_shows, sample
from map import nearest_rccs
from page.bar_view import BarView
from page.jobs import LATEST, VIEW, PageSettings, warn
from page.pictures import thumbnails
from page.results import Shown
from review import LONGEST_NAME, LONGEST_NOTE, RccNote, merge_rccs, set_note, title
from runs import count

HERE = Path(__file__).parent
PLAYER_HTML = HERE.joinpath("player.html").read_text(encoding="utf-8")
PLAYER_JS = HERE.joinpath("player.js").read_text(encoding="utf-8")
VERDICTS = [("Not judged", ""), ("Unsafe", "unsafe"), ("Unclear", "unclear"), ("Safe", "safe")]


class RccView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Row(equal_height=True):
            with gr.Column(scale=2, min_width=320):
                self.player = gr.HTML(
                    html_template=PLAYER_HTML, js_on_load=PLAYER_JS, source="", name="", count=0, elem_id="rcc-gif"
                )
            with gr.Column(scale=3, min_width=380, elem_id="rcc-words"):
                self.heading = gr.HTML(elem_id="rcc-heading")
                self.five = gr.Gallery(
                    show_label=False,
                    columns=5,
                    object_fit="contain",
                    buttons=[],
                    interactive=False,
                    elem_id="rcc-sample",
                    elem_classes="safe-gallery",
                )
                with gr.Row(equal_height=True):
                    self.name = gr.Textbox(
                        label="Name", info="What these images have in common", placeholder="sunglasses at night",
                        max_length=LONGEST_NAME, scale=2, min_width=200, elem_id="rcc-name",
                    )  # fmt: skip
                    self.verdict = gr.Radio(
                        VERDICTS, label="Failing for this reason is", info="Not judged, or whether it is a hazard",
                        scale=3, min_width=300, elem_id="rcc-verdict",
                    )  # fmt: skip
                with gr.Row(equal_height=True, elem_classes="safe-form"):
                    self.note = gr.Textbox(
                        label="Note", info="For the safety case; kept as you type",
                        placeholder="Hazard H3: gaze lost at night", max_length=LONGEST_NOTE, lines=1, max_lines=4,
                        scale=3, min_width=270, elem_id="rcc-note",
                    )  # fmt: skip
                    self.into = gr.Dropdown(
                        label="The same reason as", info="Nearest first", choices=[], scale=2, min_width=150,
                        elem_id="merge-into",
                    )  # fmt: skip
                    self.merge = gr.Button("Merge", scale=0, min_width=90, elem_id="merge")
        # Whose name and note the fields hold: a browser sends it along with them, while the RCC at hand, which the
        # server keeps, may be another one by the time that they arrive.
        self.owner = gr.Number(NOISE, visible="hidden", precision=0, elem_id="rcc-owner")
        self.outputs = [self.owner, self.player, self.heading, self.five, self.name, self.verdict, self.note, self.into,
                        self.merge]  # fmt: skip

    def show(self, shown: Shown, rcc: int) -> dict:
        """What the widgets show of an RCC (`NOISE`: of the images in no cluster)."""
        return {**self.show_words(shown, rcc), **self.show_pictures(shown, rcc)}

    def show_words(self, shown: Shown, rcc: int) -> dict:
        """The part of it that the engineer says, with the heading under which it stands."""
        note = shown.notes.get(rcc, RccNote(rcc))
        return {
            self.owner: rcc,
            self.heading: _heading(shown, rcc),
            self.name: note.name,
            self.verdict: note.verdict,
            self.note: note.note,
        }

    def show_pictures(self, shown: Shown, rcc: int) -> dict:
        """The rest of it."""
        clusters = shown.clusters
        path = gif_path(self._settings.out, rcc, clusters.n_rccs)
        there = gif_shows(clusters, self._settings.out, rcc)
        others = [] if rcc == NOISE else nearest_rccs(clusters, rcc, n=clusters.n_rccs)
        return {
            self.player: gr.HTML(
                source=f"/gradio_api/file={quote(str(path))}?v={path.stat().st_mtime_ns}" if there else "",
                name=printable(title(rcc)),
                count=len(clusters.members(rcc)) if there else 0,
            ),
            self.five: thumbnails(clusters.image_root, sample(clusters, rcc), 240, self._settings.root),
            self.into: gr.Dropdown(
                choices=[(title(other, shown.notes), other) for other, _ in others],
                value=others[0][0] if others else None,
                interactive=bool(others),
            ),
            self.merge: gr.Button(interactive=bool(others)),
        }

    def wire(self, bar: BarView, run: gr.State, outputs: list, changed: Callable) -> None:
        """Connect the widgets.

        Parameters
        ----------
        bar : BarView
            Where the names are shown as well.
        run : State
            The run that the window shows.
        outputs : list of components
            What an edit may change: the whole tab.
        changed : callable
            From the RCC to go on with, the run, and an edit (without arguments) to the page's updates.
        """
        settings = self._settings

        def on_note(owner: int | None, run: str, name: str | None, verdict: str | None, note: str | None) -> dict:
            said = RccNote(owner if owner is not None else NOISE, name or "", note or "", verdict or "")
            try:
                if said != settings.results.shown(run).notes.get(said.rcc, RccNote(said.rcc)):
                    set_note(settings.out, said)
                return {bar.widget: bar.rename(settings.results.shown(run), said.rcc)}
            except SAFEError as error:
                warn("Not kept", error)
                return gr.skip()

        def on_merge(owner: int | None, run: str, into: int | None) -> dict:
            if into is None or owner is None:
                return gr.skip()
            return changed(int(into), run, lambda: merge_rccs(settings.out, int(owner), int(into)))

        said = [self.owner, run, self.name, self.verdict, self.note]
        # Kept as it is typed: a window that is closed loses nothing. And when a field is left, since Gradio keeps quiet
        # about what is pasted into one right after it was filled in.
        typed = [self.name.input, self.note.input, self.verdict.input, self.name.blur, self.note.blur]
        gr.on(typed, on_note, said, bar.widget, concurrency_limit=1, concurrency_id="notes", **LATEST)
        self.merge.click(on_merge, [self.owner, run, self.into], outputs, **VIEW)


def _heading(shown: Shown, rcc: int) -> str:
    clusters = shown.clusters
    size = len(clusters.members(rcc))
    parts = [f"<h2>{html.escape(printable(title(rcc)))}</h2>"]
    parts.append(f"<p>{count(size, 'image')} · {size / len(clusters.paths):.1%} of all failing images</p>")
    if shown.profiles:  # as high where there is none: nothing below moves
        text = shown.profiles[rcc].text if rcc in shown.profiles else ""
        parts.append(f"<p class='safe-profile'>{html.escape(printable(text))}</p>")
    if rcc == NOISE:
        told = "Each fails for a reason of its own, or for one that is rare"
    else:
        near = nearest_rccs(clusters, rcc)
        told = ", ".join(f"{title(other, shown.notes)} ({distance:.2f})" for other, distance in near)
        told = f"Nearest: {told}" if told else "There is no other RCC"
    told = html.escape(printable(told))
    parts.append(f"<p class='safe-near' title='{told}'>{told}</p>")  # one line: what is cut off is said on hovering
    return f"<div class='safe-rcc'>{''.join(parts)}</div>"
