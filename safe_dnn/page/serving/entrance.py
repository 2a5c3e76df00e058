"""Which page a request is for: the list of analyses, that of one of them, or that of the folder that holds them.

The last of these is Gradio's application; this stands in front of it, behind `page/serving/guard.py`. A visitor who has
not given the password meets nothing but that application's question for it, whatever the address.
"""

import asyncio
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, address_of, split_address
from safe_dnn.page.serving.door import ENGINEER
from safe_dnn.page.serving.guard import GIVEN_OUT, UPLOAD
from safe_dnn.page.serving.list_page import ADDRESS, NEW
from safe_dnn.page.serving.receiving import Receiving
from safe_dnn.page.serving.service import Service
from safe_dnn.page.serving.take_home import ANALYSIS_ZIP, zipped
from safe_dnn.page.serving.workspace import LINK, WORKSPACE, Workspace
from safe_dnn.store.database import speaking
from safe_dnn.store.output_folder import own_files
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import caching_in

LEAVING = f"{ADDRESS}/leave"
OF_THE_LOGIN = {"assets", "favicon.ico", "login", "logout", "static", "svelte", "theme.css"}
"""What is answered without the password, with the page that asks for it: nothing about any analysis."""


class Entrance:
    """ASGI middleware in front of the page of the folder itself.

    Parameters
    ----------
    app : ASGI application
    path : str
        That the page lies below, as Gradio must know.
    service : Service, optional
        Where each visitor has a workspace: there is no page of the folder that holds analyses then, but the list.
    """

    def __init__(self, app: ASGIApp, path: str = "", service: Service | None = None):
        self._inner = app
        self._path = path
        self._service = service
        self._receiving = Receiving()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        workspace: Workspace | None = scope[WORKSPACE]
        typed = Request(scope).cookies.get("safe-engineer", "")
        scope[ENGINEER] = (workspace.login if workspace else "") or unquote(typed)
        with speaking(scope[ENGINEER]), caching_in(workspace.cache if workspace else None):
            if self._service and (not workspace or scope["path"].startswith(LINK)):
                await self._welcome(self._service, scope, receive, send)
            elif workspace:
                await self._let_in(workspace, scope, receive, send)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "root_path": self._path, "path": self._path + scope["path"]}
        await self._inner(scope, receive, send)

    async def _welcome(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a visitor who has no workspace, or the link of one."""
        path, reading = scope["path"], scope["method"] in ("GET", "HEAD")
        if path.startswith(LINK):
            await service.enter(scope, receive, send)
        elif path == NEW and not reading:
            await service.first(scope, receive, send)
        elif path == ADDRESS and reading:
            await service.welcome.shown()(scope, receive, send)
        elif reading and split_address(path)[1] == "/":
            await RedirectResponse(ADDRESS, 303)(scope, receive, send)
        else:
            await PlainTextResponse("There is no such page.\n", 404)(scope, receive, send)

    async def _let_in(self, workspace: Workspace, scope: Scope, receive: Receive, send: Send) -> None:
        name, path = split_address(scope["path"])
        listed = name == TOP and path.split("/")[1:2] == [ADDRESS.strip("/")]
        given_out, is_upload = path[1:] in GIVEN_OUT, path.split("/")[1:2] == [UPLOAD]
        if not path:
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(address_of(name) + (f"?{query}" if query else ""))(scope, receive, send)
        elif not _is_let_in(scope):
            await self._ask(name, "/" if listed or given_out or is_upload else path, scope, receive, send)
        elif name == TOP and path != "/" and not (listed or given_out or is_upload):
            await self._app(scope, receive, send)
        elif self._service and path == LEAVING and scope["method"] == "POST":
            await self._service.leave(scope, receive, send)
        elif listed:
            terms = self._service.terms_for(scope) if self._service else None
            await workspace.listing.answer(scope, receive, send, terms)
        elif given_out or is_upload:
            await (await self._of_folder(workspace, name, path[1:], scope, receive))(scope, receive, send)
        elif name != TOP:
            await self._answer(workspace, name, path, scope, receive, send)
        elif self._service is not None or await asyncio.to_thread(workspace.listing.stands_first):
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

    async def _of_folder(self, workspace: Workspace, name: str, asked: str, scope: Scope, receive: Receive) -> Response:
        """What is asked of the folder of an analysis: a file as SAFE wrote it, all that it holds, or an upload."""
        try:
            folder = await workspace.mounts.folder(name) if name or not self._service else None
        except SAFEError as error:
            return workspace.listing.shown(str(error), 409)
        if folder and asked.startswith(UPLOAD):
            return await self._receiving.answer(workspace, folder, asked.removeprefix(UPLOAD), scope, receive)
        if folder and asked == ANALYSIS_ZIP and workspace.uploads:
            kind, place = "application/zip", f"attachment; filename*=UTF-8''{quote(folder.name)}.zip"
            return StreamingResponse(zipped(folder), media_type=kind, headers={"Content-Disposition": place})
        path = folder / asked if folder and own_files(folder, [asked]) else None
        if path is None or path.is_symlink():
            return PlainTextResponse("It has not been made yet, or is gone.\n", 404)
        place = "inline" if path.suffix == ".html" else "attachment"
        return FileResponse(path, headers={"Cache-Control": "no-cache"}, filename=asked, content_disposition_type=place)

    async def _answer(
        self, workspace: Workspace, name: str, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        listing = workspace.listing
        try:
            page: ASGIApp | None = await workspace.mounts.page(name, path)
        except SAFEError as error:
            page = listing.shown(str(error), 409)
        if page is None:
            why = f"There is no analysis {listing.title(name)} any more. It was renamed, moved or deleted."
            page = listing.shown(why, 404)
        await page(scope, receive, send)  # an error from it is no reason to answer again


def _is_let_in(scope: Scope) -> bool:
    """Whether a visitor has given the password, or there is none."""
    if getattr(scope["app"], "auth", None) is None:
        return True
    app, cookies = scope["app"], Request(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)
