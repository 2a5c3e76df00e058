"""Step 2 of SAFE, if the images' parameters are known: what the images of each RCC have in common, in words.

A parameter that varies much less within an RCC than among all failing images is what its images have in common. RCCs
and parameters in; profiles out, written to `rcc_profiles.csv`.

Sources: Fahmy et al., IEEE Trans. Reliability 70(4), 2021 (HUDD: variance reduction of a parameter within a root cause
cluster); Mardia & Jupp, Directional Statistics, 2000 (circular variance); Kullback & Leibler, Ann. Math. Stat. 22,
1951.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.support.files import intact
from safe_dnn.support.tables import read_own, table_text
from safe_dnn.support.text import percent

PROFILES_FILE = "rcc_profiles.csv"


LEAST_REDUCTION = 0.5  # of the variance, for a parameter to be mentioned
LEAST_SHARE, LEAST_LEAD = 0.8, 0.15  # of an RCC's images, and by how much it must exceed the share among all
LEAST_BITS = 0.7  # of a category: not much more than half of all failing images have it
MOST_MENTIONED = 3  # parameters in a sentence
OUTER = (0.05, 0.95)  # quantiles that bound the usual range
HUES = ("red", "yellow", "green", "turquoise", "blue", "pink")  # around the circle, from 0 degrees
WIDEST_HUE = 60  # degrees; a wider range of hues has no name
MOST_MEASURED = 2  # measured attributes in a sentence
# What a measured attribute is called if an RCC has less of it than all failing images, and if it has more.
WORDS = {
    "brightness": ("dark", "bright"), "contrast": ("little contrast", "much contrast"),
    "sharpness": ("blurred", "sharp"), "noise": ("little noise", "noisy"), "saturation": ("pale", "colourful"),
    "highlights": ("", "highlights cut off"), "shadows": ("", "shadows cut off"),
    "width_px": ("small", "large"), "height_px": ("low", "high"), "aspect": ("tall", "wide"),
}  # fmt: skip


class Finding(NamedTuple):
    """A parameter in an RCC; a row of `rcc_profiles.csv`.

    Attributes
    ----------
    kind : "number", "angle" or "category"
    known : int
        Images of the RCC whose value is known.
    low, high, mean : float
        Of numbers; for an angle (degrees), the arc that contains all values, and the circular mean. NaN for a category.
    usual_low, usual_high : float
        The same from the 5th to the 95th percentile, so that a single outlier does not widen it.
    value : str
        The most common category, or the two most common if one alone is not common enough; for a measured number a
        word, such as "dark"; otherwise empty.
    share, overall_share : float
        Share of images with that category, or with a number in the usual range, in the RCC and among all failing
        images.
    reduction : float
        1 − variance in the RCC / variance over all failing images: circular variance for an angle, Gini impurity (the
        variance of a category) for a category. At most 1; negative if the RCC varies more. NaN if fewer than two values
        are known.
    information : float
        How much the parameter distinguishes this RCC from all failing images, in bits: the Kullback–Leibler divergence
        of `share` from `overall_share`. Orders the findings; 0 if `reduction` is NaN.
    overall_low, overall_high : float
        The range among all failing images. NaN for a category, and if unknown.
    overall_median : float
        Of a number, among all failing images. NaN if unknown.
    measured : bool
        Whether SAFE has measured the parameter in the images (see `features.attributes`).
    """

    rcc: int
    parameter: str
    kind: str
    known: int
    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    usual_low: float = math.nan
    usual_high: float = math.nan
    value: str = ""
    share: float = math.nan
    overall_share: float = math.nan
    reduction: float = math.nan
    information: float = 0.0
    overall_low: float = math.nan
    overall_high: float = math.nan
    overall_median: float = math.nan
    measured: bool = False

    @property
    def stands_out(self) -> bool:
        """Whether to mention it: nearly all images of the RCC share it, and far fewer of all failing images do."""
        common = self.share >= LEAST_SHARE and self.share - self.overall_share >= LEAST_LEAD
        if self.kind == "category":
            return common and self.information >= LEAST_BITS
        return common and self.reduction >= LEAST_REDUCTION

    @property
    def text(self) -> str:
        """For example `eyewear = sunglasses (100%, 18% overall)` or `light 0.05–0.21 (all failures 0.01–0.99)`.

        For attributes that SAFE has measured, the word comes first, and then the median:
        `dark (brightness 0.02–0.08; all failures 0.02–0.61, median 0.35)`.
        """
        shares = f"{percent(self.share)}%, {percent(self.overall_share)}% overall"
        if self.kind == "category":
            return f"{self.parameter} = {self.value} ({shares})"
        unit = "°" if self.kind == "angle" else ""
        own = f"{self.parameter} {self.range}"
        held = (math.inf, -math.inf) if unit else (self.usual_low, self.usual_high)
        overall = f"all failures {_range(self.overall_low, self.overall_high, held)}{unit}"
        if self.measured and not math.isnan(self.overall_median):
            overall += f", median {self.overall_median:.2g}"
        return f"{self.value} ({own}; {overall})" if self.value else f"{own} ({overall})"

    @property
    def short(self) -> str:
        """The same in a few words, as for a weak spot: `eyewear = sunglasses`, `light from 0.05 to 0.21`, `dark`."""
        if self.kind == "category":
            return f"{self.parameter} = {self.value}"
        if self.measured and self.value:
            return self.value
        span = self.range.replace("–", " to ").removesuffix("°")
        return f"{self.parameter} from {span}" if " to " in span else f"{self.parameter} = {span}"

    @property
    def range(self) -> str:
        """The usual range of a number or an angle, for example `0.05–0.21`."""
        return _range(self.usual_low, self.usual_high) + ("°" if self.kind == "angle" else "")


class Profile(NamedTuple):
    """What the images of an RCC have in common; its findings, the most informative first."""

    rcc: int
    findings: tuple[Finding, ...]

    @property
    def mentioned(self) -> tuple[Finding, ...]:
        """The few findings that stand out: what is recorded, then what is measured and has a word."""
        recorded = [finding for finding in self.findings if not finding.measured and finding.stands_out]
        measured = [f for f in self.findings if f.measured and f.value and f.stands_out]
        return (*recorded, *measured[:MOST_MEASURED])[:MOST_MENTIONED]

    @property
    def text(self) -> str:
        """One line: what is recorded, then what is measured. Empty if nothing is recorded and nothing stands out."""
        if self.mentioned:
            return "; ".join(finding.text for finding in self.mentioned)
        recorded = [finding for finding in self.findings if not finding.measured]
        if not recorded:
            return ""
        if not any(finding.known for finding in recorded):
            return "No parameter of its images is known."
        if all(math.isnan(finding.reduction) for finding in recorded):
            return "The parameters of only one image are known: nothing to compare."
        return "No parameter stands out."


def _range(low: float, high: float, held: tuple[float, float] = (math.inf, -math.inf)) -> str:
    """For example `0.05–0.21`, with enough decimals to distinguish the ends and to contain what is inside, or `120`."""
    if not (span := high - low):
        return f"{round(low, 3):.10g}"
    decimals = min(max(1 - math.floor(math.log10(abs(span))), 0), 6)
    while decimals < 6 and (round(low, decimals) > held[0] or round(high, decimals) < held[1]):
        decimals += 1
    first, last = (f"{round(bound, decimals) + 0.0:.{decimals}f}" for bound in (low, high))  # adding 0 turns -0 into 0
    return first if first == last else f"{first} to {last}" if "-" in first + last else f"{first}–{last}"


def profile_clusters(
    clusters: RootCauseClusters, columns: Mapping[str, np.ndarray], *, measured: Collection[str] = ()
) -> tuple[Profile, ...]:
    """What the images of each RCC have in common, compared with all failing images.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        As of `rccs.parameters.Parameters`.
    measured : collection of str
        Those of them that SAFE has measured.

    Returns
    -------
    tuple of Profile
        One per RCC, in order.
    """
    profiles = []
    for rcc in range(clusters.n_rccs):
        members = clusters.labels == rcc
        findings = [_finding(rcc, name, column, members, measured=name in measured) for name, column in columns.items()]
        findings.sort(key=lambda finding: (-round(finding.information, 9), finding.parameter))
        profiles.append(Profile(rcc, tuple(findings)))
    return tuple(profiles)


def _finding(rcc: int, name: str, column: np.ndarray, members: np.ndarray, *, measured: bool) -> Finding:
    """One parameter in an RCC; what SAFE has measured has a word as well, such as "dark"."""
    kind = "category" if column.dtype.kind == "U" else "angle" if name.endswith(ANGLE_SUFFIX) else "number"
    known = column != "" if kind == "category" else ~np.isnan(column)
    overall, own, rest = column[known], column[members & known], column[~members & known]
    finding = Finding(rcc, name, kind, len(own), measured=measured)
    if not len(own):
        return finding
    if kind == "category":
        return _category(finding, overall, own)
    if kind == "angle":
        finding = _angle(finding, overall, own)
        return finding._replace(value=_hue(finding)) if measured else finding
    finding = _number(finding, overall, own, by_rank=measured)
    return finding._replace(value=_word(name, own, rest)) if measured else finding


def _hue(finding: Finding) -> str:
    """The name of a hue, if most of the RCC's images share it."""
    wide = (finding.usual_high - finding.usual_low) % 360 > WIDEST_HUE
    return "" if wide else f"mostly {HUES[round(finding.mean % 360 / 60) % 6]}"


def _word(name: str, own: np.ndarray, rest: np.ndarray) -> str:
    """The word for where most of an RCC's values lie, seen from the median of the others; empty if on both sides."""
    if not len(rest):
        return ""
    middle = np.median(rest)
    less, greater = WORDS.get(name, ("", ""))
    sides = ((less, np.mean(own < middle)), (greater, np.mean(own > middle)))
    return next((word for word, share in sides if share >= LEAST_SHARE), "")


def _number(finding: Finding, overall: np.ndarray, own: np.ndarray, *, by_rank: bool) -> Finding:
    """A number; `by_rank` where values are skewed, so that a few extreme images would hold most of the variance."""
    low, high = np.quantile(own, OUTER).tolist()
    share, overall_share = (float(np.mean((low <= values) & (values <= high))) for values in (own, overall))
    finding = finding._replace(
        low=float(own.min()), high=float(own.max()), mean=float(own.mean()), usual_low=low, usual_high=high,
        share=share, overall_share=overall_share, overall_low=float(overall.min()), overall_high=float(overall.max()),
        overall_median=float(np.median(overall)),
    )  # fmt: skip
    if by_rank:
        ordered = np.sort(overall)
        own, overall = (
            np.searchsorted(ordered, of, "left") + np.searchsorted(ordered, of, "right") for of in (own, overall)
        )
    return _weighed(finding, own.var(), overall.var())


def _angle(finding: Finding, overall: np.ndarray, own: np.ndarray) -> Finding:
    mean = circular_mean(own)
    away, overall_away = _differences(own, mean), _differences(overall, mean)
    usual = np.quantile(away, OUTER)
    share, overall_share = (float(np.mean((usual[0] <= steps) & (steps <= usual[1]))) for steps in (away, overall_away))
    signed = bool((overall < 0).any())  # in the file, angles are from -180 to 180, not from 0 to 360
    names = ("mean", "low", "high", "usual_low", "usual_high")
    limits: dict[str, Any] = dict(zip(names, _angles(mean, (0.0, away.min(), away.max(), *usual), signed), strict=True))
    overall_low, overall_high = _arc(overall, signed)
    finding = finding._replace(
        **limits, share=share, overall_share=overall_share, overall_low=overall_low, overall_high=overall_high
    )
    return _weighed(finding, circular_variance(own), circular_variance(overall))


def _differences(degrees: np.ndarray, mean: float) -> np.ndarray:
    """Signed differences of angles from a mean, from -180 to 180 degrees."""
    return (degrees - mean + 180) % 360 - 180


def _angles(mean: float, differences: Sequence[float], signed: bool) -> list[float]:
    """Angles at these differences from a mean; `signed` as for `_arc`."""
    if signed:
        return [mean - 360 * (mean >= 180) + float(difference) for difference in differences]
    return [(mean + float(difference)) % 360 for difference in differences]


def _arc(degrees: np.ndarray, signed: bool) -> Sequence[float]:
    """The arc around the mean that contains all angles; the whole circle if it spans more than 300 degrees.

    Parameters
    ----------
    signed : bool
        Whether angles are from -180 to 180, not from 0 to 360.
    """
    mean = circular_mean(degrees)
    differences = _differences(degrees, mean)
    low, high = float(differences.min()), float(differences.max())
    if high - low > 300:
        return (-180.0, 180.0) if signed else (0.0, 360.0)
    return _angles(mean, (low, high), signed)


def _category(finding: Finding, overall: np.ndarray, own: np.ndarray) -> Finding:
    counts, overall_counts = (Counter(values.tolist()) for values in (own, overall))
    commonest = sorted(counts, key=lambda value: (-counts[value], value))
    two = len(overall_counts) > 2 and len(commonest) > 1 and counts[commonest[0]] < LEAST_SHARE * len(own)
    values = commonest[: 2 if two else 1]
    share = sum(counts[value] for value in values) / len(own)
    overall_share = sum(overall_counts[value] for value in values) / len(overall)
    finding = finding._replace(value=" or ".join(values), share=share, overall_share=overall_share)
    return _weighed(finding, gini_impurity(counts), gini_impurity(overall_counts))


def gini_impurity(counts: Counter) -> float:
    """Gini impurity of categories, from the count of each."""
    return 1 - sum((count / counts.total()) ** 2 for count in counts.values())


def _weighed(finding: Finding, variance: float, overall: float) -> Finding:
    """The finding with its variance reduction and information.

    The share is computed as if the RCC had one more image, like all failing images: three images that are alike by
    chance must not be more informative than forty that are nearly alike.
    """
    if finding.known < 2 or overall <= 0:
        return finding
    q = min(max(finding.overall_share, 1e-9), 1 - 1e-9)
    p = (finding.known * finding.share + q) / (finding.known + 1)
    bits = p * math.log2(p / q) + ((1 - p) * math.log2((1 - p) / (1 - q)) if p < 1 else 0) if p > q else 0.0
    return finding._replace(reduction=float(1 - variance / overall), information=bits)


def circular_mean(degrees: np.ndarray) -> float:
    """Mean direction of angles, 0 to 360 degrees."""
    radians = np.radians(degrees)
    return math.degrees(math.atan2(np.sin(radians).mean(), np.cos(radians).mean())) % 360


def circular_variance(degrees: np.ndarray) -> float:
    """1 − length of the mean of the unit vectors: 0 where all angles are equal, 1 where they cancel out."""
    radians = np.radians(degrees)
    return max(1 - math.hypot(np.sin(radians).mean(), np.cos(radians).mean()), 0.0)


# --- The file ---------------------------------------------------------------------------------------------------


def profiles_text(profiles: Iterable[Profile]) -> str:
    """`rcc_profiles.csv`: a row per RCC and parameter, the most informative first; undefined values are empty."""
    return table_text(Finding._fields, (finding for profile in profiles for finding in profile.findings))


def load_profiles(folder: Path) -> tuple[Profile, ...]:
    """Read `rcc_profiles.csv`; empty if there is none.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    path = folder / PROFILES_FILE
    if not path.is_file():
        return ()
    with intact(path, "Generate the clusters again."):
        header, *rows = read_own(path) or [[]]
        findings = [_from_row(dict(zip(header, row, strict=True))) for row in rows]
    rccs = sorted({finding.rcc for finding in findings})
    return tuple(Profile(rcc, tuple(finding for finding in findings if finding.rcc == rcc)) for rcc in rccs)


def _from_row(row: Mapping[str, str]) -> Finding:
    kinds: dict[str, Callable[[str], Any]] = {
        "parameter": str, "kind": str, "value": str, "rcc": int, "known": int, "measured": "True".__eq__,
    }  # fmt: skip
    return Finding(**{name: kinds.get(name, lambda text: float(text or "nan"))(text) for name, text in row.items()})
