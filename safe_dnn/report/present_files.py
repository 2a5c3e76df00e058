"""What RCCs have in common; and the files that show the present state of an analysis: the paper's, and tables."""

import contextlib
from pathlib import Path

from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, labels_text
from safe_dnn.rccs.gifs import gif_shows, write_gifs, write_spot_gifs
from safe_dnn.rccs.profiles import PROFILES_FILE, profiles_text
from safe_dnn.rccs.review.review import Review, load_review
from safe_dnn.rccs.spots.curves import CURVES_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE, rates_text
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, spots_text
from safe_dnn.rccs.unsafe_set import SHOWN_FILES, UNSAFE_SET_FILE, load_unsafe_set, unsafe_table
from safe_dnn.reasons.claims import CONFIRMATION_FILE
from safe_dnn.reasons.comparison import Reasons, load_reasons
from safe_dnn.reasons.known import FRESH_FILE, TESTED_FILE
from safe_dnn.reasons.probes import PROBES_FILE
from safe_dnn.reasons.run_record import describe_rccs, table_of
from safe_dnn.store.output_folder import Writer, foreign_files, is_edited, is_outdated, save_files, showing, writing
from safe_dnn.store.runs import COMPARISON, CONFIRMATION, PROBES, SELECTION, present_runs, texts_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.certainty import CLOSURE_FILE
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, retraining_files, show_retraining

SHOWN = (
    LABELS_FILE, PROFILES_FILE, WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, *SHOWN_FILES, MODEL_FILE, RETRAINING_FILE,
)  # fmt: skip
"""Files in the output folder itself that show the present state."""
_REASONS = (
    WEAK_SPOTS_FILE, CURVES_FILE, RATES_FILE, TESTED_FILE, CONFIRMATION_FILE, CLOSURE_FILE, FRESH_FILE, PROBES_FILE,
)  # fmt: skip


def refresh_rccs(out: Path) -> RootCauseClusters:
    """Write the files that show the present RCCs: GIFs, `labels.txt`, profiles, error rates; to be called after an
    edit.

    GIFs come last: by an outdated one, `mend` knows that the others may be outdated.
    """
    with showing(out):
        with writing(out):
            review = load_review(out)
            files = {**_profiles_file(out, review), **_rcc_files(out, review)}
            save_files(out, files, remove=(PROFILES_FILE, *_REASONS))
        _draw(out, review)
    return review.clusters


def _draw(out: Path, review: Review) -> None:
    write_spot_gifs(review.clusters, out, _reasons(out, review).images)
    write_gifs(review.clusters, out)


def show_reasons(out: Path) -> None:
    """Write `weak_spots.csv`, `rates.csv` and `rcc_rates.csv`, as they are for the present RCCs."""
    with showing(out), writing(out):
        save_files(out, _reasons_files(out, load_review(out)), remove=_REASONS)


def show_unsafe_set(out: Path) -> None:
    """Write `IS_filenames.txt`, `unsafe_set.csv` and `unsafe_images.csv`, as they are for the present RCCs.

    A table that somebody has edited in another program stays until its labels are taken over.
    """
    with showing(out), writing(out):
        files, gone = _unsafe_files(out)
        save_files(out, files, remove=gone)


def show_present(out: Path) -> None:
    """Write all that shows the present state of an analysis.

    Raises
    ------
    SAFEError
        A file cannot be written. What was computed is kept: the files are written when the analysis is next opened.
    """
    show_unsafe_set(out)
    show_retraining(out)
    refresh_rccs(out)


def mend(out: Path) -> bool:
    """Write again what a killed process or a full disk has left outdated; files of somebody else stay as they are.

    Returns
    -------
    bool
        Whether anything was outdated.

    Raises
    ------
    SAFEError
        A file cannot be written, or the database is damaged.
    """
    review = _review_in(out)
    drawn = review is None or all(gif_shows(review.clusters, out, rcc) for rcc in review.clusters.groups)
    files, gone = _texts_and_model(out, review)
    if drawn and not is_outdated(out, files, remove=gone):
        return False
    with writing(out):
        review = _review_in(out)
        files, gone = _texts_and_model(out, review)
        if review and not foreign_files(out, [PROFILES_FILE]):
            files, gone = files | _profiles_file(out, review), [*gone, PROFILES_FILE]
        save_files(out, files, remove=gone)
    if review:
        _draw(out, review)
    return True


def _review_in(out: Path) -> Review | None:
    """None if there are no clusters, or damaged ones, which is reported where they are read."""
    try:
        return load_review(out)
    except SAFEError:
        return None


def _texts_and_model(out: Path, review: Review | None) -> tuple[dict[str, Writer], list[str]]:
    """What shows the present state and can be compared with the files in no time, and the names of what is to go."""
    unsafe, no_selection = _unsafe_files(out)
    retraining, no_retraining = retraining_files(out)
    gone = [*no_selection, *no_retraining, *(_REASONS if review else ())]
    files = {**unsafe, **retraining, **(_rcc_files(out, review) if review else {})}
    theirs = foreign_files(out, files)
    return {name: content for name, content in files.items() if name not in theirs}, gone


def _profiles_file(out: Path, review: Review) -> dict[str, Writer]:
    try:
        source = table_of(out, "parameters")
        profiles, _ = describe_rccs(review.clusters, parameters=source)
    except SAFEError:
        return {}  # the parameters can no longer be read, and the old profiles are about other RCCs
    return {PROFILES_FILE: profiles_text(profiles)} if profiles else {}


def _rcc_files(out: Path, review: Review) -> dict[str, Writer]:
    return {LABELS_FILE: labels_text(review.clusters), **_reasons_files(out, review)}


def _reasons_files(out: Path, review: Review) -> dict[str, Writer]:
    reasons = _reasons(out, review)
    rates = reasons.rates.values()
    files: dict[str, Writer] = {WEAK_SPOTS_FILE: spots_text(reasons.spots)} if reasons.base else {}
    files |= {RATES_FILE: rates_text(rates)} if rates else {}
    runs = present_runs(out)
    files |= texts_of(runs.get(COMPARISON), TESTED_FILE, CURVES_FILE)
    files |= texts_of(runs.get(CONFIRMATION), CONFIRMATION_FILE, CLOSURE_FILE, FRESH_FILE)
    return files | texts_of(runs.get(PROBES), PROBES_FILE)


def _reasons(out: Path, review: Review) -> Reasons:
    try:
        return load_reasons(out, review.original).on(review.clusters)
    except SAFEError:
        return Reasons()  # damaged, which is reported where they are read


def _unsafe_files(out: Path) -> tuple[dict[str, Writer], list[str]]:
    run = present_runs(out).get(SELECTION)
    files: dict[str, Writer] = {**texts_of(run, *(name for name in SHOWN_FILES if name != UNSAFE_SET_FILE))}
    edited = is_edited(out, UNSAFE_SET_FILE)
    if run and not edited:
        with contextlib.suppress(SAFEError):  # damaged, which is reported where it is read
            files[UNSAFE_SET_FILE] = unsafe_table(load_unsafe_set(out))
    return files, [name for name in SHOWN_FILES if not (edited and name == UNSAFE_SET_FILE)]
