"""What stands before the page: whose request it is, of which analysis, and that no other page makes it.

`Guard` lets requests in, `Inside` gives paths other names for a visitor of a service, and `Page` is where every event
enters and every answer leaves: a window gets an answer or a sentence, never less.

Beside these, Starlette refuses requests for other hosts than those named when the page is started: a page of another
name could otherwise reach this one by DNS rebinding.

A visitor of a service knows paths in his workspace, which begin with `/~`, and no others. Analyses, forms and sentences
name paths of this machine, which is right on the page of an engineer who works on it. A visitor has no business with
them: what leaves has his own names, and what he sends is translated back before anything reads it.
"""

import asyncio
import base64
import binascii
import hmac
import json
import re
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
import orjson
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, address_of, latest_in, split_address, title_of
from safe_dnn.page.messages import worded
from safe_dnn.page.paths import Brought
from safe_dnn.page.settings import Opened, PageSettings, showing
from safe_dnn.reasons.register import REGISTER_FILE
from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.report.exports import EXPORT_ZIP
from safe_dnn.report.markup import escaped, filled
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError, is_within

_TEXT = re.compile(r"text/|application/(json|manifest\+json|x-ndjson)")
_IN_QUERY, _IN_JSON = re.compile(rb"(?<![^&])session_hash="), re.compile(rb'"session_hash"\s*:\s*"')
_EVENTS = "text/event-stream"


# --- Paths of a service -------------------------------------------------------------------------------------------


class Inside:
    """ASGI middleware that gives paths other names on the way out, and takes these for the paths on the way in.

    Parameters
    ----------
    app : ASGI application
    names : mapping of str to str
        By the path of a folder, its name; of a folder in another one that comes first. Both are ASCII, and need no
        escapes in JSON, HTML or addresses.
    visitor : str
        What nobody else knows of a visitor: the sessions of his windows are named by it, and so of no use to others.
    """

    def __init__(self, app: ASGIApp, names: Mapping[str, str], visitor: str):
        self._app = app
        self._session = rb"\g<0>" + visitor.encode()
        pairs = [(path.encode(), name.encode()) for path, name in names.items()]
        self._out = _translation({**dict(pairs), **{_quoted(path): _quoted(name) for path, name in pairs}})
        self._in = _translation({name + b"/": path + b"/" for path, name in pairs})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._in(scope["path"].encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        # What is packed cannot be read here.
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        query = _IN_QUERY.sub(self._session, scope["query_string"])
        inner = {**scope, "path": path, "headers": headers, "query_string": query}
        await self._app(inner, self._receiving(scope, receive), self._sending(send))

    def _receiving(self, scope: Scope, receive: Receive) -> Receive:
        kind = dict(scope["headers"]).get(b"content-type", b"")

        async def received() -> Message:
            message = await receive()
            if message["type"] != "http.request" or not kind.startswith(b"application/json"):
                return message
            body = message.get("body", b"")
            while message.get("more_body"):  # a name may lie across two parts
                message = await receive()
                if message["type"] != "http.request":
                    return message
                body += message.get("body", b"")
            return {"type": "http.request", "body": _IN_JSON.sub(self._session, self._in(body)), "more_body": False}

        return received

    def _sending(self, send: Send) -> Send:
        start: Message = {}
        kind, content = "", bytearray()

        async def sent(message: Message) -> None:
            nonlocal start, kind
            if message["type"] == "http.response.start":
                start, kind = message, MutableHeaders(scope=message).get("content-type", "")
                if location := MutableHeaders(scope=message).get("location"):
                    MutableHeaders(scope=message)["location"] = self._out(location.encode("latin-1")).decode("latin-1")
                if kind.startswith(_EVENTS) or not _TEXT.match(kind):
                    await send(message)
            elif message["type"] != "http.response.body" or not _TEXT.match(kind):
                await send(message)
            elif kind.startswith(_EVENTS):  # Gradio sends an event at once
                await send({**message, "body": self._out(message.get("body", b""))})
            else:
                content.extend(message.get("body", b""))
                if not message.get("more_body"):
                    body = self._out(bytes(content))
                    headers = MutableHeaders(scope=start)
                    if "content-length" in headers and start["status"] not in (204, 304) and body:
                        headers["content-length"] = str(len(body))
                    await send(start)
                    await send({**message, "body": body})

        return sent


def _quoted(path: bytes) -> bytes:
    return path.replace(b"/", b"%2F")


def _translation(names: Mapping[bytes, bytes]) -> Callable[[bytes], bytes]:
    pattern = re.compile(b"|".join(map(re.escape, names)))
    return lambda text: pattern.sub(lambda found: names[found[0]], text)


# --- Requests -----------------------------------------------------------------------------------------------------

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
    if isinstance(refusal := error.__cause__, HTTPException):  # of a stream for a session that Gradio has forgotten
        return PlainTextResponse(f"{refusal.detail}\n", refusal.status_code)
    ours = __name__.partition(".")[0] + "."
    frames = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, ValueError | LookupError | TypeError | OSError) and not any(
        name.startswith(ours) for name in frames
    ):
        return PlainTextResponse("The request is malformed.\n", 400)
    return PlainTextResponse(f"{report_defect(error)}\n", 500)


# --- Events and answers -------------------------------------------------------------------------------------------

NOT_OURS = "The page received something that none of its fields sends. Reload it and try again."


class Page(gr.Blocks):
    """Blocks whose every event ends in an answer that can be sent, or in a sentence that the window shows."""

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """The one function of Gradio through which all events go."""
        scope = named["request"].request.scope
        try:
            with showing(scope[SETTINGS], scope[ENGINEER]):  # Gradio's queue answers in a context of its own
                return _sendable(await super().process_api(*arguments, **named))
        except gr.Error as refusal:  # Gradio's own, and those of `preprocess_data`
            refusal.print_exception = False
            raise
        except SAFEError as error:
            sentence = worded(error)
        except Exception as error:  # noqa: BLE001, the door: Gradio would show a toast without a word
            sentence = report_defect(error)
        raise gr.Error(escaped(sentence), title="Not done", print_exception=False)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **named: Any) -> list[Any]:
        """What a browser has sent becomes what handlers take: what no widget can have sent goes no further."""
        if not block_fn.fn:  # an event that the browser answers itself
            raise gr.Error(NOT_OURS)
        for widget, sent in zip(block_fn.inputs, inputs, strict=False):
            # Gradio lets a list pass where one choice is expected, if all of it are choices.
            if isinstance(widget, gr.Dropdown) and not widget.multiselect and isinstance(sent, list):
                raise gr.Error(NOT_OURS)
            if isinstance(widget, gr.UploadButton) and not _is_brought(sent):
                raise gr.Error(NOT_OURS)
        try:
            return await super().preprocess_data(block_fn, inputs, *arguments, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(NOT_OURS) from error


def _is_brought(sent: Any) -> bool:
    """Whether files were just brought: Gradio would copy any that it may show, of all visitors."""
    folder, files = Path(get_upload_folder()).resolve(), sent if isinstance(sent, list) else []
    paths = [file.get("path") if isinstance(file, dict) else None for file in files]
    return bool(paths) and all(isinstance(path, str) and is_within(Path(path), folder) for path in paths)


def _sendable(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as Gradio can send it: a name that is not valid Unicode would break off all that the window waits for.

    Such names are rare, and to look for them in Python takes far longer than to try.
    """
    try:
        orjson.dumps(answer["data"], default=str)
    except TypeError:
        text = json.dumps(answer["data"], ensure_ascii=False, default=str)
        valid = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return answer | {"data": json.loads(valid)}
    return answer
