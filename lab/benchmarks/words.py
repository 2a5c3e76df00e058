"""Does the rate of a word hold, and how many answers does it take? An oracle answers from what is recorded.

    python -m lab.benchmarks.words --data NAME=DIR ... --work DIR [--runs N] [--write]

DIR has `predictions.csv` and `accuracy.json`, as `failures` and the builder of case studies write them, and the
parameters of the test images in or beside their folder. Words are the causes of a case study or, of photographs,
`PLAIN_WORDS` as far as their columns are known. In each run somebody has `SEEN` failing images before them that look
alike, one of which has the word: these and further ones teach the probe, and then images are drawn, as on the page (see
`safe_dnn/reasons/words/`). Measured are, after `TAGS` answers in all,

- *held*: the share of runs in which the 95 % interval holds the true rate of the tested images; also with random scores
  in place of the probe's;
- *half-width*: the median over that of Clopper and Pearson's interval from as many images drawn at random;
- *moved*: by how many points the rate moves, in the mean of runs, if 5 % of the answers are wrong;
- *by chance*: the share of runs in which a word that is answered by chance is said to fail more often;
- *new images*: of cases with persons, where failing is drawn anew in each run, by a rate for each person (of a beta
  distribution with the correlation `CORRELATIONS`): how often the interval for new images holds the rate that was drawn
  from;
- *chosen*: after `TAGS[1]` answers, the share that has the word among the `CHOSEN` likeliest images of the improvement
  set beside the test set; and in how many runs the network is said to fail more often on images that have it.

With --write, a section of lab/results/words.md is written. Features are extracted once; points are kept in the work
folder.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.benchmarks.kept import kept, key_of, named_paths
from lab.benchmarks.paper.cases import CASE_STUDIES
from lab.benchmarks.results import table, tell
from lab.casestudies.signs.build import read_parts
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.FE import extract_features
from safe_dnn.features.extractor import comparable
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.rccs.parameters import PARAMETERS_FILE, find_parameters, read_parameters
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.comparison import features_of_tested
from safe_dnn.reasons.words.rates import (
    BATCH,
    UNTAGGED,
    Frame,
    Sample,
    WordRate,
    chosen_to_teach,
    is_taught,
    make_frame,
    next_drawn,
    probe_points,
    rate_of,
    scores,
)
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.run_folder import ACCURACY_FILE, OBJECTS, PREDICTIONS_FILE
from tests.helpers.cases import read_subjects

IMPROVEMENT = "improvement"
TAGS = (60, 100, 200)
SEEN = 10
ERRORS = 0.05
CHOSEN, RUNS_CHOSEN = 50, 20
SMALL = 0.25  # share of the images that have a word, up to which half-widths are compared
CHANCE = 0.15  # share of yes in answers by chance
CORRELATIONS = (0.1, 0.2)
WITH, WITHOUT = 0.4, 0.15  # rates of failing that persons' rates are drawn around
SOURCES = ("safe_dnn/reasons/words/rates.py", "lab/benchmarks/words.py")
PLAIN_WORDS = {
    "baby": Literal("age", "<", 3.5), "child": Literal("age", "from", (4.0, 13.0)),
    "in their teens": Literal("age", "from", (13.0, 20.0)), "in their twenties": Literal("age", "from", (20.0, 30.0)),
    "in middle age": Literal("age", "from", (45.0, 65.0)), "old": Literal("age", ">=", 65.0),
    "light from the left": Literal("light_azimuth_deg", "from", (60.0, 180.0)),
    "light from the right": Literal("light_azimuth_deg", "from", (-180.0, -59.0)),
    "light from above": Literal("light_elevation_deg", "from", (40.0, 91.0)),
    "light from below": Literal("light_elevation_deg", "from", (-91.0, -19.0)),
}  # fmt: skip


class WordsCase(NamedTuple):
    """A test set and the words that are known of it.

    Attributes
    ----------
    points : ndarray of shape (n_images, n_components)
        As of `safe_dnn.reasons.words.rates.probe_points`.
    wrong : ndarray of shape (n_images,), bool
    words : mapping of str to ndarray of shape (n_images,), bool
    groups : Groups or None
        Persons.
    others : ndarray of shape (n_others, n_components)
        Points of the improvement images; without any, there are none.
    words_of_others : mapping of str to ndarray of shape (n_others,), bool
    """

    points: np.ndarray
    wrong: np.ndarray
    words: Mapping[str, np.ndarray]
    groups: Groups | None
    others: np.ndarray
    words_of_others: Mapping[str, np.ndarray]


def load_words_case(name: str, folder: Path, work: Path) -> WordsCase:
    """Load a case; SAFEError if a table or an image cannot be read, or no word is known."""
    record = folder / ACCURACY_FILE
    if not record.is_file():
        raise SAFEError(f"Expected a folder with the failures of a network and their test folder. Received: {folder}")
    root = folder / (OBJECTS if (folder / OBJECTS).is_dir() else json.loads(record.read_text())["test_root"])
    tested = read_predictions(folder / PREDICTIONS_FILE, root)
    beside = root.parent / IMPROVEMENT
    listed = find_images(beside).paths if beside.is_dir() and not (folder / OBJECTS).is_dir() else ()
    points = work / f"{name}-{key_of(tested.digest, SOURCES[0])}.npy"
    if not points.is_file():
        extractor = choose_extractor("vgg16-conv", precision="auto")
        rows = np.arange(len(tested.paths))
        features, read = features_of_tested(tested, rows, extractor)
        others = extract_features(beside, extractor).features if listed else features[:0]
        if not read.all() or len(others) != len(listed):
            raise SAFEError(f"Expected images that can all be read in {root} and {beside}. Received others.")
        of_each = [comparable(each, extractor.name) for each in (features, *([others] if listed else []))]
        np.save(points, probe_points(*of_each))
    words, columns = _known_of(name, folder, root, tested.paths)
    words = {word: mask for word, mask in words.items() if (mask & ~tested.right).any()}
    if not words:
        raise SAFEError(f"Expected a case study, or parameters such as an age. Received: {folder}")
    persons = None
    if "person" in columns:
        persons = Groups("person", np.unique(columns["person"], return_inverse=True)[1])
    of_others = _known_of(name, folder, beside, listed)[0] if listed else {}
    tested_points, others = np.split(np.load(points), [len(tested.paths)])
    return WordsCase(tested_points, ~tested.right, words, persons, others, of_others)


def _known_of(
    name: str, folder: Path, root: Path, images: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The words of images, and what is recorded of them."""
    source = find_parameters(root)
    columns = read_parameters(source, root, images).columns if source else {}
    if name not in CASE_STUDIES:
        known = {word: literal for word, literal in PLAIN_WORDS.items() if literal.column in columns}
        return {word: literal.holds(columns[literal.column]) for word, literal in known.items()}, columns
    table, kind = folder / PARAMETERS_FILE, CASE_STUDIES[name].kind
    subjects: Mapping[str, Any] = read_parts(table) if name == "od" else read_subjects(table, kind)
    of = [subjects.get(f"{root.name}/{path}", subjects.get(path)) for path in images]
    causes = CASE_STUDIES[name].root_causes
    return {one.name: np.array([each is not None and one.holds(each) for each in of], bool) for one in causes}, columns


# --- One run ----------------------------------------------------------------------------------------------------


def tagged(
    case: WordsCase, wrong: np.ndarray, answers: np.ndarray, rng: np.random.Generator, *, random: bool = False
) -> Iterator[tuple[int, Frame, np.ndarray]]:
    """What is known after each number of `TAGS`: that number, the frame, and the answers so far.

    Parameters
    ----------
    wrong, answers : ndarray of shape (n_images,), bool
        `answers`: what the oracle would say of each.
    random : bool
        Whether the probe's scores are random.
    """
    known = np.full(len(wrong), UNTAGGED)
    failing = np.flatnonzero(wrong)
    one = rng.choice(np.flatnonzero(wrong & answers) if (wrong & answers).any() else failing)
    seen = failing[np.argsort(((case.points[failing] - case.points[one]) ** 2).sum(axis=1))][:SEEN]
    while not is_taught(answers[rows := np.flatnonzero(known != UNTAGGED)]):
        chosen = chosen_to_teach(case.points, wrong, rows, answers[rows], seen, rng)
        known[chosen] = answers[chosen]
    of_probe = rng.random(len(wrong)) if random else scores(case.points, rows, answers[rows])
    frame = make_frame(of_probe, wrong, known != UNTAGGED, int(rng.integers(2**31)))
    for number in TAGS:
        while missing := min(BATCH, number - int((known != UNTAGGED).sum())):
            drawn = next_drawn(frame, known, missing)
            known[drawn] = answers[drawn]
        yield number, frame, known.copy()


def rates_of(
    case: WordsCase, wrong: np.ndarray, answers: np.ndarray, rng: np.random.Generator, *, random: bool = False
) -> list[WordRate | None]:
    """The rate after each number of `TAGS`."""
    everywhere, of = np.ones(len(wrong), bool), tagged(case, wrong, answers, rng, random=random)
    return [rate_of(Sample(frame, known, everywhere, groups=case.groups)) for _, frame, known in of]


def width_at_random(wrong: np.ndarray, has_it: np.ndarray, number: int, rng: np.random.Generator) -> float:
    """The half-width of the interval from images drawn at random."""
    drawn = rng.choice(len(wrong), number, replace=False)
    low, high = clopper_pearson(np.array([(wrong & has_it)[drawn].sum()]), np.array([has_it[drawn].sum()]))
    return float(high[0] - low[0]) / 2


# --- A row ------------------------------------------------------------------------------------------------------


def measure_word(case: WordsCase, has_it: np.ndarray, runs: int) -> dict[str, Any]:
    """Everything that is measured of a word; lists have an entry for each of `TAGS`."""
    true, held = float(case.wrong[has_it].mean()), np.zeros((2, len(TAGS)))
    widths, at_random = np.ones((runs, len(TAGS))), np.ones((runs, len(TAGS)))
    moved = np.zeros((runs, len(TAGS)))
    for run in range(runs):
        rng = np.random.default_rng(run)
        for random in (False, True):
            for i, found in enumerate(rates_of(case, case.wrong, has_it, rng, random=random)):
                held[int(random), i] += found is None or found.low - 1e-4 <= true <= found.high + 1e-4
                if not random:
                    widths[run, i] = found.half_width if found else 0.5
                    moved[run, i] = found.rate if found else np.nan
        at_random[run] = [width_at_random(case.wrong, has_it, number, rng) for number in TAGS]
        erring = has_it ^ (rng.random(len(has_it)) < ERRORS)
        moved[run] = [one.rate if one else np.nan for one in rates_of(case, case.wrong, erring, rng)] - moved[run]
    return {
        "share": float(has_it.mean()), "rate": true, "held": (held[0] / runs).tolist(),
        "held, random probe": (held[1] / runs).tolist(),
        "half-width": (np.median(widths, axis=0) / np.median(at_random, axis=0)).tolist(),
        "moved": np.nanmean(moved, axis=0).tolist(),
    }  # fmt: skip


def measure_chosen(case: WordsCase, word: str) -> dict[str, Any]:
    """The share of improvement images that have a word, and of the chosen ones; and how often it fails more."""
    more, shares, everything = np.zeros(len(TAGS)), list[float](), np.concatenate([case.points, case.others])
    there = case.words_of_others.get(word, np.zeros(0, bool))
    for run in range(RUNS_CHOSEN):
        answers, everywhere = case.words[word], np.ones(len(case.wrong), bool)
        of = tagged(case, case.wrong, answers, np.random.default_rng(run))
        for i, (number, frame, known) in enumerate(of):
            found = rate_of(Sample(frame, known, everywhere))
            more[i] += found is not None and found.low > found.base
            if number == TAGS[1] and there.any():
                rows = np.flatnonzero(known != UNTAGGED)
                likely = np.argsort(-scores(everything, rows, answers[rows])[len(case.points) :], kind="stable")
                shares.append(float(there[likely[:CHOSEN]].mean()))
    return {"share": float(there.mean()) if shares else None, "chosen": shares, "more": (more / RUNS_CHOSEN).tolist()}


def measure_chance(case: WordsCase, runs: int) -> list[float]:
    """How often a word by chance is said to fail more often, for each of `TAGS`."""
    more = np.zeros(len(TAGS))
    for run in range(runs):
        rng = np.random.default_rng(run)
        found = rates_of(case, case.wrong, rng.random(len(case.wrong)) < CHANCE, rng)
        more += [one is not None and one.low > one.base for one in found]
    return (more / runs).tolist()


def measure_groups(case: WordsCase, has_it: np.ndarray, correlation: float, runs: int) -> list[float]:
    """How often the interval for new images holds the rate that persons' rates were drawn around."""
    assert case.groups is not None
    of, held = case.groups.of, np.zeros(len(TAGS))
    strength = 1 / correlation - 1
    for run in range(runs):
        rng = np.random.default_rng(run)
        uniform = rng.random(int(of.max()) + 1)
        wrong = rng.random(len(of)) < _beta(uniform, strength, has_it, of)
        found = rates_of(case, wrong, has_it, rng)
        held += [one is None or one.new_low <= WITH <= one.new_high for one in found]
    return (held / runs).tolist()


def _beta(uniform: np.ndarray, strength: float, has_it: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The rate of each image: a person with a high one without the word has a high one with it."""
    from scipy.special import betaincinv

    rates = [betaincinv(strength * mean, strength * (1 - mean), uniform)[of] for mean in (WITHOUT, WITH)]
    return np.where(has_it, rates[1], rates[0])


def words_section(cases: dict[str, Path], work: Path, runs: int) -> str:
    """The section as Markdown."""
    rows, by_chance, persons, small = list[list[str]](), list[list[str]](), list[list[str]](), list[list[float]]()
    reasons = list[list[str]]()
    for name, folder in cases.items():
        case = load_words_case(name, folder, work)
        for word, has_it in case.words.items():
            kept_in = work / f"{name}-{word.replace(' ', '-')}.json"
            key = key_of(str(runs), str(has_it.sum()), *SOURCES)
            row = kept(kept_in, key, partial(measure_word, case, has_it, runs))
            points = [f"{100 * one:+.1f}" for one in row["moved"]]
            held = [f"{one:.1%}" for one in (*row["held"], *row["held, random probe"])]
            widths = [f"{one:.2f}" for one in row["half-width"]]
            rows.append([name, word, f"{row['share']:.0%}", f"{row['rate']:.0%}", *held, *widths, *points])
            small += [row["half-width"]] if row["share"] <= SMALL else []
            of_word = work / f"{name}-{word.replace(' ', '-')}-chosen.json"
            found = kept(of_word, key, partial(measure_chosen, case, word))
            share, chosen = found["share"], float(np.mean(found["chosen"])) if found["chosen"] else 0.0
            told = [f"{share:.0%}", f"{chosen:.0%}", f"{chosen / share:.1f} ×"] if share else ["–"] * 3
            reasons.append([name, word, *told, *(f"{one:.0%}" for one in found["more"])])
            if case.groups:
                for one in CORRELATIONS:
                    kept_in = work / f"{name}-{word.replace(' ', '-')}-{one}.json"
                    of = kept(kept_in, key, partial(measure_groups, case, has_it, one, runs))
                    persons.append([name, word, f"{one:g}", *(f"{share:.1%}" for share in of)])
        chance = kept(work / f"{name}-by-chance.json", key_of(str(runs), *SOURCES), partial(measure_chance, case, runs))
        by_chance.append([name, *(f"{share:.1%}" for share in chance)])
    tags = [str(number) for number in TAGS]
    header = ["case", "word", "have it", "wrong"]
    header += [f"{what}, {n}" for what in ("held", "held, random probe", "half-width", "moved") for n in tags]
    medians = ", ".join(f"{n}: {one:.2f}" for n, one in zip(tags, np.median(small, axis=0).tolist(), strict=True))
    columns = ["case", "word", "improvement images", "chosen", "times", *(f"more, {n}" for n in tags)]
    lowest = min(float(share.rstrip("%")) for row in rows for share in row[4:10])
    return (
        "## Words\n\nWritten by `python -m lab.benchmarks.words`, which has the definitions; "
        f"{runs} runs in each row, whose shares have a standard error of {np.sqrt(0.05 * 0.95 / runs):.1%}.\n\n"
        f"{table(header, rows, texts=2)}\n\nThe lowest share held is {lowest:.1f}%. Half-widths of words of at most "
        f"{SMALL:.0%} of the images, median: {medians}.\n\n### Chosen by a word, and said to fail more often\n\n"
        f"{table(columns, reasons, texts=2)}\n\n### Said to fail more often by chance\n\n"
        f"{table(['case', *tags], by_chance)}\n"
        + (
            f"\n### New images of other persons\n\n{table(['case', 'word', 'correlation', *tags], persons, texts=2)}\n"
            if persons
            else ""
        )
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="words", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME=DIR", help="folders of the cases")
    parser.add_argument("--work", required=True, metavar="DIR", help="folder for what is kept")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--write", action="store_true", help="write lab/results/words.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        cases = named_paths("--data", options.data)
        tell("words", words_section(cases, prepare_folder(options.work), options.runs), write=options.write)
    except SAFEError as error:
        print(f"words: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
