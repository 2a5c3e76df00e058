"""Where the page lies: below a path of its address, as behind a proxy that serves other things as well.

What proxies write in headers ends here: the server (`page/serving/connections.py`) has taken what the one proxy says
that it knows, and Gradio would believe anyone.
"""

import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safe_dnn.support.errors import SAFEError

_OF_PROXIES = (b"forwarded", b"x-forwarded-", b"x-gradio-")
_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)


def checked_path(typed: str) -> str:
    """A path without a slash at its end; empty for the root of the address.

    Raises
    ------
    SAFEError
        It is no path.
    """
    path = typed.rstrip("/")
    if not _PATH.fullmatch(path) or {".", ".."} & {*path.split("/")}:
        raise SAFEError(f"Expected a path of an address, such as /safe (--root-path). Received: {typed}")
    return path


class Below:
    """ASGI middleware around all others, for which the page lies at the root of its address.

    Parameters
    ----------
    app : ASGI application
    path : str
        As of `checked_path`. Cookies are for what is below it.
    """

    def __init__(self, app: ASGIApp, path: str):
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["path"] == self._path:
            await RedirectResponse(f"{self._path}/")(scope, receive, send)
        elif not scope["path"].startswith(f"{self._path}/"):
            await PlainTextResponse(f"The page is at {self._path}/\n", 404)(scope, receive, send)
        else:
            headers = [(name, value) for name, value in scope["headers"] if not name.startswith(_OF_PROXIES)]
            inner = {**scope, "headers": headers, "path": scope["path"].removeprefix(self._path)}
            await self._app(inner, receive, at_start(send, self._outwards))

    def _outwards(self, headers: MutableHeaders) -> None:
        if headers.get("location", "").startswith("/"):
            headers["location"] = self._path + headers["location"]
        cookies = headers.getlist("set-cookie")
        del headers["set-cookie"]
        for cookie in cookies:
            headers.append("set-cookie", cookie.replace("Path=/", f"Path={self._path}/" if self._path else "Path=/"))


def at_start(send: Send, change: Callable[[MutableHeaders], object]) -> Send:
    """As `send`, but the headers of an answer are changed first."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            change(MutableHeaders(scope=message))
        await send(message)

    return sending
