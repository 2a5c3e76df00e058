"""What each command does: it calls one function of SAFE and prints what came of it.

Page and command line call the same functions. Each function imports what it needs.
"""

import argparse
import contextlib
import sys

from cli.terminal import stoppable, terminal
from support.errors import SAFEError


def _stream(options: argparse.Namespace):
    """What extracts features: None for this machine."""
    if not options.dask:
        if options.dask_images:
            raise SAFEError(f"--dask-images expects --dask. Received alone: {options.dask_images}")
        return None
    from features.on_cluster import on_cluster

    return on_cluster(options.dask, images=options.dask_images)


def run_cluster(options: argparse.Namespace) -> None:
    """Steps 1 and 2."""
    out = options.out
    from pipeline import cluster_summary, generate_clusters, parameter_notes
    from rccs.gifs import gif_notes
    from rccs.profiles import load_profiles
    from support.text import count, printable

    with terminal() as progress:
        clusters = generate_clusters(
            options.images,
            out,
            progress,
            options.extractor,
            options.reducer,
            options.weights,
            options.parameters,
            precision=options.precision,
            stream=_stream(options),
        )
    if clusters.notice:
        print(f"safe: {printable(clusters.notice)}", file=sys.stderr)
    _print_skipped(clusters.skipped)
    for note in parameter_notes(out):
        print(f"safe: parameters: {printable(note)}", file=sys.stderr)
    for note in gif_notes(clusters):
        print(f"safe: {note}", file=sys.stderr)
    print(cluster_summary(clusters))
    texts = {profile.rcc: f": {printable(profile.text)}" for profile in load_profiles(out)}
    for rcc, size in enumerate(clusters.sizes.tolist()):
        if not size:
            continue  # merged into another by the engineer
        print(f"  RCC {rcc} ({count(size, 'image')}, {size / len(clusters.paths):.1%}){texts.get(rcc, '')}")
    print(f"Written: labels.txt, clusters.npz, run.json, gifs/{', rcc_profiles.csv' if texts else ''} in {out}")


def run_select(options: argparse.Namespace) -> None:
    """Steps 3 and 4."""
    out = options.out
    from pipeline import select_images, selection_summary
    from selection import chosen_by_model
    from support.text import printable

    with terminal() as progress:
        unsafe = select_images(
            options.improvement,
            out,
            progress,
            options.weights,
            test_accuracy=options.test_accuracy,
            test_size=options.test_size,
            factor=options.factor,
            size=options.size,
            leave_out_safe=options.leave_out_safe,
            quota=options.quota,
            model=options.model,
            test=options.test,
            rescale=options.rescale,
            trust=options.trust_model,
            stream=_stream(options),
        )
    _print_skipped(unsafe.skipped)
    print(selection_summary(unsafe))
    print(unsafe.formula)
    if unsafe.model:
        print(printable(chosen_by_model(unsafe)))
    print(f"Written: IS_filenames.txt, unsafe_set.csv, unsafe_set.json in {out}")


def run_failures(options: argparse.Namespace) -> None:
    """Before step 1: what the DNN gets wrong."""
    out = options.out
    from dnn.failures import find_failures
    from pipeline import failures_summary

    with terminal() as progress:
        failures = find_failures(
            options.model,
            options.test,
            out,
            options.rescale,
            options.trust_model,
            options.targets,
            options.threshold,
            options.train,
            progress,
        )
    _print_skipped(failures.skipped)
    _print_assumptions(failures.assumptions)
    print(failures_summary(failures))
    print(f"Written: failures/, failures.csv, accuracy.json in {out}")


def run_retrain(options: argparse.Namespace) -> None:
    """Steps 5 and 6."""
    out = options.out
    from pipeline import retraining_summary
    from retrain import retrain

    with terminal() as progress, stoppable() as stopping:
        result = retrain(
            options.model,
            options.train,
            options.test,
            out,
            improvement=options.improvement,
            labels=options.labels,
            only_labelled=options.only_labelled,
            rescale=options.rescale,
            trust=options.trust_model,
            targets=options.targets,
            threshold=options.threshold,
            progress=progress,
            on_epoch=stopping.on_epoch,
            should_stop=stopping.should_stop,
            learning_rate=options.learning_rate,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=options.seed,
        )
    _print_skipped(result.skipped)
    _print_assumptions(result.assumptions)
    print(retraining_summary(result))
    for share in result.per_rcc:
        name = "in no cluster" if share.name == "-1" else f"RCC {share.name}"
        print(f"  {name}: {share.after} of {share.images} failing images now right")
    print(f"Written: retrained.keras, retraining.json in {out}")


def run_report(options: argparse.Namespace) -> None:
    """The report for the safety case."""
    out = options.out
    from reporting.report import write_report

    with terminal() as progress:
        print(f"Written: {write_report(out, progress)}")


def run_export(options: argparse.Namespace) -> None:
    """The images in folders."""
    out = options.out
    from pipeline import export_results
    from support.text import count

    with terminal() as progress:
        done = export_results(out, options.to or out / "export", progress, options.rcc)
    _print_skipped(done.missing)
    print(f"{count(done.images, 'image')} exported")
    print(f"Written: {done.path}")


def _print_assumptions(assumptions) -> None:
    from support.text import printable

    for line in assumptions:
        print(f"  {printable(line)}")


def run_ui(options: argparse.Namespace) -> None:
    """The web page, until it is ended."""
    from cli.holding import held

    # Only on this machine: elsewhere nothing may be answered before it is known that a password is asked for.
    local = options.host == "127.0.0.1"
    with held(options.host, options.port) if local else contextlib.nullcontext(lambda: None) as free:
        from page.app import serve

        serve(
            options.out, options.host, options.port, options.root, options.auth, options.weights, options.example, free
        )


def _print_skipped(skipped) -> None:
    from support.text import printable

    for path, reason in skipped:
        print(f"safe: skipped {printable(path)!r}: {printable(reason)}", file=sys.stderr)
