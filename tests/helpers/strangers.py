"""Visitors of a service, each with a browser's cookies, who speak to it as the page's scripts do."""

import io
import json
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

    def make(self, name: str) -> str:
        """Make an analysis; its address."""
        made = self.client.post("/analyses/new", data={"name": name})
        assert made.status_code == 303, made.text
        return made.headers["location"].rstrip("/")

    def bring(self, analysis: str, name: str, files: Mapping[str, bytes], part: int = 2**21) -> dict:
        """Upload files to an analysis in parts; the last answer."""
        whole = b"".join(files.values())
        sizes = [[path, len(data)] for path, data in files.items()]
        begun = self.client.post(f"{analysis}/upload", content=json.dumps({"name": name, "files": sizes})).json()
        while "problem" not in begun and begun["received"] < len(whole):
            at = begun["received"]
            place = f"{analysis}/upload/{begun['id']}?at={at}"
            begun |= self.client.post(place, content=whole[at : at + part]).json()
        answer = begun
        while "problem" not in answer and "path" not in answer:
            answer = self.client.post(f"{analysis}/upload/{begun['id']}?finish").json()
        return answer

    def window(self, analysis: str, session: str, url: str = "") -> Visitor:
        """A window of an analysis's page, by default of the server where it was made."""
        there = (url or self.url) + analysis
        client = _client(there)
        client.cookies = self.client.cookies
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
