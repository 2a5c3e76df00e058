"""Images that a browser brings, in parts: what the page's script sends (`page/widgets/upload.js`) becomes a folder.

A `POST` begins with what is to come, and is answered with how much of it is there already; each further one brings the
next part; `finish` is asked until the folder is there, and `stop` drops it all. What comes of it lies in the analysis,
so that it is taken home and deleted with it.
"""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope

from safe_dnn.page.serving.workspace import Workspace
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import PREDICTIONS_FILE, UPLOADS_FOLDER
from safe_dnn.support.uploads import INCOMING_FOLDER, Incoming, Limits

LEAST_FREE = 2 * 2**30  # bytes of the disk that uploads leave to all that is written otherwise
REMEMBERED = 256  # uploads that are done, in case that the answer got lost
NOT_OURS = "Expected an upload, as the page sends it. Received something else. Reload the page."


class Receiving:
    """The uploads that are on their way."""

    def __init__(self) -> None:
        self._unpacking: dict[tuple[Path, str], _Unpacking] = {}  # by analysis and upload; with some that are done

    async def answer(self, workspace: Workspace, folder: Path, path: str, scope: Scope, receive: Receive) -> Response:
        """Answer a request for a path below `upload` on the page of the analysis in a folder."""
        request, number = Request(scope, receive), path.strip("/")
        if request.method != "POST":
            return JSONResponse({"problem": "Uploads are posted."}, 405)
        try:
            body = await request.body()
            return JSONResponse(await self._taken(workspace, folder, number, request.query_params, body))
        except SAFEError as error:
            return JSONResponse({"problem": str(error)}, 409)

    async def _taken(self, workspace: Workspace, folder: Path, number: str, asked: Any, body: bytes) -> dict:
        if not number:
            incoming = await asyncio.to_thread(_begun, workspace, folder, body)
            self._unpacking.pop((folder, incoming.id), None)  # of the same names and sizes before
            return {"id": incoming.id, "received": incoming.received}
        if "finish" in asked:
            return await self._finish(folder, number)
        incoming = await asyncio.to_thread(Incoming.of, folder, number)
        if "stop" in asked:
            if unpacking := self._unpacking.get((folder, number)):
                unpacking.stopped = True
            await asyncio.to_thread(incoming.discard)
            return {}
        if not re.fullmatch(r"\d{1,15}", at := asked.get("at", ""), re.ASCII):
            raise SAFEError(NOT_OURS)
        return {"received": await asyncio.to_thread(incoming.append, int(at), body)}

    async def _finish(self, folder: Path, number: str) -> dict:
        unpacking = self._unpacking.get((folder, number))
        if unpacking is None:
            incoming = Incoming.of(folder, number)
            unpacking = self._unpacking[folder, number] = _Unpacking(incoming, folder / UPLOADS_FOLDER)
            for known in [known for known, one in self._unpacking.items() if one.task.done()][:-REMEMBERED]:
                del self._unpacking[known]
        done, _ = await asyncio.wait([unpacking.task], timeout=1)
        if not done:
            return {"done": unpacking.done, "total": unpacking.total}
        if unpacking.task.exception():
            self._unpacking.pop((folder, number), None)
        uploaded = unpacking.task.result()
        places = (place / PREDICTIONS_FILE for place in (uploaded.path, uploaded.path.parent))
        answers = next((place for place in places if place.parent.parent != folder and place.is_file()), "")
        return {"path": os.fspath(uploaded.path), "notes": uploaded.notes, "answers": os.fspath(answers)}


class _Unpacking:
    """An upload that becomes a folder below another one, and how far it is."""

    def __init__(self, incoming: Incoming, below: Path):
        self.done, self.total, self.stopped = 0, 0, False
        self.task = asyncio.create_task(asyncio.to_thread(incoming.finish, below, self.progress))

    def progress(self, what: str, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.stopped:
            raise SAFEError("Stopped: nothing was kept.")


def _begun(workspace: Workspace, folder: Path, body: bytes) -> Incoming:
    try:
        sent = json.loads(body)
        name, files = sent["name"], sent["files"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SAFEError(NOT_OURS) from error
    return Incoming.begin(folder, name, files, room(workspace, folder / INCOMING_FOLDER / Incoming.id_of(name, files)))


def room(workspace: Workspace, same: Path) -> Limits:
    """What may be brought: less where the workspace, or the disk, is nearly full, but for what lies there already."""
    limits = workspace.uploads
    assert limits
    free = shutil.disk_usage(workspace.home).free - LEAST_FREE
    if free <= 0:
        raise SAFEError("The disk of this machine is nearly full, and takes no more images. Try again later.")
    taken = bytes_in(workspace.home) - bytes_in(same) if workspace.cache else 0
    if taken >= limits.bytes:
        raise SAFEError(
            f"Expected up to {limits.bytes / 2**30:.3g} GiB in all analyses. Received more. "
            "Take home what is needed, then delete everything, below the list of analyses."
        )
    return limits._replace(bytes=min(limits.bytes - taken, free))


def bytes_in(folder: Path) -> int:
    """How much lies in a folder."""
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inner, name)).st_size  # noqa: PTH118, of tens of thousands
            except OSError:  # gone meanwhile
                continue
    return total
