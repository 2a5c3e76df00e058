"""Connections to the page: where all are taken, the address that holds the most of them loses one to a new one.

A connection costs whoever opens it nothing, and the server one of the files that it may open. So nobody who holds many
keeps others out.
"""

import os
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from safe_dnn.support.errors import SAFEError

MOST_CONNECTIONS = 512  # a window has up to six
BACKLOG = 64  # connections that may be accepted before one of them is counted
LAST_ANSWERS = 1  # seconds; otherwise an open window would keep the server running for ever


class _Connection(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = self.loop.time()
        # Images and databases need files, too.
        if len(self.connections) > min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2):
            lost = _given_up(self.connections)
            self.connections.discard(lost)  # at once: the next one may come before its end is noticed
            lost.transport.abort()


def _given_up(connections: Iterable[Any]) -> Any:
    """Of the address with the most connections one without a request if possible, and of these the oldest."""
    held = Counter(_address(one) for one in connections)

    def first(one: Any) -> tuple[int, bool, float]:
        idle = one.cycle is None or one.cycle.response_complete
        return held[_address(one)], idle, -one.since

    return max(connections, key=first)


def _address(connection: H11Protocol) -> str:
    return connection.client[0] if connection.client else ""


class Outside(NamedTuple):
    """How the page is reached from outside.

    Attributes
    ----------
    path : str
        The path of its address that it lies below (see `page/serving/below.py`).
    proxy : str
        The addresses of proxies that are believed who a visitor is, and whether the connection is encrypted, with
        commas; any other's headers are ignored.
    certificate, key : path, optional
        PEM files for TLS; the first may have both.
    """

    path: str = ""
    proxy: str = ""
    certificate: str | os.PathLike | None = None
    key: str | os.PathLike | None = None


AT_THE_ROOT = Outside()


def check_certificate(outside: Outside) -> None:
    """Raise a SAFEError if the certificate and its key cannot be used."""
    certificate, key = outside.certificate, outside.key
    if not certificate and not key:
        return
    try:
        # Without a password, the terminal would be asked for it.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate or "", key, password="")
    except OSError as error:
        files = " and ".join(os.fspath(file) for file in (certificate, key) if file)
        raise SAFEError(
            "Expected PEM files with a certificate (--certificate) and its key, without a password (--key). Received: "
            f"{files} ({error.strerror or error})."
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address.

    Raises
    ------
    SAFEError
        The address is in use, or this machine has no such address.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, ValueError) as error:
        raise SAFEError(
            f"Could not listen on {host}, port {port}. Is it in use? Choose another with --port."
        ) from error


class _OfProxy:
    """ASGI middleware that takes the word of a proxy for who a visitor is, and drops that of anybody else."""

    def __init__(self, app: Any, proxy: str, header: str):
        self._app = ProxyHeadersMiddleware(app, proxy)
        self._header = header.lower().encode("latin-1")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        peer = scope.get("client") or ("",)
        if self._header and peer[0] not in self._app.trusted_hosts and "headers" in scope:
            kept = [(name, value) for name, value in scope["headers"] if name != self._header]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


def answer(app: Any, listener: socket.socket, outside: Outside, user_header: str = "") -> None:
    """Answer requests until the process is interrupted; `user_header` is that of the proxy's user names."""
    config = uvicorn.Config(
        _OfProxy(app, outside.proxy, user_header),
        proxy_headers=False,
        http=_Connection,
        ws="none",
        backlog=BACKLOG,
        # What fails in a request is in SAFE's own log. A line for each request that is none would fill the terminal.
        log_level="critical",
        ssl_certfile=outside.certificate,
        ssl_keyfile=outside.key,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )
    uvicorn.Server(config).run([listener])
