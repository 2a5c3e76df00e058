"""What all tests share: nothing is downloaded, images are drawn, and a stand-in for VGG16 needs no TensorFlow."""

import dataclasses
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import FE
from clustering import NOISE, RootCauseClusters, find_root_cause_clusters

# One look per root cause: ground, colour of the shape, and the shape.
SCENES = {
    "night": ((12, 14, 30), (70, 80, 120), "moon"),
    "snow": ((235, 240, 245), (180, 30, 30), "post"),
    "wood": ((30, 110, 40), (110, 70, 30), "trunks"),
    "sea": ((20, 60, 200), (240, 220, 60), "horizon"),
}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the user's caches nor the internet."""
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.delenv(FE.FC2_VARIABLE, raising=False)
    monkeypatch.setattr(FE, "FC2_URL", f"http://127.0.0.1:{closed_port()}/vgg16_weights.h5")


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder, sorted; SAFE's own hidden files are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".safe"))


def draw_scene(scene: str, rng: np.random.Generator, side: int = 64) -> Image.Image:
    """A scene with the shape moved a little and noise over it, so that no two are equal."""
    ground, colour, shape = SCENES[scene]
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(-2, 3, size=2) + side // 2
    if shape == "moon":
        draw.ellipse((x - 12, y - 12, x + 12, y + 12), fill=colour)
    elif shape == "post":
        draw.rectangle((x - 5, 4, x + 5, side), fill=colour)
    elif shape == "trunks":
        for left in (x - 24, x, x + 18):
            draw.rectangle((left, 0, left + 6, side), fill=colour)
    else:
        draw.rectangle((0, y, side, side), fill=colour)
    noisy = np.asarray(image) + rng.normal(0, 3, (side, side, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture
def draw_folder() -> Callable[..., Path]:
    """`draw_folder(folder, {"night": 5, "snow": 4}, seed=0)`: the folder, with images night_00.png, night_01.png, …"""

    def draw(folder: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        folder.mkdir(parents=True, exist_ok=True)
        for scene, count in counts.items():
            for i in range(count):
                draw_scene(scene, rng).save(folder / f"{scene}_{i:02d}.png")
        return folder

    return draw


class FakeNetwork:
    """Stands in for VGG16: its features are the image's pixels, averaged over squares of 16 × 16 and repeated."""

    def __init__(self) -> None:
        self.extractor = FE.Extractor("vgg16-conv", "vgg16-conv-fake-float32", Path("fake.onnx"))
        self.loads = 0
        self.images_seen = 0

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (224, 224, 3)
        self.images_seen += len(pixels)
        squares = pixels.reshape(len(pixels), 14, 16, 14, 16, 3).mean(axis=(2, 4))
        flat = (squares.reshape(len(pixels), -1) / 255).astype(np.float32)
        return flat[:, np.arange(self.extractor.dimension) % flat.shape[1]]


@pytest.fixture
def fake_network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """Put a `FakeNetwork` in the place of vgg16-conv, which `auto` then chooses."""
    fake = FakeNetwork()
    real = FE.load_network

    def load(extractor: FE.Extractor) -> Callable[[np.ndarray], np.ndarray]:
        if extractor.weights is None:
            return real(extractor)  # raises
        fake.loads += 1
        return fake

    monkeypatch.setattr(FE, "load_network", load)
    monkeypatch.setattr(FE, "_conv_extractor", lambda: fake.extractor)
    return fake


@pytest.fixture
def clusters(fake_network: FakeNetwork, draw_folder, tmp_path: Path) -> RootCauseClusters:
    """RCC 0: ten nights; RCC 1: eight snows, one of them no core point; RCC 2: six woods; in no cluster: two seas."""
    folder = draw_folder(tmp_path / "failing", {"night": 10, "snow": 8, "wood": 6, "sea": 2})
    found = find_root_cause_clusters(FE.extract_features(folder, fake_network.extractor))
    scenes = {"night": 0, "snow": 1, "wood": 2, "sea": NOISE}
    labels = np.array([scenes[path.split("_")[0]] for path in found.paths])
    is_core = labels != NOISE
    is_core[found.paths.index("snow_07.png")] = False
    return dataclasses.replace(found, labels=labels, is_core=is_core, reach=np.full(3, 0.2, np.float32))


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium."""
    from browsing import launched  # here, since most tests need no browser

    with launched() as browser:
        yield browser
