"""What stands before the page: whose request it is, of which analysis, and that no other page makes it.

Beside this, Starlette refuses requests for other hosts than those named when the page is started: a page of another
name could otherwise reach this one by DNS rebinding.
"""

import asyncio
import base64
import binascii
import hmac
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, address_of, latest_in, split_address, title_of
from safe_dnn.page.serving.inside import Inside
from safe_dnn.page.settings import Opened, PageSettings, showing
from safe_dnn.page.uploading import Brought
from safe_dnn.reasons.register import REGISTER_FILE
from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.report.exports import EXPORT_ZIP
from safe_dnn.report.markup import filled
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError

MAX_BODY = 4 * 2**20  # selecting 100,000 images on the map takes less than 1 MiB
UPLOAD, FILE = "/gradio_api/upload", "/gradio_api/file="
FILES = {REPORT_FILE, EXPORT_ZIP, SUMS_FILE, REGISTER_FILE, "analysis.zip"}
ROUTES = FILES | {
    "", "assets", "begin", "config", "favicon.ico", "gradio_api", "image", "leave", "manifest.json", "new",
    "static", "svelte", "theme.css", "unsafe", "w",
}  # fmt: skip
API_ROUTES = {
    "app_id", "cancel", "component_server", "info", "queue", "reset", "startup-events", "theme.css", "upload",
}  # fmt: skip
"""What the page asks for of all that Gradio offers."""
SETTINGS, ENGINEER = "safe.settings", "safe.engineer"
"""In the scope of a request: the settings of the analysis that it is about, and the engineer's name."""
DELAY = 2.0  # seconds that the answer to a wrong password waits
MOST_GUESSES = 8  # of one address that wait

# Gradio's scripts stand in the page, and gr.HTML builds functions from text; all else must come from here.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; sandbox; frame-ancestors 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_OF_PROXIES = (b"forwarded", b"x-forwarded-", b"x-gradio-")  # the server has taken from them what it believes

Visitor = Callable[[Request, str], Awaitable[PageSettings | Response]]
"""Gives, of a request and its path, what the page of the visitor's own folder is started with, or a refusal."""


class Guard:
    """ASGI middleware around the page: a request for `/a/NAME/…` is one for `/…` of that analysis.

    Parameters
    ----------
    app : ASGI application
    visitor : Visitor
    opened : Opened
    """

    def __init__(self, app: ASGIApp, visitor: Visitor, opened: Opened):
        self._app, self._visitor, self._opened = app, visitor, opened
        self._opening, self._brought = asyncio.Lock(), Brought()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # the page uses none
        else:
            root = scope.get("root_path", "")
            name, path = split_address(scope["path"].removeprefix(root))
            await self._answer(scope, name, path, receive, _with_headers(send, path))

    async def _answer(self, scope: Scope, name: str, path: str, receive: Receive, send: Send) -> None:
        request, root = Request(scope), scope.get("root_path", "")
        opened: PageSettings | Response = _refusal(request.method, path, request.headers) or await self._visitor(
            request, path
        )
        if not isinstance(opened, Response):
            opened = await self._settings(opened, name, path, request)
        if isinstance(opened, Response):
            await opened(scope, receive, send)
            return
        headers = [(key, value) for key, value in scope["headers"] if not key.startswith(_OF_PROXIES)]
        engineer = opened.login or unquote(request.cookies.get("safe-engineer", ""))
        # Encoded, as the addresses of the page are derived from it.
        place = root + address_of(name).rstrip("/")
        inner = {**scope, "headers": headers, "root_path": place, "path": place + path}
        app = Inside(self._app, opened.names, f"{opened.jobs.owner}-") if opened.names else self._app
        begun: list[Message] = []

        async def sending(message: Message) -> None:
            begun[:] = [message]
            await send(message)

        try:
            with showing(opened, engineer):
                await app({**inner, SETTINGS: opened, ENGINEER: engineer}, receive, sending)
        except Exception as error:  # noqa: BLE001, raised again where it was answered: the connection would be closed
            if not begun:
                await (await failed(request, error))(scope, receive, send)

    async def _settings(self, top: PageSettings, name: str, path: str, request: Request) -> PageSettings | Response:
        """The settings of an analysis in the folder of a page; where there is none to show, what to answer."""
        root, query = request.scope.get("root_path", ""), f"?{request.url.query}" if request.url.query else ""
        if not path:
            return RedirectResponse(root + address_of(name) + query)
        if path.startswith(UPLOAD):
            if not top.uploads:
                return PlainTextResponse("The page takes no files.\n", 404)
            try:
                length = int(request.headers.get("content-length", "0"))
                await asyncio.to_thread(self._brought.take_in, top, length)
            except SAFEError as error:
                return PlainTextResponse(f"{error}\n", 413)
        if name == TOP:
            if path != "/" or request.method != "GET":
                return top
            latest = await asyncio.to_thread(latest_in, top.out, other_than=top.example and top.example.folder)
            return RedirectResponse(root + address_of(latest) + query, 303) if latest else top
        try:
            async with self._opening:
                settings = await asyncio.to_thread(self._opened.below, top, name)
        except SAFEError as error:
            return notice(str(error), 409)
        gone = f"There is no analysis {title_of(top.out, name)} any more. It was renamed, moved or deleted."
        return settings or notice(gone, 404, back=f"{root}/")


def notice(sentence: str, status: int = 200, **parts: str) -> Response:
    """A page with a sentence; `parts` as in the template."""
    page = filled("page/serving/notice.html", sentence=sentence, **parts)
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})


def _with_headers(send: Send, path: str) -> Send:
    is_file = path.startswith(FILE) or path[1:] in FILES

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = {"Content-Security-Policy": FILE_POLICY if is_file else PAGE_POLICY}
            MutableHeaders(scope=message).update(HEADERS | policy)
        await send(message)

    return sending


def _refusal(method: str, path: str, headers: Headers) -> Response | None:
    """Why a request is refused, whoever makes it; None where it is not."""
    if _is_foreign(method, path, headers):
        return PlainTextResponse("Requests from other pages are refused.\n", 403)
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        return PlainTextResponse("A request must say how long it is.\n", 411)
    first, api = (*path.split("/")[1:], "", "")[:2]
    if first not in ROUTES or (first == "gradio_api" and api not in API_ROUTES and not path.startswith(FILE)):
        return PlainTextResponse("There is no such page.\n", 404)
    if path != UPLOAD and headers.get("content-type", "").lower().startswith("multipart/"):
        return PlainTextResponse("The page takes no files here.\n", 415)
    if path != UPLOAD and int(length) > MAX_BODY:
        return PlainTextResponse(f"A request may have {MAX_BODY:,} bytes.\n", 413)
    return None


def _is_foreign(method: str, path: str, headers: Headers) -> bool:
    """Whether another page makes the request. Following a link to this page is no such thing."""
    try:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return True
    except ValueError:
        return True
    linked = path in ("", "/") or path.startswith("/w/")
    opened = method == "GET" and linked and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not opened


def with_password(top: PageSettings, credentials: tuple[str, str] | None) -> Visitor:
    """All visitors see one folder; where there is a password, the browser asks for it (HTTP Basic).

    A wrong one is answered after a while, and few of an address wait at once: an address makes four guesses a second.
    """
    guesses: Counter[str] = Counter()
    expected = ":".join(credentials or ()).encode()
    ask = {"WWW-Authenticate": 'Basic realm="SAFE", charset="UTF-8"'}

    async def visitor(request: Request, path: str) -> PageSettings | Response:
        kind, _, typed = request.headers.get("authorization", "").partition(" ")
        if not credentials:
            return top
        if kind.lower() != "basic":
            return PlainTextResponse("Give the password first.\n", 401, ask)
        address = request.client.host if request.client else ""
        if guesses[address] >= MOST_GUESSES:
            return PlainTextResponse("Many guesses are waiting. Try again in a minute.\n", 429)
        try:
            sent = base64.b64decode(typed, validate=True)
        except (binascii.Error, ValueError):
            sent = b""
        if hmac.compare_digest(sent, expected):
            return top
        guesses[address] += 1
        try:
            await asyncio.sleep(DELAY)
        finally:
            guesses[address] -= 1
            if not guesses[address]:
                del guesses[address]
        return PlainTextResponse("This is not the password.\n", 401, ask)

    return visitor


async def failed(request: Request, error: Exception) -> Response:
    """What goes wrong further in is a sentence: of a request that Gradio cannot read, it is no defect.

    Gradio takes some of what is sent as it is, as a name that no file system takes, and fails there, before anything
    of SAFE's is called.
    """
    if isinstance(error, ClientDisconnect):
        return PlainTextResponse("The request ended early.\n", 400)
    if isinstance(error, SAFEError):  # of an analysis that is deleted or changed meanwhile
        return PlainTextResponse(f"{error}\n", 409)
    ours = __name__.partition(".")[0] + "."
    frames = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, ValueError | LookupError | TypeError | OSError) and not any(
        name.startswith(ours) for name in frames
    ):
        return PlainTextResponse("The request is malformed.\n", 400)
    return PlainTextResponse(f"{report_defect(error)}\n", 500)
