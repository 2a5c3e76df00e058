"""Paths outside of a workspace have no name, however an answer is cut into parts."""

import asyncio

import pytest

from safe_dnn.page.serving.guard import Inside

NAMES = {"/srv/safe/w/1/analyses": "/~", "/srv/safe/w/1": "/~own"}


def asked(
    kind: str, parts: list[bytes], path: str = "/", body: list[bytes] | None = None, query: bytes = b""
) -> tuple[dict, bytes, bytes]:
    """The headers and body of an answer in parts, and what the application has read."""
    sent: list[dict] = []
    read: list[bytes] = []
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in body or []]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def app(scope, receive, send):
        read.append((scope["query_string"] + b" " if query else b"") + scope["path"].encode())
        while (message := await receive())["more_body"]:
            read.append(message["body"])
        read.append(message["body"])
        size = str(sum(map(len, parts))).encode()
        headers = [(b"content-type", kind.encode()), (b"content-length", size), (b"location", parts[0])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts) - 1})

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"br")]
    scope = {"type": "http", "path": path, "headers": headers, "query_string": query}
    asyncio.run(Inside(app, NAMES, "ann-")(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return headers, b"".join(message["body"] for message in sent[1:]), b"".join(read)


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8", "text/plain"])
@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_path_that_lies_across_two_parts_is_translated(kind, cut):
    text = b'{"a": "/srv/safe/w/1/analyses/eyes", "b": "%2Fsrv%2Fsafe%2Fw%2F1%2Fcache"}'
    headers, body, _ = asked(kind, [text[:cut], text[cut:]])
    assert body == b'{"a": "/~/eyes", "b": "%2F~own%2Fcache"}'
    assert headers["content-length"] == str(len(body))


def test_a_session_is_of_no_use_to_another_visitor():
    body = b'{"data": ["session_hash"], "session_hash": "abc", "fn_index": 1}'
    _, _, read = asked("text/plain", [b""], "/", [body[:30], body[30:]], b"x=1&session_hash=abc")
    assert read == b'x=1&session_hash=ann-abc /{"data": ["session_hash"], "session_hash": "ann-abc", "fn_index": 1}'


def test_an_event_is_translated_and_an_image_is_left_as_it_is():
    assert asked("text/event-stream", [b"data: /srv/safe/w/1/cache\n\n"])[1] == b"data: /~own/cache\n\n"
    assert asked("image/gif", [b"GIF /srv/safe/w/1/cache"])[1] == b"GIF /srv/safe/w/1/cache"


@pytest.mark.parametrize("cut", [3, 9, 12])
def test_what_a_visitor_names_becomes_a_path_and_nothing_else_does(cut):
    body = b'{"x": "/~/eyes", "y": "a/~b", "z": "/~own/c"}'
    _, _, read = asked("text/plain", [b""], "/gradio_api/file=/~/eyes/gifs/RCC_00.gif", [body[:cut], body[cut:]])
    path, text = b"/gradio_api/file=/srv/safe/w/1/analyses/eyes/gifs/RCC_00.gif", b'"/srv/safe/w/1/analyses/eyes"'
    assert read == path + b'{"x": ' + text + b', "y": "a/~b", "z": "/srv/safe/w/1/c"}'
