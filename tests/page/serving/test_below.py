"""The page lies below a path of its address, encrypted or behind a proxy, and believes no other proxy."""

import asyncio
import contextlib
import os
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from starlette.requests import Request

from safe_dnn.page.jobs import Turn
from safe_dnn.page.serving.connections import LOOPBACK, Outside
from safe_dnn.page.serving.service import Service
from safe_dnn.page.settings import Opened
from safe_dnn.support.errors import SAFEError
from tests.helpers.browsing import WAIT, begin_another, draw, field, new_window, unfold
from tests.helpers.documents import ROOT
from tests.helpers.laid_out import settings_of
from tests.helpers.places import closed_port
from tests.helpers.visiting import SECONDS, certificate, served

NGINX = os.environ.get("SAFE_NGINX", "")  # the program; without it, no test asks for nginx


@pytest.mark.parametrize("typed", ["safe", "/a b", "//x", "/../x", "/x?y", "/é", "ftp://x", "http://[", "http:///x"])
def test_what_is_no_path_is_refused(typed):
    with pytest.raises(SAFEError, match=r"such as /safe, .*\(--root-path\)"):
        Outside(typed).path  # noqa: B018
    assert Outside("/tools/safe-1/").path == "/tools/safe-1"
    assert Outside("/").path == Outside("https://example.org").path == ""


def test_the_host_of_an_address_is_answered_and_no_other():
    there = Outside("https://safe.example.org/tools/")
    assert there.path == "/tools"
    assert {*there.hosts("10.0.0.1")} == {*LOOPBACK, "[::1]", "10.0.0.1", "safe.example.org"}
    assert "safe.example.org" not in Outside("/tools").hosts("127.0.0.1")


def test_the_cookie_of_a_workspace_is_for_the_path_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "brought"))
    service = Service(tmp_path, Opened(Turn()), settings_of(tmp_path)._replace(hosted=True), 7)
    scope = {"type": "http", "method": "POST", "scheme": "https", "root_path": "/safe", "path": "/safe/begin"}
    scope |= {"headers": [], "query_string": b"", "server": ("safe.example.org", 443)}
    answer = asyncio.run(service.visitor(Request(scope), "/begin"))
    assert answer.headers["location"] == "/safe/"
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("Path=/safe/", "HttpOnly", "Secure", "SameSite=lax"))
    came_back = {**scope, "method": "GET", "headers": [(b"cookie", cookie.split(";")[0].encode())]}
    assert asyncio.run(service.visitor(Request(came_back), "/")).workspace["link"].startswith("https://")


@contextlib.contextmanager
def encrypted(folder: Path, *options: str | Path):
    """The page with TLS of its own: its address."""
    good, key = certificate(folder)
    with served(folder, *options, "--certificate", good, "--key", key) as (url, _):
        yield url


@contextlib.contextmanager
def behind_nginx(folder: Path, *options: str | Path):
    """The page behind nginx, which has TLS and is configured as the documents say: its address."""
    good, key = certificate(folder)
    location = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/SECURITY.md").read_text("utf-8"), re.DOTALL)[1]
    with served(folder, *options) as (inner, _):
        port = closed_port()
        location = location.replace("http://127.0.0.1:7860", inner.removesuffix("/safe"))
        server = f"listen 127.0.0.1:{port} ssl; ssl_certificate {good}; ssl_certificate_key {key}; {location}"
        settings = f"user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}"
        (folder / "nginx.conf").write_text(f"{settings} http {{ access_log off; server {{ {server} }} }}")
        with subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-p", folder]) as nginx:
            try:
                while not (folder / "nginx.pid").is_file() and nginx.poll() is None:
                    time.sleep(0.1)
                yield f"https://127.0.0.1:{port}/safe"
            finally:
                nginx.terminate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [encrypted, pytest.param(behind_nginx, marks=pytest.mark.skipif(not NGINX, reason="SAFE_NGINX is not set"))],
)
def test_below_a_path_with_tls_and_a_login_all_of_the_page_works(browser, tmp_path, place):
    images = draw(tmp_path / "failing", {"night": 10, "snow": 8, "wood": 6}, seed=0)
    password = ("--auth", "ada:secret", "--root", tmp_path)
    requests, faults = [], []
    with place(tmp_path, "--root-path", "/safe", "--proxy", "127.0.0.1", *password) as url:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/safe", url)
        login = {"username": "ada", "password": "secret"}
        page = new_window(
            browser, ignore_https_errors=True, http_credentials=login, viewport={"width": 1280, "height": 900}
        )
        page.goto(f"{url}/#tab=clusters")
        expect(page).to_have_title(re.compile("– SAFE$"))
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        unfold(page)
        field(page, "images").fill(str(images))
        page.locator("#generate").click()
        expect(page.locator("#clusters-status .safe-status")).to_contain_text("24 failures", timeout=4 * WAIT)
        page.wait_for_function(
            "[...document.images].some((image) => image.src.includes('/gifs/') && image.naturalWidth)"
        )
        assert faults == []
        begin_another(page, "eyes 2")
        expect(page).to_have_title("eyes 2 – SAFE")
        expect(page.locator("#generate")).to_be_visible()
        assert page.url == f"{url}/a/eyes%202/"
        expect(page.locator("#engineer b")).to_have_text("ada")
        assert page.context.cookies() == []
        assert httpx.get(f"{url}/config", verify=False, timeout=SECONDS).status_code == 401
        # The proxy is believed; it says that it is not asked by TLS. (nginx says itself how it is asked.)
        for said, scheme in (("http", "http"), ("https", "https")):
            answer = httpx.get(
                f"{url}/config", headers={"x-forwarded-proto": said}, auth=("ada", "secret"), verify=False,
                timeout=SECONDS,
            )  # fmt: skip
            assert urlsplit(answer.json()["root"]).scheme == (scheme if place is encrypted else "https")
        page.context.close()
    assert requests
    assert all(one.startswith(f"{url}/") for one in requests if urlsplit(one).scheme not in ("data", "blob"))
