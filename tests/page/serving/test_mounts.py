import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from safe_dnn.page.analyses import make, rename
from safe_dnn.page.jobs import Jobs, Turn
from safe_dnn.page.serving.mounts import Mounts
from safe_dnn.support.errors import SAFEError


def test_the_page_of_an_analysis_is_built_once_and_ends_with_it(tmp_path):
    make(tmp_path, "a")
    built: list[str] = []
    turn, working = Turn(), threading.Event()

    def build(settings: SimpleNamespace) -> FastAPI:
        built.append(settings.out.name)

        async def page(scope, receive, send):
            settings.jobs.start("clusters", lambda job: working.wait(10))

        host = FastAPI()
        host.mount("", page)
        return host

    async def visit() -> None:
        def prepared(folder: Path, turn: Turn) -> SimpleNamespace:
            return SimpleNamespace(jobs=Jobs(turn), out=folder)

        mounts = Mounts(tmp_path, prepared(tmp_path, turn), prepared, build)

        async def ask(name: str) -> bool:
            if page := await mounts.page(name, "/"):
                await page({"type": "http", "method": "GET"}, None, None)
            return page is not None

        assert await ask("gone") is False
        assert await asyncio.gather(ask("a"), ask("a")) == [True, True]
        assert built == ["a"]
        with pytest.raises(SAFEError, match="a is at work"), mounts.resting("a"):
            pytest.fail("a job runs in it")
        working.set()
        rename(tmp_path, "a", "b")
        assert await ask("a") is False
        assert await ask("b")
        assert built == ["a", "b"]

    asyncio.run(visit())
