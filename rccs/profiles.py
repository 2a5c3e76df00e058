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

from rccs.clusters import RootCauseClusters
from rccs.parameters import ANGLE_SUFFIX, Parameters
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.output_folder import save_text
from support.run_folder import PROFILES_FILE
from support.tables import cell, from_cell

REFERENCE = "all failing images"  # what an RCC's variance is compared with

REDUCTION_TOLD = 0.5  # the least variance reduction that is put into words
SHARE_TOLD, LEAD_TOLD = 0.8, 0.15  # the least share of an RCC's images, and how far it must exceed that of all
MOST_TOLD = 3  # parameters in a sentence
OUTER = (0.05, 0.95)  # quantiles between which the usual range lies


class Finding(NamedTuple):
    """A parameter in an RCC; a row of `rcc_profiles.csv`.

    Attributes
    ----------
    kind : "number", "angle" or "category"
    known : int
        Images of the RCC whose value is known.
    low, high, mean : float
        Of numbers; of an angle (degrees) the arc that holds all values, and the circular mean. NaN for a category.
    usual_low, usual_high : float
        The same without the outer twentieths (5th to 95th percentile), so that one odd image does not widen it.
    value : str
        The commonest category, or the two commonest where one alone is not common enough; empty for a number.
    share, overall_share : float
        Of images with that category, or with a number in the usual range, in the RCC and among all failing images.
    reduction : float
        1 − variance in the RCC / variance over all failing images: circular variance for an angle, the Gini impurity
        (which is a category's variance) for a category. At most 1; negative where the RCC varies more. NaN where fewer
        than two values are known.
    information : float
        How much the parameter tells this RCC from all failing images, in bits: the Kullback–Leibler divergence of
        `share` from `overall_share`. Orders the findings; 0 where `reduction` is NaN.
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

    @property
    def stands_out(self) -> bool:
        """Whether to put it into words: nearly all of the RCC share it, and far from all failing images do."""
        common = self.share >= SHARE_TOLD and self.share - self.overall_share >= LEAD_TOLD
        return common and (self.kind == "category" or self.reduction >= REDUCTION_TOLD)

    @property
    def text(self) -> str:
        """For example `eyewear = sunglasses (100%, 18% overall)` or `light 0.05–0.21 (variance −94%)`."""
        if self.kind == "category":
            return f"{self.parameter} = {self.value} ({_percent(self.share)}, {_percent(self.overall_share)} overall)"
        # As many decimals as tell the ends apart
        span = self.usual_high - self.usual_low
        decimals = min(max(1 - math.floor(math.log10(abs(span))), 0), 6) if span else 3
        low, high = (f"{bound:.{decimals}f}" for bound in (self.usual_low, self.usual_high))
        told = low if low == high else f"{low} to {high}" if "-" in low + high else f"{low}–{high}"
        return f"{self.parameter} {told}{'°' if self.kind == 'angle' else ''} (variance −{_percent(self.reduction)})"


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
    return f"{shown}%"


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
        findings.sort(key=lambda finding: (-round(finding.information, 9), finding.parameter))
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
        return Finding(rcc, name, "number", 0)
    usual_low, usual_high = np.quantile(own, OUTER).tolist()
    share, overall_share = (float(np.mean((usual_low <= some) & (some <= usual_high))) for some in (own, overall))
    return _told(
        Finding(rcc, name, "number", len(own), float(own.min()), float(own.max()), float(own.mean()), usual_low,
                usual_high, "", share, overall_share),
        own.var(), overall.var(),
    )  # fmt: skip


def _angle(rcc: int, name: str, overall: np.ndarray, own: np.ndarray) -> Finding:
    if not len(own):
        return Finding(rcc, name, "angle", 0)
    mean = circular_mean(own)
    away, overall_away = ((some - mean + 180) % 360 - 180 for some in (own, overall))
    usual = np.quantile(away, OUTER)
    share, overall_share = (float(np.mean((usual[0] <= some) & (some <= usual[1]))) for some in (away, overall_away))
    # Told in the way in which the file tells it: from 0 to 360, or from -180 to 180.
    signed = bool((overall < 0).any())
    if signed and mean >= 180:
        mean -= 360
    bounds = [mean + float(step) for step in (away.min(), away.max(), *usual)]
    if not signed:
        bounds = [bound % 360 for bound in bounds]
    return _told(
        Finding(rcc, name, "angle", len(own), bounds[0], bounds[1], mean, bounds[2], bounds[3], "", share,
                overall_share),
        circular_variance(own), circular_variance(overall),
    )  # fmt: skip


def _category(rcc: int, name: str, overall: np.ndarray, own: np.ndarray) -> Finding:
    if not len(own):
        return Finding(rcc, name, "category", 0)
    counts, overall_counts = (Counter(some.tolist()) for some in (own, overall))
    commonest = sorted(counts, key=lambda value: (-counts[value], value))
    two = len(overall_counts) > 2 and len(commonest) > 1 and counts[commonest[0]] < SHARE_TOLD * len(own)
    values = commonest[: 2 if two else 1]
    share = sum(counts[value] for value in values) / len(own)
    overall_share = sum(overall_counts[value] for value in values) / len(overall)
    finding = Finding(
        rcc, name, "category", len(own), value=" or ".join(values), share=share, overall_share=overall_share
    )
    return _told(finding, gini_impurity(counts), gini_impurity(overall_counts))


def gini_impurity(counts: Counter) -> float:
    """Gini impurity of categories, from the count of each."""
    return 1 - sum((count / counts.total()) ** 2 for count in counts.values())


def _told(finding: Finding, variance: float, overall: float) -> Finding:
    """The finding with how much it tells.

    Its share is taken as if one more image of the RCC were like all failing ones: three images that are alike by chance
    must not tell more than forty that are nearly alike.
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


def save_profiles(profiles: Iterable[Profile], folder: Path) -> None:
    """Write `rcc_profiles.csv` (SAFEError where it cannot be written, or is somebody else's)."""
    save_text(folder, PROFILES_FILE, profiles_text(profiles))


def profiles_text(profiles: Iterable[Profile]) -> str:
    """`rcc_profiles.csv`: a row per RCC and parameter, the most telling first; what is undefined is empty."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(Finding._fields)
    for profile in profiles:
        for finding in profile.findings:
            finding = finding._replace(parameter=cell(finding.parameter), value=cell(finding.value))
            writer.writerow("" if field != field else field for field in finding)  # NaN differs from itself
    return table.getvalue()


def load_profiles(folder: Path) -> tuple[Profile, ...]:
    """Read `rcc_profiles.csv`; nothing where there is none.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    path = folder / PROFILES_FILE
    try:
        with regular(path).open(encoding="utf-8", newline="") as file:
            findings = [_from_row(row) for row in csv.DictReader(file, strict=True)]
    except FileNotFoundError:
        return ()
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Generate the clusters again.") from error
    by_rcc: dict[int, list[Finding]] = {}
    for finding in findings:
        by_rcc.setdefault(finding.rcc, []).append(finding)
    return tuple(Profile(rcc, tuple(of_rcc)) for rcc, of_rcc in sorted(by_rcc.items()))


def _from_row(row: dict[str, str]) -> Finding:
    kinds = {"parameter": from_cell, "kind": str, "value": from_cell, "rcc": int, "known": int}
    return Finding(**{name: kinds.get(name, _number)(row[name]) for name in Finding._fields})


def _number(text: str) -> float:
    return float(text or "nan")
