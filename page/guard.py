"""What stands between the network and the page: only the requests that the page itself makes get through to Gradio.

Gradio serves more than this page needs (uploads, a proxy, calls by name), answers under any host name, and leaves the
question who may frame or call it to the browser. Here the routes are a short list, the host name is checked (a page of
another host could otherwise reach this one by DNS rebinding), requests of other origins are refused, bodies are
bounded, and guessing a password takes time.
"""

import asyncio
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 4 * 2**20  # selecting 100,000 images on the map takes less than 1 MiB
ROUTES = frozenset(
    {"", "assets", "config", "favicon.ico", "login", "logout", "manifest.json", "static", "svelte", "theme.css"}
)
API_ROUTES = frozenset(
    {"app_id", "cancel", "component_server", "heartbeat", "info", "login_check", "queue", "reset", "startup-events",
     "theme.css", "token", "user"}
)  # fmt: skip
_FILE = "file="
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

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

FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds, after a wrong password; doubled with each
REMEMBERED = 1000  # addresses whose failures are counted


class Guard:
    """ASGI middleware that lets through what the page itself asks for.

    Parameters
    ----------
    app : ASGI application
    hosts : collection of str, optional
        Names under which the page answers, without port; any where None. A page that asks for a password needs none:
        its cookie does not go to another name.
    folders : sequence of Path
        Files are given out below these alone.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, folders: tuple[Path, ...]):
        self._app = app
        self._hosts = hosts
        self._folders = folders
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._trying: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # the page uses none
            return
        headers = Headers(scope=scope)
        path, method = scope["path"], scope["method"]
        send = _with_headers(send, FILE_POLICY if f"/{_FILE}" in path else PAGE_POLICY)
        refusal = self._refusal(method, path, headers)
        if refusal:
            status, why = refusal
            await PlainTextResponse(why + "\n", status)(scope, receive, send)
        elif path.strip("/") == "login" and method == "POST":
            await self._login(scope, _bounded(receive), send)
        else:
            await self._app(scope, _bounded(receive), send)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Why a request is refused, with the status to say so; None where it is not."""
        host = headers.get("host", "")
        if self._hosts is not None and _name_of(host) not in self._hosts:
            return 403, "This page answers on this machine only, as localhost or 127.0.0.1."
        if _is_foreign(method, path, host, headers):
            return 403, "Requests from other pages are refused."
        if not self._is_known(path):
            return 404, "There is no such page."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f"A request may have {MAX_BODY:,} bytes."
        if headers.get("content-type", "").lower().startswith("multipart/") and path.strip("/") != "login":
            return 415, "The page takes no files."
        return None

    def _is_known(self, path: str) -> bool:
        _, first, *rest = path.split("/") if path.startswith("/") else ("", "?")
        if first != "gradio_api":
            return first in ROUTES
        called = "/".join(rest)
        if not called.startswith(_FILE):
            return bool(rest) and rest[0] in API_ROUTES
        return self._gives_out(called.removeprefix(_FILE))

    def _gives_out(self, name: str) -> bool:
        """Whether a file lies where files are given out, all links followed."""
        try:
            path = Path(name)
            if not path.is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
                return False
            real = path.resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        return any(real.is_relative_to(folder) for folder in self._folders)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Each address tries one password at a time, and waits after a wrong one before it learns of it."""
        client = scope["client"][0] if scope.get("client") else ""
        if client in self._trying:
            await PlainTextResponse("One attempt at a time.\n", 429)(scope, receive, send)
            return

        async def delayed(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 400:
                    self._failures.pop(client, None)
                else:
                    failures = self._failures.pop(client, 0)
                    self._failures[client] = failures + 1
                    while len(self._failures) > REMEMBERED:
                        self._failures.popitem(last=False)
                    await asyncio.sleep(min(FIRST_DELAY * 2 ** min(failures, 10), LONGEST_DELAY))
            await send(message)

        self._trying.add(client)
        try:
            await self._app(scope, receive, delayed)
        finally:
            self._trying.discard(client)


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
    if origin is not None and urlsplit(origin).netloc != host:
        return True
    opened = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return not opened
    # Browsers that send no Sec-Fetch-Site send where a form or script comes from.
    referrer = headers.get("referer")
    return method not in _SAFE_METHODS and origin is None and bool(referrer) and urlsplit(referrer).netloc != host


def _with_headers(send: Send, policy: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy
        await send(message)

    return sending


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
