"""A word for what people see: images to ask about, the answers, and how often the network fails on images with it.

    tagging = open_tagging(out, begin(out, "baby").name)
    tagging, images = next_images(tagging)          the images to show; one in twenty was shown before
    tagging = answer(tagging, {"a.png": "yes"})     also `undo(tagging)`
    rate(tagging)                                   a `reasons.words.rates.WordRate`, or None with too few answers

The first images teach a probe; then a frame of strata is made, which is kept as a run, and images are drawn from it
(see `safe_dnn/reasons/words/`). A frame is about the network's answers: if these change, the answers about images stay,
and a new frame is made. `word_NAME.csv` has everything that the rate is computed from.
"""

import bisect
import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import extract_features
from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.features.extractor import OWN, Extractor, comparable
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.options import NONE_GIVEN
from safe_dnn.rccs.answers import KNOWN_COLUMNS
from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.parameters import find_parameters, read_texts
from safe_dnn.rccs.spots.figures import Figures, Groups
from safe_dnn.reasons.comparison import MOST_COMPARED, features_of_tested
from safe_dnn.reasons.known import known_classes
from safe_dnn.reasons.known_groups import named_groups
from safe_dnn.reasons.requirements import BROKEN, HOLDS, OPEN, Finding, Requirement
from safe_dnn.reasons.run_record import answers_of_run, groups_of, known_answers, table_of
from safe_dnn.reasons.words.rates import (
    BATCH,
    CHOSEN,
    NO,
    UNSURE,
    UNTAGGED,
    YES,
    Frame,
    Sample,
    WordRate,
    chosen_to_teach,
    clear_rates,
    is_taught,
    make_frame,
    next_drawn,
    probe_points,
    rate_of,
    scores,
)
from safe_dnn.reasons.words.tags import (
    ANSWERS,
    Tag,
    Word,
    add_tags,
    begin_word,
    known_word,
    load_tags,
    load_words,
    undo_tag,
)
from safe_dnn.store.database import present_engineer
from safe_dnn.store.output_folder import save_files
from safe_dnn.store.runs import CLUSTERS, DRAWING, add_run, present_runs, reading_file, runs_of
from safe_dnn.support.errors import SAFEError, StrPath, path_of, quoted
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import content_of
from safe_dnn.support.matching import rows_by_image
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.tables import IMAGE, read_own, read_table, table_text
from safe_dnn.support.text import count, some

FRAME_FILE = "frame.csv"
ANSWER = "answer"
MOST_CLASSES = 12  # that a word is looked at in


class Tagging(NamedTuple):
    """A word, and what is known of it.

    Attributes
    ----------
    out : Path
        The analysis.
    tested : AnsweredImages
        The images that may be asked; of a very large test set a random part.
    frame : Frame or None
        None as long as the probe is being taught.
    tags : tuple of Tag
        The answers that stand, also about images that are gone.
    contents : mapping of str to str
        Of the images that were answered, as they were when the word was opened (see `content_hex`).
    """

    out: Path
    word: Word
    tested: AnsweredImages
    frame: Frame | None
    tags: tuple[Tag, ...]
    contents: Mapping[str, str]

    @property
    def counted(self) -> list[tuple[int, Tag]]:
        """The answers about images as they are now, with their rows, in order."""
        row_of = {path: row for row, path in enumerate(self.tested.paths)}
        there = (tag for tag in self.tags if tag.content == self.contents[tag.image])
        return [(row_of[tag.image], tag) for tag in there if tag.image in row_of]

    @property
    def known(self) -> np.ndarray:
        """What is known of each image, as for `reasons.words.rates.next_drawn`."""
        known = np.full(len(self.tested.paths), UNTAGGED)
        for row, tag in self.counted:  # the later counts
            known[row] = ANSWERS.index(tag.answer)
        return known

    @property
    def answers(self) -> np.ndarray:
        """The answer about each image, empty where nobody was asked."""
        return np.array([*ANSWERS, ""])[self.known]  # that of `UNTAGGED` is the last

    @property
    def agreement(self) -> tuple[int, int]:
        """How many images were shown again, and how many of them got the same answer."""
        last: dict[str, str] = {}
        agreed = []
        for tag in self.tags:
            if tag.again:
                agreed.append(last.get(tag.image) == tag.answer)
            last[tag.image] = tag.answer
        return len(agreed), sum(agreed)

    @property
    def disputed(self) -> int:
        """Of how many images one person says that they have it, and another that they have not."""
        answers = {(tag.image, tag.person): tag.answer for _, tag in self.counted}
        pairs = {(image, answer) for (image, _), answer in answers.items() if answer != ANSWERS[UNSURE]}
        return len(pairs) - len({image for image, _ in pairs})

    @property
    def due_again(self) -> str:
        """The image that is shown a second time, one for each `BATCH` of others; empty if none is due."""
        first = list(dict.fromkeys(tag.image for _, tag in self.counted))
        again = {tag.image for tag in self.tags if tag.again}
        if len(again) >= len(first) // BATCH:
            return ""
        # It stays the same while further answers come in, one by one.
        early = [image for image in first[: BATCH * max(len(again), 1)] if image not in again]
        return early[int(np.random.default_rng([self.word.seed, len(again)]).integers(len(early)))]

    @property
    def text(self) -> str:
        """What is known of it, in sentences."""
        estimate, (repeated, agreed), known = rate(self), self.agreement, self.known
        answers = count(int((known != UNTAGGED).sum()), "answer")
        text = f"no rate yet. {answers} train a regression that finds likely images; further answers give the rate"
        if estimate:
            text = estimate.text
        elif (known != UNTAGGED).any() and not (known == YES).any():
            text = f"no rate. By {answers}, no image has it"
        again = f" Of {count(repeated, 'image')} shown again, {agreed} got the same answer." if repeated else ""
        if n := self.disputed:
            again += f" People disagree about {count(n, 'image')}: the later answer counts, and both are in the table."
        gone = len(self.tags) - len(self.counted)
        lost = f" Without {count(gone, 'answer')} about images that are gone or have changed." if gone else ""
        return f"{self.word.name}: {text.rstrip('.')}.{again}{lost}"


def content_hex(file: Path) -> str:
    """A digest of an image's content; empty if it cannot be read."""
    return (content_of(file) or b"").hex()


def begin(out: Path, name: str, examples: Sequence[str] = (), *, by: str = "") -> Word:
    """Begin a word.

    Parameters
    ----------
    examples : sequence of str
        Test images that somebody had before them, such as those of an RCC: some of them are asked first.
    by
        As for `open_tagging` and `answer`.

    Raises
    ------
    SAFEError
        As of `reasons.words.tags.begin_word`, or the network's answers are not known.
    """
    tested = answers_to_tag(out)
    columns = {*ATTRIBUTES, *KNOWN_COLUMNS, tested.answers.target}
    if source := table_of(out, "parameters") or find_parameters(tested.root):
        with contextlib.suppress(SAFEError):  # the weak spots do without it as well
            columns |= read_texts(source, tested.root, tested.paths).keys()
    return begin_word(prepare_folder(out), name, examples, columns, by=by)


def answers_to_tag(out: Path) -> AnsweredImages:
    """The network's answers that an analysis is about; SAFEError if they, or the images, are not known."""
    if CLUSTERS in present_runs(out):
        tested = answers_of_run(out, load_clusters(out))
    else:
        tested, _ = known_answers(NONE_GIVEN, out / FAILURES)
    if tested is None or not tested.has_images:
        raise SAFEError(
            f"Expected an analysis with the network's answers to its test images. Received: {out}, without."
        )
    return tested


def open_tagging(out: Path, name: str, *, tested: AnsweredImages | None = None) -> Tagging:
    """A word that was begun, as it is now.

    Parameters
    ----------
    tested : AnsweredImages, optional
        As of `answers_to_tag`, if they were read already.

    Raises
    ------
    SAFEError
        There is no such word, or as in `answers_to_tag`.
    """
    word = known_word(out, name)
    tested = tested or answers_to_tag(out)
    facts, frame = {"word": word.name, "answers": tested.digest}, None
    for run in reversed(runs_of(out, DRAWING)):
        if facts.items() <= run.facts.items():
            with reading_file(run, FRAME_FILE) as file:
                _, *rows = read_own(file)
                images, *columns = zip(*rows, strict=True)
                # Without images that are gone: the others of a stratum are a sample of those that are left.
                wrong, *places = (np.array(column, int)[np.isin(images, tested.paths)] for column in columns)
                frame = Frame(wrong > 0, *places)
            tested = tested.taken(np.isin(tested.paths, images))
            break
    n = len(tested.paths)
    if frame is None and n > MOST_COMPARED:
        drawn = np.random.default_rng(word.seed).permutation(n)[:MOST_COMPARED]
        tested = tested.taken(np.isin(np.arange(n), drawn))
    return _with_answers(Tagging(out, word, tested, frame, (), {}))


def _with_answers(tagging: Tagging) -> Tagging:
    tags = tuple(load_tags(tagging.out, tagging.word))
    images = dict.fromkeys(tag.image for tag in tags)
    return tagging._replace(tags=tags, contents={image: content_hex(tagging.tested.root / image) for image in images})


def next_images(
    tagging: Tagging, number: int = BATCH, *, weights: StrPath | None = None
) -> tuple[Tagging, tuple[str, ...]]:
    """The images to ask next, relative to the test folder; fewer if there are no more.

    Once the probe is taught, the frame is made and kept; the word is returned with it.

    Parameters
    ----------
    weights
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Features of the images cannot be extracted, or the frame cannot be written.
    """
    if tagging.frame is None:
        extractor = _extractor(tagging.out, weights)
        rows = np.arange(len(tagging.tested.paths))
        features, read = features_of_tested(tagging.tested, rows, extractor)
        tagging = tagging._replace(tested=tagging.tested.taken(read))
        points = probe_points(comparable(features, extractor.name))
        tested, known = tagging.tested, tagging.known
        rows = np.flatnonzero(known != UNTAGGED)
        has_it = known[rows] == YES
        if not is_taught(has_it):
            rng = np.random.default_rng([tagging.word.seed, len(tagging.tags) // BATCH])
            examples = np.flatnonzero(np.isin(tested.paths, tagging.word.examples))
            rows_to_ask = chosen_to_teach(points, ~tested.right, rows, has_it, examples, rng)
        else:
            frame = make_frame(scores(points, rows, has_it), ~tested.right, known != UNTAGGED, tagging.word.seed)
            tagging = tagging._replace(frame=frame)
            columns = (tested.paths, *(column.astype(int).tolist() for column in frame))
            text = table_text((IMAGE, "wrong", "stratum", "place"), zip(*columns, strict=True))
            facts = {"word": tagging.word.name, "answers": tested.digest, "seed": tagging.word.seed}
            add_run(tagging.out, DRAWING, {FRAME_FILE: text}, facts=facts)
    if tagging.frame is not None:
        rows_to_ask = next_drawn(tagging.frame, tagging.known, number)
    images, again = [tagging.tested.paths[row] for row in rows_to_ask[:number].tolist()], tagging.due_again
    return tagging, tuple([*images[: number - 1], again] if again and number >= BATCH else images)


def _extractor(out: Path, weights: StrPath | None) -> Extractor:
    """That of the clusters, whose features are cached; without clusters, that which they would have."""
    if CLUSTERS in present_runs(out):
        return load_clusters(out).recalled_extractor(weights)
    return choose_extractor(weights=weights, precision="auto")


def likely(
    tagging: Tagging, images: StrPath, *, weights: StrPath | None = None, features: StrPath | None = None
) -> list[tuple[str, float]]:
    """Other images, the likeliest to have the word first, with how likely that is by the probe alone: no rate follows.

    Parameters
    ----------
    images : path
        Their folder, or a .txt list, such as an improvement set.
    weights
        As for `next_images`.
    features : path, optional
        As for `selection.select_unsafe_set`, of these images.

    Raises
    ------
    SAFEError
        Fewer than one image is known to have it, or not to have it, or features cannot be extracted.
    """
    known = tagging.known
    rows = np.flatnonzero((known == YES) | (known == NO))
    if len(np.unique(known[rows])) < 2:
        raise SAFEError(
            f"Expected answers yes and no about “{tagging.word.name}”. Received: {count(len(rows), 'answer')}"
        )
    extractor = _extractor(tagging.out, weights)
    of_others = extractor
    if features or extractor.name == OWN:
        of_others = load_clusters(tagging.out).extractor_of_others(weights, features)
    improvement = extract_features(images, of_others)
    everything = np.arange(len(known))
    of_tested, read = features_of_tested(tagging.tested, everything, extractor)
    points = probe_points(*(comparable(each, extractor.name) for each in (of_tested, improvement.features)))
    rows = rows[read[rows]]
    scored = scores(points, (np.cumsum(read) - 1)[rows], known[rows] == YES)[len(of_tested) :]
    chances = 1 / (1 + np.exp(-scored))
    return [(improvement.paths[row], float(chances[row])) for row in np.argsort(-scored, kind="stable").tolist()]


def answer(tagging: Tagging, answers: Sequence[tuple[str, str]], *, by: str = "") -> Tagging:
    """Take answers about images, all of them or none.

    The same answer again by the same person does not count, unless the image was shown again.

    Parameters
    ----------
    answers : sequence of (str, str)
        Images, relative to the test folder, and one of `reasons.words.tags.ANSWERS` each.
    by : str
        The window.

    Raises
    ------
    SAFEError
        An image is not in the test folder or is gone, or an answer is invalid.
    """
    me, added, due = present_engineer() or by, list[Tag](), tagging.due_again
    last: dict[object, tuple[str, str]] = {}  # of all, and of each person
    for tag in tagging.tags:
        last[tag.image] = last[tag.image, tag.person] = tag.answer, tag.content
    if others := sorted({image for image, _ in answers} - {*tagging.tested.paths}):
        raise SAFEError(
            f"Expected images of {tagging.tested.root}. Received {count(len(others), 'other')}: {some(others, limit=3)}"
        )
    for image, text in answers:
        if text not in ANSWERS:
            raise SAFEError(f"Expected one of {', '.join(ANSWERS)} for {image}. Received: {quoted(text) or 'nothing'}")
        content = content_hex(tagging.tested.root / image)
        if not content and text != ANSWERS[UNSURE]:
            raise SAFEError(
                f"Expected an image that can be read, or unsure. Received: {text} for {image}, which is gone."
            )
        if image == due or {last.get(image), last.get((image, me))} != {(text, content)}:
            added.append(Tag(image, content, text, image == due and image in last))
            last[image] = last[image, me] = text, content
            due = "" if image == due else due
    add_tags(tagging.out, tagging.word, added, by=by)
    return _saved(tagging)


def undo(tagging: Tagging, *, by: str = "") -> tuple[Tagging, Tag]:
    """Take back the last answer of a window, which is returned (errors are those of `reasons.words.tags.undo_tag`)."""
    tag = undo_tag(tagging.out, tagging.word, by=by)
    return _saved(tagging), tag


def _saved(tagging: Tagging) -> Tagging:
    """With the answers as they are now, which the table shows."""
    tagging = _with_answers(tagging)
    save_files(tagging.out, {tagging.word.file: evidence_text(tagging)})
    return tagging


def sample_of(tagging: Tagging, within: np.ndarray | None = None, *, has_it: bool = True) -> Sample | None:
    """The answers as a sample, from which rates follow; None as long as nothing is drawn.

    Parameters
    ----------
    within : ndarray of shape (n_images,), bool, optional
        Only these images, in the order of `tagging.tested`.
    has_it : bool
        False: images that have not the word.
    """
    if tagging.frame is None:
        return None
    everywhere = np.ones(len(tagging.tested.paths), bool)
    return Sample(tagging.frame, tagging.known, everywhere if within is None else within, has_it, _groups(tagging))


def _groups(tagging: Tagging) -> Groups | None:
    tested = tagging.tested
    found = named_groups(groups_of(tagging.out), tested, parameters=find_parameters(tested.root), required=False)
    return found.groups if found and found.named else None


def rate(tagging: Tagging) -> WordRate | None:
    """How often the network fails on images that have the word; None as long as that does not follow."""
    estimate = rate_of(sample, known_classes(tagging.tested)) if (sample := sample_of(tagging)) else None
    return estimate and estimate._replace(classes=clear_rates(of_classes(tagging)))


def of_classes(tagging: Tagging) -> dict[str, Sample]:
    """The answers about each class; empty if no class is known, or more than `MOST_CLASSES` are."""
    sample, labels = sample_of(tagging), np.array(tagging.tested.answers.label)
    names = np.unique(labels).tolist()
    if sample is None or len(names) > MOST_CLASSES or known_classes(tagging.tested) is None:
        return {}
    return {name: sample._replace(within=labels == name) for name in names}


def finding_by_word(required: Requirement, tagging: Tagging, rest_holds: np.ndarray) -> Finding:
    """What answers about a word, which is one of the conditions of a requirement, say of it.

    Parameters
    ----------
    rest_holds : ndarray of shape (n_images,), bool
        For which images its other conditions hold, in the order of `tagging.tested`.

    Raises
    ------
    SAFEError
        The word is not compared with yes or no, or no rate follows from the answers yet.
    """
    (condition,) = (one for one in required.conditions if one.column == tagging.word.name)
    if condition.sign not in ("=", "!=") or condition.value not in ANSWERS[:UNSURE]:
        raise SAFEError(f"Expected “{tagging.word.name} = yes” or “= no”. Received: {required.text}")
    sample = sample_of(tagging, rest_holds, has_it=(condition.value == ANSWERS[YES]) == (condition.sign == "="))
    rate = rate_of(sample) if sample else None
    if sample is None or rate is None:
        raise SAFEError(
            f"Expected more answers about “{tagging.word.name}”: no rate follows yet. Received: {required.text}"
        )

    totals = sample.totals()

    def verdict(drawn: int) -> str:
        """If so many images were drawn."""
        missing = rest_holds.sum() - rate.chosen
        share = math.sqrt((rate.tagged - rate.chosen) / drawn) if drawn < missing else 0.0
        low, high = sample.limits(required.confidence, totals, limit=True, share_open=share)
        return HOLDS if high <= required.most else BROKEN if low > required.most else OPEN

    drawn = rate.tagged - rate.chosen
    numbers = range(drawn, int(rest_holds.sum()) - rate.chosen + BATCH, BATCH)
    deciding = bisect.bisect_left(numbers, True, key=lambda number: verdict(number) != OPEN)
    name = sample.groups.name if sample.groups else ""
    figures = Figures(
        round(rate.images), round(rate.wrong), groups=rate.groups, group=name, answers=rate.tagged,
        estimate=rate.rate,
    )  # fmt: skip
    needed = numbers[deciding] - drawn if deciding < len(numbers) else None
    limits = sample.limits(required.confidence, totals, limit=True)
    return Finding(required, verdict(drawn), figures, *limits, needed)


def evidence_text(tagging: Tagging) -> str:
    """`word_NAME.csv`: the images that were answered, and the chances with which they were drawn.

    An image that was chosen, to teach the probe, has no stratum. The rate is computed from the rows with `counts` 1:
    for each stratum, `size` images, `drawn` answers and those of them that are yes.
    """
    frame, known, tested = tagging.frame, tagging.known, tagging.tested
    if frame is None:
        frame = Frame(~tested.right, np.full(len(known), CHOSEN), np.zeros(len(known), int))
    counts, sizes, groups = frame.counts(known), frame.sizes, _groups(tagging)
    drawn, rows = frame.drawn(counts), list[list[object]]()
    of_row = sorted(tagging.counted, key=lambda one: (one[0], one[1].number))
    for row, tags in itertools.groupby(of_row, key=lambda one: one[0]):
        said, at = [tag for _, tag in tags], int(frame.stratum[row])
        of_stratum = (
            [at, sizes[at], drawn[at], frame.place[row], f"{drawn[at] / sizes[at]:.6g}"] if at != CHOSEN else [""] * 5
        )
        rows.append([
            tested.paths[row], int(frame.wrong[row]), tested.answers.label[row], groups.of[row] if groups else "",
            *of_stratum, int(counts[row]), said[-1].answer, " ".join(tag.answer for tag in said), said[-1].time,
            said[-1].engineer,
        ])  # fmt: skip
    header = "wrong", "label", "group", "stratum", "size", "drawn", "place", "chance", "counts"
    return table_text((IMAGE, *header, ANSWER, "answers", "time", "by"), rows)


def answers_in(table: StrPath, tagging: Tagging) -> list[tuple[str, str]]:
    """The answers in a table (CSV) with the columns `image` and `answer`, in order; empty ones are left out.

    Raises
    ------
    SAFEError
        The file cannot be read, lacks a column, has images that are no test images, or two answers about an image.
    """
    cells = read_table(path_of(table, "a table of answers (CSV)"), "answers")
    if missing := [name for name in (IMAGE, ANSWER) if name not in cells.header]:
        raise SAFEError(f"Expected the columns {IMAGE} and {ANSWER} in {table}. The column '{missing[0]}' is missing.")
    rows = rows_by_image(cells.texts(IMAGE), cells.source.parent, tagging.tested.root, tagging.tested.paths)
    image_of = {row: image for image, of_image in rows.items() for row in of_image}
    answers: dict[str, str] = {}
    for row, text in enumerate(map(str.lower, cells.texts(ANSWER))):
        if row not in image_of:
            raise cells.fault(row, f"an image of {tagging.tested.root}", cells.text(IMAGE, row))
        if text not in (*ANSWERS, ""):
            raise cells.fault(row, f"one of {', '.join(ANSWERS)}, or nothing", text)
        if text and (first := answers.setdefault(image_of[row], text)) != text:
            raise cells.fault(row, f"one answer about {image_of[row]}", f"{text}, after {first}")
    return [*answers.items()]


def all_words(out: Path, *, tested: AnsweredImages | None = None) -> dict[str, Tagging]:
    """All words of an analysis, by name; `tested` as for `open_tagging`."""
    words = load_words(out)
    tested = tested or (answers_to_tag(out) if words else None)
    return {name: open_tagging(out, name, tested=tested) for name in words}


def word_columns(out: Path, tested: AnsweredImages, image_root: Path, images: Sequence[str]) -> dict[str, np.ndarray]:
    """What was answered about images, by word: yes, no, unsure, or nothing where nobody was asked.

    Parameters
    ----------
    tested
        As for `open_tagging`.
    image_root, images
        As for `AnsweredImages.rows_of`.
    """
    words, columns = all_words(out, tested=tested), dict[str, np.ndarray]()
    for name, word in words.items():
        columns[name] = np.append(word.answers, "")[word.tested.rows_of(image_root, images)]
    return columns
