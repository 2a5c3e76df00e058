"""Which page a request is for: the list of analyses, that of one of them, or that of the folder that holds them.

The last of these is Gradio's application; this stands in front of it, behind `page/serving/guard.py`. A visitor who has
not given the password meets nothing but that application's question for it, whatever the address.
"""

import asyncio
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, address_of, split_address
from safe_dnn.page.serving.door import ENGINEER
from safe_dnn.page.serving.guard import GIVEN_OUT
from safe_dnn.page.serving.list_page import ADDRESS, ListPage
from safe_dnn.page.serving.mounts import Mounts
from safe_dnn.store.chain import speaking
from safe_dnn.store.output_folder import own_files
from safe_dnn.support.errors import SAFEError

OF_THE_LOGIN = {"assets", "favicon.ico", "login", "logout", "static", "svelte", "theme.css"}
"""What is answered without the password, with the page that asks for it: nothing about any analysis."""


class Entrance:
    """ASGI middleware in front of the page of the folder itself.

    Parameters
    ----------
    app : ASGI application
    mounts : Mounts
    listing : ListPage
    login : str
        The user name that is asked for: the engineer's name then; empty for the one typed in the browser.
    path : str
        That the page lies below, as Gradio must know.
    """

    def __init__(self, app: ASGIApp, mounts: Mounts, listing: ListPage, login: str = "", path: str = ""):
        self._inner = app
        self._path = path
        self._mounts = mounts
        self._listing = listing
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        typed = Request(scope).cookies.get("safe-engineer", "") if scope["type"] == "http" else ""
        scope[ENGINEER] = self._login or unquote(typed)
        with speaking(scope[ENGINEER]):
            await self._let_in(scope, receive, send)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": self._path, "path": self._path + scope["path"]}
        await self._inner(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, path = split_address(scope["path"]) if scope["type"] == "http" else (TOP, "?")
        listed = name == TOP and path.split("/")[1:2] == [ADDRESS.strip("/")]
        given_out = path[1:] in GIVEN_OUT
        if not path:
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(address_of(name) + (f"?{query}" if query else ""))(scope, receive, send)
        elif not _is_let_in(scope):
            await self._ask(name, "/" if listed or given_out else path, scope, receive, send)
        elif name == TOP and path != "/" and not listed and not given_out:
            await self._app(scope, receive, send)
        elif listed:
            await self._listing.answer(scope, receive, send)
        elif given_out:
            await (await self._file(name, path[1:]))(scope, receive, send)
        elif name != TOP:
            await self._answer(name, path, scope, receive, send)
        elif await asyncio.to_thread(self._listing.stands_first):
            await RedirectResponse(ADDRESS, 303)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _ask(self, name: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for the password, and answer nothing else."""
        is_page = path == "/" and scope["method"] in ("GET", "HEAD")
        if is_page or (name == TOP and path.split("/")[1] in OF_THE_LOGIN):
            await self._app({**scope, "path": path}, receive, send)
        else:
            await JSONResponse({"detail": "Give the password first: reload the page."}, 401)(scope, receive, send)

    async def _file(self, name: str, file: str) -> Response:
        """The report or the export of an analysis, as SAFE wrote it."""
        try:
            folder = await self._mounts.folder(name)
        except SAFEError as error:
            return self._listing.shown(str(error), 409)
        path = folder / file if folder and own_files(folder, [file]) else None
        if path is None or path.is_symlink():
            return PlainTextResponse("It has not been made yet, or is gone.\n", 404)
        place = "inline" if path.suffix == ".html" else "attachment"
        return FileResponse(path, headers={"Cache-Control": "no-cache"}, filename=file, content_disposition_type=place)

    async def _answer(self, name: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            page: ASGIApp | None = await self._mounts.page(name, path)
        except SAFEError as error:
            page = self._listing.shown(str(error), 409)
        if page is None and name == self._listing.title(TOP):  # the folder that holds the others, by its name
            page = RedirectResponse(address_of(TOP))
        elif page is None:
            why = f"There is no analysis {self._listing.title(name)} any more. It was renamed or deleted."
            page = self._listing.shown(why, 404)
        await page(scope, receive, send)  # an error from it is no reason to answer again


def _is_let_in(scope: Scope) -> bool:
    """Whether a visitor has given the password, or there is none."""
    if scope["type"] != "http" or scope["app"].auth is None:
        return True
    app, cookies = scope["app"], Request(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)
