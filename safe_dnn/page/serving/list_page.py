"""The list of analyses: a page of plain HTML that is there at once, with a form to make another one.

The form is posted; `page/serving/guard.py` refuses those of other pages. What could not be done is said above the list,
in a sentence.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from safe_dnn.page import analyses
from safe_dnn.page.analyses import MOST_ANALYSES
from safe_dnn.page.serving.mounts import Mounts
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.support.errors import SAFEError

ADDRESS = "/analyses"
NEW = f"{ADDRESS}/new"


class ListPage:
    """The list of the analyses in the folder of `mounts`, without that of the example; up to `most` are made."""

    def __init__(self, mounts: Mounts, most: int = MOST_ANALYSES):
        self._home = mounts.home
        self._mounts = mounts
        self._most = most

    def title(self, name: str) -> str:
        return analyses.title_of(self._home, name)

    def stands_first(self) -> bool:
        """Whether the list is what a visitor sees first: the folder is no analysis, and holds some."""
        return self._names()[:1] not in ([], [analyses.TOP])

    def _names(self) -> list[str]:
        """The analyses; first the folder that holds them, if it is one."""
        example = self._mounts.top.example
        top = [analyses.TOP] if analyses.folder_of(self._home, analyses.TOP) else []
        return [*top, *analyses.names_in(self._home, other_than=example and example.folder)]

    async def answer(self, scope: Scope, receive: Receive, send: Send, terms: Mapping[str, Any] | None = None) -> None:
        """Answer a request for the list, or make an analysis; `terms` are those of a service."""
        request, making = Request(scope, receive), scope["path"].strip("/") == NEW.strip("/")
        reading = request.method in ("GET", "HEAD")
        if reading and making:  # the address of what could not be made, loaded again
            response: Response = RedirectResponse(ADDRESS, 303)
        elif making and request.method == "POST":
            body = (await request.body()).decode("utf-8", "replace")
            response = await asyncio.to_thread(self._made, dict(parse_qsl(body, keep_blank_values=True)))
        elif reading and scope["path"].strip("/") == ADDRESS.strip("/"):
            response = await asyncio.to_thread(self.shown, terms=terms)
        else:
            response = PlainTextResponse("There is no such page.\n", 404)
        await response(scope, receive, send)

    def _made(self, fields: dict[str, str]) -> Response:
        """Make an analysis; its page, or the list with what is wrong."""
        try:
            name = analyses.make(self._home, fields.get("name", ""), self._most)
        except SAFEError as error:
            return self.shown(str(error), 409)
        return RedirectResponse(analyses.address_of(name), 303)

    def shown(
        self, notice: str | None = None, status: int = 200, terms: Mapping[str, Any] | None = None
    ) -> HTMLResponse:
        """The list, below a sentence if there is one to say."""
        entries = [(name, analyses.date_of_change(self._home / name)) for name in self._names()]
        entries.sort(key=lambda entry: entry[1], reverse=True)
        page = filled(
            "page/serving/list.html", notice=notice, role="status" if status == 200 else "alert", entries=entries,
            path=self._mounts.path, terms=terms, hosted=self._mounts.top.hosted, title=self.title,
            address=analyses.address_of, at_work=self._mounts.at_work, day="{:%-d %B %Y, %H:%M}".format,
        )  # fmt: skip
        return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
