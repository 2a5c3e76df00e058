"""The forms of tabs: what was last typed into them is kept as entries, so that a page opened again is filled in again.

The fields of a tab are filled in anew when the output folder holds another run.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.assets import FORMS, VIEW
from safe_dnn.page.settings import PageSettings
from safe_dnn.store.database import append, changing, entries, reading
from safe_dnn.store.places import absolute, relative
from safe_dnn.store.runs import CLUSTERS
from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.text import printable
from safe_dnn.training.labels import take_typed_labels, typed_text

LONGEST = 4096
OF_SAFE = {"widget", "takes", "what", "example", "kept"}  # of a field in `fields.toml`; the rest is for Gradio
FORM = "form"
"""The kind of an entry: its subject is the tab, its value the fields."""
HERE = "here"
"""Of a path below the folder of the analysis, that relative to it."""


def remember(out: Path, tab: str, fields: Mapping[str, str | bool | None]) -> None:
    """Keep the values of a tab's fields, by name, except those too long for a path or a number."""
    short = {name: value for name, value in fields.items() if isinstance(value, bool) or len(value or "") < LONGEST}
    # If nothing can be written, the work itself reports it.
    with contextlib.suppress(SAFEError, OSError):
        if remembered(out, tab) != {name: value for name, value in short.items() if value is not None}:
            run = Analysis(out).runs.get(CLUSTERS)
            with changing(out) as db:
                value = {name: _without_folder(typed, out) for name, typed in short.items()}
                append(db, FORM, tab, value, run=run.clusters if run else "")


def remembered(out: Path, tab: str) -> dict[str, str | bool]:
    """The values that were last kept for the present clusters; otherwise for others of the same images, or for none.

    Empty if there are none.
    """
    run = Analysis(out).runs.get(CLUSTERS)
    clusters = run.clusters if run else ""
    home = clusters.partition(" ")[2]
    with reading(out) as db:
        saved = [*entries(db, "kind = ? AND subject = ?", FORM, tab)]
    mine = [entry.value for entry in saved if entry.run == clusters]
    other = [entry.value for entry in saved if not (entry.run and home) or entry.run.partition(" ")[2] == home]
    fields = [{}, *other, *mine][-1]
    values = {name: absolute(one[HERE], out) if isinstance(one, dict) else one for name, one in fields.items()}
    return {name: value for name, value in values.items() if isinstance(value, str | bool)}


def _without_folder(value: str | bool | None, out: Path) -> object:
    if isinstance(value, str) and value.startswith(f"{out}{os.sep}"):
        return {HERE: relative(value, out)}
    return value


def renewed(
    before: Mapping[str, object], typed: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, object]:
    """New values for fields when the folder holds another run; fields that were edited meanwhile stay as they are.

    Parameters
    ----------
    before, after : mapping
        What the fields were last filled in or sent with, and the values that belong to the run in the folder now.
    typed : mapping
        What the fields hold.
    """
    same = {name for name in after if (typed[name] or "") == (before.get(name) or "")}
    return {name: after[name] for name in after if name in same and (typed[name] or "") != (after[name] or "")}


def typed(**fields: str | None) -> dict[str, str]:
    """Fields that were filled in; Gradio gives None for one that was never touched."""
    return {name: text.strip() for name, text in fields.items() if text and text.strip()}


# --- The fields of a tab ----------------------------------------------------------------------------------------------


def field_of(form: str, name: str, **options: Any) -> Any:
    """Lay out a field of `fields.toml`, with further options for Gradio."""
    known = FORMS[form][name]
    kind = getattr(gr, known.get("widget", "Textbox"))
    given = {option: value for option, value in known.items() if option not in OF_SAFE}
    return kind(**({"max_lines": 1} if kind is gr.Textbox else {}) | given | options)


class FormView:
    """The fields of a tab, each laid out with the name by which it is sent, kept and filled in again.

    Parameters
    ----------
    settings : PageSettings
    tab : str
        Whose fields they are (see `fields.toml`), and by which they are kept.
    last : callable
        The form as it was last sent for the run in the output folder, by name.
    """

    def __init__(self, settings: PageSettings, tab: str, last: Callable[[], Mapping[str, Any]]):
        self._settings, self._tab, self._last = settings, tab, last
        self._fields: dict[str, gr.components.Component] = {}
        self._defaults: dict[str, Any] = {}
        self.fold: gr.Accordion | None = None
        self._folds: dict[gr.Accordion, set[str]] = {}  # with the fields that open them
        self.filled = gr.State({})  # what the fields were last filled in or sent with, and the run

    def lay_out(self, *names: str, **options: Any) -> None:
        """Lay out fields; they can be edited once a window is filled in.

        Parameters
        ----------
        options
            For Gradio, beside what is known of the fields.
        """
        for name in names:
            # Until it is filled in: what was typed before would be overwritten.
            self._fields[name] = widget = field_of(self._tab, name, **options | {"interactive": False})
            self._defaults[name] = widget.value or ""

    def lay_out_example(self, elem_id: str) -> None:
        """Lay out the button that fills in the form with the example, out of sight if there is none."""
        there = self._settings.example is not None
        self._example = gr.Button("Example", scale=0, min_width=110, visible=there, elem_id=f"example-{elem_id}")

    def wire_example(self) -> gr.events.Dependency:
        """Connect this button."""
        values = self._settings.example._asdict() if self._settings.example else None
        known = {name: field["example"] for name, field in FORMS[self._tab].items() if "example" in field and values}
        fields = {self._fields[name]: text.format_map(values) for name, text in known.items()}
        return self._example.click(lambda: fields, None, [*fields], **VIEW)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    @contextlib.contextmanager
    def options(self, title: str, elem_id: str | None = None, known: Iterable[str] = ()) -> Iterator[None]:
        """Fold away the fields laid out in the block, until one differs from its default, but for those `known`.

        Blocks may lie in one another; `fold` is the outer one.
        """
        earlier = set(self._fields)
        with gr.Accordion(title, open=False, elem_id=elem_id) as fold:
            yield
        self.fold, self._folds[fold] = fold, set(self._fields) - earlier - set(known)

    @property
    def widgets(self) -> list[gr.components.Component]:
        """The fields in the order in which Gradio sends their values."""
        return [*self._fields.values()]

    def named(self, values: Iterable[Any]) -> dict[str, Any]:
        """The values that Gradio sends, by name."""
        return dict(zip(self._fields, values, strict=True))

    def first_look(self, run: str) -> dict:
        """Updates for a window that was just opened: from now on, the fields can be edited.

        A field below folded options is filled in when these are opened, and may just be typed into: what it holds
        already is not sent again.
        """
        last = self._last_by_name()
        return {
            **self._fill_in(self._differing(last), interactive=True),
            **self.sent(run, {**self._defaults, **last}),
        }

    def anew(self, run: str) -> dict:
        """Updates that fill in all fields as for the run in the folder."""
        last = {**self._defaults, **self._last_by_name()}
        return {**self._fill_in(last), **self.sent(run, last)}

    def sent(self, run: str, fields: Mapping[str, Any]) -> dict:
        """The update for a form that was sent, or filled in, with these fields."""
        return {self.filled: {**fields, "run": run}}

    def follow(self, run: str, before: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[dict, dict[str, Any]]:
        """Updates for the run in the folder, none if the form was `filled` for it, and the fields as they then are."""
        if before.get("run") == run:
            return {}, dict(fields)
        last = {**self._defaults, **self._last_by_name()}
        renewal = renewed(before, fields, last)
        return {**self._fill_in(renewal), **self.sent(run, last)}, {**fields, **renewal}

    def taken(
        self, fields: Mapping[str, Any], needed: Iterable[str], others: Iterable[str] = (), **typed_paths: str
    ) -> dict[str, str]:
        """The paths in those of these fields that were filled in, absolute and by name; the form is kept.

        Parameters
        ----------
        typed_paths
            Of fields that hold more than a path.

        Raises
        ------
        SAFEError
            One that is needed is empty, or a path is refused, or leads nowhere.
        """
        known = FORMS[self._tab]
        what = {name: field.get("what", field["label"].lower()) for name, field in known.items()}
        paths = {name: required_path(fields[name], what[name], self._settings) for name in needed}
        entered = typed(**{name: fields[name] for name in others} | typed_paths)
        paths |= {name: self._settings.accept(text) for name, text in entered.items()}
        kept = {name: value for name, value in fields.items() if known.get(name, {}).get("kept", True)}
        remember(self._settings.out, self._tab, kept)
        for name, path in paths.items():
            if not Path(path).exists():
                raise SAFEError(f"Expected the {what[name]}. Received: {quoted(path)}, which does not exist.")
        return paths

    def _last_by_name(self) -> dict[str, Any]:
        last = self._last()
        return {name: last[name] for name in self._fields if name in last}

    def _choices(self) -> Mapping[str, list[str]]:
        """What fields offer in this analysis, by name."""
        return {}

    def _fill_in(self, values: Mapping[str, Any], **always: Any) -> dict:
        filled = {name: {"value": value} for name, value in values.items()}
        offered = {name: {"choices": choices} for name, choices in self._choices().items()}
        fields = {name: {**always, **filled.get(name, {}), **offered.get(name, {})} for name in self._fields}
        return {
            **self._opened(values),
            **{self._fields[name]: gr.update(**update) for name, update in fields.items() if update},
        }

    def _differing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if (value or "") != self._defaults[name]}

    def _opened(self, values: Mapping[str, Any]) -> dict:
        """The updates that open folded options, if one of these values is theirs and not the default."""
        differs = self._differing(values).keys()
        return {fold: gr.update(open=True) for fold, names in self._folds.items() if names & differs}


def network_of(failures: AnsweredImages, settings: PageSettings) -> dict[str, str]:
    """The network that failed and its test images, as a form names them: `model`, `test`; empty as in `model_of`.

    Empty as well if they are not for the visitors of the page.
    """
    if (model := model_of(failures)) is None:
        return {}
    try:
        paths = [printable(settings.accept(os.fspath(path))) for path in (model, failures.root)]
    except SAFEError:
        return {}
    return dict(zip(("model", "test"), paths, strict=True))


def model_of(failures: AnsweredImages) -> Path | None:
    """The file of the network that failed, if it can be run again without being told anything about it.

    That is, of a classifier whose pixels are scaled as its file says, and which needs no trust; not a table.
    """
    model = failures.source
    is_keras, is_onnx = model.suffix.lower() in KERAS_SUFFIXES, model.suffix.lower() == ONNX_SUFFIX
    options = failures.options
    needs_options = failures.task != "classification" or options.rescale or options.trust_model
    return model if not needs_options and (is_keras or is_onnx) and model.is_file() else None


def required_path(path: str | None, what: str, settings: PageSettings) -> str:
    """The path in a field that must be filled in; a SAFEError if it is empty or the page refuses the path."""
    if not (path or "").strip():
        raise SAFEError(f"Expected the {what}. Received: nothing.")
    return settings.accept(path)


def take_labels(out: Path) -> SAFEError | None:
    """Take over what was typed into `unsafe_set.csv` in another program, and say so; before work that replaces it.

    Returns
    -------
    SAFEError or None
        Why the table cannot be read: work that would replace it is refused.
    """
    try:
        if number := take_typed_labels(out):
            gr.Info(typed_text(number))
    except SAFEError as error:
        return error
    return None
