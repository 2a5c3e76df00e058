"""After step 2, without searching again: reasons are confirmed on a fresh test set, and requirements are checked.

A CI server can use this to decide about a model, also whether a new model is worse than the earlier one for a reason or
a class. For that, in: the answers of both models to the same images; out: for each requirement's
images, each class and all images that no requirement is about, McNemar's test of the difference, by groups where images
are not independent, corrected for their number (see `training/certainty.py`), and the same for the reasons of the
analysis by themselves. A difference within this noise does not count. Images that were tested before and have no answer
now do not pass.

Two kinds of reasons would call a model worse that is as good as the one before, and are left out: those of failures
that are the new model's, since they were chosen where it fails and not where the other one does, and conditions on the
answers given (`training.certainty.by_answers`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.failures import unknown_classes
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.options import NONE_GIVEN, GivenAnswers
from safe_dnn.rccs.answers import CONFIDENCE, LABEL, read_answer_table
from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.conditions import Literal, are_known
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.rates import regions
from safe_dnn.reasons import run_record
from safe_dnn.reasons.claims import CONFIRMATION_FILE, Claim, answers_to, claims_of, confirmation_text
from safe_dnn.reasons.comparison import load_reasons, nearest_to_fresh
from safe_dnn.reasons.known import FRESH_FILE, Known, counted_text, known_classes, known_of, nearest_to_tested
from safe_dnn.reasons.known_groups import groups_of_images, notes_of
from safe_dnn.reasons.listed import reasons_of
from safe_dnn.reasons.requirements import HOLDS, OPEN, Finding, Requirement, check_known, findings, read_requirements
from safe_dnn.reasons.words.tagging import finding_by_word, open_tagging
from safe_dnn.reasons.words.tags import Word, load_words
from safe_dnn.report.evidence import known_sets
from safe_dnn.report.exports import show_reasons
from safe_dnn.store.output_folder import working
from safe_dnn.store.places import relative
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, add_run, present_runs
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.images import find_images, in_common
from safe_dnn.support.matching import rows_by_image
from safe_dnn.support.tables import IMAGE
from safe_dnn.support.text import count, printable, some
from safe_dnn.training.certainty import CLOSURE_FILE, NEW, WORSENED, Closure, by_answers, closure_text, closures
from safe_dnn.training.result import aligned, refuse_saved_again, refuse_used, saved_again

SUITE = "SAFE"


class Confirmation(NamedTuple):
    """Sentences: what fresh images say of each reason, what a later model makes of it, and on the images themselves."""

    verdicts: tuple[str, ...]
    closed: tuple[str, ...]
    notes: tuple[str, ...]


def confirm(
    out: Path, tables: GivenAnswers, *, after: StrPath | None = None, weights: StrPath | None = None,
    features: StrPath | None = None,
) -> Confirmation:  # fmt: skip
    """Ask the weak spots, and the RCCs that fail more often, of the run in `out` of fresh images.

    Parameters
    ----------
    tables : GivenAnswers
        The answers to the fresh images; their groups are by default those that the RCCs were found with.
    after : path, optional
        What a later model says of the same images: then also which reasons are closed (see `training/certainty.py`).
    weights, features
        As for `selection.select_unsafe_set`, of the fresh images.

    Raises
    ------
    SAFEError
        Nothing was found, the fresh images have images or classes in common with the others that they must not have, or
        a table or image cannot be read.
    """
    with working(out, "confirming"):
        review, run = load_review(out), present_runs(out)[CLUSTERS]
        reasons = load_reasons(out, review.original, run)
        first = run_record.answers_of_run(out, review.original)
        if first is None or reasons.comparison is None:
            raise SAFEError(
                f"Expected RCCs and weak spots found with the network's answers to a test set. Received: {out}, "
                "without such answers. Find the failures and cluster them first."
            )
        fresh = read_predictions(tables.predictions, tables.tested, partial=tables.partial)
        noted = _check_fresh(fresh, first, _used(out, first, learned=bool(after)))
        later = right_by(after, fresh, partial=tables.partial)[0] if after else None
        names = tables.group or run_record.groups_of(out)
        parameters = find_parameters(fresh.root)
        groups = groups_of_images(names, fresh, parameters=parameters, required=bool(tables.group))
        known = known_of(fresh, groups=names)
        clusters, numbers = review.clusters, known_classes(first, fresh)
        nearest = nearest_to_fresh(clusters, reasons.comparison, first, fresh, weights=weights, features=features)
        none = np.zeros(len(first.paths) + len(fresh.paths), int)
        here, there = np.split(none if numbers is None else numbers, [len(first.paths)])
        of_region = regions(nearest, clusters.labels)
        of, classes = groups.groups if groups and groups.named else None, None if numbers is None else there
        sizes, wrong = (np.bincount(here, of_each, there.max() + 1) for of_each in (None, ~first.right))
        with np.errstate(invalid="ignore"):
            before = None if numbers is None else (wrong / sizes)[there]  # NaN of a new class
        listed = reasons_of(review, reasons.on(clusters), out)
        claims = claims_of(listed, known.columns, of_region, of_classes=before)
        answers = answers_to(claims, ~fresh.right, of, classes)
        closed = [] if later is None else closures(claims, fresh.right, later, of, classes)
        old = filter(None, [run_record.outdated(out)])
        texts = (tuple(one.text for one in answers), tuple(one.text for one in closed))
        confirmation = Confirmation(*texts, (*old, *fresh.notes, *noted, *known.notes, *notes_of(groups)))
        facts = {
            "source": relative(fresh.source, out), "tested": relative(fresh.root, out),
            "after": relative(after or "", out), "parameters": relative(parameters or "", out),
            "images": len(fresh.paths), "wrong": int((~fresh.right).sum()), "edits": review.last_number,
            "told": confirmation.verdicts, "closed": confirmation.closed, "notes": confirmation.notes,
        }  # fmt: skip
        images = counted_text(fresh, known, clusters.paths, nearest, of)
        files = {CONFIRMATION_FILE: confirmation_text(answers), FRESH_FILE: images}
        files |= {CLOSURE_FILE: closure_text(closed)} if closed else {}
        add_run(out, CONFIRMATION, files, clusters=run.itself, facts=facts)
        show_reasons(out)
    return confirmation


def _used(out: Path, first: AnsweredImages, *, learned: bool) -> dict[str, list[Path]]:
    """The images that reasons were found with, and those that the network has learned or, if asked, a later one."""
    sets = known_sets(out, present_runs(out))[0]
    sets["test"] = (first.root, first.paths)
    names = ("test", "failing", "training", *(("unsafe", "improvement") if learned else ()))
    return {name: [sets[name][0] / path for path in sets[name][1]] for name in names if name in sets}


def _check_fresh(fresh: AnsweredImages, first: AnsweredImages, used: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    """Make sure that the images have chosen nothing and may be of the same network; a sentence on further classes.

    Either test set may lack classes of the other: images are compared with fresh ones alone.
    """
    refuse_used("fresh", [fresh.root / path for path in fresh.paths], used)
    labels, known = ({*one.answers.label.tolist()} - {""} for one in (fresh, first))
    new = labels - known if first.answers.kind == CONFIDENCE else set()
    other_kind = fresh.answers.kind != first.answers.kind
    if other_kind or (new and not labels & {*known, *first.answers.predicted.tolist()}):
        raise SAFEError(
            f"Expected answers of the same network, with at least one class of {first.source}. Received: "
            f"{fresh.source}, {'of another kind' if other_kind else 'with none'}."
        )
    check_names(fresh, first)
    refuse_saved_again([fresh.root / path for path in fresh.paths], used["test"])
    number = int(np.isin(fresh.answers.label, [*new]).sum())
    sentence = f"{count(number, 'fresh image')} of classes that the first test set has no images of: "
    return (sentence + printable(some(sorted(new))) + ".",) if new else ()


CHOSEN_BY = (
    "SAFE found the RCCs and weak spots in these images. If a requirement was written afterwards, only other images "
    "can show that it holds."
)


NOT_GROUPED = (
    "While groups are suspected, no requirement holds: name the groups or, if images are independent, name image as "
    "the group."
)


class Case(NamedTuple):
    """A requirement or a reason, and its result on a test set.

    Attributes
    ----------
    kind : str
        "requirement" or "reason".
    name, text : str
    failure : str
        Why it does not pass, in a word, such as "broken" or "worse"; empty if it does.
    """

    kind: str
    name: str
    text: str
    failure: str = ""


class Checked(NamedTuple):
    """The results of requirements on a test set.

    Attributes
    ----------
    findings : tuple of Finding
    notes : tuple of str
        Sentences on the images.
    closures : tuple of Closure
        What is different from an earlier model, if one was given.
    missing : tuple of str
        Images without an answer that the analysis or the earlier model was tested on.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    closures: tuple[Closure, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all requirements hold, no image is missing, and the network is worse for no reason."""
        return not any(case.failure for case in self.cases)

    @property
    def cases(self) -> list[Case]:
        """For CI: each requirement, each reason that an earlier model was compared for, and missing images."""
        cases = [
            Case("requirement", one.requirement.text, one.text, "" if one.verdict == HOLDS else one.verdict)
            for one in self.findings
        ]
        for change in self.closures:
            failure = "worse" if change.state in (WORSENED, NEW) else ""
            cases.append(Case("no worse", change.claim.name, change.text, failure))
        if self.missing:
            text = f"{count(len(self.missing), 'image')} without an answer, such as {printable(self.missing[0])}."
            cases.append(Case("images", "tested before", f"Of the images tested before, {text}", "missing"))
        return cases


def check_requirements(
    requirements: StrPath, out: Path, tables: GivenAnswers = NONE_GIVEN, *,
    before: StrPath | None = None, learned: StrPath | None = None,
) -> Checked:  # fmt: skip
    """Check requirements on a network's answers: given ones or, by default, those that the run in `out` is about.

    Parameters
    ----------
    requirements : path
        As for `reasons.requirements.read_requirements`.
    tables : GivenAnswers
        By default, those that the run in `out` was found with, and its groups (see `run_record.newest_answers`).
    before : path, optional
        An earlier model's answers to the same images: is the network worse for a reason (see `compare_models`)?
    learned : path, optional
        Images that the network has learned from: the notes then name tested ones that were saved again.

    Raises
    ------
    SAFEError
        A file cannot be read, there are no answers, or failures were collected from others since, a requirement is
        about what is not known of the images, or tested images are learned ones.
    """
    required = read_requirements(requirements)  # errors in them come before the images are read
    clusters = load_clusters(out) if CLUSTERS in present_runs(out) else None
    own = run_record.specified_answers(tables)
    answered = own or run_record.newest_answers(out, clusters)
    if answered is None:
        raise SAFEError(
            f"Expected predictions and their test images, or an analysis with them. Received: {out}, without."
        ).about("predictions", "tested")
    notes = [*answered.notes, *(_leaks(learned, answered) if learned else ())]
    names = tables.group or (run_record.groups_of(out) if clusters else ())
    groups = groups_of_images(names, answered, parameters=find_parameters(answered.root), required=bool(tables.group))
    known = known_of(answered, groups=names)
    notes += [*known.notes, *notes_of(groups)]
    of_images = groups.groups if groups and groups.named else None
    words = load_words(out)
    plain = [one for one in required if not words.keys() & {condition.column for condition in one.conditions}]
    reasons = [one.literals for one in Analysis(out).listed if one.takes and are_known(one.literals, known.columns)]
    results_plain = findings(
        plain, known.columns, ~answered.right, of_images, classes=known_classes(answered), reasons=reasons
    )
    found_plain = dict(zip(plain, results_plain, strict=True))
    results = [found_plain.get(one) or _finding_by_word(one, out, answered, known, words) for one in required]
    if groups is not None and not groups.named:
        results = [one._replace(verdict=OPEN) if one.verdict == HOLDS else one for one in results]
        notes.append(NOT_GROUPED)
    failing = [clusters.image_root / path for path in clusters.paths] if clusters else []
    if not own or in_common([own.root / path for path in own.paths], failing).any():
        notes.append(CHOSEN_BY)
    regions = nearest_to_tested(out, answered.root) if clusters else {}
    tested, changes, claims = {*regions}, list[Closure](), list[Claim]()
    if before:
        earlier, other = right_by(before, answered, partial=tables.partial)
        tested |= {*other.paths}
        notes += other.notes
        if clusters:
            claims, left_out = _reasons(out, answered, earlier, known, regions)
            notes += left_out
        about = [Claim(one.where, one.conditions, one.holds(known.columns, len(earlier))) for one in plain]
        changes = compare_models(earlier, answered, of_images, about, claims)
        notes += by_answers((*claims, *about))
    first = answered.copies
    have = {first.get(path, path) for path in (*answered.paths, *answered.held_out)}
    gone = _without_image(other) - _without_image(answered) if before else set()
    missing = sorted({path for path in tested if first.get(path, path) not in have} | gone)
    return Checked(tuple(results), tuple(dict.fromkeys(notes)), tuple(changes), tuple(missing))


def _finding_by_word(
    required: Requirement, out: Path, answered: AnsweredImages, known: Known, words: Mapping[str, Word]
) -> Finding:
    """The result of a requirement, by answers about a word; errors are those of `tagging.finding_by_word`."""
    ours = [one for one in required.conditions if one.column in words]
    if len(ours) > 1:
        raise SAFEError(f"Expected one word at most in a requirement. Received: {required.text}")
    tagging = open_tagging(out, ours[0].column)
    if tagging.tested.digest != answered.digest:
        expected = f"the answers of {out} to its test images, about which “{ours[0].column}” was asked"
        raise SAFEError(f"Expected {expected}. Received: {answered.source}")
    rest = required._replace(conditions=tuple(one for one in required.conditions if one not in ours))
    check_known([rest], known.columns)
    holds = rest.holds(known.columns, len(answered.paths))
    return finding_by_word(required, tagging, holds[np.isin(answered.paths, tagging.tested.paths)])


def _leaks(learned: StrPath, tested: AnsweredImages) -> tuple[str, ...]:
    """Sentences on tested images that are learned ones, saved again."""
    images = find_images(learned)
    proving = {"test": [tested.root / path for path in tested.paths]}
    return saved_again({"training": [images.root / path for path in images.paths]}, proving)


# --- A new model in comparison with the one before --------------------------------------------------------------------


def compare_models(
    before: np.ndarray, after: AnsweredImages, groups: Groups | None, required: Sequence[Claim],
    reasons: Sequence[Claim],
) -> list[Closure]:  # fmt: skip
    """What a new model makes of each requirement's images, of all others and of each class, and of each reason.

    Reasons are corrected for their number by themselves: with them, nothing passes that is refused without.

    Parameters
    ----------
    before : ndarray of shape (n_images,), bool
        Which images the earlier model gets right.
    after, groups
        The new model's answers, and groups of the images.
    required, reasons : sequence of Claim
        On the images of requirements, and of the analysis.
    """
    classes, label, required_reasons = known_classes(after), after.answers.label, {claim.reason for claim in required}
    names = () if classes is None else sorted({*label.tolist()} - {""})
    of_class = [(Literal(LABEL, "=", name), label == name) for name in names]
    beside = [Claim(str(one), (one,), holds) for one, holds in of_class if str(one) not in required_reasons]
    changes = closures(required, before, after.right, groups, classes, beside=beside)
    changes += closures(reasons, before, after.right, groups, classes)[:-1]
    return [one for one in changes if one.after.tested]


def _reasons(
    out: Path, after: AnsweredImages, before: np.ndarray, known: Known, regions: Mapping[str, str]
) -> tuple[list[Claim], tuple[str, ...]]:
    """The reasons of an analysis as claims on a new model's answers, or a sentence if they are of its own failures.

    Weak spots are asked about on any images, RCCs on the test images that they were compared with (see
    `reasons.known.nearest_to_tested`).
    """
    review = load_review(out)
    clusters = review.clusters  # as the engineer has edited them
    failing = np.isin(np.arange(len(before)), after.rows_of(clusters.image_root, clusters.paths))
    # By Jaccard's index
    alike = [(failing & wrong).sum() / max((failing | wrong).sum(), 1) for wrong in (~after.right, ~before)]
    if alike[0] > alike[1]:
        return [], (f"Not compared for the reasons in {out}: they are of the new model's failures.",)
    rcc_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
    rccs = np.array([rcc_of.get(regions.get(path, ""), NOISE) for path in after.paths], int)
    return claims_of(reasons_of(review, load_reasons(out, review.original).on(clusters), out), known.columns, rccs), ()


def right_by(table: StrPath, images: AnsweredImages, *, partial: bool) -> tuple[np.ndarray, AnsweredImages]:
    """Whether another model gets each of these images right: bool of shape (n_images,); and all its answers."""
    answered = read_predictions(table, images.root, partial=partial)
    check_names(answered, images)
    _, other = aligned(images, answered)
    if missing := sorted({*images.paths} - {*other.paths}):
        raise SAFEError(
            f"Expected answers of both models to the same images. Received: {other.source}, without "
            f"{count(len(missing), 'image')} of {images.source}, such as {printable(missing[0])}."
        )
    return other.right, answered


def _without_image(answered: AnsweredImages) -> set[str]:
    """The names in a table of answers that are of no image in the folder."""
    names = read_answer_table(answered.source).texts(IMAGE)
    images = (*answered.paths, *answered.held_out, *answered.copies)
    used = rows_by_image(names, answered.source.parent, answered.root, images)
    return {*names} - {names[row] for rows in used.values() for row in rows}


def check_names(answered: AnsweredImages, first: AnsweredImages) -> None:
    """Refuse answers of a classifier whose classes have other names than in earlier ones: all would be wrong."""
    if answered.answers.kind == CONFIDENCE:
        unknown_classes(answered, {*first.answers.label.tolist(), *first.answers.predicted.tolist()} - {""})


def junit_text(cases: Iterable[Case]) -> str:
    """JUnit XML: a test case for each."""
    cases = list(cases)
    failures = str(sum(bool(case.failure) for case in cases))
    suite = ElementTree.Element("testsuite", name=SUITE, tests=str(len(cases)), failures=failures, errors="0")
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=f"{SUITE}.{case.kind}", name=printable(case.name))
        text = printable(case.text)
        if case.failure:
            ElementTree.SubElement(element, "failure", type=case.failure, message=text)
        else:
            ElementTree.SubElement(element, "system-out").text = text
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, "unicode", xml_declaration=True) + "\n"
