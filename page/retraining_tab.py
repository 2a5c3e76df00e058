"""Third tab: the unsafe set is labelled, the model is fine-tuned with it, and the page says what got better."""

import contextlib
import html
import os
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from dnn.model import DnnOptions
from dnn.predictions import class_folders
from page.forms import remember, remembered, renewed
from page.job_view import JobView, News
from page.jobs import EDITS, FOLLOW, LATEST, VIEW, Job, PageSettings, done, empty, failed, pane, put_away, reveal, typed
from page.label_view import LabelView
from page.pictures import thumbnails
from page.plots import learning_curves, shares_right
from page.results import Marks
from pipeline import retraining_summary
from rccs.clusters import fingerprint
from rccs.unsafe_set import load_unsafe_set
from retrain import retrain
from support.errors import SAFEError
from support.output_folder import writing
from support.run_folder import MODEL_FILE, RETRAINING_FILE, UNSAFE_SET_FILE
from support.text import count, printable
from training.comparison import Changed
from training.finetuning import Epoch
from training.labels import Labelling, label_unsafe_set, save_labels
from training.result import Retraining, load_retraining, retraining_of
from training.settings import BATCH_SIZE, EPOCHS, LEARNING_RATE, LEARNING_RATE_FACTOR, Wishes

TAB = "retraining"
GALLERY_LIMIT = 60
RESCALE = [("Read from the model", ""), ("0 to 255", "none"), ("0 to 1", "1/255"), ("−1 to 1", "signed")]

STEPS = [
    ("Select the unsafe set", "In the second tab: the images worth labelling."),
    ("Give the model", "The Keras model, and the folders of its training and test images, a folder for each class."),
    ("Label", "By key or click; not needed where the improvement images lie in class folders."),
    ("Click Retrain", "You get a new model beside the old one, and what it got better and worse at."),
]
EMPTY = empty("Not retrained yet.", STEPS)
EARLIER = empty(
    "The last retraining was for other clusters. To see it, open their run: Earlier runs, in the first tab.",
    STEPS,
)


def retraining_tab(app: gr.Blocks, tab: gr.Tab, settings: PageSettings, news: News) -> None:
    """Lay out the tab and wire it."""
    may_trust = settings.root is None  # a page for others is no way to run code on this machine
    # 1. Layout
    with gr.Row(elem_classes="safe-form"):
        model = gr.Textbox(
            label="Model", info="Keras, .keras or .h5; only read", placeholder="/path/to/model.keras",
            scale=3, min_width=220, elem_id="model",
        )  # fmt: skip
        train = gr.Textbox(
            label="Training folder", info="A folder for each class", placeholder="/path/to/train", scale=3,
            min_width=220, elem_id="train",
        )  # fmt: skip
        test = gr.Textbox(
            label="Test folder", info="Never trained on", placeholder="/path/to/test", scale=3, min_width=220,
            elem_id="test",
        )  # fmt: skip
        example = gr.Button(
            "Example", scale=0, min_width=110, visible=settings.example is not None, elem_id="example-model"
        )
        start = gr.Button("Retrain", variant="primary", scale=1, min_width=150, elem_id="retrain")
    with gr.Accordion("How it is trained", open=False, elem_id="training-options") as options:
        with gr.Row():
            rate = gr.Textbox(
                label="Learning rate",
                info=f"Empty: {LEARNING_RATE_FACTOR:g} of the model's own, or {LEARNING_RATE:g}",
                elem_id="rate",
            )
            epochs = gr.Textbox(label="Epochs", info="The best one is kept", placeholder=str(EPOCHS), elem_id="epochs")
            batch = gr.Textbox(
                label="Batch size", info="Images for each step", placeholder=str(BATCH_SIZE), elem_id="batch"
            )
            seed = gr.Textbox(label="Seed", info="Of the images drawn", placeholder="0", elem_id="seed")
        with gr.Row():
            rescale = gr.Dropdown(RESCALE, value="", label="Pixels given to the model", info="As it was trained")
            only_labelled = gr.Checkbox(label="Leave out images without a label", info="Instead of refusing to start")
            trust = gr.Checkbox(
                label="The model may run code of its own", info="Lambda layers: only for a file that you trust",
                visible=may_trust,
            )  # fmt: skip
    with gr.Row(elem_classes="safe-state"):
        status = gr.HTML(EMPTY, elem_id="retraining-status", scale=1)
        cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id="cancel-retraining")
    with pane("retraining-pane") as retraining_pane:
        figures = gr.HTML(elem_id="retraining-figures")
        with gr.Row():
            curves = gr.HTML(elem_id="curves", min_width=430)
            bars = gr.HTML(elem_id="bars", min_width=430)
        with gr.Row():
            with gr.Column(min_width=360):
                improved_title = gr.HTML()
                improved = gr.Gallery(
                    show_label=False, columns=4, height=300, object_fit="contain", buttons=[], interactive=False,
                    elem_id="improved",
                )  # fmt: skip
            with gr.Column(min_width=360):
                worsened_title = gr.HTML()
                worsened = gr.Gallery(
                    show_label=False, columns=4, height=300, object_fit="contain", buttons=[], interactive=False,
                    elem_id="worsened",
                )  # fmt: skip
        with gr.Accordion("What was assumed", open=False):
            assumed = gr.HTML(elem_id="assumed")
    with pane("label-pane") as label_pane:
        label_title = gr.HTML()
        with gr.Row(elem_classes="safe-form"):
            table = gr.Textbox(
                label="Labels from a table", info="CSV with the columns image and label; or click below",
                placeholder="/path/to/labels.csv", scale=3, elem_id="labels-table",
            )  # fmt: skip
            take = gr.Button("Take labels", scale=1, min_width=150, elem_id="take-labels")
        label_status = gr.HTML(elem_id="label-status")
        label_view = LabelView(settings)
    shown = [retraining_pane, figures, curves, bars, improved_title, improved, worsened_title, worsened, assumed]
    job_view = JobView(
        settings, TAB, status, start, cancel,
        guide=lambda: guide(), result=retraining_pane,
    )  # fmt: skip
    marks, filled = gr.State(None), gr.State({})  # as the window shows the folder, and as it has filled in the form
    everything = [*job_view.outputs, marks, filled, *shown]
    # All but the trust in the model, which is given anew each time
    form = {"model": model, "train": train, "test": test, "rate": rate, "epochs": epochs, "batch": batch, "seed": seed,
            "rescale": rescale, "only_labelled": only_labelled}  # fmt: skip
    usual = {name: widget.value or "" for name, widget in form.items()}
    labelling = [label_pane, label_title, label_status, label_view.widget]

    # 2. What the widgets show
    def gallery(result: Retraining, images: tuple[Changed, ...]) -> list:
        pictures = thumbnails(result.test_root, [image.image for image in images[:GALLERY_LIMIT]], 160, settings.root)
        return [(picture, printable(_change(image))) for (picture, _), image in zip(pictures, images, strict=False)]

    def guide() -> str:
        if not (settings.out / RETRAINING_FILE).is_file():
            return EMPTY
        try:
            load_retraining(settings.out)
        except SAFEError:
            return ""  # `show_result` says that it is damaged
        return "" if settings.results.holds_retraining() else EARLIER

    def show_result() -> dict:
        seen = settings.results.marks()
        review = settings.results.shown().review if settings.results.there else None
        result = retraining_of(settings.out, review)
        notes = review.notes if review else {}
        return {
            marks: seen,
            status: done(retraining_summary(result), f"Written to {settings.out / MODEL_FILE}."),
            retraining_pane: reveal(),
            figures: _figures(result),
            curves: _titled("Accuracy by epoch", learning_curves(result.history, len(result.history) - 1, result.best)),
            bars: _titled("Failing images of each RCC that are right now", shares_right(result.per_rcc, notes)),
            improved_title: _title(_counted("Improved", result.improved, "wrong before and right now")),
            improved: gallery(result, result.improved),
            worsened_title: _title(_counted("Worsened", result.worsened, "right before and wrong now")),
            worsened: gallery(result, result.worsened),
            assumed: _list(result.assumptions),
        }

    def show_labelling(train: str | None) -> dict:
        """The unsafe set, its labels taken from the class folders that it lies in, and what is still to be done."""
        if not (settings.out / UNSAFE_SET_FILE).is_file() or not settings.results.holds_unsafe_set():
            return {label_pane: put_away()}
        try:
            with writing(settings.out):
                unsafe = load_unsafe_set(settings.out)
                classes = _classes(train, unsafe.improvement_root, settings)
                labelled = label_unsafe_set(unsafe, classes)
                if labelled != unsafe:
                    save_labels(labelled, settings.out)
        except SAFEError as error:
            return {label_status: failed(error)}
        changed = fingerprint(settings.results.shown().clusters) != unsafe.clusters if settings.results.there else False
        since = ", selected before the RCCs were changed" if changed else ""
        return {
            label_pane: reveal(),
            # How many have a label is counted beside it, as it changes.
            label_title: _title(f"Label the unsafe set{since}"),
            label_status: "" if classes else done("Give the training folder above: its folders are the classes."),
            label_view.widget: label_view.show(list(classes)),
        }

    # 3. What the engineer does
    def on_retrain(
        source: str, training: str, test: str, rate: str, epochs: str, batch: str, seed: str, rescale: str,
        only_labelled: bool, trust: bool,
    ) -> Iterator[dict]:  # fmt: skip
        said = (source, training, test, rate, epochs, batch, seed, rescale, only_labelled)
        numbers = typed(learning_rate=rate, epochs=epochs, batch_size=batch, seed=seed)

        def work(job: Job) -> None:
            def on_epoch(history: tuple[Epoch, ...]) -> None:
                drawn = learning_curves(history, int(float(numbers.get("epochs", EPOCHS))))
                job.drawing = _titled("Accuracy by epoch of the model that is being trained", drawn)

            given = {"model": source, "training folder": training, "test folder": test}
            for what, path in given.items():
                if not (path or "").strip():
                    raise SAFEError(f"Expected the {what}. Received: nothing.")
            dnn, train_folder, test_folder = (settings.accept(path) for path in given.values())
            remember(settings.out, TAB, dict(zip(form, said, strict=True)))
            retrain(
                dnn,
                train_folder,
                test_folder,
                settings.out,
                options=DnnOptions(rescale or None, bool(trust) and may_trust),
                labelling=Labelling(only_labelled=bool(only_labelled)),
                wishes=Wishes(**numbers),
                progress=job.tell,
                on_epoch=on_epoch,
                should_stop=job.cancelled,
            )

        yield {filled: {"run": settings.results.marks().run, **dict(zip(form, said, strict=True))}}
        yield from job_view.start(work, show_result)

    def on_take(table: str | None, train: str | None) -> dict:
        try:
            with writing(settings.out):
                unsafe = load_unsafe_set(settings.out)
                classes = _classes(train, unsafe.improvement_root, settings)
                save_labels(label_unsafe_set(unsafe, classes, labels=settings.accept(table)), settings.out)
        except SAFEError as error:
            return {label_status: failed(error)}
        return show_labelling(train)

    def last_form() -> dict:
        """The form as it was last sent; before that, what a retraining by the command has used."""
        said = remembered(settings.out, TAB)
        if not said:
            with contextlib.suppress(SAFEError):
                result = retraining_of(settings.out, settings.results.shown().review)
                said = {"model": printable(os.fspath(result.model)), "test": printable(os.fspath(result.test_root))}
        return {name: said[name] for name in form if name in said}

    def fill_in(values: dict) -> dict:
        changed = any(values.get(name) for name in ("rate", "epochs", "batch", "seed", "rescale", "only_labelled"))
        in_sight = {options: gr.Accordion(open=True)} if changed else {}
        return {**in_sight, **{form[name]: value for name, value in values.items()}}

    def first_look() -> dict:
        last, seen = last_form(), settings.results.marks()
        state = {marks: seen, filled: {**usual, **last, "run": seen.run}}
        return {**job_view.look(show_result), **fill_in(last), **state}

    def on_load() -> Iterator[dict]:
        yield from job_view.load(first_look, show_result)

    def on_folder(followed: int, shown: Marks | None, before: dict, *typed: object) -> dict:
        """Show what others have made of the folder: other clusters, edits, another set, another retraining."""
        now = settings.results.marks()
        updates, values = {}, dict(zip(form, typed, strict=True))
        if before.get("run") != now.run:
            last = {**usual, **last_form()}
            renewal = renewed(before, values, last)
            values |= renewal
            updates = {**fill_in(renewal), filled: {**last, "run": now.run}}
        if now != shown:
            look = job_view.look(show_result, followed)
            updates = {**updates, marks: now, **look, **show_labelling(values["train"])}
        return updates or gr.skip()

    gr.on([start.click, test.submit], on_retrain, [*form.values(), trust], everything, **FOLLOW)
    if settings.example:
        case = settings.example.folder
        filled_in = example.click(
            lambda: (str(case / "model.keras"), str(case / "train"), str(case / "test")), None, [model, train, test],
            **VIEW,
        )  # fmt: skip
        filled_in.then(show_labelling, train, labelling, **VIEW)
    gr.on([train.blur, train.submit, tab.select], show_labelling, train, labelling, **LATEST)
    gr.on([take.click, table.submit], on_take, [table, train], labelling, **VIEW)
    tab.select(lambda followed: job_view.look(show_result, followed), job_view.followed, everything, **VIEW)
    app.load(on_load, None, [options, *form.values(), *everything], **FOLLOW)
    job_view.wire(news, show_result, everything)
    news.folder(
        on_folder, [job_view.followed, marks, filled, *form.values()],
        [options, *form.values(), *labelling, *everything], **LATEST, **EDITS,
    )  # fmt: skip


def _classes(train: str | None, improvement: Path, settings: PageSettings) -> tuple[str, ...]:
    """The folders of the training folder or, without it, of the improvement folder, sorted; none where there are none.

    Raises
    ------
    SAFEError
        The training folder was given and is none, or a class has a name that no label can have.
    """
    given = Path(settings.accept(train)) if train and train.strip() else None
    folder = given or improvement
    try:
        return tuple(class_folders(folder))
    except OSError as error:
        if given is None:
            return ()
        raise SAFEError(f"Expected the training folder, with a folder for each class. Received: {train}") from error


def _figures(result: Retraining) -> str:
    gained = 100 * (result.accuracy_after - result.accuracy_before)
    held = result.test_size * result.accuracy_before
    rows = [
        ("Accuracy before", f"{result.accuracy_before:.2%}", f"of {result.test_size:,} test images"),
        ("Accuracy after", f"{result.accuracy_after:.2%}", f"{gained:+.2f} points"),
        ("Improved", f"{len(result.improved):,}", "wrong before, right now"),
        ("Worsened", f"{len(result.worsened):,}", f"{len(result.worsened) / max(held, 1):.1%} of those right before"),
        ("Trained on", f"{result.train_size:,} + {result.unsafe_size:,}", "training and unsafe images"),
        ("Time", f"{result.seconds:.0f} s", f"{result.waiting / max(result.seconds, 1e-9):.0%} waiting for images"),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{html.escape(value)}<small>{html.escape(more)}</small></dd></div>"
        for name, value, more in rows
    )
    return f"<dl class='safe-figures'>{cells}</dl>"


def _change(image: Changed) -> str:
    """What was predicted before and after; and the class, which for an image of a classifier is one of the two."""
    change = f"{image.before} → {image.after}"
    return change if image.label in (image.before, image.after) else f"{image.label}: {change}"


def _counted(what: str, images: tuple[Changed, ...], meaning: str) -> str:
    shown = f"; the first {GALLERY_LIMIT} are shown" if len(images) > GALLERY_LIMIT else ""
    return f"{what}: {count(len(images), 'image')}, {meaning}{shown}"


def _title(text: str) -> str:
    return f"<h3 class='safe-title'>{html.escape(text)}</h3>"


def _titled(text: str, drawing: str) -> str:
    return _title(text) + drawing if drawing else ""


def _list(lines: tuple[str, ...]) -> str:
    return "<ul class='safe-list'>" + "".join(f"<li>{html.escape(printable(line))}</li>" for line in lines) + "</ul>"
