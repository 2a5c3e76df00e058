"""What stands between the network and the page: only the requests that the page itself makes get through to Gradio.

Gradio serves more than this page needs (uploads, a proxy, calls by name), answers under any host name, and leaves the
question who may frame or call it to the browser. Here the routes are a short list, the host name is checked (a page of
another host could otherwise reach this one by DNS rebinding), requests of other origins are refused, bodies are
bounded, guessing a password takes time, and whatever goes wrong further in ends here in a sentence.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, split_address
from safe_dnn.page.serving.below import at_start
from safe_dnn.page.serving.take_home import ANALYSIS_ZIP
from safe_dnn.page.serving.workspace import LINK, WORKSPACE, Workspace
from safe_dnn.pipeline.exports import EXPORT_ZIP, SUMS_FILE
from safe_dnn.pipeline.reporting.report import REPORT_FILE
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError

MAX_BODY = 4 * 2**20  # selecting 100,000 images on the map takes less than 1 MiB
GIVEN_OUT = frozenset({REPORT_FILE, EXPORT_ZIP, SUMS_FILE, ANALYSIS_ZIP})  # of the output folder
ROUTES = GIVEN_OUT | {"", "assets", "config", "favicon.ico", "manifest.json", "static", "svelte", "theme.css"}
# Those of no analysis: the list of all, and the password, of which there is one door.
TOP_ROUTES = ROUTES | {"analyses", "login", "logout", LINK.strip("/")}
API_ROUTES = {
    "app_id", "cancel", "component_server", "info", "login_check", "queue", "reset", "startup-events", "theme.css",
    "token", "user",
}  # fmt: skip
UPLOAD = "upload"
_FILE = "file="
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

# Gradio's scripts stand in the page, and gr.HTML builds functions from text; all else must come from here.
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; sandbox; frame-ancestors 'none'"
LIST_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

DELAY = 2.0  # seconds that the answer to a wrong password waits
LONGEST_LINE = 64  # attempts of one address that wait
REMEMBERED = 1000  # addresses


class _Line:
    """The attempts of one address at the password, in the order in which they came.

    Attributes
    ----------
    length : int
        Attempts that wait or are being answered.
    turn : Lock
        Held by the one that is being answered; the next is the one that has waited longest.
    """

    def __init__(self) -> None:
        self.length = 0
        self.turn = asyncio.Lock()


@dataclass
class Guard:
    """ASGI middleware that lets through what the page itself asks for.

    Parameters
    ----------
    app : ASGI application
    hosts : collection of str, optional
        Names under which the page answers, without port; any where None. A page that asks for a password needs none:
        its cookie does not go to another name.
    """

    app: ASGIApp
    hosts: frozenset[str] | None
    _lines: OrderedDict[str, _Line] = field(default_factory=OrderedDict, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # the page uses none
            return
        begun = False

        def begin(headers: MutableHeaders) -> None:
            nonlocal begun
            begun = True
            headers.update({**HEADERS, "Content-Security-Policy": _policy(split_address(scope["path"])[1])})

        send = at_start(send, begin)
        try:
            await self._answer(scope, receive, send)
        except ClientDisconnect:  # or its body was too long
            status, why = 400, "The request ended early."
        except SAFEError as error:  # of an analysis that is deleted or changed meanwhile
            status, why = 409, str(error)
        except Exception as error:  # noqa: BLE001, the door: what is wrong is in the log, not in the answer
            if isinstance(error.__cause__, HTTPException):
                return  # a refusal amid an answer: a window of an earlier start of SAFE asks for its events
            status, why = 500, report_defect(error)
        else:
            return
        if not begun:
            await PlainTextResponse(why + "\n", status)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if refusal := self._refusal(method, path, scope.get(WORKSPACE), Headers(scope=scope)):
            status, why = refusal
            await PlainTextResponse(why + "\n", status)(scope, receive, send)
        elif (path.strip("/") == "login" and method == "POST") or path.startswith(LINK):
            await self._attempt(scope, _bounded(receive), send)
        else:
            await self.app(scope, _bounded(receive), send)

    def _refusal(self, method: str, path: str, workspace: Workspace | None, headers: Headers) -> tuple[int, str] | None:
        """Why a request is refused, with the status to say so; None where it is not."""
        host = headers.get("host", "")
        if self.hosts is not None and _name_of(host) not in self.hosts:
            return 403, "This page answers on this machine only, as localhost or 127.0.0.1."
        if _is_foreign(method, path, host, headers):
            return 403, "Requests from other pages are refused."
        if not _is_known(*split_address(path), workspace):
            return 404, "There is no such page."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f"A request may have {MAX_BODY:,} bytes."
        if headers.get("content-type", "").lower().startswith("multipart/") and path.strip("/") != "login":
            return 415, "The page takes no files."
        return None

    async def _attempt(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Attempts at the password, or at the link of a workspace, are answered one after the other for each address.

        A wrong one holds up the line for its delay: an address makes one guess in each, however many it sends at once,
        and whoever knows the secret gets in once those before it are answered.
        """
        line = self._line(scope["client"][0] if scope.get("client") else "")
        if line.length >= LONGEST_LINE:
            await PlainTextResponse("Many attempts are waiting. Try again in a minute.\n", 429)(scope, receive, send)
            return

        async def delayed(message: Message) -> None:
            # A redirect, for example, is neither a right password nor a wrong one.
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await asyncio.sleep(DELAY)
            await send(message)

        line.length += 1
        try:
            async with line.turn:
                await self.app(scope, receive, delayed)
        finally:
            line.length -= 1

    def _line(self, client: str) -> _Line:
        line = self._lines.setdefault(client, _Line())
        self._lines.move_to_end(client)
        if len(self._lines) > REMEMBERED:
            # The address that has tried least lately, but none where an attempt waits
            idle = next((name for name, other in self._lines.items() if not other.length and other is not line), None)
            if idle is not None:
                del self._lines[idle]
        return line


def _is_known(analysis: str, path: str, workspace: Workspace | None) -> bool:
    if analysis != TOP and not path:
        return True
    _, first, *rest = path.split("/") if path.startswith("/") else ("", "?")
    if first == UPLOAD:
        return workspace is not None and workspace.uploads is not None
    if first != "gradio_api":
        return first in (ROUTES if analysis != TOP else TOP_ROUTES)
    called = "/".join(rest)
    if not called.startswith(_FILE):
        return bool(rest) and rest[0] in API_ROUTES
    return workspace is not None and _gives_out(workspace, analysis, called.removeprefix(_FILE))


def _gives_out(workspace: Workspace, analysis: str, name: str) -> bool:
    """Whether a file lies where the page of an analysis gives files out, all links followed."""
    try:
        folders = workspace.given_out(analysis)
        path = Path(name)
        if not path.is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            return False
        real = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    return any(real.is_relative_to(folder) for folder in folders)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port: `localhost`, `[::1]`; empty where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # a ValueError where it is no number
    except ValueError:
        return ""
    name = parts.hostname or ""
    # Whoever writes more than a name and a port wants it to be read in two ways.
    return "" if parts.netloc != host or "@" in host or parts.path or parts.query else name


def _is_foreign(method: str, path: str, host: str, headers: Headers) -> bool:
    """Whether another page makes the request. Following a link to this page is no such thing."""
    origin = headers.get("origin")
    if origin is not None and _place_of(origin) != host:
        return True
    linked = path == "/analyses" or path.startswith(LINK) or split_address(path)[1] in ("", "/")
    opened = method == "GET" and linked and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return not opened
    # Browsers that send no Sec-Fetch-Site send where a form or script comes from.
    referrer = headers.get("referer")
    if method in _SAFE_METHODS or origin is not None or not referrer:
        return False
    return _place_of(referrer) != host


def _place_of(url: str) -> str | None:
    """Host and port of a URL; None where it has none, as `null` and `http://[`."""
    try:
        return urlsplit(url).netloc or None
    except ValueError:
        return None


def _policy(path: str) -> str:
    if f"/{_FILE}" in path or path[1:] in GIVEN_OUT:
        return FILE_POLICY
    return LIST_POLICY if path.startswith(("/analyses", LINK)) else PAGE_POLICY


def _bounded(receive: Receive) -> Receive:
    """A body that does not say how long it is ends, as if the browser had gone, where it becomes too long."""
    received = 0

    async def receiving() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                return {"type": "http.disconnect"}
        return message

    return receiving
