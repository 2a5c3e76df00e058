"""What the tabs share: long work behind a button, and how its progress, result or error is told."""

import html
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import gradio as gr
from PIL import Image

from errors import SAFEError
from FE import Progress
from inspection import printable, thumbnail
from runs import Pace

# One job at a time on this machine, whichever tab or visitor starts it.
JOB = {"concurrency_id": "job", "concurrency_limit": 1, "show_progress": "hidden", "api_visibility": "private"}
VIEW = {"show_progress": "hidden", "api_visibility": "private"}
REFRESH_SECONDS = 0.3


class PageSettings(NamedTuple):
    """What the page was started with.

    Attributes
    ----------
    out : Path
        The output folder, the one thing that tabs, visitors and restarts share.
    weights : str or None
        As for `FE.choose_extractor`.
    root : Path or None
        Where given, only folders below it are accepted.
    """

    out: Path
    weights: str | None = None
    root: Path | None = None

    def accept(self, source: str | None) -> str:
        """The folder as the engineer typed it; a SAFEError where it lies outside the root."""
        source = source or ""
        if self.root is not None:
            try:
                inside = Path(source.strip()).expanduser().resolve().is_relative_to(self.root)
            except (OSError, ValueError, RuntimeError):
                inside = False
            if not inside:
                raise SAFEError(f"Expected a folder below {self.root}. Received: {source}")
        return source


def run_job(
    job: Callable[[Progress], object], status: gr.HTML, button: gr.Button, show: Callable[..., dict]
) -> Iterator[dict]:
    """Run `job(progress)` in a thread; yield its progress, then what `show` makes of its result, or the error.

    A browser that goes away does not end the job: the results are in the output folder when the page is opened again.
    """
    latest = [("Starting", 0, 0)]
    pace = Pace()
    yield {status: working(latest[0], pace), button: gr.Button(interactive=False)}
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(job, lambda *step: latest.__setitem__(0, step))
        while not wait([future], timeout=REFRESH_SECONDS).done:
            yield {status: working(latest[0], pace)}
    try:
        yield {**show(future.result()), button: gr.Button(interactive=True)}
    except SAFEError as error:
        yield {status: failed(error), button: gr.Button(interactive=True)}
    except Exception:
        yield {
            status: failed("SAFE failed, and this is a defect: the terminal shows where. Nothing written is lost."),
            button: gr.Button(interactive=True),
        }
        raise


def working(step: tuple[str, int, int], pace: Pace) -> str:
    """A progress bar with what is being done, how far it is and the time left."""
    what, done, total = step
    value = f"max='{total}' value='{done}'" if total else ""
    return (
        f"<div class='safe-status' role='status'><progress aria-label='Progress' {value}></progress>"
        f"<span>{html.escape(pace.describe(*step) if total else what + ' …')}</span></div>"
    )


def done(summary: str, notice: str = "") -> str:
    """The summary of a result, and what else should be known."""
    note = f"<p class='safe-notice'>{html.escape(printable(notice))}</p>" if notice else ""
    return f"<div class='safe-status' role='status'><strong>{html.escape(printable(summary))}</strong></div>{note}"


def failed(error: SAFEError | str) -> str:
    """A readable error."""
    return f"<div class='safe-status safe-error' role='alert'>{html.escape(printable(str(error)))}</div>"


def empty(what: str, steps: list[str]) -> str:
    """An empty pane: what is not there yet and how to get it."""
    items = "".join(f"<li>{html.escape(step)}</li>" for step in steps)
    return f"<div class='safe-empty'><p>{html.escape(printable(what))}</p><ol>{items}</ol></div>"


def thumbnails(root: Path, paths: list[str], side: int) -> list[tuple[Image.Image, str]]:
    """Images for a gallery, each with its file name. Decoded here: the page never serves the files themselves."""
    return [(thumbnail(root / path, side), printable(Path(path).name)) for path in paths]
