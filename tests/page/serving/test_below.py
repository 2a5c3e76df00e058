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
from starlette.responses import JSONResponse, RedirectResponse

from safe_dnn.page.serving.below import Below, checked_path
from safe_dnn.support.errors import SAFEError
from tests.helpers.browsing import WAIT, draw, field, new_window, unfold
from tests.helpers.documents import ROOT
from tests.helpers.places import closed_port
from tests.helpers.visiting import SECONDS, certificate, served

NGINX = os.environ.get("SAFE_NGINX", "")  # the program; without it, no test asks for nginx


async def inner(scope, receive, send):
    request = Request(scope)
    response = JSONResponse({"path": scope["path"], "headers": list(request.headers)})
    if scope["path"] == "/moved":
        response = RedirectResponse("/a/x/")
    response.set_cookie("token", "1", httponly=True)
    await response(scope, receive, send)


def asked(path: str, address: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Below(inner, path))
        async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
            return await client.get(address)

    return asyncio.run(ask())


def test_below_a_path_the_page_sees_none_and_its_redirects_and_cookies_have_it():
    assert asked("/safe", "/safe").headers["location"] == "/safe/"
    assert asked("/safe", "/safer").status_code == asked("/safe", "/").status_code == 404
    answer = asked("/safe", "/safe/a/x/config")
    assert answer.json()["path"] == "/a/x/config"
    assert answer.headers["set-cookie"].startswith("token=1; HttpOnly; Path=/safe/")
    assert asked("/safe", "/safe/moved").headers["location"] == "/safe/a/x/"
    assert asked("", "/moved").headers["location"] == "/a/x/"
    assert "Path=/;" in asked("", "/").headers["set-cookie"] + ";"


def test_what_a_visitor_says_of_proxies_goes_no_further():
    names = {"x-forwarded-host": "evil", "x-forwarded-proto": "https", "forwarded": "host=evil", "x-gradio-server": "e"}
    assert not {*asked("", "/", **names, accept="all").json()["headers"]} & {*names}


@pytest.mark.parametrize("typed", ["safe", "/a b", "//x", "/../x", "/x?y", "/é", "http://x"])
def test_what_is_no_path_is_refused(typed):
    with pytest.raises(SAFEError, match=r"such as /safe \(--root-path\)"):
        checked_path(typed)
    assert checked_path("/tools/safe-1/") == "/tools/safe-1"
    assert checked_path("/") == ""


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
    login = ("--auth", "ada:secret", "--root", tmp_path)
    requests, faults = [], []
    with place(tmp_path, "--root-path", "/safe", "--proxy", "127.0.0.1", *login) as url:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/safe", url)
        page = new_window(browser, ignore_https_errors=True, viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.get_by_label("username").fill("ada")
        page.get_by_label("password").fill("secret")
        page.get_by_role("button", name="Login").click()
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
        page.get_by_role("link", name="Analyses").click()
        page.get_by_label("Name of a new analysis").fill("eyes 2")
        page.get_by_role("button", name="New analysis").click()
        expect(page).to_have_title("eyes 2 – SAFE")
        expect(page.locator("#generate")).to_be_visible()
        page.get_by_role("link", name="Analyses").click()
        expect(page.get_by_role("link", name="eyes 2")).to_be_visible()
        assert page.url == f"{url}/analyses"
        assert {cookie["path"] for cookie in page.context.cookies()} == {"/safe/"}
        # The proxy is believed; it says that it is not asked by TLS. (nginx says itself how it is asked.)
        told = httpx.get(f"{url}/config", headers={"x-forwarded-proto": "http"}, verify=False, timeout=SECONDS)
        assert told.status_code == 401
        cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
        for said, scheme in (("http", "http"), ("https", "https")):
            answer = httpx.get(
                f"{url}/config", headers={"x-forwarded-proto": said}, cookies=cookies, verify=False, timeout=SECONDS
            )
            assert urlsplit(answer.json()["root"]).scheme == (scheme if place is encrypted else "https")
        page.context.close()
    assert requests
    assert all(one.startswith(f"{url}/") for one in requests if urlsplit(one).scheme not in ("data", "blob"))
