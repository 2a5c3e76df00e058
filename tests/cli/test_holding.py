import socket

import httpx

from cli.holding import MARK, held
from tests.helpers.places import closed_port


def test_the_address_answers_that_safe_is_starting_and_is_free_afterwards():
    port = closed_port()
    with held("127.0.0.1", port) as free:
        answer = httpx.get(f"http://127.0.0.1:{port}/anything")
        assert answer.status_code == 200
        assert MARK in answer.headers
        assert "is starting" in answer.text
        assert httpx.post(f"http://127.0.0.1:{port}/").status_code == 501
        free()
        with socket.create_server(("127.0.0.1", port)):
            pass
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_address_that_is_taken_is_left_alone():
    with socket.create_server(("127.0.0.1", 0)) as taken, held("127.0.0.1", taken.getsockname()[1]) as free:
        free()
    with held("127.0.0.1", 10**6) as free:
        free()
