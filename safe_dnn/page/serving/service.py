"""A service: a workspace for each visitor, which nobody else can name, and which ends when it is not used any more.

A workspace is a folder that is called by a digest of its secret; only the visitor has the secret itself, in a cookie
that scripts cannot read and in a link.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from safe_dnn.page.jobs import Jobs
from safe_dnn.page.serving.guard import notice
from safe_dnn.page.settings import Opened, PageSettings
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError

COOKIE = "safe-workspace"
WORKSPACES, GONE, BROUGHT = "workspaces", "gone", "brought"
"""In the folder of a service; the last has what is sent, until it is in a workspace."""
HOME, CACHE, USED = "workspace", "cache", "used"
"""In a workspace: its analyses, what was computed of images, and an empty file whose date is that of the last use."""
LINK, BEGIN, LEAVE = "/w/", "/begin", "/leave"

MOST_WORKSPACES = 10_000
MOST_NEW = 20  # workspaces for an address in an hour
ROUND = 60  # seconds from one look for what has ended to the next
WELCOME = "Bring images on which your network fails, and see why. Only your browser can see what you bring."
ENTERING = (
    "This link opens a workspace: whoever has it sees all that is in it, and can change it. Open it if it is yours, or "
    "if somebody whom you trust gave it to you. If this browser has another workspace, keep that one's link first."
)
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_SECRET = re.compile(r"[\w-]{22}", re.ASCII)  # 128 bits


class Service:
    """The workspaces below a folder.

    Parameters
    ----------
    folder : Path
    opened : Opened
    like : PageSettings
        What the page of a workspace is opened with, but for its folders.
    days : float
        That an unused workspace is kept.

    Raises
    ------
    SAFEError
        The folder's path has other than plain characters.
    """

    def __init__(self, folder: Path, opened: Opened, like: PageSettings, days: float):
        if not _PLAIN.fullmatch(os.fspath(folder)):
            raise SAFEError(
                "The folder of a service is hidden from its visitors, wherever it is named, and must have a path of "
                f"letters, digits, dots, - and _ (--service). Received: {folder}"
            )
        for name in (WORKSPACES, GONE):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._opened, self._like, self._days = folder, opened, like, days
        self._new: Counter[str] = Counter()
        self._hour = 0

    async def visitor(self, request: Request, path: str) -> PageSettings | Response:
        """What a request sees: a workspace; nothing but a welcome, if the visitor has none, or not any more."""
        posted, root = request.method == "POST", request.scope.get("root_path", "")
        if path.startswith(LINK):
            return self._enter(request, path.removeprefix(LINK))
        secret = request.cookies.get(COOKIE, "")
        workspace = self._at(secret, str(request.base_url)) if _SECRET.fullmatch(secret) else None
        if path == LEAVE and posted:
            await self.delete(self._folder / WORKSPACES / _key(secret))
            response = notice("Everything was deleted: images, results, and all computed of them.", back=f"{root}/")
            response.delete_cookie(COOKIE, f"{root}/")
            return response
        if workspace:
            return workspace
        if path == BEGIN and posted:
            return self._begin(request)
        if path in ("", "/") and not posted:
            return notice(WELCOME, action=root + BEGIN, button="Begin")
        return PlainTextResponse("There is no such page.\n", 404)

    def _at(self, secret: str, address: str) -> PageSettings | None:
        """The workspace of a secret, which is in use from now on."""
        place = self._folder / WORKSPACES / _key(secret)
        try:
            os.utime(place / USED)
        except OSError:
            return None
        terms = {"days": f"{self._days:g}", "link": f"{address}{LINK[1:]}{secret}"}
        home = place / HOME
        like = self._like._replace(
            jobs=Jobs(self._opened.turn, place.name), root=home, cache=place / CACHE, workspace=terms,
            names={os.fspath(home): "/~", os.fspath(place): "/~own", os.environ["GRADIO_TEMP_DIR"]: "/~brought"},
        )  # fmt: skip
        return self._opened.at(home, like)

    def _begin(self, request: Request) -> Response:
        """Make a workspace, unless there are too many, or too many new ones for this address."""
        address = request.client.host if request.client else ""
        if (hour := int(time.time() // 3600)) != self._hour:
            self._hour, self._new = hour, Counter()
        there = sum(1 for _ in os.scandir(self._folder / WORKSPACES))
        if there >= MOST_WORKSPACES or self._new[address] >= MOST_NEW:
            return notice("This service has as many visitors as it takes. Try again in an hour.", 409)
        self._new[address] += 1
        secret = secrets.token_urlsafe(16)
        place = self._folder / WORKSPACES / _key(secret)
        for inner in (HOME, CACHE):
            (place / inner).mkdir(parents=True, exist_ok=True, mode=0o700)
        (place / USED).touch()
        return self._let_in(request, secret)

    def _enter(self, request: Request, secret: str) -> Response:
        """Open the workspace of a link by a button: a link that is merely followed changes nothing."""
        place, root = self._folder / WORKSPACES / _key(secret), request.scope.get("root_path", "")
        if not _SECRET.fullmatch(secret) or not (place / USED).exists():
            return notice("There is no such workspace, or not any more.", 404)
        if request.method == "POST":
            return self._let_in(request, secret)
        return notice(ENTERING, action=root + LINK + secret, button="Open the workspace")

    def _let_in(self, request: Request, secret: str) -> Response:
        """Let a browser see a workspace from now on; scripts cannot read its cookie."""
        place = f"{request.scope.get('root_path', '')}/"
        response = RedirectResponse(place, 303)
        age = 400 * 86400  # the longest that browsers take
        response.set_cookie(COOKIE, secret, age, path=place, secure=request.url.scheme == "https", httponly=True)
        return response

    # --- What ends ----------------------------------------------------------------------------------------------------

    async def delete(self, place: Path) -> None:
        """Delete a workspace: its work is stopped first, and all files are gone afterwards."""
        for jobs in self._opened.end(place):
            if job := jobs.running:
                await asyncio.to_thread(job.finished, 600)
        gone = self._folder / GONE / place.name
        with contextlib.suppress(FileNotFoundError):
            place.rename(gone)  # at one go: it is gone, also if the process ends now
        await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Look for what has ended, as long as the service runs."""

        async def look() -> None:
            while True:
                try:
                    await self.look()
                except OSError as error:
                    report_defect(error)
                await asyncio.sleep(ROUND)

        looking = asyncio.create_task(look())
        yield
        looking.cancel()

    async def look(self) -> None:
        """Delete what nobody has used for so long, and what a process that ended had begun to delete."""
        until = time.time() - 86400 * self._days
        for gone in [*(self._folder / GONE).iterdir()]:
            await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
        for place in [*(self._folder / WORKSPACES).iterdir()]:
            try:
                unused = (place / USED).stat().st_mtime < until
            except OSError:
                unused = True  # what work wrote that did not end with it
            if unused and not self._opened.working(place):
                await self.delete(place)


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:32]
