"""The page as a whole: its tabs, its look, and how it is served."""

import asyncio
import contextlib
import hmac
import importlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.context import Context
from gradio.routes import App
from starlette.applications import Starlette
from starlette.middleware import Middleware

from safe_dnn.dnn.model_process import end_workers
from safe_dnn.page.analyses import MOST_ANALYSES
from safe_dnn.page.assets import script
from safe_dnn.page.between_tabs import wire_classes, wire_reasons
from safe_dnn.page.clusters.tab import ClustersTab
from safe_dnn.page.failures.tab import FailuresTab
from safe_dnn.page.job_view import News
from safe_dnn.page.jobs import Allowance, Jobs, Turn
from safe_dnn.page.labels.tab import LabelsTab
from safe_dnn.page.missing_folder import MovedView
from safe_dnn.page.picker import lay_out_picker, lay_out_upload
from safe_dnn.page.pictures import PICTURE_FOLDER
from safe_dnn.page.report.tab import ReportTab
from safe_dnn.page.results import Results, check_within
from safe_dnn.page.retraining.tab import RetrainingTab
from safe_dnn.page.serving.below import Below, checked_path
from safe_dnn.page.serving.connections import AT_THE_ROOT, Outside, answer, check_certificate, listen
from safe_dnn.page.serving.door import Page
from safe_dnn.page.serving.entrance import Entrance
from safe_dnn.page.serving.guard import Guard
from safe_dnn.page.serving.list_page import ADDRESS, ListPage
from safe_dnn.page.serving.malformed import Malformed
from safe_dnn.page.serving.mounts import Mounts, Resting
from safe_dnn.page.serving.service import ANALYSES, CACHE, WORKSPACES, Service, Terms, names_of
from safe_dnn.page.serving.workspace import Seeing, Workspace
from safe_dnn.page.settings import PageSettings, find_example
from safe_dnn.page.steps import CLUSTERS_TAB, FAILURES_TAB, LABELS_TAB, RETRAINING_TAB, TABS
from safe_dnn.page.unsafe.tab import UnsafeTab
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.store.database import LONGEST_ENGINEER
from safe_dnn.support.errors import SAFEError, existing_folder, path_of
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.support.text import printable
from safe_dnn.support.uploads import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_QUEUED = 256  # waiting events of all visitors; opening a window causes up to five
CLASSES = (FailuresTab, ClustersTab, UnsafeTab, LabelsTab, RetrainingTab, ReportTab)  # in the order of `TABS`
MOST_OF_VISITOR = 20  # analyses
MOST_SESSIONS = 100  # each holds about 1 MiB; the least recently used one is dropped


def build_app(settings: PageSettings) -> gr.Blocks:
    """Build the page of an output folder without serving it."""
    # Gradio numbers the widgets of all pages of a process, in the order in which they are built. An open window knows
    # its own by number, and must find them in a server that was started again and builds its pages in another order.
    Context.id = 0
    up, _, analysis = settings.where
    with Page(title=f"{analysis} – SAFE", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as app:
        header = filled(
            "page/header.html", up=up, list=ADDRESS, name=analysis,
            login=settings.login, longest=LONGEST_ENGINEER,
        )  # fmt: skip
        scripts = script("widgets/frames.js", "widgets/tabs.js", "widgets/engineer.js")
        gr.HTML(header, js_on_load=scripts, first=CLUSTERS_TAB)
        news = News(settings)
        if not settings.hosted:
            lay_out_picker(settings)
        if settings.uploads:
            lay_out_upload(settings.uploads, settings.hosted)
        moved = MovedView(settings)
        laid_out: dict[str, gr.Tab] = {}
        made: dict[str, Any] = {}
        # Open at first: it shows results, or asks for failing images and refers to the tab before it.
        with gr.Tabs(selected=CLUSTERS_TAB):
            for (name, (title, _)), kind in zip(TABS.items(), CLASSES, strict=True):
                with gr.Tab(title, id=name, render_children=name != CLUSTERS_TAB) as laid_out[name]:
                    made[name] = kind(settings)
        clusters = made.pop(CLUSTERS_TAB)
        loaded = clusters.wire(app, news)
        moved.wire(loaded)
        for name, tab in made.items():
            tab.wire(loaded, laid_out[name], news)
        wire_reasons(made[FAILURES_TAB], clusters, settings)
        wire_classes(made[LABELS_TAB], made[RETRAINING_TAB])
    return app


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
        As for `features.weights.choose_extractor`.
    example : path, optional
        A case study (see `casestudies/`) that the page offers to fill in.
    uploads : Limits, optional
        If given, images can be brought with the browser.
    outside : Outside, optional
        Its proxy, path and certificate.

    Raises
    ------
    SAFEError
        The output folder, root, port, auth, path or certificate cannot be used, or others could reach the page without
        a password.
    """
    credentials = _credentials(auth)
    if host not in LOOPBACK and not (credentials and root):
        raise SAFEError(
            "On an address that other machines can reach, SAFE expects --auth USER:PASSWORD and --root DIR. "
            f"Received: --host {host} without them."
        )
    path = checked_path(outside.path)
    check_certificate(outside)
    folder = _nameable(out)
    within = None if root is None else existing_folder(root, "a folder (--root)").resolve()
    check_within(folder, within)
    offered = find_example(path_of(example, "a case study (--example)")) if example else None
    login = credentials[0] if credentials else ""
    settings = PageSettings(
        folder, Jobs(), Results(folder, within), weights, within, offered, login=login, uploads=uploads
    )
    with _served_files() as files:
        # A page with a password needs no check of the host name: browsers do not send its cookie to another name.
        names = None if credentials else frozenset(LOOPBACK)
        gr.set_static_paths(files / PICTURE_FOLDER)
        workspace = _workspace(settings, files.resolve(), path, asyncio.Lock())
        middleware = [
            Middleware(Below, path=path),
            Middleware(Seeing, seen=lambda scope: workspace),
            Middleware(Guard, hosts=names),
            Middleware(Entrance, path=path),
        ]
        check = _password_check(credentials) if credentials else None
        app = _mounted(settings, middleware, auth=check)
        workspace.listing.stands_first()  # looks at all folders: the first time takes seconds where there are 60,000
        _answer(app, host, port, outside, f"results in {folder}")


def host_service(
    folder: str | os.PathLike,
    terms: Terms,
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
    terms : Terms
    uploads : Limits
        Of each visitor.
    allowance : Allowance
    host, port, weights, outside
        As for `serve`.

    Raises
    ------
    SAFEError
        The folder, port, path or certificate cannot be used, or a user name would be believed that anybody can send.
    """
    path = checked_path(outside.path)
    check_certificate(outside)
    if terms.user_header and not outside.proxy:
        raise SAFEError(
            "A user name is believed of a proxy alone, whose address --proxy gives. Received: --user-header "
            f"{terms.user_header} without it."
        )
    home = _nameable(folder).resolve()
    turn, opening, nobody = Turn(allowance), asyncio.Lock(), home / "nobody"

    def opened(place: Path, owner: str, user: str) -> Workspace:
        inner, cache = place / ANALYSES, place / CACHE
        settings = PageSettings(
            inner, Jobs(turn, owner), Results(inner, inner), weights, inner, login=user, uploads=uploads, hosted=True
        )
        more: dict[str, Any] = {"cache": cache, "names": names_of(place), "most": MOST_OF_VISITOR, "owner": owner}
        return _workspace(settings, cache, path, opening, **more)

    settings = PageSettings(nobody, Jobs(turn), Results(nobody, nobody), hosted=True)
    welcome = _workspace(settings, nobody, path, opening).listing
    service = Service(home, opened, welcome, terms, path)
    importlib.import_module("tensorflow")  # it holds up all answers for seconds, and so not when the first one waits
    with _served_files():
        gr.set_static_paths(home / WORKSPACES)  # which of it is given out to whom is the guard's part
        middleware = [
            Middleware(Below, path=path),
            Middleware(Seeing, seen=service.seen),
            Middleware(Guard, hosts=None),  # the cookie does not go to another name
            Middleware(Entrance, path=path, service=service),
        ]
        app = Starlette(middleware=middleware, lifespan=service.life)
        _answer(app, host, port, outside, f"workspaces in {home}", terms.user_header)


def _nameable(typed: str | os.PathLike) -> Path:
    folder = prepare_folder(typed)
    if printable(os.fspath(folder)) != os.fspath(folder):
        raise SAFEError(
            f"The page expects an output folder whose name is text (UTF-8). Received: {folder}. Rename it, or choose "
            "another one with --out."
        )
    return folder


def _answer(app: Any, host: str, port: int, outside: Outside, where: str, user_header: str = "") -> None:
    with contextlib.ExitStack() as ends, listen(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        ends.callback(end_workers)
        url = f"http{'s' if outside.certificate else ''}://{host}:{port}{checked_path(outside.path)}"
        print(f"SAFE is on {url}  ({where}; Ctrl-C ends it)", flush=True)
        answer(app, listener, outside, user_header)


def _workspace(
    settings: PageSettings,
    files: Path,
    path: str,
    opening: asyncio.Lock,
    *,
    most: int = MOST_ANALYSES,
    owner: str = "",
    **more: Any,
) -> Workspace:
    """The analyses below the folder of a page."""
    home = settings.out

    def prepared(folder: Path, turn: Turn) -> PageSettings:
        """For the page of an analysis, if it can be shown there."""
        prepare_folder(folder)
        check_within(folder, settings.root)
        return settings._replace(out=folder, home=home, jobs=Jobs(turn, owner), results=Results(folder, settings.root))

    mounts = Mounts(home, settings, prepared, _mounted, path, opening)
    return Workspace(mounts, ListPage(mounts, most), files, **more)


def _look(folder: Path) -> dict[str, Any]:
    """What the page of each folder is served with. What Gradio would otherwise read from the environment is set."""
    off = dict.fromkeys(("ssr_mode", "mcp_server", "run_history", "enable_monitoring", "show_error"), False)
    return {
        "theme": _theme(), "css_paths": Path(__file__).with_name("style.css"),
        "allowed_paths": [str(folder / GIF_FOLDER)], "footer_links": [], "root_path": "", **off,
        "max_file_size": 1,  # the guard refuses Gradio's own uploads first
    }  # fmt: skip


def _mounted(settings: PageSettings, middleware: Sequence[Middleware] = (), **more: Any) -> FastAPI:
    """The page of an analysis as an application; `more` is as for `gr.mount_gradio_app`."""
    with _without_applications():
        app = build_app(settings).queue(max_size=MOST_QUEUED, api_open=False)
    app.state_session_capacity = MOST_SESSIONS
    around = FastAPI(openapi_url=None, middleware=[Middleware(Resting, queue=app._queue)])
    around.state.queue = app._queue
    more["app_kwargs"] = {"middleware": [*middleware, Middleware(Malformed)]}
    gr.mount_gradio_app(around, app, path="", **_look(settings.out), **more)
    app.app = around.routes[-1].app  # type: ignore[attr-defined]
    # Otherwise each window holds a connection open; a browser has six to a server, so that a sixth window would hang.
    app.config["connect_heartbeat"] = False
    return around


@contextlib.contextmanager
def _without_applications() -> Iterator[None]:
    """While a page is laid out, Gradio makes three applications of it for nothing, which takes half of the time."""
    create = App.create_app
    App.create_app = staticmethod(lambda *_, **__: None)  # type: ignore[assignment]
    try:
        yield
    finally:
        App.create_app = staticmethod(create)  # type: ignore[method-assign]


@contextlib.contextmanager
def _served_files() -> Iterator[Path]:
    """A private folder for thumbnails and exports; by default Gradio would share one with other programs."""
    folder = Path(tempfile.mkdtemp(prefix="safe-page-"))
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


def _password_check(credentials: tuple[str, str]) -> Callable[[str, str], Awaitable[bool]]:
    """A function that checks what a visitor typed, in the same time whichever part of it is wrong."""
    expected = [part.encode() for part in credentials]

    async def right(user: str, password: str) -> bool:
        typed = [part.encode("utf-8", "surrogatepass") for part in (user, password)]
        return all([hmac.compare_digest(a, b) for a, b in zip(typed, expected, strict=True)])  # noqa: C419, both

    return right


def _theme() -> gr.themes.Base:
    # System fonts: the page must not load any from another host.
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    ).set(
        # Contrast of at least 4.5 : 1 (WCAG AA), which the theme's own shades miss
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        color_accent="*primary_700",
        # The border of a checkbox or radio button: 3 : 1, for a checked one on a dark background as well
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_border_color_selected_dark="*primary_300",
    )
