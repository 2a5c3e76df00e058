"""The guard of the page, without a page behind it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from safe_dnn.page.jobs import Turn
from safe_dnn.page.serving.guard import DELAY, MOST_GUESSES, Guard, failed, with_password
from safe_dnn.page.settings import Opened
from safe_dnn.store.database import LONGEST_ENGINEER, append, changing, entries, present_engineer, reading
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.files import cache_folder
from tests.helpers.laid_out import settings_of


def guarded(
    folder: Path, answer: Callable, credentials: tuple[str, str] | None = None, **top: object
) -> httpx.AsyncClient:
    """A stand-in for Gradio behind the guard."""
    settings, opened = settings_of(folder)._replace(**top), Opened(Turn())
    around = [Middleware(Guard, visitor=with_password(settings, credentials), opened=opened)]
    app = Starlette(routes=[Route("/config", answer)], middleware=around)
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://any.name")


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the guard has waited each time; it waits for a moment instead."""
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0.01)

    real = asyncio.sleep
    monkeypatch.setattr("safe_dnn.page.serving.guard.asyncio.sleep", sleep)
    return waited


def test_wrong_passwords_wait_and_few_of_an_address_are_looked_at_at_once(tmp_path, waited):
    async def attempt(client: httpx.AsyncClient, password: str) -> int:
        return (await client.get("/config", auth=("ada", password))).status_code

    async def attack() -> None:
        async with guarded(tmp_path, lambda request: JSONResponse({}), ("ada", "ri:ght")) as client:
            assert (await client.get("/config")).headers["www-authenticate"].startswith("Basic")
            assert await attempt(client, "ri:ght") == 200
            assert waited == []  # a right one does not wait
            answers = await asyncio.gather(*(attempt(client, "wrong") for _ in range(MOST_GUESSES + 9)))
            assert sorted(answers) == [401] * MOST_GUESSES + [429] * 9
            assert waited == [DELAY] * MOST_GUESSES
            assert await attempt(client, "ri:ght") == 200
            for header in ("Basic", "Basic \xff", "Basic ====", "Bearer ri:ght", "Basic " + "x" * 5000):
                answer = await client.get("/config", headers={"authorization": header.encode("latin-1")})
                assert answer.status_code == 401, header

    asyncio.run(attack())


def test_what_fails_further_in_is_a_sentence_and_a_traceback_in_the_log(tmp_path, capsys):
    def answer(request: Request) -> None:
        raise ZeroDivisionError("/home/ann")

    async def ask() -> httpx.Response:
        async with guarded(tmp_path, answer) as client:
            return await client.get("/config")

    answered = asyncio.run(ask())
    assert (answered.status_code, answered.text) == (500, VISITOR_MESSAGE + "\n")
    assert "raise ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cookie", "login", "engineer"),
    [
        ("safe-engineer=Ann%20%C3%89l", "", "Ann Él"), ("safe-engineer=Ann", "bob", "bob"),
        ("safe-engineer=%0Ax%20%00" + "y" * 200, "", "x �" + "y" * (LONGEST_ENGINEER - 3)), ("other=1", "", ""),
    ],
)  # fmt: skip
def test_a_request_speaks_with_the_name_of_the_login_or_else_with_the_one_in_the_cookie(
    tmp_path, cookie, login, engineer
):
    def answer(request: Request) -> JSONResponse:
        with changing(tmp_path) as db:
            append(db, "rcc", "a", {}, author="window")
        return JSONResponse({})

    async def ask() -> None:
        async with guarded(tmp_path, answer, login=login) as client:
            assert (await client.get("/config", headers={"cookie": cookie})).status_code == 200

    asyncio.run(ask())
    with reading(tmp_path) as db:
        (entry,) = entries(db, "true")
    assert (entry.window, entry.engineer) == ("window", engineer)
    assert present_engineer() == ""


def test_what_a_visitor_says_of_proxies_goes_no_further(tmp_path):
    names = {"x-forwarded-host": "evil", "x-forwarded-proto": "https", "forwarded": "host=evil", "x-gradio-server": "e"}

    async def ask() -> httpx.Response:
        async with guarded(tmp_path, lambda request: JSONResponse(list(request.headers))) as client:
            return await client.get("/config", headers={**names, "accept": "all"})

    assert not {*asyncio.run(ask()).json()} & {*names}


def test_a_stream_for_a_session_that_was_forgotten_is_refused_and_no_defect():
    error = RuntimeError("Caught handled exception, but response already started.")
    error.__cause__ = HTTPException(404)
    response = asyncio.run(failed(Request({"type": "http"}), error))
    assert (response.status_code, response.body) == (404, b"Not Found\n")
    assert not (cache_folder() / LOG_FILE).exists()
