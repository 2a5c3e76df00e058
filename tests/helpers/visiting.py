"""A page that is up, spoken to as its own scripts do, or as no script of it would."""

import contextlib
import datetime
import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from safe_dnn.features.vgg16 import FC2_VARIABLE
from tests.helpers.places import closed_port

FAKED = Path(__file__).with_name("faked_tool.py")
SECONDS = 60  # for an answer; the machine may be busy


@contextlib.contextmanager
def served(
    folder: Path, *options: str | Path, cwd: Path | None = None, tool: Path = FAKED, **variables: str
) -> Iterator[tuple[str, int]]:
    """`ui` in a process of its own, with a stand-in for VGG16 unless `tool` says otherwise: its address, and number.

    `folder` takes its cache, log, temporary files and results; `variables` are those of `faked_tool.py`.
    """
    port = closed_port()
    (folder / "tmp").mkdir(exist_ok=True)
    environment = (
        {name: value for name, value in os.environ.items() if name != FC2_VARIABLE}
        | variables
        | {"SAFE_CACHE": str(folder / "cache"), "KERAS_HOME": str(folder / "keras"), "TMPDIR": str(folder / "tmp")}
    )
    command = [sys.executable, tool, "ui", "--port", str(port), "--out", folder / "out", *options]
    with (
        (folder / "stderr.txt").open("w") as stderr,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=cwd) as server,
    ):
        try:
            assert server.stdout is not None
            first_line = server.stdout.readline()
            assert first_line.startswith("SAFE is on http"), (folder / "stderr.txt").read_text()
            yield first_line.split()[3], server.pid
        finally:
            server.terminate()


class Visitor:
    """One window of the page: calls its event handlers with whatever is given."""

    def __init__(self, url: str, session: str, client: httpx.Client | None = None):
        self.url = url
        self.session = session
        self.client = client or httpx.Client(base_url=url, timeout=SECONDS)
        config = self.client.get("/config").json()
        self._ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._types = {part["id"]: part["type"] for part in config["components"]}
        self._defaults = {part["id"]: part["props"].get("value") for part in config["components"]}
        self.handlers = config["dependencies"]

    def id_of(self, widget: str) -> int:
        return self._ids[widget]

    def kind_of(self, number: int) -> str:
        """The type of a widget, for example `dropdown`."""
        return self._types[number]

    def handler(self, widget: str, event: str) -> dict:
        """The handler of an event of a widget."""
        return next(one for one in self.handlers if [self._ids[widget], event] in one["targets"])

    def loads(self) -> list[dict]:
        """What a window that is opened asks the server for: first the RCCs, then the other tabs."""
        asking = [one for one in self.handlers if one["backend_fn"]]
        opened = [one for one in asking if any(target[1] == "load" for target in one["targets"])]
        first = {one["id"] for one in opened}
        return opened + [one for one in asking if one["trigger_after"] in first and not one["inputs"]]

    def open(self) -> str:
        """What a window that is opened is told of the RCCs."""
        return self.fire(self.loads()[0], [None, "", None])

    def send(self, button: str, **given: object) -> str:
        """What a click is answered, with some fields filled in: `select_model` is `#select-model`."""
        handler = self.handler(button, "click")
        values = {self._ids[name.replace("_", "-")]: value for name, value in given.items()}
        assert values.keys() <= set(handler["inputs"])
        return self.fire(handler, [values.get(part, self._defaults[part]) for part in handler["inputs"]])

    def fire(self, handler: dict, data: list, event_data: object = None) -> str:
        """What the handler answers, as text, and the work that it starts; an HTTP status where it is refused before."""
        answers = [self._ask(handler, data, event_data)]
        ticks = [one for one in self.handlers if one["targets"][0][1] == "tick" and handler.get("outputs")]
        tick = next((one for one in ticks if handler["outputs"][-1] in one["outputs"]), None)
        while tick and "aria-label='Progress'" in answers[-1]:
            time.sleep(0.1)
            answers.append(self._ask(tick, [None] * len(tick["inputs"])))
        return "\n".join(answers)

    def _ask(self, handler: dict, data: list, event_data: object = None) -> str:
        sent = {"data": data, "fn_index": handler["id"], "session_hash": self.session, "event_data": event_data}
        joined = self.client.post("/gradio_api/queue/join", content=json.dumps(sent), headers=JSON)
        if joined.status_code != 200:
            return f"{joined.status_code} {joined.text}"
        event, answers = joined.json()["event_id"], []
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if not line.startswith("data: "):
                    continue
                message = json.loads(line.removeprefix("data: "))
                if message.get("event_id") == event:
                    answers.append(json.dumps(message, ensure_ascii=False))
                if message["msg"] == "process_completed" and message.get("event_id") == event:
                    break
                if message["msg"] == "close_stream":
                    break
        return "\n".join(answers)

    def serve(self, widget: str, function: str, data: object) -> httpx.Response:
        """Call a server function of a widget's script."""
        sent = {"component_id": self._ids[widget], "fn_name": function, "data": data, "session_hash": self.session}
        return self.client.post("/gradio_api/component_server", content=json.dumps(sent), headers=JSON)


JSON = {"content-type": "application/json"}


def certificate(folder: Path) -> tuple[Path, Path]:
    """One of its own for 127.0.0.1, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    for file, password in (
        ("key.pem", serialization.NoEncryption()),
        ("locked.pem", serialization.BestAvailableEncryption(b"x")),
    ):
        (folder / file).write_bytes(key.private_bytes(*form, password))
    return folder / "certificate.pem", folder / "key.pem"
