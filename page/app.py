"""The page as a whole: its tabs, its look, and how it is served."""

import os
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from artefacts import prepare_folder
from errors import SAFEError
from inspection import GIF_FOLDER
from page.clusters_tab import clusters_tab
from page.jobs import Jobs, PageSettings, find_example
from page.results import Results
from page.retraining_tab import retraining_tab
from page.unsafe_tab import unsafe_tab

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def build_app(settings: PageSettings) -> gr.Blocks:
    """Build the page without serving it."""
    with gr.Blocks(title="SAFE", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as app:
        gr.HTML(
            "<header class='safe-header'><h1>SAFE</h1>"
            "<p>Why the network fails, and which images to label to repair it</p></header>"
        )
        with gr.Tabs():
            with gr.Tab("Root cause clusters"):
                clusters_tab(app, settings)
            with gr.Tab("Unsafe set") as tab:
                unsafe_tab(app, tab, settings)
            with gr.Tab("Retraining") as tab:
                retraining_tab(app, tab, settings)
    return app


def serve(
    out: str | os.PathLike,
    host: str = LOOPBACK[0],
    port: int = 7860,
    root: str | None = None,
    auth: str | None = None,
    weights: str | None = None,
    example: str | os.PathLike | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Parameters
    ----------
    out : path
        The output folder; the page shows what lies there.
    root : path, optional
        Where given, only image folders below it are accepted.
    auth : "USER:PASSWORD", optional
    weights : path, optional
        As for `FE.choose_extractor`.
    example : path, optional
        A case study (see `casestudies/`) that the page offers to fill in.

    Raises
    ------
    SAFEError
        The output folder, root, port or auth cannot be used, or others could reach the page without a password.
    """
    folder = prepare_folder(out)
    settings = PageSettings(
        folder,
        Jobs(),
        Results(folder),
        weights,
        _root(root),
        find_example(Path(example).absolute()) if example else None,
    )
    credentials = _credentials(auth)
    if host not in LOOPBACK and not (credentials and root):
        raise SAFEError(
            "On an address that other machines can reach, SAFE expects --auth USER:PASSWORD and --root DIR. "
            f"Received: --host {host} without them."
        )
    app = build_app(settings)
    try:
        app.queue(max_size=32).launch(
            server_name=host,
            server_port=port,
            auth=credentials,
            theme=_theme(),
            css_paths=Path(__file__).with_name("style.css"),
            allowed_paths=[str(folder / GIF_FOLDER)],
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise SAFEError(
            f"Could not listen on {host}, port {port}. Is it in use? Choose another with --port."
        ) from error
    print(f"SAFE is on http://{host}:{port}  (results in {folder}; Ctrl-C ends it)", flush=True)
    app.block_thread()


def _root(root: str | None) -> Path | None:
    if root is None:
        return None
    path = Path(root).expanduser().resolve()
    if not path.is_dir():
        raise SAFEError(f"--root must be a folder. Received: {root}")
    return path


def _credentials(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    user, _, password = auth.partition(":")
    if not user or not password:
        raise SAFEError("--auth must be USER:PASSWORD. Received something else.")
    return user, password


def _theme() -> gr.themes.Base:
    # Fonts of the system: the page must not ask any other host for one.
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
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        color_accent="*primary_700",
    )
