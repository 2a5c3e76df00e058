"""Is the condition of a reason what makes the DNN fail, or only found together with it?

Right images are changed, by degrees, to what the failing images of a weak spot or RCC look like: darkened, blurred,
made noisy. Failing ones are changed to what right ones look like, as far as that goes. If the condition is the cause,
the answers change, and more of them than under other changes of the same size: the same change with its frequencies
in random phase, which is as large in pixels (root mean square) and as coarse, and means nothing.

Pixels of right and failing images, and the DNN, in; probes, with their verdicts in words, and `probes.csv` out.
docs/decisions/056-probes.md has the evidence.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.features.attributes import measure_one
from safe_dnn.rccs.spots.groups import counted, share_of
from safe_dnn.reasons.listed import Reason
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.tables import read_own, table_text

PROBES_FILE = "probes.csv"
CAUSE, PARTLY, COMPANION, OPEN, NOT_MADE = VERDICTS = "cause", "partly", "companion", "open", "not by pixels"
ROTATION = "rotation_deg"  # a column of parameters: how far each image is turned counterclockwise
BETWEEN = (0.25, 0.5, 0.75)  # degrees of the curve
IMAGES = 40  # of each kind, for a probe
MOST_CHANGES = 3  # that are tried alone
LIKELY = 0.8  # of pairs of a failing and a right image that an attribute tells apart, for it to be tried unasked
LEVEL = 0.05  # of the tests
LEAST = 0.1  # by which share of the images a change must do more than another one, to be spoken of
STEPS = 8  # halvings in the search for how far an image is changed

Pixels = np.ndarray  # (height, width, 3), from 0 to 255
Ask = Callable[[Sequence[Pixels], Sequence[int]], np.ndarray]
"""Whether the DNN gets changed images right, given their pixels and the rows of the test set that they are made of."""
Change = Callable[[float], Pixels]  # an image, changed by an amount


class Making(NamedTuple):
    """How pixels are given less or more of an attribute: by an amount between 0, as they are, and the most."""

    how: str  # in words: what was done to them
    make: Callable[[Pixels], Change]
    most: float | None = None  # without one, the amount is that by which the attribute is to change


def _along(direction: Callable[[Pixels], Pixels]) -> Callable[[Pixels], Change]:
    def make(pixels: Pixels) -> Change:
        step = direction(pixels)
        return lambda by: pixels + by * step

    return make


def _grey(pixels: Pixels) -> np.ndarray:
    return pixels @ np.array([[0.299], [0.587], [0.114]], np.float32)


def _blurred(pixels: Pixels) -> Change:
    """By a Gaussian, of images that are mirrored at their borders."""
    from scipy.fft import dctn, idctn

    down, across = ((np.pi / n * np.arange(n, dtype=np.float32)) ** 2 for n in pixels.shape[:2])
    waves, squares = dctn(pixels, axes=(0, 1)), (down[:, None] + across)[..., None]
    return lambda by: idctn(waves * np.exp(-squares * by**2 / 2), axes=(0, 1))


def _noise(pixels: Pixels) -> Pixels:
    return np.random.default_rng(int(pixels.sum())).standard_normal(pixels.shape).astype(np.float32)


def _resized(pixels: Pixels, by: float) -> Pixels:
    """Of as many pixels more or fewer across, as the DNN sees it: at the size that it was."""
    image = _image(pixels)
    share = max(1, image.width + by) / image.width
    resized = image.resize([max(1, round(side * share)) for side in image.size], Image.Resampling.BILINEAR)
    return np.asarray(resized.resize(image.size, Image.Resampling.BILINEAR), np.float32)


def _turned(pixels: Pixels, by: float) -> Pixels:
    from scipy.ndimage import rotate  # type: ignore[attr-defined]

    return rotate(pixels, by, reshape=False, order=1, mode="reflect")


_from_black, _from_mean = _along(lambda pixels: pixels), _along(lambda pixels: pixels - _grey(pixels).mean())
_from_grey, _noisy = _along(lambda pixels: pixels - _grey(pixels)), _along(_noise)
_from_blurred = _along(lambda pixels: pixels - _blurred(pixels)(1.5))
_as_wide, _as_turned = partial(partial, _resized), partial(partial, _turned)  # given an image, what changes it
# For each attribute what it is called, and how there is less and more of it.
MADE = {
    "brightness": ("light", Making("darkened", _from_black, -1), Making("brightened", _from_black, 20)),
    "contrast": (
        "contrast", Making("given less contrast", _from_mean, -1), Making("given more contrast", _from_mean, 10)
    ),
    "sharpness": ("sharpness", Making("blurred", _blurred, 12), Making("sharpened", _from_blurred, 8)),
    "noise": ("noise", Making("smoothed", _blurred, 2), Making("made noisy", _noisy, 80)),
    "saturation": ("colours", Making("made paler", _from_grey, -1), Making("made more colourful", _from_grey, 10)),
    "width_px": ("size", Making("made smaller", _as_wide), Making("made larger", _as_wide)),
    ROTATION: ("rotation", Making("turned clockwise", _as_turned), Making("turned counterclockwise", _as_turned)),
}  # fmt: skip


class Step(NamedTuple):
    """Images changed to a degree: the answers that have changed with it.

    Attributes
    ----------
    degree : float
        1 is as far as failing images; −1 are failing images, changed to right ones as far as that goes.
    value : float
        Mean of the attribute.
    tested, turned : float
        Images, and those whose answer has changed from right to wrong or, of failing ones, from wrong to right.
    rate_low, rate_high : float
        95 % interval of their share.
    otherwise : float
        Those whose answer changes under a random change of the same size.
    more : float
        The share that turns among those that the random change does not turn.
    p : float
        How likely a difference like that between the two is by chance: one-sided, of pairs (McNemar, 1947).
    """

    degree: float
    value: float
    tested: float
    turned: float
    rate_low: float
    rate_high: float
    otherwise: float
    more: float
    p: float

    @property
    def text(self) -> str:
        """For example `71% (55–84%) of 40`."""
        return f"{self.turned / self.tested:.0%} ({100 * self.rate_low:.0f}–{self.rate_high:.0%}) of {self.tested:,.0f}"


class Probe(NamedTuple):
    """What a change of one attribute says of a reason; several rows of `probes.csv`.

    Attributes
    ----------
    reason : str
        For example `weak spot 1` or `RCC 0`, as they were numbered.
    subject : str
        What the reason is, by content: its conditions, or its images (see `rccs.clusters.subjects_of`).
    where : str
        The condition in words; empty of an RCC.
    verdict : str
        CAUSE: the change or its undoing turns more answers than a random one, and makes half as many right images fail
        as fail there, or more, or half of the failing ones right. PARTLY: less. COMPANION: too few right ones fail, by
        the interval, whatever is repaired: something else must be there. OPEN: the images do not tell. NOT_MADE: pixels
        cannot make what is stated, and nothing else is a cause.
    attribute : str
        What is changed; empty if there is nothing to change.
    usual, failing : float
        Its medians in right and in failing images.
    failing_low, failing_high : float
        From the 5th to the 95th percentile of the failing images.
    steps : tuple of Step
    """

    reason: str
    subject: str
    where: str
    verdict: str = OPEN
    attribute: str = ""
    usual: float = np.nan
    failing: float = np.nan
    failing_low: float = np.nan
    failing_high: float = np.nan
    steps: tuple[Step, ...] = ()

    @property
    def making(self) -> Making:
        """How the failing images' value is given to right images."""
        _, less, more = MADE[self.attribute]
        return more if self.failing > self.usual else less

    @property
    def back(self) -> "Probe":
        """How the right images' value is given to failing ones: the change the other way."""
        return self._replace(usual=self.failing, failing=self.usual)

    @property
    def made(self) -> Step | None:
        """Right images, changed as far as the failing ones."""
        return next((step for step in self.steps if step.degree == 1), None)

    @property
    def undone(self) -> Step | None:
        """Failing images, changed to right ones."""
        return next((step for step in self.steps if step.degree < 0), None)

    @property
    def curve(self) -> list[Step]:
        """Right images, from unchanged to as far as the failing ones."""
        return [step for step in self.steps if step.degree >= 0]

    @property
    def limit(self) -> float | None:
        """The attribute at which half of the right images fail; None if they do not."""
        shares = np.maximum.accumulate([step.turned / step.tested for step in self.curve])
        if not len(shares) or shares[-1] < 0.5:
            return None
        return float(np.interp(0.5, shares, [step.value for step in self.curve]))

    @property
    def text(self) -> str:
        """The verdict, and the figures that it rests on, in a sentence or three."""
        if self.verdict == NOT_MADE:
            stated = self.where or "what its images have in common"
            return f"Changing pixels cannot make {stated}. Record or simulate the same scenes with and without it."
        if not self.steps:
            return "There are too few images to tell."
        said = []
        if made := self.made:
            said.append(f"{made.text} right images fail when {self.making.how} as far as these, "
                        f"{made.otherwise / made.tested:.0%} when changed as much otherwise")  # fmt: skip
        if undone := self.undone:
            said.append(f"{undone.text} failing images are right when {self.back.making.how}, "
                        f"{undone.otherwise / undone.tested:.0%} otherwise")  # fmt: skip
        text = f"{_SAID[self.verdict].format(MADE[self.attribute][0])}: {'; '.join(said)}."
        if self.verdict == COMPANION:
            return f"{text} Look for what comes with it."
        if self.limit is None or self.verdict == OPEN:
            return text
        beyond = "above" if self.failing > self.usual else "below"
        return f"{text} Half of the right images fail {beyond} {self.attribute} {self.limit:.3g}."


_SAID = {
    CAUSE: "It is the {}",
    PARTLY: "It is partly the {}",
    COMPANION: "It is not the {} alone",
    OPEN: "These images do not tell whether it is the {}",
}


class Images(NamedTuple):
    """Images of the test set: rows, pixels, groups as of `rccs.spots.groups.Groups`, and the attributes of each."""

    rows: np.ndarray
    pixels: list[Pixels]
    of: np.ndarray
    measured: dict[str, np.ndarray]

    def on_the_way(self, change: Probe) -> "Images":
        """Those that the change moves towards the others."""
        which = np.flatnonzero((change.failing - self.measured[change.attribute]) * (change.failing - change.usual) > 0)
        measured = {name: values[which] for name, values in self.measured.items()}
        return Images(self.rows[which], [self.pixels[i] for i in which.tolist()], self.of[which], measured)


def images_of(rows: np.ndarray, pixels: list[Pixels], of: np.ndarray, rotation: np.ndarray | float = 0.0) -> Images:
    """Measure images; their rotation is what a table says."""
    known = {"width_px": np.array([one.shape[1] for one in pixels]), ROTATION: np.broadcast_to(rotation, len(pixels))}
    measured = {name: np.array([_value(name, one) for one in pixels]) for name in MADE if name not in known}
    return Images(rows, pixels, of, measured | known)


def spread_over(rows: np.ndarray, of: np.ndarray, most: int = IMAGES) -> np.ndarray:
    """Up to so many of some rows, drawn at random, of as many groups as there are.

    Parameters
    ----------
    of : ndarray of shape (n_rows,), int
        Their groups.
    """
    drawn = np.random.default_rng(0).permutation(len(rows))
    order = drawn[np.argsort(of[drawn], kind="stable")]
    first = np.searchsorted(of[order], of[order])
    return rows[order[np.argsort(np.arange(len(order)) - first, kind="stable")[:most]]]


def probe(asked: Reason, right: Images, failing: Images, ask: Ask, *, progress: Progress = no_progress) -> list[Probe]:
    """Change the pixels of right and failing images, and count the answers that change; what is clearest first.

    Parameters
    ----------
    right, failing : Images
        Those that the DNN gets right, and wrong, as they are here.
    """
    if not len(right.rows) or not len(failing.rows):
        return [Probe(asked.name, asked.subject, asked.where)]
    probes = [
        _probed(change, asked.rate, right.on_the_way(change), failing.on_the_way(change.back), ask, progress)
        for change in changes_of(asked, right, failing)
    ]
    probes.sort(key=lambda one: (VERDICTS.index(one.verdict), -max((step.more for step in one.steps), default=0)))
    if probes and probes[0].verdict in (CAUSE, PARTLY):
        first, between = probes[0], _steps(probes[0], right.on_the_way(probes[0]), BETWEEN, ask, progress)
        probes[0] = first._replace(steps=(*first.steps[:1], *between, *first.steps[1:]))
    elif not probes or (asked.stated and MADE.keys().isdisjoint(asked.stated)):
        probes.insert(0, Probe(asked.name, asked.subject, asked.where, NOT_MADE))
    return probes


def changes_of(asked: Reason, right: Images, failing: Images) -> list[Probe]:
    """The attributes to change, yet without steps: those that are stated, and in which failing images differ most."""
    found = []
    for name in MADE:
        usual, own = right.measured[name], failing.measured[name]
        apart = abs(float(np.sign(own[:, None] - usual).mean()))  # of pairs, twice the share above one half
        low, middle, high = np.quantile(own, (0.05, 0.5, 0.95)).tolist()
        change = Probe(asked.name, asked.subject, asked.where, OPEN, name, float(np.median(usual)), middle, low, high)
        if middle != change.usual and (name in asked.stated or apart >= 2 * LIKELY - 1):
            found.append((name not in asked.stated, -apart, change))
    return [change for *_, change in sorted(found)[:MOST_CHANGES]]


def _probed(change: Probe, rate: float, right: Images, failing: Images, ask: Ask, progress: Progress) -> Probe:
    made, undone = _steps(change, right, (1.0,), ask, progress), _steps(change.back, failing, (-1.0,), ask, progress)
    begin = [Step(0.0, right.measured[change.attribute].mean(), len(right.of), 0, 0, 0, 0, 0, 1)] if made else []
    change = change._replace(steps=(*begin, *made, *undone))
    return change._replace(verdict=_verdict(change, rate))


def _steps(change: Probe, images: Images, degrees: Sequence[float], ask: Ask, progress: Progress) -> list[Step]:
    """What becomes of images that are changed to each degree."""
    n, own = len(images.rows), images.measured[change.attribute]
    if not n:
        return []
    progress(f"Changing images: {change.reason}, {change.attribute}", 0, n)
    with ThreadPoolExecutor() as pool:
        changed = list(pool.map(lambda one, at: changed_pixels(one, at, change, degrees), images.pixels, own.tolist()))
    rows = np.repeat(images.rows, 2 * len(degrees)).tolist()
    is_right = ask(list(itertools.chain.from_iterable(changed)), rows).reshape(n, len(degrees), 2)
    turned, steps = is_right == (degrees[0] < 0), []
    for at, degree in enumerate(degrees):
        if change.making.most is None:
            value = own.mean() + abs(degree) * (change.failing - own.mean())
        else:
            value = np.mean([_value(change.attribute, one[2 * at]) for one in changed])
        steps.append(_step(degree, float(value), turned[:, at], images.of))
    return steps


def _step(degree: float, value: float, turned: np.ndarray, of: np.ndarray) -> Step:
    own, other = turned.T
    tested, n_turned, low, high, *_ = counted(np.ones(len(own), bool), own, of, 0.0)
    more = float(own[~other].mean()) if not other.all() else 0.0
    return Step(degree, value, tested, n_turned, low, high, int(other.sum()), more, _chance(own, other, of))


def _chance(own: np.ndarray, other: np.ndarray, of: np.ndarray) -> float:
    """As `Step.p`; of images that are not independent, with as many as they are worth."""
    from scipy.stats import binom  # type: ignore[attr-defined]

    apart = own != other
    if not apart.any():
        return 1.0
    share = share_of(of[apart], own[apart], 0.0)
    return float(binom.sf(int(share * (own & ~other).sum()) - 1, max(1, int(share * apart.sum())), 0.5))


def _verdict(found: Probe, rate: float) -> str:
    made, undone = found.made, found.undone
    if made and made.rate_high < rate / 2:  # too few right images fail, for it to be the cause alone
        return COMPANION
    half = (made and made.turned >= rate / 2 * made.tested) or (undone and undone.more >= 1 / 2)
    if any(step and step.p < LEVEL and step.more >= LEAST for step in (made, undone)):
        return CAUSE if half else PARTLY
    return OPEN


# --- Pixels -------------------------------------------------------------------------------------------------------


def changed_pixels(pixels: Pixels, own: float, change: Probe, degrees: Sequence[float]) -> list[Pixels]:
    """An image changed to each degree, each followed by a random change of the same size.

    Parameters
    ----------
    own : float
        Its value of the attribute.
    """
    pixels, making = pixels.astype(np.float32), change.making
    make = making.make(pixels)
    by = change.failing - own if making.most is None else _enough(make, change)
    images = [make(abs(degree) * by).clip(0, 255) for degree in degrees]
    # Noise in random phase is noise again: there, the other change is as coarse as the image.
    other = _scattered(pixels if making.make is _noisy else images[-1] - pixels)
    both = (one for image in images for one in (image, _as_large(pixels, image - pixels, other)))
    return [np.rint(one).astype(np.uint8) for one in both]


def _enough(make: Change, change: Probe) -> float:
    """The amount that gives an image the failing images' value, as far as it goes."""
    low, high = 0.0, float(change.making.most or 0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        value = _value(change.attribute, make(middle).clip(0, 255))
        enough = value >= change.failing if change.failing > change.usual else value <= change.failing
        low, high = (low, middle) if enough else (middle, high)
    return (low + high) / 2


def _scattered(change: Pixels) -> Pixels:
    """Another change that is as coarse: with the same frequencies in random phase.

    What is the same everywhere becomes a tint: its phase is only its sign, so that in half of the images it would be
    the change itself.
    """
    from scipy.fft import irfft2, rfft2

    rng = np.random.default_rng(int(change.sum()) % 2**32)
    noise = rfft2(rng.standard_normal(change.shape[:2]).astype(np.float32))[..., None]
    mean = change.mean(axis=(0, 1))
    spectrum = np.abs(rfft2(change - mean, axes=(0, 1)))
    tint = np.cross(mean, rng.standard_normal(3))
    tint *= np.linalg.norm(mean) / max(float(np.linalg.norm(tint)), 1e-6)
    phases = noise / np.maximum(np.abs(noise), 1e-6)
    return irfft2(spectrum * phases, change.shape[:2], axes=(0, 1)) + tint.astype(np.float32)


def _as_large(pixels: Pixels, change: Pixels, other: Pixels) -> Pixels:
    """Pixels with the other change, as large as the first: root mean square of the difference."""
    image, factor = pixels + other, 1.0
    for _ in range(5):  # what is cut off at black and white makes it smaller
        factor *= float(np.sqrt((change**2).mean() / max(float(((image - pixels) ** 2).mean()), 1e-12)))
        image = (pixels + factor * other).clip(0, 255)
    return image


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.rint(pixels, dtype=np.float32).astype(np.uint8))


def _value(attribute: str, pixels: Pixels) -> float:
    """An attribute as it is measured; sharpness at half the size, where noise is no sharpness."""
    image = _image(pixels)
    if attribute == "sharpness":
        image = image.resize((-(-image.width // 2), -(-image.height // 2)), Image.Resampling.BILINEAR)
    return measure_one(attribute, image)


# --- The file -----------------------------------------------------------------------------------------------------

COLUMNS = (*Probe._fields[:-1], *Step._fields)
_NO_STEP = ("",) * len(Step._fields)


def probes_text(probes: Iterable[Probe]) -> str:
    """`probes.csv`: a row for each step of a probe; what there is not is empty."""
    return table_text(COLUMNS, ((*found[:-1], *step) for found in probes for step in found.steps or [_NO_STEP]))


def load_probes(run: Run | None) -> list[Probe]:
    """Read `probes.csv` of a run; empty without one.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    if run is None:
        return []
    with reading_file(run, PROBES_FILE) as path:
        _, *rows = read_own(path)
        return [_from_rows(list(own)) for _, own in itertools.groupby(rows, lambda row: row[:5])]


def _from_rows(rows: Sequence[Sequence[str]]) -> Probe:
    numbers = [[float(text or "nan") for text in row[5:]] for row in rows]
    steps = tuple(Step(*own[4:]) for own in numbers)
    return Probe._make([*rows[0][:5], *numbers[0][:4], tuple(step for step in steps if step.tested > 0)])
