"""Paths, as a visitor of a service knows them: those in his workspace begin with `/~`, and there are no others.

Analyses, forms and sentences name paths of this machine, which is right on the page of an engineer who works on it. A
visitor has no business with them: what leaves has his own names, and what he sends is translated back before anything
reads it.
"""

import re
from collections.abc import Callable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TEXT = re.compile(r"text/|application/(json|manifest\+json|x-ndjson)")
_IN_QUERY, _IN_JSON = re.compile(rb"(?<![^&])session_hash="), re.compile(rb'"session_hash"\s*:\s*"')
_EVENTS = "text/event-stream"


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
