"""Step 2 of SAFE, where the images' parameters are known: what the images of each RCC have in common, in words.

A parameter that varies much less within an RCC than among all failing images is what its images have in common. RCCs
and parameters in; profiles out, written as `rcc_profiles.csv`.

Sources: Fahmy et al., IEEE Trans. Reliability 70(4), 2021 (HUDD: variance reduction of a parameter within a root cause
cluster); Mardia & Jupp, Directional Statistics, 2000 (circular variance); Kullback & Leibler, Ann. Math. Stat. 22,
1951.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artefacts import write_text
from clustering import RootCauseClusters
from errors import SAFEError
from parameters import ANGLE_SUFFIX, Parameters

PROFILES_FILE = "rcc_profiles.csv"
REFERENCE = "all failing images"  # what an RCC's variance is compared with

REDUCTION_TOLD = 0.5  # the least variance reduction that is put into words
SHARE_TOLD, LEAD_TOLD = 0.8, 0.1  # the same for a category: its share, and how much above its share overall
MOST_TOLD = 4  # parameters in a sentence


class Finding(NamedTuple):
    """A parameter in an RCC; a row of `rcc_profiles.csv`.

    Attributes
    ----------
    kind : "number", "angle" or "category"
    known : int
        Images of the RCC whose value is known.
    low, high, mean : float
        Of numbers; of an angle (degrees) the arc that holds all values, and the circular mean. NaN for a category.
    value : str
        The commonest category; empty for a number.
    share, overall_share : float
        Of images with that category in the RCC and among all failing images; NaN for a number.
    reduction : float
        1 − variance in the RCC / variance over all failing images: circular variance for an angle, the Gini impurity
        (which is a category's variance) for a category. At most 1; negative where the RCC varies more. NaN where fewer
        than two values are known.
    information : float
        How much the parameter tells this RCC from all failing images, in bits: the Kullback–Leibler divergence of its
        distribution in the RCC (a normal one for numbers) from that over all. Orders the findings; 0 where `reduction`
        is NaN.
    """

    rcc: int
    parameter: str
    kind: str
    known: int
    low: float
    high: float
    mean: float
    value: str
    share: float
    overall_share: float
    reduction: float
    information: float

    @property
    def stands_out(self) -> bool:
        """Whether it is worth putting into words."""
        if self.kind == "category":
            return self.share >= SHARE_TOLD and self.share - self.overall_share >= LEAD_TOLD
        return self.reduction >= REDUCTION_TOLD

    @property
    def text(self) -> str:
        """For example `eyewear = sunglasses (100 %, 18 % overall)` or `light 0.05–0.21 (variance −94 %)`."""
        if self.kind == "category":
            return f"{self.parameter} = {self.value} ({_percent(self.share)}, {_percent(self.overall_share)} overall)"
        # As many decimals as tell the ends apart
        decimals = max(1 - math.floor(math.log10(self.high - self.low)), 0) if self.high > self.low else 3
        low, high = (f"{bound:.{min(decimals, 6)}f}" for bound in (self.low, self.high))
        span = low if low == high else f"{low} to {high}" if "-" in low + high else f"{low}–{high}"
        return f"{self.parameter} {span}{'°' if self.kind == 'angle' else ''} (variance −{_percent(self.reduction)})"


class Profile(NamedTuple):
    """What the images of an RCC have in common; its findings, the most telling first."""

    rcc: int
    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """One line."""
        if not any(finding.known for finding in self.findings):
            return "No parameter of its images is known."
        if all(math.isnan(finding.reduction) for finding in self.findings):
            return "The parameters of only one image are known: nothing to compare."
        told = [finding.text for finding in self.findings if finding.stands_out][:MOST_TOLD]
        return "; ".join(told) if told else "No parameter stands out."


def _percent(share: float) -> str:
    # A share of 99.7 % is not all of them.
    shown = math.floor(100 * share) if share > 0.99 else round(100 * share)
    return f"{shown} %"


def profile_clusters(clusters: RootCauseClusters, parameters: Parameters) -> tuple[Profile, ...]:
    """What the images of each RCC have in common, compared with all failing images.

    Returns
    -------
    tuple of Profile
        One per RCC, in order.
    """
    profiles = []
    for rcc in range(clusters.n_rccs):
        members = clusters.labels == rcc
        findings = [_finding(rcc, name, column, members) for name, column in parameters.columns.items()]
        findings.sort(key=lambda finding: (-finding.information, finding.parameter))
        profiles.append(Profile(rcc, tuple(findings)))
    return tuple(profiles)


def _finding(rcc: int, name: str, column: np.ndarray, members: np.ndarray) -> Finding:
    if column.dtype.kind == "U":
        return _category(rcc, name, column[column != ""], column[members & (column != "")])
    known = ~np.isnan(column)
    overall, own = column[known], column[members & known]
    if name.endswith(ANGLE_SUFFIX):
        return _angle(rcc, name, overall, own)
    if not len(own):
        return _unknown(rcc, name, "number")
    reduction, information = _told(own.var(), overall.var(), own.mean() - overall.mean(), len(own))
    low, high, mean = float(own.min()), float(own.max()), float(own.mean())
    return Finding(rcc, name, "number", len(own), low, high, mean, "", math.nan, math.nan, reduction, information)


def _angle(rcc: int, name: str, overall: np.ndarray, own: np.ndarray) -> Finding:
    if not len(own):
        return _unknown(rcc, name, "angle")
    mean, overall_mean = circular_mean(own), circular_mean(overall)
    away = (own - mean + 180) % 360 - 180
    # Told in the way in which the file tells it: from 0 to 360, or from -180 to 180.
    turn = -360 if (overall < 0).any() and mean >= 180 else 0
    low, high, centre = (mean + turn + float(step) for step in (away.min(), away.max(), 0))
    if not (overall < 0).any():
        low, high = low % 360, high % 360
    # The spread of a normal distribution wrapped around the circle that has the same circular variance
    spread, overall_spread = (
        -2 * math.log(max(1 - circular_variance(some), 1e-12)) * (180 / math.pi) ** 2 for some in (own, overall)
    )
    shift = (mean - overall_mean + 180) % 360 - 180
    _, information = _told(spread, overall_spread, shift, len(own))
    reduction = _reduction(circular_variance(own), circular_variance(overall), len(own))
    return Finding(rcc, name, "angle", len(own), low, high, centre, "", math.nan, math.nan, reduction, information)


def _category(rcc: int, name: str, overall: np.ndarray, own: np.ndarray) -> Finding:
    if not len(own):
        return _unknown(rcc, name, "category")
    counts = Counter(own.tolist())
    value = min(counts, key=lambda value: (-counts[value], value))
    shares = {value: float(np.mean(overall == value)) for value in counts}
    own_shares = {value: counts[value] / len(own) for value in counts}
    impurity = 1 - sum(share**2 for share in own_shares.values())
    overall_impurity = 1 - sum((count / len(overall)) ** 2 for count in Counter(overall.tolist()).values())
    reduction = _reduction(impurity, overall_impurity, len(own))
    information = sum(own_shares[value] * math.log2(own_shares[value] / shares[value]) for value in counts)
    return Finding(
        rcc,
        name,
        "category",
        len(own),
        math.nan,
        math.nan,
        math.nan,
        value,
        own_shares[value],
        shares[value],
        reduction,
        0.0 if math.isnan(reduction) else information,
    )


def _unknown(rcc: int, name: str, kind: str) -> Finding:
    nan = math.nan
    return Finding(rcc, name, kind, 0, nan, nan, nan, "", nan, nan, nan, 0.0)


def _reduction(variance: float, overall: float, known: int) -> float:
    return 1 - float(variance) / float(overall) if known > 1 and overall > 0 else math.nan


def _told(variance: float, overall: float, shift: float, known: int) -> tuple[float, float]:
    """Variance reduction, and the Kullback–Leibler divergence of two normal distributions, in bits.

    The divergence takes the variance as if one more image varied as all do: three images that are alike by chance must
    not tell more than forty that are nearly alike.
    """
    reduction = _reduction(variance, overall, known)
    if math.isnan(reduction):
        return reduction, 0.0
    ratio = (known * variance / overall + 1) / (known + 1)
    return reduction, float(ratio + shift**2 / overall - 1 - math.log(ratio)) / 2 / math.log(2)


def circular_mean(degrees: np.ndarray) -> float:
    """Mean direction of angles, 0 to 360 degrees."""
    radians = np.radians(degrees)
    return math.degrees(math.atan2(np.sin(radians).mean(), np.cos(radians).mean())) % 360


def circular_variance(degrees: np.ndarray) -> float:
    """1 − length of the mean of the unit vectors: 0 where all angles are equal, 1 where they cancel out."""
    radians = np.radians(degrees)
    return max(1 - math.hypot(np.sin(radians).mean(), np.cos(radians).mean()), 0.0)


# --- The file ---------------------------------------------------------------------------------------------------


def save_profiles(profiles: Iterable[Profile], folder: Path) -> None:
    """Write `rcc_profiles.csv`: a row per RCC and parameter, the most telling first; what is undefined is empty."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Finding._fields)
    for profile in profiles:
        for finding in profile.findings:
            writer.writerow("" if cell != cell else cell for cell in finding)  # NaN differs from itself
    write_text(folder / PROFILES_FILE, table.getvalue())


def load_profiles(folder: Path) -> tuple[Profile, ...]:
    """Read `rcc_profiles.csv`; nothing where there is none.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    path = folder / PROFILES_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            findings = [_from_row(row) for row in csv.DictReader(file, strict=True)]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise SAFEError(f"{path} is damaged ({error}). Generate the clusters again.") from error
    by_rcc: dict[int, list[Finding]] = {}
    for finding in findings:
        by_rcc.setdefault(finding.rcc, []).append(finding)
    return tuple(Profile(rcc, tuple(of_rcc)) for rcc, of_rcc in sorted(by_rcc.items()))


def _from_row(row: dict[str, str]) -> Finding:
    text = {"parameter", "kind", "value"}
    whole = {"rcc", "known"}
    return Finding(
        **{
            name: row[name] if name in text else int(row[name]) if name in whole else float(row[name] or "nan")
            for name in Finding._fields
        }
    )
