"""A service: a workspace for each visitor, which nobody else can name, and which ends when it is not used any more.

A workspace is a folder that is called by a digest of its secret; only the visitor has the secret itself, in a cookie
that scripts cannot read and in a link. Where a login in front of the page says who a visitor is, the digest is of that
name. Of a workspace that was deleted, or that nobody has used for some days, a count is all that stays.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from safe_dnn.page.analyses import names_in
from safe_dnn.page.serving.below import at_start
from safe_dnn.page.serving.list_page import ADDRESS, ListPage
from safe_dnn.page.serving.workspace import LINK, WORKSPACE, Workspace
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import read_record, write_text
from safe_dnn.support.uploads import remove_stale

COOKIE = "safe-workspace"
WORKSPACES, GONE = "workspaces", "gone"
COUNTS_FILE = "counts.json"
"""In the folder of a service."""
ANALYSES, CACHE, USED = "analyses", "cache", "used"
"""In a workspace: the analyses, what was computed of images, and an empty file whose date is that of the last use."""
HOME, OWN = "/~", "/~own"
"""What a visitor calls the folder of analyses, and the workspace that it lies in."""

MOST_WORKSPACES = 10_000
MOST_NEW = 20  # workspaces for an address in an hour
MOST_OPEN = 32  # pages of analyses, of 10 MiB each; as many as are closed stay in caches of FastAPI
OPEN = 600  # seconds that a page which nobody asks for stays open
LEFT_UPLOAD = 3600.0  # seconds for which an upload that broke off can be gone on with
ROUND = 60  # seconds from one look for what has ended to the next
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_SECRET = re.compile(r"[\w-]{22}", re.ASCII)  # 128 bits


class Terms(NamedTuple):
    """What a service offers: days that an unused workspace is kept, and the header with the user name of a login."""

    days: float = 7
    user_header: str = ""


class Service:
    """The workspaces below a folder.

    Parameters
    ----------
    folder : Path
    opened : callable
        Gives the workspace that lies in a folder, by that folder, the name of its owner in the queue and the user
        name.
    welcome : ListPage
        The list that a visitor sees who has no workspace.
    terms : Terms
    path : str
        That the page lies below.

    Raises
    ------
    SAFEError
        The folder's path has other than plain characters.
    """

    def __init__(
        self,
        folder: Path,
        opened: Callable[[Path, str, str], Workspace],
        welcome: ListPage,
        terms: Terms,
        path: str = "",
    ):
        if not _PLAIN.fullmatch(os.fspath(folder)):
            raise SAFEError(
                "The folder of a service is hidden from its visitors, wherever it is named, and must have a path of "
                f"letters, digits, dots, - and _ (--service). Received: {folder}"
            )
        self.welcome, self._terms, self._path = welcome, terms, path
        self._folder, self._opened = folder, opened
        self._workspaces: dict[str, Workspace] = {}
        self._new: Counter[str] = Counter()
        self._hour = 0

    # --- Finding ------------------------------------------------------------------------------------------------------

    def seen(self, scope: Scope) -> Workspace | None:
        """The workspace that a request sees; None where the visitor has none, or not any more."""
        secret, user = self._secret_of(scope)
        return self._at(_key(secret), user) if secret else None

    def _secret_of(self, scope: Scope) -> tuple[str, str]:
        """The secret by which a workspace is found, and the user name if it is made of that; empty if there is none."""
        request = Request(scope)
        if header := self._terms.user_header:
            user = request.headers.get(header, "")
            return (f"user {user}", user) if user else ("", "")
        secret = request.cookies.get(COOKIE, "")
        return (secret if _SECRET.fullmatch(secret) else ""), ""

    def _at(self, key: str, user: str = "") -> Workspace | None:
        """The workspace of a key, which is in use from now on."""
        folder = self._folder / WORKSPACES / key
        try:
            os.utime(folder / USED)
        except OSError:
            self._workspaces.pop(key, None)
            return None
        if key not in self._workspaces:
            self._close_idle()
            self._workspaces[key] = self._opened(folder, key, user)
        return self._workspaces[key]

    def _make(self, scope: Scope) -> tuple[Workspace, str]:
        """Make a workspace for a visitor; it, and the secret.

        Raises
        ------
        SAFEError
            There are too many, or too many new ones for this address; nobody has logged in.
        """
        secret, user = self._secret_of(scope)
        if self._terms.user_header and not user:
            raise SAFEError("The login in front of this page has not said who you are. Log in again.")
        address = scope["client"][0] if scope.get("client") else ""
        if (hour := int(time.time() // 3600)) != self._hour:
            self._hour, self._new = hour, Counter()
        there = sum(1 for _ in os.scandir(self._folder / WORKSPACES))
        if there >= MOST_WORKSPACES or self._new[address] >= MOST_NEW:
            raise SAFEError("This service has as many visitors as it takes. Try again in an hour.")
        self._new[address] += not user
        secret = secret if user else secrets.token_urlsafe(16)
        # At one go: what is half made looks like what nobody uses. If the process is killed, it is among what is gone.
        building = self._folder / GONE / secrets.token_hex(16)
        for inner in (ANALYSES, CACHE):
            (building / inner).mkdir(parents=True, mode=0o700)
        (building / USED).touch()
        building.rename(self._folder / WORKSPACES / _key(secret))
        workspace = self._at(_key(secret), user)
        assert workspace
        return workspace, "" if user else secret

    # --- What a visitor may do ----------------------------------------------------------------------------------------

    async def first(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the first analysis that a visitor asks for, with a workspace to make it in."""
        try:
            workspace, secret = self._make(scope)
        except SAFEError as error:
            await self.welcome.shown(str(error), 409)(scope, receive, send)
            return
        scope = {**scope, WORKSPACE: workspace}
        await workspace.listing.answer(
            scope, receive, at_start(send, lambda headers: self._let_in(headers, secret, scope))
        )

    async def enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the link of a workspace.

        It is opened by a button: a link that is merely followed, as one of somebody else's page, changes nothing.
        """
        secret = scope["path"].removeprefix(LINK)
        known = not self._terms.user_header and _SECRET.fullmatch(secret) and self._at(_key(secret))
        if not known:
            response: Response = PlainTextResponse("There is no such workspace, or not any more.\n", 404)
        elif scope["method"] == "POST":
            response = RedirectResponse(ADDRESS, 303)
            self._let_in(response.headers, secret, scope)
        else:
            response = HTMLResponse(filled("page/serving/entering.html", path=self._path, link=LINK + secret))
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def leave(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Delete the workspace that a request sees, with everything in it."""
        await self.delete(_key(self._secret_of(scope)[0]))
        response = self.welcome.shown("Everything was deleted: images, results, and what was computed of them.")
        response.delete_cookie(COOKIE)
        await response(scope, receive, send)

    def _let_in(self, headers: MutableHeaders, secret: str, scope: Scope) -> None:
        """Let a browser see a workspace from now on; scripts cannot read its cookie."""
        if secret:
            more = "; Secure" if scope.get("scheme") == "https" else ""
            age = 400 * 86400  # the longest that browsers take
            headers.append("set-cookie", f"{COOKIE}={secret}; Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{more}")

    def terms_for(self, scope: Scope) -> dict[str, Any]:
        """What the list of a visitor says about his workspace."""
        secret, user = self._secret_of(scope)
        until = datetime.fromtimestamp(time.time() + 86400 * self._terms.days).astimezone()
        place = f"{scope.get('scheme', 'http')}://{Request(scope).headers.get('host', '')}{self._path}"
        return {"until": until, "days": self._terms.days, "link": "" if user else f"{place}{LINK}{secret}"}

    # --- What ends ----------------------------------------------------------------------------------------------------

    async def delete(self, key: str) -> None:
        """Delete a workspace: its work is stopped first, and all files are gone afterwards."""
        folder, gone = self._folder / WORKSPACES / key, self._folder / GONE / key
        if workspace := self._workspaces.pop(key, None):
            for job in workspace.mounts.end():
                await asyncio.to_thread(job.finished, 600)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)  # at one go: it is gone, also if the process ends now
            await asyncio.to_thread(self._remove, gone)

    def _remove(self, gone: Path) -> None:
        shutil.rmtree(gone, ignore_errors=True)
        if not gone.exists():
            counts = self._folder / COUNTS_FILE
            write_text(counts, json.dumps({"deleted": read_record(counts).get("deleted", 0) + 1}))

    @contextlib.asynccontextmanager
    async def life(self, _: object = None) -> AsyncIterator[None]:
        """Look for what has ended, as long as the service runs."""

        async def look() -> None:
            while True:
                try:
                    await self.look()
                except OSError as error:
                    report_defect(error)
                await asyncio.sleep(ROUND)

        for name in (WORKSPACES, GONE):
            (self._folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        looking = asyncio.create_task(look())
        yield
        looking.cancel()

    async def look(self) -> None:
        """Delete what nobody has used for so long, and close the pages that nobody looks at."""
        for gone in [*(self._folder / GONE).iterdir()]:  # a process ended meanwhile
            await asyncio.to_thread(self._remove, gone)
        for key in await asyncio.to_thread(self._unused):
            if not (key in self._workspaces and self._workspaces[key].mounts.working):
                await self.delete(key)
        self._close_idle()
        for key in [key for key, one in self._workspaces.items() if not one.mounts.open]:
            del self._workspaces[key]

    def _close_idle(self) -> None:
        """Close the pages that nobody looks at, and those looked at least lately if there are too many."""
        idle = [(*page, key) for key, one in self._workspaces.items() for page in one.mounts.idle()]
        for place, (used, name, key) in enumerate(sorted(idle)):
            if time.monotonic() - used > OPEN or place < len(idle) - MOST_OPEN:
                self._workspaces[key].mounts.close(name)

    def _unused(self) -> list[str]:
        """The keys of workspaces that have not been used for so long; abandoned uploads of the others are removed."""
        until, unused = time.time() - 86400 * self._terms.days, []
        for folder in [*(self._folder / WORKSPACES).iterdir()]:
            try:
                old = (folder / USED).stat().st_mtime < until
            except OSError:
                old = True  # what work wrote that did not end with it
            if old:
                unused.append(folder.name)
                continue
            for name in names_in(folder / ANALYSES):
                remove_stale(folder / ANALYSES / name, LEFT_UPLOAD)
        return unused


def _key(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def names_of(workspace: Path) -> dict[str, str]:
    """What a visitor calls the folders of a workspace (see `Inside`)."""
    return {os.fspath(workspace / ANALYSES): HOME, os.fspath(workspace): OWN}
