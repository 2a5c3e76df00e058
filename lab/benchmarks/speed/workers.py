"""Extraction on a Dask cluster on this machine, for `lab/benchmarks/speed/`: one core for each worker."""

import hashlib
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from safe_dnn.FE import stream_features
from safe_dnn.features.network import BATCH_SIZE
from safe_dnn.features.on_cluster import on_cluster
from safe_dnn.features.weights import choose_extractor
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images


def extract_on_workers(images: str, n: int, extractor: str, workers: int, cache: str) -> dict:
    """Extraction of n images by a number of workers, nothing cached, networks loaded; with a hash of the rows."""
    from distributed import Client, LocalCluster

    listing = find_images(images)
    listing = listing._replace(paths=listing.paths[:n])
    chosen = choose_extractor(extractor)
    with (
        TemporaryDirectory(dir=prepare_folder(Path(cache))) as empty,
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for core, worker in enumerate(client.nthreads()):
            client.run(os.sched_setaffinity, 0, {core % (os.cpu_count() or 1)}, workers=[worker])
        stream = on_cluster(cluster.scheduler_address)
        os.environ["SAFE_CACHE"] = f"{empty}/warm"
        warm = listing._replace(paths=listing.paths[: 2 * workers * BATCH_SIZE])
        for _ in stream(warm, chosen):
            pass
        os.environ["SAFE_CACHE"] = f"{empty}/cold"
        begin = time.perf_counter()
        batches = list(stream(listing, chosen))
        seconds = time.perf_counter() - begin
    return {"images": sum(len(batch.paths) for batch in batches), "seconds": seconds, "digest": _digest(batches)}


def digest_here(images: str, n: int, extractor: str, cache: str) -> dict:
    """The hash of the rows computed without a cluster."""
    listing = find_images(images)
    with TemporaryDirectory(dir=prepare_folder(Path(cache))) as empty:
        os.environ["SAFE_CACHE"] = empty
        batches = list(stream_features(listing._replace(paths=listing.paths[:n]), choose_extractor(extractor)))
    return {"digest": _digest(batches)}


def _digest(batches: list) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for batch in batches:
        digest.update("\n".join(batch.paths).encode("utf-8", "surrogateescape"))
        digest.update(batch.features.tobytes())
    return digest.hexdigest()


MEASURED = {function.__name__: function for function in (extract_on_workers, digest_here)}
