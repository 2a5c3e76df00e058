import asyncio
from types import SimpleNamespace

import pytest

from safe_dnn.page.serving.entrance import Entrance
from safe_dnn.page.serving.workspace import WORKSPACE
from safe_dnn.store.database import LONGEST_ENGINEER, append, changing, entries, reading


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
    async def answer(scope, receive, send):
        with changing(tmp_path) as db:
            append(db, "rcc", "a", {}, author="window")

    scope = {"type": "http", "path": "/gradio_api/component_server", "headers": [(b"cookie", cookie.encode())]}
    scope |= {"app": SimpleNamespace(auth=None), WORKSPACE: SimpleNamespace(login=login, cache=None)}
    asyncio.run(Entrance(answer)(scope, None, None))
    with reading(tmp_path) as db:
        (entry,) = entries(db, "true")
    assert (entry.window, entry.engineer) == ("window", engineer)
