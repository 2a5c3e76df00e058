"""What all tests share: nothing is downloaded, images are drawn, and a stand-in for VGG16 needs no TensorFlow."""

import copy
import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safe_dnn import FE
from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.model_process import connect
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.vgg16 import FC2_VARIABLE, load_network
from safe_dnn.options import ClusteringSettings
from safe_dnn.rccs.clusters import RootCauseClusters, save_clusters
from safe_dnn.rccs.dbscan.consensus import FEWEST_SAMPLES
from safe_dnn.rccs.dbscan.outcome import NOISE
from tests.helpers.answered import AnsweredCase, People, copy_case, draw_case, draw_people
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.places import closed_port
from tests.helpers.scenes import draw_scenes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests in a browser first: they take longest, and would keep one worker busy while others are done."""
    first = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Places for the caches of each test. (`mktemp` reads the names of all folders that it has made, each time.)"""
    home = tmp_path_factory.mktemp("homes")
    return (home / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> None:
    """Neither the user's caches nor the internet."""
    home = next(homes)
    for variable, name in (("SAFE_CACHE", "cache"), ("KERAS_HOME", "keras")):
        (home / name).mkdir(parents=True)
        monkeypatch.setenv(variable, str(home / name))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.delenv(FC2_VARIABLE, raising=False)
    monkeypatch.setattr("safe_dnn.features.vgg16.FC2_URL", f"http://127.0.0.1:{closed_port()}/vgg16_weights.h5")


@pytest.fixture
def draw_folder() -> Callable[..., Path]:
    return draw_scenes


@pytest.fixture(autouse=True)
def few_samples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the random parts that RCCs must hold together in: enough for groups that lie apart."""
    if "all_samples" not in request.fixturenames:
        monkeypatch.setattr("safe_dnn.rccs.dbscan.consensus.MOST_SAMPLES", FEWEST_SAMPLES)


@pytest.fixture
def all_samples() -> None:
    """The random parts of a real run."""


@pytest.fixture(autouse=True)
def models_in_a_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are run in a thread: a process of its own would import TensorFlow each time, which takes seconds."""

    def start(pipe: Any) -> tuple[ThreadPoolExecutor, Future]:
        pool = ThreadPoolExecutor(1, initializer=connect, initargs=(pipe,))
        return pool, pool.submit(int)

    if "models_in_processes" not in request.fixturenames:
        monkeypatch.setattr("safe_dnn.dnn.model_process._start", start)
        monkeypatch.setattr("safe_dnn.dnn.model_process._end", lambda pool, _: pool.shutdown(wait=False))


@pytest.fixture
def models_in_processes() -> None:
    """Models are run as they are in the product."""


@pytest.fixture(autouse=True)
def plain_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, features are in float32, on whatever processor the tests run."""
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", set)


def put_fake_network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    fake = FakeNetwork()
    real = load_network

    def load(extractor: Extractor) -> Callable[[np.ndarray], np.ndarray]:
        if extractor.weights is None:
            return real(extractor)  # raises
        fake.loads += 1
        return fake

    monkeypatch.setattr(FE, "load_network", load)
    monkeypatch.setattr("safe_dnn.features.vgg16._conv_extractor", lambda: fake.extractor)
    return fake


@pytest.fixture
def fake_network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """Put a `FakeNetwork` in the place of vgg16-conv, which `auto` then chooses."""
    return put_fake_network(monkeypatch)


@pytest.fixture(scope="session")
def clustered_once(tmp_path_factory: pytest.TempPathFactory) -> RootCauseClusters:
    """What `clusters` gives copies of. The cache with its features lies beside its images."""
    home = tmp_path_factory.mktemp("clusters")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SAFE_CACHE", str(home / "cache"))
        fake = put_fake_network(monkeypatch)
        folder = draw_scenes(home / "failing", {"night": 10, "snow": 8, "wood": 6, "sea": 2})
        return find_root_cause_clusters(FE.extract_features(folder, fake.extractor))


@pytest.fixture
def clusters(fake_network: FakeNetwork, clustered_once: RootCauseClusters, tmp_path: Path) -> RootCauseClusters:
    """Of `by_scene`, with images of their own."""
    shutil.copytree(clustered_once.image_root.parent / "cache", os.environ["SAFE_CACHE"], dirs_exist_ok=True)
    return by_scene(clustered_once, shutil.copytree(clustered_once.image_root, tmp_path / "failing"))


@pytest.fixture
def out(clusters: RootCauseClusters, tmp_path: Path) -> Path:
    """An output folder that holds `clusters`."""
    save_clusters(clusters, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def case(fake_network: FakeNetwork, tmp_path: Path) -> AnsweredCase:
    """A test set that the DNN has answered."""
    return draw_case(tmp_path)


@pytest.fixture(scope="session")
def generated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `generated` and `explained` give copies of: for each a case, and the cache with its features."""
    home = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SAFE_CACHE", str(home / "cache"))
        monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", set)
        monkeypatch.setattr("safe_dnn.rccs.dbscan.consensus.MOST_SAMPLES", FEWEST_SAMPLES)
        put_fake_network(monkeypatch)
        case = draw_case(home / "generated")
        generate_clusters(case.failing, case.out, ClusteringSettings(extractor="vgg16-conv"))
        assert explain_failures(copy_case(home / "generated", home / "explained").out)
    return home


@pytest.fixture
def generated(fake_network: FakeNetwork, generated_once: Path, tmp_path: Path) -> AnsweredCase:
    """`case` with RCCs of its failing images."""
    shutil.copytree(generated_once / "cache", os.environ["SAFE_CACHE"], dirs_exist_ok=True)
    return copy_case(generated_once / "generated", tmp_path)


@pytest.fixture
def explained(fake_network: FakeNetwork, generated_once: Path, tmp_path: Path) -> AnsweredCase:
    """The same with weak spots and failure rates."""
    shutil.copytree(generated_once / "cache", os.environ["SAFE_CACHE"], dirs_exist_ok=True)
    return copy_case(generated_once / "explained", tmp_path)


@pytest.fixture
def people(fake_network: FakeNetwork, tmp_path: Path) -> People:
    """A test set of persons who look different."""
    return draw_people(tmp_path)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its sets (see `tests.helpers.small_models.draw_sets`)."""
    from tests.helpers.small_models import draw_sets  # here, since most tests need no TensorFlow

    return draw_sets(tmp_path_factory.mktemp("sets"))


def by_scene(found: RootCauseClusters, root: Path) -> RootCauseClusters:
    """RCC 0: ten nights; RCC 1: eight snows, one of them no core point; RCC 2: six woods; in no cluster: two seas."""
    found = dataclasses.replace(copy.deepcopy(found), image_root=root)
    scenes = {"night": 0, "snow": 1, "wood": 2, "sea": NOISE}
    labels = np.array([scenes[path.split("_")[0]] for path in found.paths])
    is_core = labels != NOISE
    is_core[found.paths.index("snow_07.png")] = False
    reach = np.full(3, 0.2, np.float32)
    return dataclasses.replace(found, labels=labels, is_core=is_core, reach=reach, steadiness=None)


@pytest.fixture(scope="session")
def attested_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `attested` gives copies of, once it was asked for."""
    return tmp_path_factory.mktemp("attested")


@pytest.fixture
def attested(clusters: RootCauseClusters, attested_once: Path, tmp_path: Path) -> Path:
    """An analysis with evidence, of the RCCs of `clusters` (see `tests.helpers.attested`)."""
    from tests.helpers.attested import attest  # here, since most tests need no evidence

    if not (attested_once / "out").exists():
        images = shutil.copytree(clusters.image_root, attested_once / "failing")
        attest(dataclasses.replace(clusters, image_root=Path(images)), attested_once)
    shutil.copytree(attested_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium."""
    from tests.helpers.browsing import launched  # here, since most tests need no browser

    with launched() as browser:
        yield browser
