"""Is the condition of a reason what makes the DNN fail, or only found together with it?

Right images are changed to what the failing images of a weak spot or RCC look like: darkened, blurred, made noisy.
Failing ones are changed to what right ones look like, as far as that goes. If the condition is the cause, the answers
change, and more of them than under other changes of the same size: the same change with its frequencies in random
phase, which is as large in pixels (root mean square) and as coarse, and means nothing.

Pixels of right and failing images, and the DNN, in; probes, with their verdicts in words, and `probes.csv` out.
docs/decisions/056-probes.md has the evidence.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.features.attributes import ATTRIBUTES, measure
from safe_dnn.rccs.spots.figures import Groups, assess, share_of
from safe_dnn.reasons.listed import Reason
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.progress import report_progress
from safe_dnn.support.tables import read_own, table_text

PROBES_FILE = "probes.csv"
CAUSE, NOT_THE_CAUSE, CANNOT_TELL = "cause", "not the cause", "cannot tell"
IMAGES = 40  # of each kind, for a probe
MOST_CHANGES = 3  # that are tried alone
LIKELY = 0.8  # of pairs of a failing and a right image that an attribute separates, for it to be tried unasked
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
    most: float


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


_from_black, _from_mean = _along(lambda pixels: pixels), _along(lambda pixels: pixels - _grey(pixels).mean())
_from_grey, _noisy = _along(lambda pixels: pixels - _grey(pixels)), _along(_noise)
_from_blurred = _along(lambda pixels: pixels - _blurred(pixels)(1.5))
# For each attribute what it is called, and how there is less and more of it.
MADE = {
    "brightness": ("light", Making("darkened", _from_black, -1), Making("brightened", _from_black, 20)),
    "contrast": (
        "contrast", Making("given less contrast", _from_mean, -1), Making("given more contrast", _from_mean, 10)
    ),
    "sharpness": ("sharpness", Making("blurred", _blurred, 12), Making("sharpened", _from_blurred, 8)),
    "noise": ("noise", Making("smoothed", _blurred, 2), Making("made noisy", _noisy, 80)),
    "saturation": ("colours", Making("made paler", _from_grey, -1), Making("made more colourful", _from_grey, 10)),
}  # fmt: skip


class Turned(NamedTuple):
    """Changed images: the answers that have changed with them.

    Attributes
    ----------
    tested, turned : float
        Images, and those whose answer has changed from right to wrong or, of failing ones, from wrong to right.
    low, high : float
        95 % interval of their share.
    otherwise : float
        Those whose answer changes under a random change of the same size.
    excess : float
        The share that turns among those that the random change does not turn.
    p : float
        How likely a difference like that between the two is by chance: one-sided, of pairs (McNemar, 1947).
    """

    tested: float = 0
    turned: float = 0
    low: float = 0
    high: float = 1
    otherwise: float = 0
    excess: float = 0
    p: float = 1

    @property
    def exceeds_random(self) -> bool:
        """Whether the change turns more answers than the random one."""
        return self.p < LEVEL and self.excess >= LEAST

    def text(self, what: str, how: str) -> str:
        """For example `71% (55–84%) of 40 right images fail when darkened, 0% when changed as much otherwise`."""
        shares = f"{self.turned / self.tested:.0%} ({100 * self.low:.0f}–{self.high:.0%}) of {self.tested:,.0f}"
        return f"{shares} {what} when {how}, {self.otherwise / self.tested:.0%} when changed as much otherwise"


class Probe(NamedTuple):
    """The result of changing one attribute for a reason; a row of `probes.csv`.

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
        as fail there, or more, or half of the failing ones right. NOT_THE_CAUSE: too few right ones fail, by the
        interval, whatever is repaired: something else must be there. CANNOT_TELL: neither.
    attribute : str
        What is changed; empty if pixels cannot make what is stated, or there are too few images.
    usual, failing : float
        Its medians in right and in failing images.
    made, undone : Turned
        Right images, changed as far as the failing ones, and failing ones, changed to right ones.
    """

    reason: str
    subject: str
    where: str
    verdict: str = CANNOT_TELL
    attribute: str = ""
    usual: float = np.nan
    failing: float = np.nan
    made: Turned = Turned()
    undone: Turned = Turned()

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
    def text(self) -> str:
        """The verdict in a sentence, then the figures that it rests on."""
        if not self.attribute:
            what = self.where or "what these images have in common"
            return (
                f"Cannot tell. There are too few images, or changing pixels cannot make {what}: record the same scenes "
                "with and without it."
            )
        figures = []
        if self.made.tested:
            figures.append(self.made.text("right images fail", f"{self.making.how} as far as these"))
        if self.undone.tested:
            figures.append(self.undone.text("failing images are right", self.back.making.how))
        alone = " alone" if self.verdict == NOT_THE_CAUSE else ""
        text = f"{self.verdict.capitalize()}: the {MADE[self.attribute][0]}{alone}."
        return f"{text} {'; '.join(figures)}." if figures else text


class Images(NamedTuple):
    """Images of the test set: rows, pixels, groups as in `rccs.spots.figures.Groups`, and the attributes of each."""

    rows: np.ndarray
    pixels: list[Pixels]
    of: np.ndarray
    measured: dict[str, np.ndarray]

    def on_the_way(self, change: Probe) -> "Images":
        """Those that the change moves towards the others."""
        which = np.flatnonzero((change.failing - self.measured[change.attribute]) * (change.failing - change.usual) > 0)
        return Images(self.rows[which], [self.pixels[i] for i in which.tolist()], self.of[which], {})


def images_of(rows: np.ndarray, pixels: list[Pixels], of: np.ndarray) -> Images:
    """Measure images."""
    return Images(rows, pixels, of, {name: np.array([_value(name, one) for one in pixels]) for name in MADE})


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


def probe(reason: Reason, right: Images, failing: Images, ask: Ask) -> list[Probe]:
    """Change the pixels of right and failing images, and count the answers that change; causes first.

    Parameters
    ----------
    right, failing : Images
        Those that the DNN gets right, and wrong, as they are here.
    """
    untold, probes = Probe(reason.name, reason.subject, reason.where), list[Probe]()
    if len(right.rows) and len(failing.rows):
        for change in changes_of(reason, right, failing):
            made = _asked_of(change, right.on_the_way(change), ask, wanted=False)
            undone = _asked_of(change.back, failing.on_the_way(change.back), ask, wanted=True)
            probes.append(change._replace(made=made, undone=undone, verdict=_verdict(made, undone, reason.rate)))
    probes.sort(key=lambda one: -max(one.made.excess, one.undone.excess) if one.verdict == CAUSE else 1)
    can_make = bool(probes) and not (reason.stated and MADE.keys().isdisjoint(reason.stated))
    return probes if can_make or (probes and probes[0].verdict == CAUSE) else [untold, *probes]


def changes_of(reason: Reason, right: Images, failing: Images) -> list[Probe]:
    """The attributes to change, not asked about yet: those that are stated, and in which failing images differ most."""
    changes = []
    for name in MADE:
        usual, own = right.measured[name], failing.measured[name]
        difference = abs(float(np.sign(own[:, None] - usual).mean()))  # of pairs, twice the share above one half
        medians = float(np.median(usual)), float(np.median(own))
        change = Probe(reason.name, reason.subject, reason.where, CANNOT_TELL, name, *medians)
        if change.failing != change.usual and (name in reason.stated or difference >= 2 * LIKELY - 1):
            changes.append((name not in reason.stated, -difference, change))
    return [change for *_, change in sorted(changes)[:MOST_CHANGES]]


def _asked_of(change: Probe, images: Images, ask: Ask, *, wanted: bool) -> Turned:
    """What becomes of images that are changed; `wanted`, whether an answer that turns is right."""
    if not len(images.rows):
        return Turned()
    report_progress(f"Changing images: {change.reason}, {change.attribute}", 0, len(images.rows))
    with ThreadPoolExecutor() as pool:
        pixels = [*itertools.chain.from_iterable(pool.map(lambda one: changed_pixels(one, change), images.pixels))]
    turned, other = (ask(pixels, np.repeat(images.rows, 2).tolist()) == wanted).reshape(-1, 2).T
    (of_all,) = assess([np.ones(len(turned), bool)], turned, Groups("", images.of), for_new=False)
    excess = float(turned[~other].mean()) if not other.all() else 0.0
    chance = _chance(turned, other, images.of)
    return Turned(of_all.tested, of_all.wrong, of_all.low, of_all.high, int(other.sum()), excess, chance)


def _chance(own: np.ndarray, other: np.ndarray, of: np.ndarray) -> float:
    """As `Turned.p`; of images that are not independent, with as many as they are worth."""
    from scipy.stats import binom  # type: ignore[attr-defined]

    differs = own != other
    if not differs.any():
        return 1.0
    share = share_of(of[differs], own[differs], 0.0)
    return float(binom.sf(int(share * (own & ~other).sum()) - 1, max(1, int(share * differs.sum())), 0.5))


def _verdict(made: Turned, undone: Turned, rate: float) -> str:
    if made.tested and made.high < rate / 2:  # too few right images fail, for it to be the cause alone
        return NOT_THE_CAUSE
    half = (made.tested and made.turned >= rate / 2 * made.tested) or undone.excess >= 1 / 2
    return CAUSE if half and (made.exceeds_random or undone.exceeds_random) else CANNOT_TELL


# --- Pixels -------------------------------------------------------------------------------------------------------


def changed_pixels(pixels: Pixels, change: Probe) -> tuple[Pixels, Pixels]:
    """An image with the failing images' value, as far as it goes, and one with a random change of the same size."""
    pixels, making = pixels.astype(np.float32), change.making
    make, low, high = making.make(pixels), 0.0, float(making.most)
    for _ in range(STEPS):
        middle = (low + high) / 2
        value = _value(change.attribute, make(middle).clip(0, 255))
        enough = value >= change.failing if change.failing > change.usual else value <= change.failing
        low, high = (low, middle) if enough else (middle, high)
    image = make((low + high) / 2).clip(0, 255)
    # Noise in random phase is noise again: there, the other change is as coarse as the image.
    other = _scattered(pixels if making.make is _noisy else image - pixels)
    return _rounded(image), _rounded(_as_large(pixels, image - pixels, other))


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


def _rounded(pixels: Pixels) -> Pixels:
    return np.rint(pixels, dtype=np.float32).astype(np.uint8)


def _value(attribute: str, pixels: Pixels) -> float:
    """An attribute as it is measured; sharpness at half the size, where noise is no sharpness."""
    image = Image.fromarray(_rounded(pixels))
    if attribute == "sharpness":
        image = image.resize((-(-image.width // 2), -(-image.height // 2)), Image.Resampling.BILINEAR)
    return float(measure(image, image.size)[ATTRIBUTES.index(attribute)])


# --- The file -----------------------------------------------------------------------------------------------------

COLUMNS = (*Probe._fields[:7], *(f"{kind}_{name}" for kind in Probe._fields[7:] for name in Turned._fields))


def probes_text(probes: Iterable[Probe]) -> str:
    """`probes.csv`: a row for each probe."""
    return table_text(COLUMNS, ((*found[:7], *found.made, *found.undone) for found in probes))


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
        header, *rows = read_own(path)
        return [_from_row(dict(zip(header, row, strict=True))) for row in rows]


def _from_row(row: Mapping[str, str]) -> Probe:
    def turned(kind: str) -> Turned:
        return Turned(**{name: float(row[f"{kind}_{name}"] or "nan") for name in Turned._fields})

    return Probe(
        row["reason"], row["subject"], row["where"], row["verdict"], row["attribute"], float(row["usual"] or "nan"),
        float(row["failing"] or "nan"), turned("made"), turned("undone"),
    )  # fmt: skip
