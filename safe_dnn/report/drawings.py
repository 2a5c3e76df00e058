"""Drawings of the report and of the page: rates over a range, and where a network looks.

Of a number, a rate is a curve with its intervals, of a category a bar for each value. A heatmap is a picture of each
reason, as runs keep it; `api/probing.py` computes it, and docs/decisions/055-heatmaps.md has figures.
"""

import functools
import itertools
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.spots.conditions import LEAST_TESTED, Conditions, Literal, spans
from safe_dnn.rccs.spots.curves import Bin
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.report.markup import filled, jpeg_uri
from safe_dnn.store.runs import HEATMAP, Run, add_run, reading_file, runs_of
from safe_dnn.support.text import count, range_text, rate_text

# Of lines on light and dark ground, and with colour blindness (Okabe and Ito, 2008)
COLOURS = ("#d55e00", "#2680c2", "#009e73", "#cc79a7")
TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)  # where the axis of rates may end
MOST_BARS = 12  # values of a category
LEFT, TOP, RIGHT = 36, 34, 10  # margins: before the axis, above it, and behind what is drawn last
PLOT, STRIP, BELOW = 118, 14, 22  # heights of the curve, of the images below it, and of what the axis says
LETTER, LINE, LONGEST = 7, 14, 14  # of a text: width of a letter, height, and the most letters
TITLE, KEY = 8, 24  # widths of a letter of the title, and of a key with the space around it
BAR, GAP = 12, 4  # heights of a bar, and between values
NARROWEST = 4  # part of the curve that can be pointed at
WIDEST_GAP = 0.2  # of the range, between two images: where none lies for longer, no line is drawn
NOTE = 16  # height of a line below the axis
STEPS = 4  # between the numbers at an axis, about


def curves_of(reasons: Reasons, conditions: Sequence[Conditions], *, width: int = 320) -> dict[str, Markup]:
    """The curve of what each condition is about, by column: its first recorded number or category, measured, or class.

    Of its other numbers those have one as well whose limit lies where no image is. Empty if none is known, as of many
    classes. Several conditions on the same column have one curve, with the ranges of all.

    Parameters
    ----------
    reasons : Reasons
        With `curves`.
    conditions : sequence of tuple of Literal
        For example, `[reasons.spots[0].literals]`.
    width : int
        Of a drawing, in pixels, at most.
    """
    bins, literals = defaultdict[str, list[Bin]](list), defaultdict[str, list[Literal]](list)
    for each in reasons.curves:
        bins[each.column].append(each)
    for literal in itertools.chain(*conditions):
        literals[literal.column].append(literal)
    columns: dict[str, None] = {}
    for condition in conditions:
        own = [one.column for one in condition if one.column in bins]
        own.sort(key=lambda column: (column == LABEL, column in ATTRIBUTES))
        uncertain = [column for column in own if _undetermined(bins[column], literals[column])]
        columns |= dict.fromkeys([*own[:1], *uncertain])
    return {column: curve_svg(bins[column], literals[column], reasons.base, width=width) for column in columns}


def curve_svg(bins: Sequence[Bin], literals: Sequence[Literal], base: float, *, width: int = 320) -> Markup:
    """How often the network is wrong over the range of a column, as an SVG drawing in the colour of the text around it.

    Each bin has a rectangle with `data-column` and, of a number, `data-low` and `data-high`, empty where it is open; of
    a category, `data-value`.

    Parameters
    ----------
    bins : sequence of Bin
        Of one column. Those of classes are drawn, if there are any, instead of those of all images.
    literals : sequence of Literal
        Conditions on this column, whose ranges are shaded.
    base : float
        The rate of all images, a dashed line.
    width : int
        As for `curves_of`.
    """
    of_all = [each for each in bins if not each.of_class]
    names = dict.fromkeys(each.of_class for each in bins if each.of_class) or [""]
    own = [[each for each in bins if each.of_class == name] for name in names]
    own.sort(key=lambda line: -sum(each.wrong for each in line) / sum(each.tested for each in line))
    lines = [_Line(line[0].of_class, colour, line) for colour, line in zip(COLOURS, own, strict=False)]
    highest = max([base, *(each.rate_high for line in lines for each in line.reliable)])
    drawing = _Drawing(of_all, lines, literals, base, next((top for top in TOPS if top >= highest), 1.0), width)
    return _bars(drawing) if of_all[0].value else _curve(drawing)


class _Line(NamedTuple):
    """What is known of a class, or of all images."""

    name: str
    colour: str
    bins: Sequence[Bin]

    @property
    def reliable(self) -> list[Bin]:
        """The bins with enough tested images."""
        return [each for each in self.bins if each.tested >= LEAST_TESTED]

    @property
    def prefix(self) -> str:
        """Its name, to precede what is known of it."""
        return f"{self.name} " if self.name else ""

    def at(self, part: Bin) -> list[Bin]:
        """Its bin at a place, if it has any images there."""
        return [each for each in self.bins if each.place == part.place]


class _Drawing(NamedTuple):
    """What is drawn: the bins of all images, the lines, that of the highest rate first, and the end of their axis."""

    of_all: Sequence[Bin]
    lines: Sequence[_Line]
    literals: Sequence[Literal]
    base: float
    top: float
    width: int

    @property
    def column(self) -> str:
        """What the bins are of."""
        return self.of_all[0].column

    @property
    def pattern(self) -> str:
        """The id of its hatching, of no other drawing: of one that is out of sight, nothing would be drawn."""
        return f"safe-hatched-{zlib.crc32(repr((self.column, self.literals, self.width)).encode()):x}"

    @property
    def title(self) -> str:
        """Above the drawing."""
        return f"How often it is wrong, by {_short(self.column, self.width // TITLE - 26)}"

    @property
    def summary(self) -> str:
        """The title, and where the rate of each line is lowest and highest, as a sentence."""
        texts = []
        for line in self.lines:
            ends = (pick(line.reliable or line.bins, key=lambda each: each.rate) for pick in (min, max))
            texts.append(line.prefix + " to ".join(f"{rate_text(end.rate)} ({self.words(end)})" for end in ends))
        return f"How often it is wrong, by {self.column}: {'; '.join(texts)}."

    def words(self, part: Bin) -> str:
        """The range of a bin, or its value."""
        low, high = f"{part.low:.12g}", f"{part.high:.12g}"
        if part.value or part.low == self.of_all[0].low:
            return part.value or f"below {high}"
        return f"{low} or more" if part.high == self.of_all[-1].high else f"{low} to {high}"

    def tooltip(self, part: Bin) -> str:
        """What is known of a bin, such as `age 20 to 25: 24 of 60 wrong (40%, 28–53%)`, of each line."""
        texts = (
            f"{line.prefix}{own.wrong:,} of {own.tested:,} wrong "
            f"({rate_text(own.rate)}, {range_text(own.rate_low, own.rate_high)}{own.compared})"
            for line in self.lines
            for own in line.at(part)
        )
        return f"{self.column} {self.words(part)}: {'; '.join(texts)}"


def gaps_of(bins: Sequence[Bin]) -> list[tuple[float, float]]:
    """Between which values of a number no image lies for more than `WIDEST_GAP` of the range.

    Parameters
    ----------
    bins : sequence of Bin
        Of all images, in order.
    """
    widest = WIDEST_GAP * (bins[-1].most - bins[0].least)
    between = ((one.most, other.least) for one, other in itertools.pairwise(bins))
    return [(low, high) for low, high in between if high - low > widest]


def _undetermined(bins: Sequence[Bin], literals: Sequence[Literal]) -> list[tuple[float, float]]:
    """The gaps in which a limit of these conditions lies: any other limit there separates the images as well."""
    if not (gaps := gaps_of([each for each in bins if not each.of_class])):  # such as those of a category
        return []
    ends = {end for low, high in _ranges(literals) for end in (low, high) if math.isfinite(end)}
    return [(low, high) for low, high in gaps if any(low < end <= high for end in ends)]


def _notes(drawing: _Drawing) -> list[str]:
    within = _undetermined(drawing.of_all, drawing.literals)
    texts = [f"Any limit from {low:.4g} to {high:.4g} separates them as well:" for low, high in within]
    return [*texts, "no operating limit can be read from these images."] if texts else []


def _curve(drawing: _Drawing) -> Markup:
    bins, bottom, gaps = drawing.of_all, TOP + PLOT, gaps_of(drawing.of_all)
    # Half of the images of a bin at an end may be far out: its median is drawn in its middle.
    begin = max(bins[0].low, 2 * bins[0].middle - bins[0].high)
    end = min(bins[-1].high, 2 * bins[-1].middle - bins[-1].low)
    everywhere = f"all {rate_text(drawing.base)}"
    right = drawing.width - KEY - max(_width(text) for text in (everywhere, *(line.name for line in drawing.lines)))

    def x(value: float) -> float:
        return round(LEFT + (min(max(value, begin), end) - begin) / (end - begin) * (right - LEFT), 1)

    def y(rate: float) -> float:
        return round(TOP + (1 - rate / drawing.top) * PLOT, 1)

    lines, labels = [], [(y(drawing.base), everywhere, "")]
    for line in drawing.lines:
        known = line.reliable
        for part in _unbroken(known, gaps):
            # What stands alone is drawn as wide as its images lie.
            places = [part[0].least, part[0].most] if len(part) == 1 else [each.middle for each in part]
            values = part * 2 if len(part) == 1 else part
            curve, low, high = (
                [(x(place), y(getattr(each, rate))) for place, each in zip(places, values, strict=True)]
                for rate in ("rate", "rate_low", "rate_high")
            )
            lines.append((line.colour, curve, high + low[::-1]))
        labels += [(y(known[-1].rate), line.name, line.colour)] if line.name and known else []
    before, after = {low for low, _ in gaps}, {high for _, high in gaps}
    begins_at = [each.least if each.least in after else each.low for each in bins]
    ends_at = [each.most if each.most in before else each.high for each in bins]
    at = [min(x(begin), right - NARROWEST) for begin in begins_at]
    wide = [max(x(last) - x(first), NARROWEST) for first, last in zip(begins_at, ends_at, strict=True)]
    dense = [each.tested / width for each, width in zip(bins, wide, strict=True)]
    notes = _notes(drawing)
    # Ranges at the ends are open.
    begins, ends = ["", *(f"{each.low}" for each in bins[1:])], [*(f"{each.high}" for each in bins[:-1]), ""]
    heights = [density / max(dense) * STRIP for density in dense]
    return filled(
        "rate_curve.svg", drawing=drawing, left=LEFT, top=TOP, right=right, bottom=bottom, strip=STRIP,
        bins=zip(at, wide, heights, begins, ends, map(drawing.tooltip, bins), strict=True),
        height=bottom + STRIP + BELOW + NOTE * len(notes), notes=notes, note=NOTE, y=y,
        gaps=[(x(low), x(high), f"no images from {low:.4g} to {high:.4g}") for low, high in gaps],
        letter=LETTER, hatched=drawing.pattern, lines=lines, labels=_spread(labels, bottom), dashed=y(drawing.base),
        numbers=[(x(number), f"{number:.12g}") for number in _numbers(begin, end)],
        shaded=[(x(low), x(high)) for low, high in _ranges(drawing.literals) if low < end and high > begin],
    )  # fmt: skip


def _unbroken(bins: Sequence[Bin], gaps: Sequence[tuple[float, float]]) -> Iterator[list[Bin]]:
    """Bins between which no gap lies."""
    for _, part in itertools.groupby(bins, lambda each: sum(high <= each.least for _, high in gaps)):
        yield list(part)


def _bars(drawing: _Drawing) -> Markup:
    bins = drawing.of_all[:MOST_BARS]
    compared = any(math.isfinite(each.expected) for line in drawing.lines for each in line.bins)
    left = max(_width(each.value) for each in bins) + RIGHT
    right = drawing.width - (_width("100%") + RIGHT) * (1 + compared)

    def x(rate: float) -> float:
        return round(left + rate / drawing.top * (right - left), 1)

    rows, y = [], TOP
    for each in bins:
        own = [(line.colour, bar) for line in drawing.lines for bar in line.at(each)]
        bars = [
            (
                colour, y + GAP / 2 + at * BAR, x(bar.rate), x(bar.rate_low), x(bar.rate_high), rate_text(bar.rate),
                (x(bar.expected), rate_text(bar.expected)) if math.isfinite(bar.expected) else None, bar.differs,
            )
            for at, (colour, bar) in enumerate(own)
        ]  # fmt: skip
        shaded = any(literal.holds(np.array([each.value]))[0] for literal in drawing.literals)
        high = len(own) * BAR + GAP
        rows.append((each.value, _short(each.value), drawing.tooltip(each), shaded, y, high, bars))
        y += high
    keys, place = [], left
    for line in drawing.lines if drawing.lines[0].name else ():
        keys.append((_short(line.name), line.colour, place))
        place += _width(line.name) + KEY
    return filled(
        "rate_bars.svg", drawing=drawing, left=left, right=right, top=TOP, bottom=y, bar=BAR, rows=rows, keys=keys,
        height=y + BELOW + LINE * (bool(keys) + compared), dashed=x(drawing.base), compared=compared,
        more=len(drawing.of_all) - len(bins), foot=y + BELOW + LINE * bool(keys),
    )  # fmt: skip


def _ranges(literals: Sequence[Literal]) -> Iterator[tuple[float, float]]:
    """What conditions on a number hold for."""
    for literal in literals:
        for low, high in spans(literal):
            yield from [(low, high)] if low < high else [(-math.inf, high), (low, math.inf)]  # of angles, across 0°


def _numbers(begin: float, end: float) -> list[float]:
    """Round numbers at the axis."""
    step = nice(0.8 * (end - begin) / STEPS)
    return [number * step for number in range(math.ceil(begin / step), math.floor(end / step) + 1)]


def nice(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is no less than this; 1 for 0."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _width(text: str) -> int:
    return len(_short(text)) * LETTER


def _spread(labels: Sequence[tuple[float, str, str]], bottom: float) -> list[tuple[float, str, str]]:
    """Labels from the top, moved so that none is over another one or below the axis."""
    ordered = sorted(labels)
    places = [place for place, _, _ in ordered]
    for at in range(1, len(places)):
        places[at] = max(places[at], places[at - 1] + LINE)
    for at in reversed(range(len(places))):
        places[at] = min(places[at], bottom - LINE * (len(places) - 1 - at))
    return [(place, _short(text), colour) for place, (_, text, colour) in zip(places, ordered, strict=True)]


# --- Heatmaps -----------------------------------------------------------------------------------------------------

FOR, AGAINST = (0, 114, 255), (255, 110, 0)  # everybody can distinguish them, and both from grey
HEATMAP_FILE = "heatmap.png"


MOST_COLOUR = 0.8  # of a pixel, so that what is below it stays in sight


class Heatmap(NamedTuple):
    """Heatmaps of a reason, as means over images.

    Attributes
    ----------
    picture : PIL image
        As of `side_by_side`.
    facts : mapping
        `subject`, what they are of; `n_failing` and `n_right`, of how many images; `model`, its name; `regression`,
        whether it is one.
    """

    picture: Image.Image
    facts: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What is in the picture, what was computed, and what the colours mean."""
        facts, colours = self.facts, "speaks for the true class, orange against it"
        if facts["regression"]:
            colours = "lowers the error, orange raises it"
        parts = f"{count(facts['n_failing'], 'failing image')}, {facts['n_right']} right, and what failing ones lack"
        return f"From left to right: {parts}. Blue {colours}. Model: {facts['model']}."


def keep_heatmap(folder: Path, clusters: str, heatmap: Heatmap) -> None:
    """Save it, in place of an earlier one of the reason; `clusters` as in `rccs.clusters.run_of`."""
    files = {HEATMAP_FILE: functools.partial(heatmap.picture.save, format="PNG")}
    before = _last(folder, clusters).get(heatmap.facts["subject"])
    add_run(folder, HEATMAP, files, clusters=clusters, facts=heatmap.facts, instead_of=before)


def _last(folder: Path, clusters: str) -> dict[Any, Run]:
    return {run.facts.get("subject"): run for run in runs_of(folder, HEATMAP) if run.clusters == clusters}


def heatmaps_of(folder: Path, clusters: str, subjects: Iterable[str]) -> dict[str, Heatmap]:
    """The heatmap of each of some reasons that has one, by subject (see `reasons.listed.Reason`).

    Raises
    ------
    SAFEError
        One is damaged.
    """
    last, heatmaps = _last(folder, clusters), {}
    for subject in subjects:
        if run := last.get(subject):
            with reading_file(run, HEATMAP_FILE) as path, Image.open(path) as picture:
                heatmaps[subject] = Heatmap(picture.convert("RGB"), run.facts)
    return heatmaps


def side_by_side(failing: np.ndarray, right: np.ndarray, below: np.ndarray, below_right: np.ndarray) -> Image.Image:
    """Mean heatmaps of failing and of right images, each over their mean image in grey, and the difference."""
    most = max(float(np.abs(failing).max()), float(np.abs(right).max())) or 1.0
    lost = np.minimum(failing - right, 0)
    parts = (failing / most, below), (right / most, below_right), (lost / (-float(lost.min()) or 1.0), below)
    return Image.fromarray(np.hstack([coloured(*part) for part in parts]))


def coloured(values: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """A heatmap from -1 to 1 over a grey picture, whose black and white give way to the colours."""
    height, width = ground.shape
    spread = np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    share = np.minimum(np.abs(spread), 1)[..., None] * MOST_COLOUR
    colour = np.where(spread[..., None] > 0, FOR, AGAINST)
    return ((80 + 0.55 * ground[..., None]) * (1 - share) + colour * share).astype(np.uint8)


def heatmap_html(heatmap: Heatmap) -> Markup:
    """The picture, and what is in it."""
    return filled("heatmap.html", picture=jpeg_uri(heatmap.picture, 85), text=heatmap.text)
