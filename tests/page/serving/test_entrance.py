import asyncio
from types import SimpleNamespace

import pytest
from starlette.responses import PlainTextResponse

from safe_dnn.page.analyses import address_of
from safe_dnn.page.serving.entrance import Entrance
from safe_dnn.page.serving.guard import Guard
from safe_dnn.page.serving.workspace import WORKSPACE, Workspace
from safe_dnn.store.database import LONGEST_ENGINEER, append, changing, entries, reading
from safe_dnn.support.errors import SAFEError


@pytest.mark.parametrize(
    ("cookie", "login", "engineer"),
    [
        ("safe-engineer=Ann%20%C3%89l", "", "Ann Él"),
        ("safe-engineer=Ann", "bob", "bob"),
        ("safe-engineer=%0Ax%20%00" + "y" * 200, "", "x �" + "y" * (LONGEST_ENGINEER - 3)),
        ("other=1", "", ""),
    ],
)
def test_a_request_speaks_with_the_name_of_the_login_or_else_with_the_one_in_the_cookie(
    tmp_path, cookie, login, engineer
):
    async def answer(scope, receive, send):
        with changing(tmp_path) as db:
            append(db, "rcc", "a", {}, author="window")

    scope = {"type": "http", "path": "/gradio_api/component_server", "headers": [(b"cookie", cookie.encode())]}
    scope |= {"app": SimpleNamespace(auth=None), WORKSPACE: SimpleNamespace(login=login, cache=None)}
    asyncio.run(Entrance(answer)(scope, None, None))
    with reading(tmp_path) as db:
        (entry,) = entries(db, "true")
    assert (entry.window, entry.engineer) == ("window", engineer)


def test_a_page_that_has_answered_and_raises_an_error_is_answered_no_second_time(tmp_path):
    """Gradio's does, for example where the analysis is deleted while it is read."""
    sent: list[str] = []

    async def send(message: dict) -> None:
        sent.append(message["type"])

    async def page(scope, receive, send):
        await PlainTextResponse("sorry", 500)(scope, receive, send)
        raise SAFEError("The folder is gone.")

    async def found(*_):
        return page

    listing = SimpleNamespace(shown=lambda why, status: PlainTextResponse(why, status))
    top = SimpleNamespace(login="", uploads=None)
    workspace = Workspace(SimpleNamespace(home=tmp_path, top=top, page=found), listing, tmp_path)
    guard = Guard(Entrance(page), None)
    about = {
        WORKSPACE: workspace,
        "app": SimpleNamespace(auth=None),
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
    }
    asyncio.run(guard({"type": "http", "path": address_of("a"), "method": "GET", **about}, None, send))
    assert sent == ["http.response.start", "http.response.body"]
