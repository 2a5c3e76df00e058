"""What a safety case needs: reasons on fresh images, requirements, the register, the report, exports, evidence."""

import math
from typing import Any

from safe_dnn.analysis import Analysis
from safe_dnn.api import confirmation
from safe_dnn.api.confirmation import check_requirements
from safe_dnn.api.results import StepResult, settings_by
from safe_dnn.options import GivenAnswers, Labelling
from safe_dnn.rccs.review.journal import Maker, newest
from safe_dnn.rccs.spots.figures import Figures
from safe_dnn.reasons.register import REGISTER_FILE, changes_in, scope_entry
from safe_dnn.reasons.register import take_over as take_over_changes
from safe_dnn.reasons.requirements import HOLDS
from safe_dnn.report.evidence import verify_evidence, write_evidence
from safe_dnn.report.exports import EXPORT_FOLDER, export_labelled_set, export_results, write_register
from safe_dnn.report.report import REPORT_FILE, write_report
from safe_dnn.report.summary_lines import left_out
from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.text import count


def confirm(
    predictions: StrPath, tested: StrPath, out: StrPath = ".", *, after: StrPath | None = None,
    weights: StrPath | None = None, features: StrPath | None = None, **options: Any,
) -> StepResult:  # fmt: skip
    """Confirm or refute the reasons on a fresh test set, which they were not found with.

    Parameters
    ----------
    predictions, tested : path
        The network's answers to the fresh images, and these.
    after, weights, features
        As for `api.confirmation.confirm`.
    options
        `options.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `api.confirmation.Confirmation`; its table has a sentence for each reason.

    Raises
    ------
    SAFEError
        As in `api.confirmation.confirm`.
    """
    folder = path_of(out, "an output folder")
    (given,) = settings_by(options, GivenAnswers, predictions=predictions, tested=tested)
    found = confirmation.confirm(folder, given, after=after, weights=weights, features=features)
    none = "" if found.verdicts else "Nothing to confirm: no weak spot, and no RCC that fails more often"
    later = ("With the later model:", *(f"  {text}" for text in found.closed)) if found.closed else ()
    return StepResult(
        found, none, ("verdict",), tuple((text,) for text in found.verdicts), (*found.verdicts, *later), found.notes,
        written=f"confirmation.csv{', closure.csv' if found.closed else ''}",
    )  # fmt: skip


def check(
    requirements: StrPath, out: StrPath = ".", *, no_worse: StrPath | None = None, learned: StrPath | None = None,
    **options: Any,
) -> StepResult:  # fmt: skip
    """Check requirements on how often the network may be wrong.

    Parameters
    ----------
    requirements, learned : path
        As for `api.confirmation.check_requirements`.
    no_worse : path, optional
        As `before` there.
    options
        `options.GivenAnswers`.

    Returns
    -------
    StepResult
        Its value is `api.confirmation.Checked`, which says whether all of it `holds`; its table has the
        requirements, with the rate that is the `limit`, and the reasons that models were compared for.

    Raises
    ------
    SAFEError
        As in `check_requirements`.
    """
    folder, (given,) = path_of(out, "an output folder"), settings_by(options, GivenAnswers)
    checked = check_requirements(requirements, folder, given, before=no_worse, learned=learned)
    required = checked.findings
    figures = [(one.verdict, one.figures, one.low, one.high, one.requirement.most) for one in required]
    figures += [(one.state, one.after, one.after.low, one.after.high, math.nan) for one in checked.closures]
    figures += [("missing", Figures(len(checked.missing), 0), math.nan, math.nan, math.nan)] if checked.missing else []
    rows = tuple(
        (case.name, verdict, one.tested, one.wrong, one.rate, *more)
        for case, (verdict, one, *more) in zip(checked.cases, figures, strict=True)
    )
    n_held = sum(one.verdict == HOLDS for one in required)
    headline = f"Requirements that hold: {n_held} of {len(required):,}"
    columns = ("requirement", "verdict", "tested", "wrong", "rate", "low", "high", "limit")
    lines = [case.text for case in checked.cases]
    if no_worse:
        compared = [case for case in checked.cases if case.kind == "no worse"]
        worse = sum(bool(case.failure) for case in compared)
        lines.append(f"Worse for {worse} of {len(compared):,} reasons and classes")
    return StepResult(checked, headline, columns, rows, tuple(lines), checked.notes)


def register(
    out: StrPath = ".", *, missing: bool = False, read: StrPath | None = None, apply: bool = False
) -> StepResult:
    """Write the register and the scope for a safety case, or read edited ones back.

    Parameters
    ----------
    missing : bool
        Write nothing; the table has the reasons that lack what a safety case would ask for.
    read : path, optional
        A register or scope that was edited: the value is what it changes.
    apply : bool
        Take these changes over.

    Returns
    -------
    StepResult
        Its value is a list of `reasons.register.Entry`, or of `Change`.

    Raises
    ------
    SAFEError
        As in `report.exports.write_register`, `reasons.register.changes_in` and `take_over`.
    """
    folder = path_of(out, "an output folder")
    if read:
        maker = Maker(last_entry=newest(folder))
        changes = changes_in(path_of(read, "a register"), Analysis(folder).register, scope_entry(folder))
        if apply:
            take_over_changes(folder, changes, maker=maker)
        n, lines = count(len(changes), "change"), tuple(one.text for one in changes)
        headline = f"Taken over: {n}" if apply else f"{n}; nothing was taken over"
        return StepResult(changes, headline, ("change",), tuple((text,) for text in lines), lines)
    entries = Analysis(folder).register if missing else write_register(folder)
    lacking = [entry for entry in entries if entry.missing]
    named: dict[str, list[str]] = {}
    for entry in lacking:
        named.setdefault("; ".join(entry.missing), []).append(entry.title)
    lines = tuple(f"{', '.join(reasons)}: {text}" for text, reasons in named.items())
    n = count(len(entries), "reason")
    headline = f"{len(lacking)} of {n} lack what a safety case would ask for" if missing else n
    rows = tuple((one.reason, one.where, one.note.verdict, "; ".join(one.missing)) for one in entries)
    return StepResult(
        lacking if missing else entries, headline, ("reason", "where", "verdict", "missing"), rows, lines,
        written="" if missing else f"{REGISTER_FILE}, scope.csv",
    )  # fmt: skip


def export(
    out: StrPath = ".", *, to: StrPath | None = None, rcc: tuple[int, ...] = (), labelled: StrPath | None = None,
    **options: Any,
) -> StepResult:  # fmt: skip
    """Copy the images to a folder per RCC, with a table and the report; or the labelled unsafe set to class folders.

    Parameters
    ----------
    to : path, optional
        As for `report.exports.export_results`; by default the folder `export` of the analysis.
    rcc : tuple of int
        Only these RCCs.
    labelled : path, optional
        A new folder for the labelled images of the unsafe set instead.
    options
        `options.Labelling`, with `labelled`.

    Returns
    -------
    StepResult
        Its value is `report.exports.Export`.

    Raises
    ------
    SAFEError
        As in `export_results` and `report.exports.export_labelled_set`, or what is given does not go together.
    """
    folder, (labelling,), unlabelled = path_of(out, "an output folder"), settings_by(options, Labelling), 0
    if labelled and (to or rcc):
        raise SAFEError("Expected either labelled images or RCCs. Received both.").about("labelled", "to", "rcc")
    if not labelled and (labelling.improvement or labelling.labels):
        raise SAFEError("Expected labels with labelled images. Received RCCs.").about("labelled")
    if labelled:
        done, unlabelled = export_labelled_set(folder, labelled, labelling)
    else:
        done = export_results(folder, to or folder / EXPORT_FOLDER, rccs=rcc or None)
    without = f"left out, since they have no label: {count(unlabelled, 'image')}" if unlabelled else ""
    headline, lines = f"{count(done.images, 'image')} exported", (f"Written: {done.path}",)
    return StepResult(done, headline, ("export",), ((str(done.path),),), lines, (*left_out(done.missing), without))


def evidence(out: StrPath = ".") -> StepResult:
    """Write the SHA-256 of all results and of all that they rest on, as `report.evidence.write_evidence`."""
    lines = tuple(write_evidence(path_of(out, "an output folder")))
    rows = tuple((line,) for line in lines)
    return StepResult(lines, "", ("input",), rows, lines, written="SHA256SUMS, evidence.txt")


def verify(out: StrPath = ".") -> StepResult:
    """Check that nothing has changed since evidence was written, and that nothing is new.

    The value and the table are the differences, as of `report.evidence.verify_evidence`.
    """
    found = verify_evidence(path_of(out, "an output folder"))
    headline = "" if found else "All is as the evidence says"
    return StepResult(found, headline, ("kind", "file"), tuple(found), tuple(f"{kind}: {name}" for kind, name in found))


def report(out: StrPath = ".") -> StepResult:
    """Write all results to one HTML file, as `report.report.write_report`.

    The value is the dictionary that the report is rendered from; the table has its reasons.
    """
    folder, columns = path_of(out, "an output folder"), ("reason", "where", "verdict", "tested", "wrong", "rate")
    summary = write_report(folder)
    rows = tuple(tuple({**one, **one["rates"]}.get(name, "") for name in columns) for one in summary["reasons"])
    return StepResult(summary, f"Written: {folder / REPORT_FILE}", columns, rows)
