"""What the page gives out beside itself: pictures, files that SAFE wrote into the analysis, and all of it in one."""

import asyncio
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from safe_dnn.page.analyses import address_of, make
from safe_dnn.page.pictures import picture_file, served_folder
from safe_dnn.page.serving.guard import FILE, notice
from safe_dnn.page.settings import PageSettings
from safe_dnn.reasons.register import REGISTER_FILE, register_text
from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.report.exports import EXPORT_ZIP
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import LOCK_FILE, WORK_FILE, own_files
from safe_dnn.store.runs import copy_database
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import GIF_FOLDER

ANALYSIS_ZIP = "analysis.zip"
SIDE, LARGE = 160, 480  # pixels of a thumbnail
PRODUCTS = (REPORT_FILE, EXPORT_ZIP, SUMS_FILE)
_LEFT_OUT = (DATABASE_FILE, LOCK_FILE, WORK_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm")
_NOT_THERE = "It has not been made yet, or is gone.\n"


def routes(settings: PageSettings) -> list[BaseRoute]:
    """The routes, before those of Gradio; `settings` are those of the analysis that a request is about."""

    def picture(request: Request) -> Response:
        """A thumbnail or a GIF of this analysis; no other file, whatever was typed, and whoever asks."""
        try:
            path = Path(request.path_params["place"]).resolve()
            folders = (served_folder(), settings.out / GIF_FOLDER)
            if any(path.is_relative_to(folder.resolve()) for folder in folders) and path.is_file():
                return FileResponse(path)
        except (OSError, ValueError, RuntimeError):  # no name of a file
            pass
        return PlainTextResponse(_NOT_THERE, 404)

    def failing(run: str, row: int) -> Path:
        clusters = settings.results.state(run).clusters
        return clusters.image_root / clusters.paths[row]

    def unsafe(key: str, row: int) -> Path:
        unsafe = settings.results.unsafe_set(key)
        return unsafe.improvement_root / unsafe.images[row].image

    def image(request: Request, *, path_of: Callable[[str, int], Path], side: int = SIDE) -> Response:
        """A thumbnail of an image, by its row in what a window shows."""
        try:
            path = path_of(request.path_params["key"], request.path_params["row"])
        except (SAFEError, IndexError):
            return PlainTextResponse(_NOT_THERE, 404)
        return FileResponse(picture_file(path, side), headers={"Cache-Control": "private, max-age=60"})

    def product(request: Request) -> Response:
        """A file as SAFE wrote it."""
        name = request.url.path.rpartition("/")[2]
        path = settings.out / name
        if not own_files(settings.out, [name]) or path.is_symlink():
            return PlainTextResponse(_NOT_THERE, 404)
        place = "inline" if path.suffix == ".html" else "attachment"
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(path, headers=headers, filename=name, content_disposition_type=place)

    def register(request: Request) -> Response:
        """The register as it is now."""
        text = register_text(settings.out, settings.results.latest.register)
        place = {"Content-Disposition": f"attachment; filename={REGISTER_FILE}"}
        return Response(text.encode(errors="replace"), media_type="text/csv", headers=place)

    def take_home(request: Request) -> Response:
        """All of the analysis: unpacked anywhere, `ui` opens it there."""
        if not settings.uploads:
            return PlainTextResponse(_NOT_THERE, 404)
        path = zipped(settings.out)
        return FileResponse(path, filename=f"{settings.out.name}.zip", background=BackgroundTask(os.unlink, path))

    async def new(request: Request) -> Response:
        """Make an analysis beside this one, and open it."""
        name, up = str((await request.form()).get("name", "")), settings.where.up
        try:
            made = await asyncio.to_thread(make, settings.home or settings.out, name, settings.most)
        except SAFEError as error:
            return notice(str(error), 409, back=".")
        return RedirectResponse(up + address_of(made), 303)

    return [
        Route(f"{FILE}{{place:path}}", picture),
        Route("/image/{key}/{row:int}", partial(image, path_of=failing)),
        Route("/unsafe/{key}/{row:int}", partial(image, path_of=unsafe)),
        Route("/unsafe/{key}/{row:int}/large", partial(image, path_of=unsafe, side=LARGE)),
        *(Route(f"/{name}", product) for name in PRODUCTS),
        Route(f"/{REGISTER_FILE}", register),
        Route(f"/{ANALYSIS_ZIP}", take_home),
        Route("/new", new, methods=["POST"]),
    ]


def zipped(folder: Path) -> Path:
    """A ZIP file of a folder. The database is a copy of one moment; a link is followed nowhere."""
    handle, place = tempfile.mkstemp(suffix=".zip", dir=served_folder())
    with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", strict_timestamps=False) as target:
        with tempfile.TemporaryDirectory() as copies:
            if (folder / DATABASE_FILE).is_file():
                copy_database(folder, Path(copies, DATABASE_FILE))
                target.write(Path(copies, DATABASE_FILE), f"{folder.name}/{DATABASE_FILE}")
        for path in _files(folder):
            target.write(path, f"{folder.name}/{path.relative_to(folder)}")  # images are packed already
    return Path(place)


def _files(folder: Path) -> Iterator[Path]:
    for inner, folders, names in os.walk(folder):
        folders.sort()
        paths = (Path(inner, name) for name in sorted(names) if name not in _LEFT_OUT)
        yield from (path for path in paths if path.is_file() and not path.is_symlink())
