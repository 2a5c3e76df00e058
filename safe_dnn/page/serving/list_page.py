"""The list of analyses: a page of plain HTML that is there at once, and what its buttons do.

Every button is a form that is posted; `page/serving/guard.py` refuses those of other pages. What could not be done is
said above the list, in a sentence.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from safe_dnn.page import analyses
from safe_dnn.page.analyses import MOST_ANALYSES
from safe_dnn.page.serving.analysis_summary import stamp_of, summary_of
from safe_dnn.page.serving.mounts import Mounts
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.support.errors import SAFEError

ADDRESS = "/analyses"
ACTIONS = ("new", "rename", "duplicate", "delete", "restore", "remove")
_FRESH = {"Cache-Control": "no-store"}


class ListPage:
    """The list of the analyses in a folder, without that of the example.

    Parameters
    ----------
    mounts : Mounts
        Of that folder.
    most : int, optional
        Analyses, with those in the bin.
    """

    def __init__(self, mounts: Mounts, most: int = MOST_ANALYSES):
        self._home = mounts.home
        self._mounts = mounts
        self._most = most
        self._summary_of = lru_cache(MOST_ANALYSES)(summary_of)  # read again where a file has changed

    def title(self, name: str) -> str:
        return analyses.title_of(self._home, name)

    def stands_first(self) -> bool:
        """Whether the list is what a visitor sees first: the folder is no analysis, and holds some."""
        names = self._names()
        return bool(names) and names[0] != analyses.TOP

    def _names(self) -> list[str]:
        """The analyses; first the folder that holds them, if it is one."""
        example = self._mounts.top.example
        top = [analyses.TOP] if analyses.folder_of(self._home, analyses.TOP) else []
        return [*top, *analyses.names_in(self._home, other_than=example and example.folder)]

    async def answer(self, scope: Scope, receive: Receive, send: Send, terms: Mapping[str, Any] | None = None) -> None:
        """Answer a request for the list, or what a button does; `terms` are those of a service."""
        response: Response
        request = Request(scope, receive)
        action, reading = scope["path"].removeprefix(ADDRESS).strip("/"), request.method in ("GET", "HEAD")
        if reading and not action:
            notice = request.query_params.get("deleted") and "Moved to the bin below."
            response = await asyncio.to_thread(self.shown, notice, terms=terms)
        elif reading and action in ACTIONS:  # the address of what could not be done, loaded again
            response = RedirectResponse(ADDRESS, 303)
        elif request.method == "POST" and action in ACTIONS:
            body = (await request.body()).decode("utf-8", "replace")
            response = await self._done(action, dict(parse_qsl(body, keep_blank_values=True)))
        else:
            response = PlainTextResponse("There is no such page.\n", 404)
        await response(scope, receive, send)

    async def _done(self, action: str, fields: dict[str, str]) -> Response:
        """Do what a button says; the page that is shown next."""
        shown = ADDRESS
        try:
            if (name := fields.get("name")) is None:
                raise SAFEError("Expected the name of an analysis. Received none. Reload the list and try again.")
            if action == "new":
                shown = analyses.address_of(await asyncio.to_thread(analyses.make, self._home, name, self._most))
            elif action == "rename":
                await asyncio.to_thread(self._at_rest, analyses.rename, name, fields.get("new", ""))
            elif action == "delete":
                await asyncio.to_thread(self._at_rest, analyses.delete, name)
                shown = f"{ADDRESS}?deleted=1"
            else:
                changes: dict[str, Callable[[Path, str], str]] = {
                    "duplicate": partial(analyses.duplicate, most=self._most),
                    "restore": analyses.restore,
                    "remove": analyses.remove,
                }
                await asyncio.to_thread(changes[action], self._home, name)
        except SAFEError as error:
            return await asyncio.to_thread(self.shown, str(error), 409)
        if action in ("rename", "delete"):
            self._mounts.close(name)
        return RedirectResponse(shown, 303)

    def _at_rest(self, change: Callable[..., str], name: str, *typed: str) -> None:
        with self._mounts.resting(name):
            change(self._home, name, *typed)

    def shown(
        self, notice: str | None = None, status: int = 200, terms: Mapping[str, Any] | None = None
    ) -> HTMLResponse:
        """The list, below a sentence if there is one to say."""
        folders = ((name, self._home / name) for name in self._names())
        entries = [(name, self._summary_of(folder, stamp_of(folder))) for name, folder in folders]
        entries.sort(key=lambda entry: -entry[1].changed)
        page = filled(
            "page/serving/list.html", notice=notice, role="status" if status == 200 else "alert", entries=entries,
            deleted=[(name, when and datetime.fromisoformat(when)) for name, when in analyses.deleted_in(self._home)],
            path=self._mounts.path, terms=terms, hosted=self._mounts.top.hosted, title=self.title,
            address=analyses.address_of, at_work=self._mounts.at_work, day="{:%-d %B %Y, %H:%M}".format,
        )  # fmt: skip
        return HTMLResponse(page, status, headers=_FRESH)
