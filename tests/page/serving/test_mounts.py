import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from safe_dnn.page.analyses import make, rename
from safe_dnn.page.jobs import Jobs, Turn
from safe_dnn.page.serving.mounts import AT_REST, AWAKE, Mounts, Resting
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


def test_a_page_looks_for_work_less_often_while_no_window_sends_an_event(monkeypatch):
    async def asked(*waits: float, path: str = "/gradio_api/queue/join") -> float:
        queue = SimpleNamespace()
        page = Resting(lambda *_: asyncio.sleep(0), queue)
        for seconds in waits:
            monkeypatch.setattr("safe_dnn.page.serving.mounts.QUIET", seconds)
            await page({"path": path}, None, None)
        await asyncio.sleep(0.01)
        return queue.sleep_when_free

    assert asyncio.run(asked(0)) == AT_REST
    assert asyncio.run(asked(0.005, 60)) == AWAKE
    assert asyncio.run(asked(60, path="/gradio_api/component_server")) == AT_REST  # it asks for news
