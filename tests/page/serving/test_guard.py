"""The guard of the page, without a page behind it."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from safe_dnn.page.serving.guard import DELAY, LONGEST_LINE, Guard
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.files import cache_folder


def guarded() -> httpx.AsyncClient:
    """A stand-in for Gradio that knows one password, behind the guard."""

    async def gradio(scope, receive, send):
        body = (await receive()).get("body", b"")
        if scope["path"] == "/config":
            raise ZeroDivisionError("/home/ann")
        status = 307 if scope["path"] == "/login//" else 200 if b"password=right" in body else 400
        await PlainTextResponse("", status)(scope, receive, send)

    guard = Guard(gradio, None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard, client=("10.0.0.9", 1)), base_url="http://any.name")


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


async def attempt(client: httpx.AsyncClient, password: str, path: str = "/login") -> int:
    return (await client.post(path, data={"password": password})).status_code


def test_attempts_of_one_address_are_answered_in_turn_and_the_right_one_gets_in(waited):
    answers = []

    async def one(client: httpx.AsyncClient, password: str) -> None:
        answers.append((password, await attempt(client, password)))

    async def attack() -> None:
        async with guarded() as client:
            passwords = ["wrong 1", "wrong 2", "right", "wrong 3"]
            await asyncio.gather(*(one(client, password) for password in passwords))
            assert answers == [("wrong 1", 400), ("wrong 2", 400), ("right", 200), ("wrong 3", 400)]
            assert waited == [DELAY] * 3  # a right one does not wait
            assert await attempt(client, "wrong", "/login//") == 307
            assert len(waited) == 3  # neither right nor wrong

    asyncio.run(attack())


def test_a_line_of_attempts_is_bounded_and_begins_anew(waited):
    async def attack() -> None:
        async with guarded() as client:
            answers = await asyncio.gather(*(attempt(client, "wrong") for _ in range(LONGEST_LINE + 9)))
            assert sorted(answers) == [400] * LONGEST_LINE + [429] * 9
            assert len(waited) == LONGEST_LINE
            assert await attempt(client, "right") == 200

    asyncio.run(attack())


def test_what_fails_further_in_is_a_sentence_and_a_traceback_in_the_log(capsys):
    async def ask() -> httpx.Response:
        async with guarded() as client:
            return await client.get("/config")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.text) == (500, VISITOR_MESSAGE + "\n")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "raise ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err
