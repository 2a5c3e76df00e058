"""How the page is reached: the address that it listens on, what proxies are believed, and encryption."""

import contextlib
import os
import re
import socket
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvicorn

from safe_dnn.dnn.model_process import end_workers
from safe_dnn.support.errors import SAFEError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_CONNECTIONS = 512  # a window has up to six
LAST_ANSWERS = 1  # seconds; otherwise an open window would keep the server running for ever


class Outside(NamedTuple):
    """How the page is reached from outside.

    Attributes
    ----------
    address : str
        The path of its address that it lies below, or all of that address, whose host it then answers as well.
    proxy : str
        The addresses of proxies that are believed who a visitor is, and whether the connection is encrypted, with
        commas; any other's headers are ignored.
    certificate, key : path, optional
        PEM files for TLS; the first may have both.
    """

    address: str = ""
    proxy: str = ""
    certificate: str | os.PathLike | None = None
    key: str | os.PathLike | None = None

    @property
    def path(self) -> str:
        """Without a slash at its end; empty for the root of the address.

        Raises
        ------
        SAFEError
            The address is invalid.
        """
        try:
            parts = urlsplit(self.address)
        except ValueError:
            parts = urlsplit("//")
        path = parts.path.rstrip("/")
        whole = parts.scheme in ("http", "https") and parts.hostname
        if (
            not re.fullmatch(r"(/[\w.~-]+)*", path, re.ASCII)
            or {".", ".."} & {*path.split("/")}
            or (not whole and parts.path != self.address)
        ):
            raise SAFEError(
                "Expected a path of an address, such as /safe, or all of it, such as https://example.org/safe "
                f"(--root-path). Received: {self.address}"
            )
        return path

    def hosts(self, host: str) -> list[str]:
        """The names under which the page answers; `host` is the address that it listens on."""
        named = urlsplit(self.address).hostname
        return [*LOOPBACK, "[::1]", host, *([named] if named else [])]


AT_THE_ROOT = Outside()


def answer(app: Any, host: str, port: int, outside: Outside, where: str) -> None:
    """Answer requests until the process is interrupted."""
    check_certificate(outside)
    config = uvicorn.Config(
        app,
        proxy_headers=bool(outside.proxy),
        forwarded_allow_ips=outside.proxy,
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        # What fails in a request is in SAFE's own log. A line for each invalid request would fill the terminal.
        log_level="critical",
        ssl_certfile=outside.certificate,
        ssl_keyfile=outside.key,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )
    with contextlib.ExitStack() as ends, listen(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        ends.callback(end_workers)
        url = f"http{'s' if outside.certificate else ''}://{host}:{port}{outside.path}"
        print(f"SAFE is on {url}  ({where}; Ctrl-C ends it)", flush=True)
        uvicorn.Server(config).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; a SAFEError if it is in use, or this machine has no such address."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, ValueError) as error:
        raise SAFEError(
            f"Could not listen on {host}, port {port}. Is it in use? Choose another with --port."
        ) from error


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
