"""The page as a whole: its tabs, what goes from one to another, its look, and how it is served."""

import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount

from safe_dnn.analysis import check_places
from safe_dnn.api.generation import missing_folder, moved_around, take_new_place
from safe_dnn.page import analyses
from safe_dnn.page.assets import VIEW, script
from safe_dnn.page.clusters.tab import ClustersTab
from safe_dnn.page.failures.tab import FailuresTab
from safe_dnn.page.forms import field_of, required_path
from safe_dnn.page.jobs import Allowance, Jobs, Turn
from safe_dnn.page.labels.tab import LabelsTab
from safe_dnn.page.messages import pane, put_away, reveal, warn
from safe_dnn.page.paths import lay_out_paths, lay_out_upload
from safe_dnn.page.pictures import PICTURE_FOLDER
from safe_dnn.page.report.tab import ReportTab
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.page.safety_case.tab import SafetyCaseTab
from safe_dnn.page.serving.connections import AT_THE_ROOT, LOOPBACK, Outside, answer
from safe_dnn.page.serving.guard import Guard, Page, Visitor, failed, with_password
from safe_dnn.page.serving.routes import routes
from safe_dnn.page.serving.service import BROUGHT, WORKSPACES, Service
from safe_dnn.page.settings import Opened, PageSettings, Results, find_example, of_request
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB, LABELS_TAB, RETRAINING_TAB, TABS, lay_out_steps
from safe_dnn.page.unsafe.tab import UnsafeTab
from safe_dnn.page.work_tab import widgets_in
from safe_dnn.reasons.run_record import settings_of
from safe_dnn.report.markup import filled
from safe_dnn.store.database import LONGEST_ENGINEER
from safe_dnn.support.errors import SAFEError, confined, existing_folder, path_of
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import printable
from safe_dnn.support.uploads import Limits

# --- From tab to tab ----------------------------------------------------------------------------------------------

TO_CLUSTERS = f"""(...sent) => {{
  document.querySelector('.tab-container [role="tab"][data-tab-id="{CLUSTERS_TAB}"]')?.click();
  return sent;
}}"""


def wire_reasons(failures: FailuresTab, clusters: ClustersTab, outputs: list, settings: PageSettings) -> None:
    """Connect *Group failing images*: the first tab's failing images become root cause clusters in the second."""

    form = clusters.form

    def on_find(*sent: Any) -> dict:
        """Generate RCCs, unless something was typed there that would be lost."""
        *values, last = sent
        fields, filled_in = form.named(values), last.get("folder") or ""
        failing = printable(str(settings.out / FAILURES))
        of_last = {name: printable(str(value)) for name, value in settings_of(settings.out).items()}
        specified = of_last.get("predictions", ""), of_last.get("tested", "")
        # Of an earlier run, and about its images; `predictions.csv` beside the failing ones is found by itself.
        of_run = ((fields["predictions"] or ""), (fields["tested"] or "")) in (("", ""), specified)
        if (fields["folder"] or "").strip() not in ("", filled_in, failing) or not of_run:
            warn(
                "Not started",
                f"What you have typed there has not been used yet. The failing images are in {failing}: give this "
                "folder, with nothing under Predictions and Test images, and click Generate RCCs.",
            )
            return clusters.fold.show(folded=False)
        fields |= {"folder": failing, "predictions": "", "tested": ""}
        if filled_in not in ("", failing) and (fields["parameters"] or "") == of_last.get("parameters", ""):
            fields["parameters"] = ""  # about the images of an earlier run as well
        # A start that is refused, since other work is running, leaves the form filled in.
        filled_fields = {form[name]: fields[name] for name in ("folder", "predictions", "tested", "parameters")}
        return {**filled_fields, **clusters.begin(fields)}

    failures.view.find.click(on_find, [*form.widgets, form.filled], outputs, js=TO_CLUSTERS, **VIEW)


def wire_classes(labels: LabelsTab, retraining: RetrainingTab) -> None:
    """Connect the two fields for the training folder: what is typed into one fills in the other, if that is empty."""

    for here, there in ((labels, retraining), (retraining, labels)):

        def copied(typed: str | None, other: str | None, filled: dict, *, there: Any = there) -> dict:
            if (other or "").strip() or not (typed or "").strip():
                return gr.skip()
            return {
                there.form["train"]: typed,
                there.form.filled: {**filled, "train": typed},
            }  # not typed there: as filled in

        train, filled = here.form["train"], [there.form["train"], there.form.filled]
        filled_in = gr.on([train.blur, train.submit], copied, [train, *filled], filled, **VIEW)
        if there is labels:  # the tab may have been opened before the field was filled in
            labels.show_after(filled_in)


class MovedView:
    """Lay out the question, which is away as long as nothing is missing; `wire` connects it."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        with pane("moved") as self._pane, gr.Row(elem_classes="safe-form"):
            self._place = field_of("moved", "place", scale=3)
            self._confirm = gr.Button("They are there", variant="primary", scale=0, min_width=150, elem_id="take-place")

    def wire(self, loaded: gr.events.Dependency) -> None:
        """Ask a window that has shown what there is; once an answer is right, it is loaded anew."""
        settings = self._settings

        def on_load() -> dict:
            if (missing := missing_folder(settings.out)) is None:
                return {self._pane: put_away()}
            label = f"The images of this analysis are no longer in {printable(str(missing))}"
            return {self._pane: reveal(), self._place: gr.Textbox(label=label)}

        def on_place(typed: str | None) -> None:
            place = Path(required_path(typed, "folder in which they lie now", settings))
            if missing := missing_folder(settings.out):
                take_new_place(settings.out, *moved_around(missing, place))

        loaded.then(on_load, None, [self._pane, self._place], **VIEW)
        for sent in (self._confirm.click, self._place.submit):
            taken = sent(on_place, self._place, None, **VIEW)
            taken.success(None, None, None, js="() => { location.reload(); }")


# --- The page -----------------------------------------------------------------------------------------------------

MOST_QUEUED = 256  # waiting events of all visitors; opening a window causes up to five
# In the order of `TABS`
CLASSES = (FailuresTab, ClustersTab, UnsafeTab, LabelsTab, RetrainingTab, ReportTab, SafetyCaseTab)
MOST_OF_VISITOR = 20  # analyses
MOST_SESSIONS = 500  # each holds about 1 MiB; the least recently used one is dropped


def build_app(settings: PageSettings) -> gr.Blocks:
    """Lay out the page, which shows the analysis that a request is about (see `settings.of_request`)."""
    with Page(title="SAFE", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as app:
        lay_out_header(settings)
        if not settings.hosted:
            lay_out_paths(settings)
        if settings.uploads:
            lay_out_upload(settings, settings.uploads)
        moved = MovedView(settings)
        laid_out: dict[str, gr.Tab] = {}
        made: dict[str, Any] = {}
        # Open at first, where there are results (see `lay_out_steps`)
        with gr.Tabs(selected=CLUSTERS_TAB, overflow_behavior="wrap"):
            for (name, (title, _)), kind in zip(TABS.items(), CLASSES, strict=True):
                with gr.Tab(title, id=name, render_children=name != CLUSTERS_TAB) as laid_out[name]:
                    made[name] = kind(settings)
        clusters = made.pop(CLUSTERS_TAB)
        loaded = clusters.wire(app, laid_out[CLUSTERS_TAB])
        moved.wire(loaded)
        for name, tab in made.items():
            tab.wire(loaded, laid_out[name])
        wire_reasons(made[FAILURES_TAB], clusters, widgets_in(laid_out[CLUSTERS_TAB]), settings)
        wire_classes(made[LABELS_TAB], made[RETRAINING_TAB])
        tabs = {CLUSTERS_TAB: clusters, **made}
        lay_out_steps(settings, loaded, {name: tab.timer for name, tab in tabs.items() if name != LABELS_TAB})
    return app


def lay_out_header(settings: PageSettings) -> None:
    """Lay out the name of the analysis with a list of those beside it, and the engineer's name."""

    def analyses_beside(_: object) -> dict[str, str]:
        """Called by the script."""
        home, example, where = settings.home or settings.out, settings.example, settings.where
        names = [analyses.TOP] if analyses.is_analysis(home) else []
        names += analyses.names_in(home, other_than=example and example.folder)
        listing = filled(
            "page/analyses.html", where=where, names=names, title=lambda name: analyses.title_of(home, name),
            address=analyses.address_of, workspace=settings.workspace,
        )  # fmt: skip
        return {"title": where.title, "list": listing, "login": settings.login}

    header = filled("page/header.html", longest=LONGEST_ENGINEER)
    scripts = script("widgets/frames.js", "widgets/header.js")
    gr.HTML(header, js_on_load=scripts, server_functions=[analyses_beside], elem_id="header")


def serve(
    out: str | os.PathLike,
    *,
    host: str = LOOPBACK[0],
    port: int = 7860,
    root: str | None = None,
    auth: str | None = None,
    weights: str | None = None,
    example: str | os.PathLike | None = None,
    uploads: Limits | None = None,
    outside: Outside = AT_THE_ROOT,
) -> None:
    """Serve the page until it is interrupted.

    Parameters
    ----------
    out : path
        The output folder; the page shows the results in it, and those of the analyses in it (see
        `page/analyses.py`).
    root : path, optional
        If given, only paths below it are accepted, all links followed, and only images below it are shown.
    auth : "USER:PASSWORD", optional
    weights : path, optional
        As for `features.vgg16.choose_extractor`.
    example : path, optional
        A case study (see `casestudies/`) that the page offers to fill in.
    uploads : Limits, optional
        If given, images can be brought with the browser.
    outside : Outside, optional

    Raises
    ------
    SAFEError
        The output folder, root, port, auth, address or certificate cannot be used, or others could reach the page
        without a password.
    """
    credentials = _credentials(auth)
    if host not in LOOPBACK and not (credentials and root):
        raise SAFEError(
            "On an address that other machines can reach, SAFE expects --auth USER:PASSWORD and --root DIR. "
            f"Received: --host {host} without them."
        )
    folder = _nameable(out)
    below = None if root is None else existing_folder(root, "a folder (--root)").resolve()
    offered = find_example(path_of(example, "a case study (--example)")) if example else None
    login = credentials[0] if credentials else ""
    opened = Opened(Turn())
    top = PageSettings(
        folder, Jobs(opened.turn), Results(folder), weights, below, offered, login=login, uploads=uploads
    )
    with confined(below), _served_files() as files:
        check_places(folder)
        gr.set_static_paths(files / PICTURE_FOLDER)  # what of it is given out is decided by `routes`
        app = application(top, with_password(top, credentials), opened, outside, host)
        answer(app, host, port, outside, f"results in {folder}")


def host_service(
    folder: str | os.PathLike,
    days: float,
    uploads: Limits,
    allowance: Allowance,
    *,
    host: str = LOOPBACK[0],
    port: int = 7860,
    weights: str | None = None,
    outside: Outside = AT_THE_ROOT,
) -> None:
    """Serve a workspace to each visitor (see `page/serving/service.py`) until the process is interrupted.

    Parameters
    ----------
    folder : path
        Of all workspaces.
    days : float
        That an unused workspace is kept.
    uploads : Limits
        Of each visitor.
    allowance : Allowance
    host, port, weights, outside
        As for `serve`.

    Raises
    ------
    SAFEError
        The folder, port, address or certificate cannot be used.
    """
    home = _nameable(folder).resolve()
    opened, nobody = Opened(Turn(allowance)), home / "nobody"
    like = PageSettings(
        nobody, Jobs(opened.turn), Results(nobody), weights, nobody, uploads=uploads, hosted=True,
        most=MOST_OF_VISITOR,
    )  # fmt: skip
    importlib.import_module("tensorflow")  # it holds up all answers for seconds, and so not when the first one waits
    with confined(nobody), _served_files(home / BROUGHT):
        service = Service(home, opened, like, days)
        gr.set_static_paths(home / WORKSPACES)  # what of it is given out to whom is decided by `routes`
        app = application(like, service.visitor, opened, outside, host, lifespan=lambda _: service.life())
        answer(app, host, port, outside, f"workspaces in {home}")


def application(
    top: PageSettings, visitor: Visitor, opened: Opened, outside: Outside, host: str, **options: Any
) -> Starlette:
    """The page for all analyses and visitors; `options` are those of FastAPI."""
    settings = of_request(top)
    page = build_app(settings).queue(max_size=MOST_QUEUED, api_open=False)
    page.state_session_capacity = MOST_SESSIONS
    handlers: Any = {Exception: failed, SAFEError: failed}
    around = [
        Middleware(TrustedHostMiddleware, allowed_hosts=outside.hosts(host), www_redirect=False),
        Middleware(Guard, visitor=visitor, opened=opened),
    ]
    app = FastAPI(openapi_url=None, routes=routes(settings), middleware=around, **options)
    # What Gradio would otherwise read from the environment is set.
    off = dict.fromkeys(("ssr_mode", "mcp_server", "run_history", "enable_monitoring", "show_error"), False)
    gr.mount_gradio_app(
        app, page, path="", theme=_theme(), css_paths=Path(__file__).with_name("style.css"), footer_links=[],
        root_path="", max_file_size=top.uploads.bytes if top.uploads else 1,
        app_kwargs={"exception_handlers": handlers}, **off,
    )  # fmt: skip
    # Otherwise each window holds a connection open; a browser has six to a server, so that a sixth window would hang.
    page.config["connect_heartbeat"] = False
    if not outside.path:
        return app
    # Starlette begins and ends what it mounts only with its own life.
    life: Any = lambda _: app.router.lifespan_context(app)  # noqa: E731
    return Starlette(routes=[Mount(outside.path, app)], lifespan=life)


def _nameable(typed: str | os.PathLike) -> Path:
    folder = prepare_folder(typed)
    if printable(os.fspath(folder)) != os.fspath(folder):
        raise SAFEError(
            f"The page expects an output folder whose name is text (UTF-8). Received: {folder}. Rename it, or choose "
            "another one with --out."
        )
    return folder


@contextlib.contextmanager
def _served_files(place: Path | None = None) -> Iterator[Path]:
    """A private folder for thumbnails, exports and uploads; by default Gradio would share one with other programs."""
    if place:
        shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
        place.mkdir(mode=0o700)
    folder = place or Path(tempfile.mkdtemp(prefix="safe-page-"))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is deleted
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _credentials(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    user, _, password = auth.partition(":")
    if not user or not password or printable(auth) != auth:
        raise SAFEError("--auth must be USER:PASSWORD, in characters that can be typed. Received something else.")
    return user, password


def _theme() -> gr.themes.Base:
    # System fonts: the page must not load any from another host.
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    )
