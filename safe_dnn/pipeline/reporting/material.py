"""What a report is written from, and what its sections have in common."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from markupsafe import Markup

from safe_dnn.rccs.clusters import RootCauseClusters, rccs_of
from safe_dnn.rccs.review.journal import Edit
from safe_dnn.rccs.review.notes import Note, Scope, title
from safe_dnn.rccs.review.review import Review
from safe_dnn.rccs.spots.rates import Rate, by_excess
from safe_dnn.rccs.unsafe_set import UnsafeSet
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.reasons.probes import Probe
from safe_dnn.reasons.register import Entry
from safe_dnn.store.chain import Entry as Statement
from safe_dnn.training.result import Retraining

MOST_CARDS = 400  # RCCs with images; the others are in the table
LOOSE = Markup("<span class='verdict unclear'>loose</span>")


class Material(NamedTuple):
    """The material of a report.

    Attributes
    ----------
    folder : Path
    review : Review
    edits : tuple of Edit
        All that was done and said in it.
    profiles : dict of int to str
        A sentence per RCC, if the images' parameters are known.
    reasons : Reasons
        Weak spots, and what rates are computed from; empty if the DNN's answers to its test set are not known.
    rates : dict of int to Rate
        By RCC; empty if nothing was compared.
    confirmation : dict
        What a fresh test set says of the reasons (see `pipeline.confirmation`); empty if none was asked.
    probes : list of Probe
    spot_notes : dict of str to Note
        By conditions; also on those that are not among the weak spots.
    scope : Scope, and Entry or None
        What is said of the analysis as a whole, and the entry that said the last of it.
    register : list of Entry
        What is said of each weak spot and RCC.
    unsafe : UnsafeSet or None
        Of these clusters.
    retraining : Retraining or None
    missing : dict of str to str
        Why there are none of `profiles`, `reasons`, `unsafe` or `retraining`, or they could not be read.
    run : dict
        `run.json`.
    found : str
        When the clusters were found; ISO 8601.
    images : dict of str to str
        Data URIs by path, without images left out to keep the report small.
    rests_on : str
        The runs that it is about: their numbers and kinds.
    earlier : dict
        As of `pipeline.explaining.since_earlier`.
    words : tuple of str
        What is known of each word (see `pipeline.tagging`), or why it is not.
    """

    folder: Path
    review: Review
    edits: tuple[Edit, ...]
    profiles: dict[int, str]
    reasons: Reasons
    rates: dict[int, Rate]
    confirmation: dict[str, Any]
    probes: list[Probe]
    spot_notes: dict[str, Note]
    scope: tuple[Scope, Statement | None]
    register: list[Entry]
    unsafe: UnsafeSet | None
    retraining: Retraining | None
    missing: dict[str, str]
    run: dict
    found: str
    images: dict[str, str]
    rests_on: str
    earlier: Mapping[str, Any] = MappingProxyType({})
    words: tuple[str, ...] = ()

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits applied."""
        return self.review.clusters

    def verdict(self, rcc: int) -> str:
        """The engineer's verdict on an RCC; empty if there is none."""
        return self.review.notes[rcc].verdict if rcc in self.review.notes else ""

    @property
    def changed(self) -> bool:
        """Whether RCCs were edited since a fresh test set was asked."""
        return self.review.last_number != self.confirmation.get("edits")

    @property
    def row_of(self) -> dict[str, int]:
        """The row of each failing image, by path."""
        return {path: row for row, path in enumerate(self.clusters.paths)}

    @property
    def selected(self) -> Counter[int]:
        """How many images of the unsafe set were selected for each RCC."""
        return Counter(image.rcc for image in self.unsafe.images) if self.unsafe else Counter()

    def title(self, rcc: int) -> str:
        """The number of an RCC with the engineer's name for it."""
        return title(rcc, self.review.notes)


def carded(clusters: RootCauseClusters, rates: Mapping[int, Rate]) -> list[int]:
    """The RCCs for which there is room with images, those on which the network fails most beyond the average first."""
    return by_excess(rccs_of(clusters), rates)[:MOST_CARDS]
