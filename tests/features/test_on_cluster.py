import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from safe_dnn import FE
from safe_dnn.FE import extract_features, stream_features
from safe_dnn.features import attributes
from safe_dnn.features import on_cluster as extraction
from safe_dnn.features.batches import streaming
from safe_dnn.features.on_cluster import on_cluster
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import reporting

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers in threads of this process, where a stand-in for VGG16 can be put in its place."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def address(cluster, monkeypatch):
    """Of that cluster, which has loaded no network yet."""
    monkeypatch.setattr(extraction, "load_network", lambda extractor: FE.load_network(extractor))
    extraction._network.cache_clear()
    return cluster.scheduler_address


def rows_of(batches) -> tuple[list[str], bytes, list]:
    batches = list(batches)
    return (
        [path for batch in batches for path in batch.paths], b"".join(batch.features.tobytes() for batch in batches),
        [skip for batch in batches for skip in batch.skipped],
    )  # fmt: skip


def test_a_cluster_gives_the_bytes_of_this_machine_and_fills_its_cache(
    address, fake_network, draw_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 4)
    folder = draw_folder(tmp_path / "in", {"snow": 9, "night": 8})
    shutil.copy(folder / "snow_00.png", folder / "again.png")
    (folder / "night_01.png").write_text("no image")
    (folder / "snow_02.png").write_bytes(b"")
    listing = find_images(folder)
    steps = []
    with reporting(lambda what, done, total: steps.append(done)):
        found = rows_of(on_cluster(address)(listing, fake_network.extractor))
    loads = fake_network.loads
    assert loads == 1  # both workers are in this process
    assert rows_of(stream_features(listing, fake_network.extractor)) == found
    assert fake_network.loads == loads  # all from the cache
    assert [skip.path for skip in found[2]] == ["night_01.png", "snow_02.png"]
    assert steps[0] == 0
    assert steps[-1] == len(listing.paths) == 18
    with monkeypatch.context() as patched:
        patched.setattr(attributes, "measure", None)  # calling it would be a TypeError, which is a reason to skip
        measured = attributes.measured_images(folder, listing.paths)
    readable = [path not in ("night_01.png", "snow_02.png") for path in listing.paths]
    assert np.isfinite(measured[:, 0]).tolist() == readable
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "empty"))
    assert rows_of(stream_features(listing, fake_network.extractor)) == found
    assert fake_network.loads == loads + 1


def test_workers_that_do_not_find_the_images_say_how_to_name_the_place(address, fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"snow": 3})
    with (
        pytest.raises(SAFEError, match=r"cannot read snow_00\.png in /nowhere .*as the workers see it") as caught,
        streaming(on_cluster(address, images="/nowhere")),
    ):
        extract_features(folder, fake_network.extractor)
    assert caught.value.fields == ("dask_images",)


def test_a_cluster_without_workers_is_an_error(fake_network, draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.on_cluster.WORKER_SECONDS", 0.1)
    folder = draw_folder(tmp_path / "in", {"snow": 1})
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", silence_logs=50) as empty,
        pytest.raises(SAFEError, match=r"Received no worker within 0\.1 s"),
        streaming(on_cluster(empty.scheduler_address)),
    ):
        extract_features(folder, fake_network.extractor)


def test_once_all_workers_are_lost_the_run_ends_and_a_later_one_goes_on(
    cluster, address, fake_network, draw_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 1)
    monkeypatch.setattr("safe_dnn.features.on_cluster.WORKER_SECONDS", 2)
    listing = find_images(draw_folder(tmp_path / "in", {"snow": 15}))
    batches = on_cluster(address)(listing, fake_network.extractor)
    next(batches)
    cluster.scale(0)
    while cluster.scheduler.workers:
        time.sleep(0.05)
    with pytest.raises(SAFEError, match=r"lost all of its workers, .* within 2 s\. Features received so far are kept"):
        list(batches)
    cluster.scale(2)
    assert len(rows_of(on_cluster(address)(listing, fake_network.extractor))[0]) == 15


def test_without_dask_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("safe_dnn.features.on_cluster.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SAFEError, match=r"requirements/scale\.txt"):
        on_cluster("tcp://127.0.0.1:9")


# --- Real processes and the real network ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_is_killed_in_mid_run_changes_nothing(draw_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 8)
    listing = find_images(draw_folder(tmp_path / "in", {"snow": 60, "night": 60}))
    extractor = choose_extractor("vgg16-conv")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        batches = on_cluster(cluster.scheduler_address)(listing, extractor)
        first = next(batches)
        os.kill(cluster.workers[0].process.pid, signal.SIGKILL)
        found = rows_of([first, *batches])
    assert len(found[0]) == 120
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "empty"))
    assert rows_of(stream_features(listing, extractor)) == found


@pytest.mark.slow
def test_a_worker_that_knows_nothing_of_safe_is_sent_what_it_runs(draw_folder, tmp_path, monkeypatch):
    listing = find_images(draw_folder(tmp_path / "in", {"snow": 3}))
    extractor = choose_extractor("vgg16-conv")
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=":0", silence_logs=50) as cluster:
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny"],
            cwd=tmp_path, env=alone, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            found = rows_of(on_cluster(cluster.scheduler_address)(listing, extractor))
        finally:
            worker.terminate()
            worker.wait()
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "empty"))
    assert rows_of(stream_features(listing, extractor)) == found


def test_workers_that_see_other_images_are_an_error(address, fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"snow": 3})
    other = draw_folder(tmp_path / "other", {"snow": 3}, seed=1)
    with (
        pytest.raises(SAFEError, match=r"Received a different snow_00\.png"),
        streaming(on_cluster(address, images=str(other))),
    ):
        extract_features(folder, fake_network.extractor)
