"""A process that has SAFE loaded and forks a child for each command, which can be killed at any point.

Commands come as lines of JSON on stdin, answers go as lines of JSON to stdout: whether it was killed, the exit status,
how many times a file was renamed, removed or brought to the disk, a transaction or a batch of features kept, how many
batches of features were computed, and how many epochs of training begun.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
# What the commands import, and then what SAFE imports only when it is needed
STEPS = ("api.explaining", "api.generation", "api.repairing", "report.evidence", "report.exports")
COMMANDS = ("safe_dnn.SAFE_Tool", "safe_dnn.retrain", *(f"safe_dnn.{step}" for step in STEPS))
LATER = ("kneed", "scipy.sparse.csgraph", "sklearn.neighbors", "sklearn.metrics")
WATCHED = ("replace", "rename", "unlink", "fsync", "mkdir", "rmdir")


def child(job: dict, counter: int) -> int:
    """Run the command line; die before the operation number `kill_at`, or after some seconds."""
    from safe_dnn import SAFE_Tool
    from safe_dnn.features import batches as features_batches
    from safe_dnn.features.batches import FeatureCache
    from safe_dnn.rccs.dbscan import consensus
    from safe_dnn.store import database
    from tests.helpers.fake_network import FakeNetwork

    network, count = FakeNetwork(), 0

    def counted(real):
        def call(*arguments, **named):
            nonlocal count
            if job.get("kill_at") == count:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return real(*arguments, **named)

        return call

    def run(pixels):
        time.sleep(job.get("delay", 0))
        os.write(counter, b"b")  # a batch was computed
        return network(pixels)

    def train_epoch(*arguments):
        time.sleep(job.get("delay", 0))
        os.write(counter, b"e")
        return train(*arguments)

    if job.get("network"):
        from safe_dnn import retrain
        from safe_dnn.api import repairing
        from safe_dnn.training import finetuning

        repairing.retrain_apart = retrain.retrain  # this process is the one that is killed
        train, finetuning._train_epoch = finetuning._train_epoch, train_epoch
    network.stand_in(run)
    features_batches.BATCH_SIZE = 8
    consensus.MOST_SAMPLES = consensus.FEWEST_SAMPLES
    FeatureCache.put = counted(FeatureCache.put)
    database._commit = counted(database._commit)
    for name in WATCHED:
        setattr(os, name, counted(getattr(os, name)))
    if job.get("largest"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"],) * 2)
    if job.get("after"):
        signal.setitimer(signal.ITIMER_REAL, job["after"])  # nobody handles the alarm, which is then as good as a kill
    status = SAFE_Tool.main(job["arguments"])
    os.write(counter, json.dumps({"operations": count}).encode())
    return status


def main() -> None:
    from safe_dnn.support.quiet import quiet_stderr

    for name in (*COMMANDS, *LATER):
        importlib.import_module(name)

    for line in sys.stdin:
        job = json.loads(line)
        if job.get("network"):  # loaded once; nothing of it may run before the fork
            with quiet_stderr():
                importlib.import_module("tensorflow")
                importlib.import_module("keras")
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ["SAFE_CACHE"] = job["cache"]
            status = 70
            try:
                status = child(job, writing)
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            said = told.read()
        _, status = os.waitpid(pid, 0)
        batches, _, rest = said.partition(b"{")
        answer = {
            "killed": os.WIFSIGNALED(status), "status": os.waitstatus_to_exitcode(status),
            "batches": batches.count(b"b"), "epochs": batches.count(b"e"),
        }  # fmt: skip
        print(json.dumps(answer | (json.loads(b"{" + rest) if rest else {})), flush=True)


if __name__ == "__main__":
    main()
