"""Visitors of a service, each with a browser's cookies, who speak to it as the page's scripts do."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.helpers.visiting import SECONDS, Visitor


class Stranger:
    """A visitor with cookies of his own, from an address of this machine."""

    def __init__(self, url: str, address: str = "127.0.0.1"):
        self.url = url
        self.client = _client(url, address)

    @property
    def secret(self) -> str:
        return self.client.cookies.get("safe-workspace") or ""

    def begin(self) -> None:
        """Get a workspace."""
        begun = self.client.post("/begin")
        assert begun.status_code == 303, begun.text

    def make(self, name: str) -> str:
        """Make an analysis, in a workspace if there is none yet; its address."""
        if not self.secret:
            self.begin()
        made = self.client.post("/new", data={"name": name})
        assert made.status_code == 303, made.text
        return made.headers["location"].removeprefix(".").rstrip("/")

    def bring(self, analysis: str, name: str, data: bytes) -> dict:
        """Upload a file to an analysis, as Gradio's button does; what the window is told."""
        sent = self.client.post(f"{analysis}/gradio_api/upload", files={"files": (name, data)})
        if sent.status_code != 200:
            return {"problem": sent.text}
        window = self.window(analysis, f"bringing {name}")
        file = {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        told = window.fire(window.handler("upload-files", "upload"), [[file]])
        answers = [*filter(None, re.findall(r'"brought": "((?:[^"\\]|\\.)*)"', told))]
        assert answers, told
        return json.loads(json.loads(f'"{answers[-1]}"'))

    def window(self, analysis: str, session: str, url: str = "") -> Visitor:
        """A window of an analysis's page, by default of the server where it was made."""
        there = (url or self.url) + analysis
        client = _client(there)
        client.cookies = self.client.cookies
        client.headers.update(self.client.headers)
        return Visitor(there, session, client)


def _client(url: str, address: str = "127.0.0.1") -> httpx.Client:
    """One that holds no connection open, so that it need not be closed."""
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_keepalive_connections=0))
    return httpx.Client(base_url=url, transport=transport, timeout=SECONDS)


def packed(files: Mapping[str, bytes]) -> bytes:
    """A ZIP file."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def contents_of(folder: Path) -> dict[str, bytes]:
    """The files in a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
