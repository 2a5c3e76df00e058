"""All reasons as cards (the paper's Figure 4), and the selected one: its GIF, what its images have in common, its rate.

Queries about the selected reason are asked here, and RCCs are merged.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import gradio as gr
from markupsafe import Markup

from safe_dnn import api
from safe_dnn.analysis import Analysis
from safe_dnn.api.probing import model_at_hand
from safe_dnn.page.assets import EDITS, VIEW, scripted
from safe_dnn.page.clusters.note import NoteView, about_of
from safe_dnn.page.messages import AWAY, noticed, warn
from safe_dnn.page.pictures import thumbnails
from safe_dnn.page.settings import PageSettings
from safe_dnn.rccs.clusters import answer_texts, sample
from safe_dnn.rccs.confidence import is_loose, nearest_rccs, representative
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.gifs import gif_path, gif_shows, spot_gif_path
from safe_dnn.rccs.profiles import LEAST_BITS
from safe_dnn.rccs.review.journal import UNSAFE, VERDICTS, Note, title
from safe_dnn.rccs.review.review import merge_rccs, notes_elsewhere
from safe_dnn.reasons.listed import LISTED, Reason, folded
from safe_dnn.report.drawings import heatmap_html, heatmaps_of
from safe_dnn.report.markup import escaped, filled
from safe_dnn.report.report import probes_html
from safe_dnn.support.text import count, printable


def lay_out_reasons() -> gr.HTML:
    """Lay out the cards, in a widget whose value is the key of the reason that is chosen: the number of an RCC, or the
    conditions of a weak spot.

    Not a gallery of Gradio's: that builds all of its pictures anew with every answer, also while one is being clicked,
    and sends which was clicked in the data of an event; Gradio repeats an older one where clicks come faster
    than answers. A value is read when the event is sent.
    """
    template = filled("page/clusters/reason_list.html", unsafe=UNSAFE)
    return scripted("clusters/reason_list", NOISE, html_template=template, cards="", notice="", elem_id="reason-list")


def show_reasons(state: Analysis, chosen: int | str) -> gr.HTML:
    """All reasons, and the one at hand."""
    reasons = state.reasons
    notes = [*(reasons.comparison.notes if reasons.comparison else ())]
    if elsewhere := notes_elsewhere(state.spot_notes, (spot.conditions for spot in reasons.spots)):
        notes.append(f"{count(elsewhere, 'note')} on other conditions will be shown when these are found again.")
    notice = noticed(looks_tell_nothing(state)) + noticed(" ".join(notes))
    return gr.HTML(chosen, cards=cards_of(state), notice=notice)


def cards_of(state: Analysis) -> Markup:
    """The cards of all reasons and, last, that of the images in no cluster, which are no reason."""
    folds = folded(state.listed)
    cards = [card(state, reason, folds) for reason in state.listed]
    if NOISE in state.clusters.groups:
        cards.append(noise_card(state))
    row_of = {path: row for row, path in enumerate(state.clusters.paths)}
    for one in cards:
        one["picture"] = f"image/{state.run}/{row_of[one['image']]}" if one["image"] else ""
    return filled("page/clusters/cards.html", cards=cards)


def card(state: Analysis, reason: Reason, folds: Mapping[str, str]) -> dict[str, Any]:
    """What the card of a reason says.

    Returns
    -------
    dict
        `key`; `rcc` (None if it is not one); `number`, the reason's name; `images`, how many, and `share` of all
        failing ones; `title`, its condition or, of an RCC alone, its name; `words`, what the images of such an RCC have
        in common; `facts`; `confusion`; `kind`; `fold`, what it is folded under (empty if it is not); `more`; `of`, its
        figures (None where unknown); `loose`; `image`, which represents it; `otherwise`, if its halves differ; and
        `note_fields`.
    """
    clusters, rcc, n = state.clusters, reason.rcc, len(reason.images)
    of = reason.figures if reason.figures and reason.figures.tested else None
    facts = [reason.facts] if of else [reason.facts, f"{n / len(clusters.paths):.0%}"]
    facts += [reason.inside] if reason.inside else []
    facts += reason.names[2:]  # the RCC that is about the same images
    other = reason.differing.get("verdict", "")
    return {
        "key": reason.key, "rcc": rcc,
        "number": reason.name, "images": n, "share": n / len(clusters.paths), "title": reason.where or reason.name,
        "words": "" if reason.where else words_of(state, rcc), "facts": " · ".join(facts),
        "confusion": "" if reason.where or rcc is None else clusters.confusion_of(rcc),
        "kind": reason.kind, "fold": folds.get(reason.name, ""), "more": reason.fails_more, "of": of,
        "loose": rcc is not None and is_loose(clusters, rcc), "image": _image_of(state, reason),
        "otherwise": f"{reason.names[-1]}: {other}" if other else "", **note_fields(reason.note),
    }  # fmt: skip


def _image_of(state: Analysis, reason: Reason) -> str:
    """Of an RCC alone the most typical image, unless another reason holds it as well."""
    typical = "" if reason.where or reason.rcc is None else representative(state.clusters, reason.rcc)
    images_of_others = (one.images for one in state.listed if one.kind == LISTED and one.name != reason.name)
    return reason.picture if not typical or any(typical in images for images in images_of_others) else typical


def looks_tell_nothing(state: Analysis) -> str:
    """A sentence where clusters say nothing about why images fail; otherwise empty."""
    explained = state.clusters.beyond_class
    return state.clusters.explained_text if explained and explained.is_nothing else ""


def noise_card(state: Analysis) -> dict[str, Any]:
    """That of the images in no cluster (see `card`)."""
    n, share = len(state.clusters.members(NOISE)), state.clusters.noise_share
    return {
        "key": NOISE, "rcc": NOISE, "number": title(NOISE), "images": n,
        "share": share, "title": title(NOISE), "facts": f"{count(n, 'image')} · {share:.0%}",
        "image": representative(state.clusters, NOISE), "more": False, "loose": False, "of": None, "fold": "",
        **note_fields(state.notes.get(NOISE, Note(NOISE))),
    }  # fmt: skip


def note_fields(note: Note) -> dict[str, str]:
    """What lists show of a note: `name` (may be empty), `verdict`, and `mark`, the same in words."""
    mark = f"{VERDICTS[note.verdict].mark} {note.verdict}".strip()
    return {"name": printable(note.name), "verdict": note.verdict, "mark": mark}


def named(state: Analysis, rcc: int) -> str:
    """An RCC by its number and, if it has one, its name."""
    return title(rcc, state.notes)


def words_of(state: Analysis, rcc: int | None) -> str:
    """What the images of an RCC have in common, a parameter or two measured attributes: no condition of failing."""
    profile = None if rcc is None else state.profiles.get(rcc)
    # Not what most other images have as well
    mentioned = [one for one in profile.mentioned if one.information >= LEAST_BITS] if profile else []
    # Several RCCs may be noisy, and one of them dark as well.
    words = mentioned if all(finding.measured for finding in mentioned) else mentioned[:1]
    return ", ".join(finding.short for finding in words)


# --- The selected reason ------------------------------------------------------------------------------------------

HUGE = 0.5  # of all failing images: such an RCC distinguishes nothing
RCC_MEANS = "Root cause cluster: images that the network gets wrong for what looks like one reason"
MOST_OVERLAPS = 3  # RCCs named with a weak spot
NO_CLUSTER_MEANS = "Images that are in no root cause cluster; DBSCAN calls them noise"


class QueryView:
    """A button that asks about the reason at hand, for which the network runs again, and the stored answer.

    Parameters
    ----------
    elem_id : str
        Of the button; that of the answer ends in `-answer`.
    question, again : str
        What the button says without an answer, and with one.
    ask : callable
        Asks about reasons, such as `RCC 0`, in a folder.
    answer : callable
        The stored answer about a reason, by its `subject`, as HTML; empty without one.
    """

    def __init__(self, elem_id: str, question: str, again: str, ask: Callable, answer: Callable[..., str]):
        self._texts, self.ask, self._answer_of = (question, again), ask, answer
        self.button = gr.Button(question, size="sm", elem_id=elem_id, elem_classes=AWAY)
        self._answer = gr.HTML(elem_id=f"{elem_id}-answer", elem_classes=AWAY)

    def show(self, state: Analysis, subject: str) -> dict:
        """Updates that show the stored answer about a reason, by its `subject`; empty without a reason."""
        answer = self._answer_of(state, subject) if subject else ""
        there = subject and state.reasons.base and model_at_hand(state.clusters.image_root)
        return {
            self.button: gr.Button(self._texts[bool(answer)], elem_classes=[] if there else AWAY),
            self._answer: gr.HTML(answer, elem_classes=[] if answer else AWAY),
        }


def _where_it_looks(state: Analysis, subject: str) -> str:
    heatmaps = heatmaps_of(state.folder, state.review.run, [subject])
    return heatmap_html(heatmaps[subject]) if heatmaps else ""


def _is_it_the_cause(state: Analysis, subject: str) -> str:
    return probes_html([probe for probe in state.probes if probe.subject == subject])


class ReasonView:
    """Lay out the pane of the reason at hand, an RCC or a weak spot; `show` gives what it shows."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with gr.Column(elem_id="reason-words"), gr.Column(elem_classes="safe-above"):
            self.player = scripted("clusters/player", "", source="", name="", count=0, elem_id="reason-gif")
            self.five = gr.Gallery(
                show_label=False, columns=2, object_fit="contain", buttons=[], interactive=False,
                elem_id="rcc-sample", elem_classes="safe-gallery",
            )  # fmt: skip
            self.looks = QueryView("look", "Where it looks", "Look again", api.heatmaps, _where_it_looks)
            self.probes = QueryView("probe", "Is it the cause?", "Ask again", api.probe, _is_it_the_cause)
            self.heading = gr.HTML(elem_id="reason-heading")
            self.queries = self.looks, self.probes
            with gr.Row(equal_height=True, elem_classes="safe-form", elem_id="merging"):
                self.into = gr.Dropdown(
                    label="The same reason as", info="Most similar first", choices=[], scale=2, min_width=150,
                    elem_id="merge-into",
                )  # fmt: skip
                self.merge = gr.Button("Merge", scale=0, min_width=90, elem_id="merge")

    def show(self, state: Analysis, key: int | str) -> dict:
        """What the widgets show of a reason, by its key (`NOISE`: of the images in no cluster)."""
        return {**self.show_words(state, key), **self.show_pictures(state, key)}

    def show_words(self, state: Analysis, key: int | str) -> dict:
        """The heading, and what an RCC may be merged into."""
        rcc = key if isinstance(key, int) else NOISE
        nearest = [] if rcc == NOISE else nearest_rccs(state.clusters, rcc, n=state.clusters.n_rccs)
        return {
            **self.show_heading(state, key),
            self.into: gr.Dropdown(
                choices=[(named(state, other), other) for other, _ in nearest],
                value=nearest[0][0] if nearest else None, interactive=bool(nearest),
            ),
            self.merge: gr.Button(interactive=bool(nearest)),
        }  # fmt: skip

    def show_heading(self, state: Analysis, key: int | str) -> dict:
        """The heading, and what probes say of the reason."""
        heading = _heading(state, key) if isinstance(key, int) else _spot_heading(state, key)
        return {self.heading: heading, **self.probes.show(state, _subject(state, key))}

    def show_pictures(self, state: Analysis, key: int | str) -> dict:
        """The rest of it."""
        out, clusters, rank = self._settings.out, state.clusters, rank_of(key, state)
        subject, five, by_answers = _subject(state, key), [], False
        if isinstance(key, int):
            path, name = gif_path(out, key, clusters.n_rccs), title(key)
            images = len(clusters.members(key)) if gif_shows(clusters, out, key) else 0
            five = thumbnails(clusters.image_root, sample(clusters, key), 240, answer_texts(clusters, key))
        else:
            path, name, reason = spot_gif_path(out, rank), f"Weak spot {rank}", state.reason(key)
            images = len(reason.images) if reason and path.is_file() else 0
            subject = subject if reason and reason.images else ""
            by_answers = bool(reason and reason.figures and reason.figures.answers)
        source = f"gradio_api/file={quote(str(path))}?v={path.stat().st_mtime_ns}" if images else ""
        # Of a weak spot that answers on a word estimate, there will be no GIF.
        player = gr.HTML(source=source, name=name, count=images, elem_classes=AWAY if by_answers else [])
        return {self.player: player, self.five: five, **self.looks.show(state, subject)}

    def wire(self, chosen: gr.HTML, window: NoteView, outputs: list, edited: Callable) -> None:
        """Connect the widgets.

        Parameters
        ----------
        chosen : gr.HTML
            Its value is the reason that was chosen last, which may not be shown yet.
        window : NoteView
            What the window shows, and what is typed there.
        outputs : list of components
            What an edit may change: the whole tab.
        edited : callable
            From the window's `window.parts`, an edit, which takes a `rccs.review.journal.Maker`, and the key of the
            reason to go on with, if that is another one, to the page's updates.
        """
        settings = self._settings

        def on_merge(chosen: object, into: int | None, *parts: object) -> dict:
            rcc = about_of(parts[1]).key
            if into is None or not isinstance(rcc, int):
                return gr.skip()
            if rcc != chosen:
                warn("Not merged", f"{title(rcc)} was still shown when you clicked. Look at the other one first.")
                return gr.skip()
            return edited(parts, lambda maker: merge_rccs(settings.out, rcc, int(into), maker=maker), int(into))

        self.merge.click(on_merge, [chosen, self.into, *window.parts], outputs, **VIEW, **EDITS)


def _subject(state: Analysis, key: int | str) -> str:
    """What answers about a reason are stored by; empty without one."""
    if isinstance(key, int):
        return "" if key == NOISE else state.review.subjects[key]
    reason = state.reason(key)
    return reason.subject if reason else ""


def _heading(results: Analysis, rcc: int) -> str:
    meaning, like = NO_CLUSTER_MEANS if rcc == NOISE else RCC_MEANS, _most_like(results, rcc)
    values = {"rcc": rcc, "meaning": meaning, "like": like, "state": results, "clusters": results.clusters}
    values["huge"] = rcc != NOISE and results.clusters.sizes[rcc] > HUGE * len(results.clusters.paths)
    return filled("page/clusters/heading.html", words=words_of(results, rcc), **values)


def _most_like(results: Analysis, rcc: int) -> tuple[str, str]:
    """The RCCs that an RCC is most like, and the same with their distances, for the tooltip."""
    if rcc == NOISE:
        line = "Each fails for a reason of its own, or for a rare one"
        return line, line
    near = nearest_rccs(results.clusters, rcc)
    if not near:
        return "There is no other RCC", "There is no other RCC"
    names = [title(other, results.notes) for other, _ in near]
    distances = ", ".join(f"{name} ({distance:.2f})" for name, (_, distance) in zip(names, near, strict=True))
    return f"Most like {', '.join(names)}", f"Distances between the centres: {distances}"


def _spot_heading(state: Analysis, conditions: str) -> str:
    """What is said of a weak spot; nothing of one that is not there."""
    rank, reason = rank_of(conditions, state), state.reason(conditions)
    overlaps = _overlaps(state, rank) if rank else ""
    known = {"reason": reason, "overlaps": overlaps, "noun": state.reasons.noun}
    return filled("page/clusters/spot_heading.html", **known) if rank else ""


def rank_of(conditions: object, state: Analysis) -> int:
    """The rank of the weak spot that a browser has named by its conditions; 0 if there is none."""
    ranks = (rank for rank, spot in enumerate(state.reasons.spots, start=1) if spot.conditions == conditions)
    return next(ranks, 0)


def _overlaps(state: Analysis, rank: int) -> Markup:
    """The RCCs that have failing images in common with a weak spot, as HTML; their names are kept up in the list."""
    overlaps = state.reasons.overlaps(rank - 1)
    named = [
        f"{n:,} in <button type='button' class='safe-rcc-name' data-open-rcc='{rcc}'>"
        f"{escaped(title(rcc, state.notes))}</button>"
        for rcc, n in overlaps[:MOST_OVERLAPS]
    ]
    unlisted = len(overlaps) - MOST_OVERLAPS
    return Markup(", ".join(named) + (f", others in {count(unlisted, 'RCC')}" if unlisted > 0 else ""))
