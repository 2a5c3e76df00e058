"""What a report is written from, and what its sections have in common."""

from pathlib import Path
from typing import NamedTuple

from rccs.clusters import RootCauseClusters
from rccs.rates import Rate
from rccs.review import Review
from rccs.spot_notes import SpotNote
from rccs.unsafe_set import UnsafeSet
from reasons import Reasons
from training.result import Retraining

LOOSE = "<span class='verdict unclear'>loose</span>"


class Material(NamedTuple):
    """The material of a report.

    Attributes
    ----------
    folder : Path
    review : Review
    profiles : dict of int to str
        A sentence per RCC, if the images' parameters are known.
    profiles_missing : str
        Why the profiles could not be read; otherwise empty.
    reasons : Reasons
        Weak spots, and what rates are computed from; empty if the DNN's answers to its test set are not known.
    rates : dict of int to Rate
        By RCC; empty if nothing was compared.
    reasons_missing : str
        Why they could not be read; otherwise empty.
    spot_notes : dict of str to SpotNote
        By conditions; also on those that are not among the weak spots.
    spot_notes_missing : str
        Why they could not be read; otherwise empty.
    unsafe : UnsafeSet or None
        Of these clusters.
    unsafe_missing : str
        Why there is none.
    retraining : Retraining or None
    retraining_missing : str
        Why there is none.
    run : dict
        `run.json`.
    images : dict of str to str
        Data URIs by path, without images left out to keep the report small.
    """

    folder: Path
    review: Review
    profiles: dict[int, str]
    profiles_missing: str
    reasons: Reasons
    rates: dict[int, Rate]
    reasons_missing: str
    spot_notes: dict[str, SpotNote]
    spot_notes_missing: str
    unsafe: UnsafeSet | None
    unsafe_missing: str
    retraining: Retraining | None
    retraining_missing: str
    run: dict
    images: dict[str, str]

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits applied."""
        return self.review.clusters

    def verdict(self, rcc: int) -> str:
        """The engineer's verdict on an RCC; empty if there is none."""
        return self.review.notes[rcc].verdict if rcc in self.review.notes else ""
