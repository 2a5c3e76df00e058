"""The RCC at hand: its GIF, what its images have in common, five of them, and the engineer's notes; merging."""

import html
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from dbscan.outcome import NOISE
from page.findings import findings_html
from page.jobs import EDITS, VIEW, PageSettings, pane, put_away, reveal, warn
from page.note_view import NoteView, OnRccs
from page.pictures import thumbnails
from page.results import Shown
from page.visitors import Window
from rccs.answers import CONFIDENCE, MISSED, NO_OBJECT, NOTHING, commonest_confusion, confusions
from rccs.clusters import RootCauseClusters, sample, told_of
from rccs.confidence import (
    BOUND,
    confidence,
    confidence_means,
    confidence_text,
    is_loose,
    n_near,
    near_text,
    no_steady_groups_text,
    percent_down,
)
from rccs.edits import merge_rccs
from rccs.gifs import gif_path, gif_shows
from rccs.nearness import nearest_rccs
from rccs.notes import LONGEST_NAME, LONGEST_NOTE, RccNote, differ, merged_note, title
from support.errors import SAFEError
from support.text import count, printable

HERE = Path(__file__).parent
PLAYER_HTML = HERE.joinpath("player.html").read_text(encoding="utf-8")
PLAYER_JS = HERE.joinpath("scripts", "player.js").read_text(encoding="utf-8")
RCC_MEANS = "Root cause cluster: images that the network gets wrong for what looks like one reason"
NO_CLUSTER_MEANS = "Images that are in no root cause cluster; DBSCAN calls them noise"
VERDICTS = [("Not judged", ""), ("Unsafe", "unsafe"), ("Unclear", "unclear"), ("Safe", "safe")]


class RccView:
    """Lay out the pane; `outputs` are its widgets, `show` gives what they show."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Column(elem_id="rcc-words"):
            self.player = gr.HTML(
                html_template=PLAYER_HTML, js_on_load=PLAYER_JS, source="", name="", count=0, elem_id="rcc-gif"
            )
            self.heading = gr.HTML(elem_id="rcc-heading")
            self.five = gr.Gallery(
                show_label=False, columns=5, object_fit="contain", buttons=[], interactive=False, elem_id="rcc-sample",
                elem_classes="safe-gallery",
            )  # fmt: skip
            with gr.Accordion("What is taken for what", open=False, visible=False, elem_id="taken") as self.taken_pane:
                self.taken = gr.Dataframe(
                    headers=["True class", "Taken for", "Images"], interactive=False, max_height=220,
                    elem_id="confusions",
                )  # fmt: skip
            with gr.Row(equal_height=True, elem_classes="safe-form"):
                self.into = gr.Dropdown(
                    label="The same reason as", info="Most similar first", choices=[], scale=2, min_width=150,
                    elem_id="merge-into",
                )  # fmt: skip
                self.merge = gr.Button("Merge", scale=0, min_width=90, elem_id="merge")
            self._lay_out_question()
            self.note_view = NoteView(settings, OnRccs(settings))  # last: it stays in sight at the lower edge
        # Which RCC is shown: a browser sends it along, while the one that the server keeps may be the next already.
        self.owner = gr.Number(NOISE, visible="hidden", precision=0, elem_id="rcc-owner")
        self.pair = gr.State(None)  # the RCCs that the question is about, and the note that it showed
        self._answers = [self.question, self.pair, self.asked, self.name, self.verdict, self.note]
        self.outputs = [self.owner, self.player, self.heading, self.five, self.taken, self.taken_pane,
                        self.note_view.widget, self.into, self.merge, self.question, self.pair]  # fmt: skip

    def _lay_out_question(self) -> None:
        """What is asked where the notes on two RCCs that are merged differ."""
        with pane("merge-question") as self.question:
            self.asked = gr.HTML()
            with gr.Row(equal_height=True):
                self.name = gr.Textbox(
                    label="Name", info="Of both together", max_length=LONGEST_NAME, scale=1, min_width=200,
                    elem_id="merged-name",
                )  # fmt: skip
                self.verdict = gr.Radio(
                    VERDICTS, label="Failing for this reason is", info="The graver verdict of the two", scale=2,
                    min_width=340, elem_id="merged-verdict",
                )  # fmt: skip
            self.note = gr.Textbox(
                label="Note", info="Both notes", max_length=LONGEST_NOTE, lines=2, max_lines=8, elem_id="merged-note",
            )  # fmt: skip
            with gr.Row(elem_classes="safe-form"):
                self.confirm = gr.Button("Merge as written here", variant="primary", elem_id="merge-confirm")
                self.refuse = gr.Button("Do not merge", elem_id="merge-refuse")

    def show(self, shown: Shown, rcc: int) -> dict:
        """What the widgets show of an RCC (`NOISE`: of the images in no cluster)."""
        return {**self.show_words(shown, rcc), **self.show_pictures(shown, rcc)}

    def show_words(self, shown: Shown, rcc: int, forced: bool = True) -> dict:
        """The heading and the engineer's note (see `NoteView.show`)."""
        return {
            self.owner: rcc,
            self.heading: _heading(shown, rcc),
            self.note_view.widget: self.note_view.show(shown, rcc, forced),
            self.question: put_away(),
            self.pair: None,
        }

    def show_heading(self, shown: Shown, rcc: int) -> dict:
        """The heading alone."""
        return {self.heading: _heading(shown, rcc)}

    def show_pictures(self, shown: Shown, rcc: int) -> dict:
        """The rest of it."""
        clusters = shown.clusters
        path = gif_path(self._settings.out, rcc, clusters.n_rccs)
        there = gif_shows(clusters, self._settings.out, rcc)
        others = [] if rcc == NOISE else nearest_rccs(clusters, rcc, n=clusters.n_rccs, centres=shown.centres)
        return {
            self.player: gr.HTML(
                source=f"gradio_api/file={quote(str(path))}?v={path.stat().st_mtime_ns}" if there else "",
                name=printable(title(rcc)),
                count=len(clusters.members(rcc)) if there else 0,
            ),
            self.five: thumbnails(
                clusters.image_root, sample(clusters, rcc), 240, self._settings.root, told_of(clusters, rcc)
            ),
            self.taken: _confusion_rows(clusters, rcc),
            self.taken_pane: gr.update(visible=clusters.answers is not None and clusters.answers.kind == CONFIDENCE),
            self.into: gr.Dropdown(
                choices=[(title(other, shown.notes), other) for other, _ in others],
                value=others[0][0] if others else None,
                interactive=bool(others),
            ),
            self.merge: gr.Button(interactive=bool(others)),
        }

    def wire(self, window: Window, outputs: list, changed: Callable) -> None:
        """Connect the widgets.

        Parameters
        ----------
        window : Window
            What the window shows, and whose it is.
        outputs : list of components
            What an edit may change: the whole tab.
        changed : callable
            From the RCC to go on with, the window's `window.parts`, and an edit, which takes a `rccs.edits.Maker`, to
            the page's updates.
        """
        settings = self._settings

        def on_merge(rcc: int | None, into: int | None, *parts: object) -> dict:
            if into is None or rcc is None:
                return gr.skip()
            rcc, into = int(rcc), int(into)
            try:
                notes = settings.results.shown(str(parts[1])).notes
            except SAFEError as error:
                warn("Nothing changed", error)
                return gr.skip()
            source, target = (notes.get(one, RccNote(one)) for one in (rcc, into))
            if not differ(source, target):
                return changed(into, parts, lambda maker: merge_rccs(settings.out, rcc, into, maker=maker))
            asked = merged_note(source, target)
            sentence = f"The notes on {title(rcc, notes)} and {title(into, notes)} differ. The merged RCC gets:"
            return {
                self.question: reveal(),
                self.asked: f"<p class='safe-question' role='alert'>{html.escape(printable(sentence))}</p>",
                self.name: asked.name,
                self.verdict: asked.verdict,
                self.note: asked.note,
                self.pair: (rcc, into, asked),
            }

        def on_confirm(pair: tuple | None, name: str, verdict: str | None, note: str, *parts: object) -> dict:
            if pair is None:
                return gr.skip()
            rcc, into, asked = pair
            answer = RccNote(into, name or "", note or "", verdict or "")
            return changed(
                into, parts, lambda maker: merge_rccs(settings.out, rcc, into, note=answer, maker=maker, asked=asked)
            )

        merged = [*outputs, *self._answers[2:]]
        self.merge.click(on_merge, [self.owner, self.into, *window.parts], merged, **VIEW, **EDITS)
        answers = [self.pair, self.name, self.verdict, self.note]
        self.confirm.click(on_confirm, [*answers, *window.parts], outputs, **VIEW, **EDITS)
        self.refused = self.refuse.click(lambda: (put_away(), None), None, [self.question, self.pair], **VIEW)


def _heading(results: Shown, rcc: int) -> str:
    clusters = results.clusters
    size = len(clusters.members(rcc))
    meaning = html.escape(NO_CLUSTER_MEANS if rcc == NOISE else RCC_MEANS)
    parts = [f"<h2 title='{meaning}'>{html.escape(printable(title(rcc)))}</h2>"]
    facts = [count(size, "image"), f"{size / len(clusters.paths):.1%} of all failing images", near_text(clusters, rcc)]
    parts.append(f"<p>{' · '.join(filter(None, facts))}</p>")
    if reason := results.reasons.text_of(clusters, rcc, results.rates):
        verdict = results.rates[rcc].verdict if rcc in results.rates else ""
        parts.append(f"<p class='safe-rate' data-verdict='{verdict}'>{_led_by_verdict(printable(reason))}</p>")
    if told := commonest_confusion(clusters.answers_of(rcc)):
        parts.append(f"<p class='safe-confusion'>{html.escape(told)}</p>")
    if rcc in results.profiles:
        parts.append(findings_html(results.profiles[rcc]))
    parts.append(_steady(clusters, rcc))
    if nothing := no_steady_groups_text(clusters):
        return f"<div class='safe-rcc'>{''.join(parts)}<p class='safe-unsteady'>{html.escape(nothing)}</p></div>"
    line, tip = _most_like(results, rcc)
    # One line: what does not fit is in the tooltip.
    parts.append(f"<p class='safe-near' title='{html.escape(printable(tip))}'>{html.escape(printable(line))}</p>")
    return f"<div class='safe-rcc'>{''.join(parts)}</div>"


def _led_by_verdict(sentence: str) -> str:
    """HTML of what the comparison found, with the verdict before the colon in bold."""
    verdict, colon, figures = sentence.partition(": ")
    return f"<b>{html.escape(verdict)}:</b> {html.escape(figures)}" if colon else html.escape(sentence)


def _steady(clusters: RootCauseClusters, rcc: int) -> str:
    """How steady an RCC is, as a bar with the bound below which it is loose, and in words; empty if not measured.

    Of the images in no cluster: how many are near an RCC.
    """
    text = confidence_text(clusters, rcc)
    if not text:
        return ""
    share = confidence(clusters, rcc)
    bar = "" if share is None else (
        f"<span class='safe-steady-bar' aria-hidden='true'><i style='width:{percent_down(share)}'></i>"
        f"<b style='left:{BOUND}'></b></span>"
    )  # fmt: skip
    loose = " data-loose" if is_loose(clusters, rcc) else ""
    means = "" if rcc == NOISE else html.escape(confidence_means(clusters))
    return f"<p class='safe-steady'{loose} title='{means}'>{bar}<span>{html.escape(text)}</span></p>"


def _confusion_rows(clusters: RootCauseClusters, rcc: int) -> list[list[object]]:
    """The rows of the table that says what the DNN takes an RCC's images for."""
    answers = clusters.answers_of(rcc)
    if answers is None:
        return []
    named = {(True, NOTHING): NO_OBJECT, (False, NOTHING): MISSED} if answers.detector else {}
    return [
        [*(named.get((true, name), printable(name)) for true, name in ((True, label), (False, predicted))), images]
        for label, predicted, images in confusions(answers)
    ]


def _most_like(results: Shown, rcc: int) -> tuple[str, str]:
    """The RCCs that an RCC is most like, and the same with their distances, for the tooltip."""
    if rcc == NOISE:
        who = "Each of the others" if n_near(results.clusters, NOISE) else "Each"
        line = f"{who} fails for a reason of its own, or for a rare one"
        return line, line
    near = nearest_rccs(results.clusters, rcc, centres=results.centres)
    if not near:
        return "There is no other RCC", "There is no other RCC"
    names = [title(other, results.notes) for other, _ in near]
    distances = ", ".join(f"{name} ({distance:.2f})" for name, (_, distance) in zip(names, near, strict=True))
    return f"Most like {', '.join(names)}", f"Distances between the centres: {distances}"
