"""The failures in the output folder with all answers of the network, read once and kept as long as they are there."""

import dataclasses
import os
from pathlib import Path

from safe_dnn.dnn.failures import TABLES, load_failures
from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.settings import PageSettings
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.reasons.known_groups import KnownGroups, groups_of_test
from safe_dnn.support.errors import SAFEError, is_within
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE
from safe_dnn.support.text import printable

OUTDATED = "Other failures were collected in the meantime. Reload the page to see them."


class CollectedFailures:
    """The failures in an output folder; those on images outside the page's root are refused."""

    def __init__(self, settings: PageSettings):
        self._settings = settings

    @property
    def there(self) -> bool:
        """Whether failures have been collected at all."""
        return all((self._settings.out / name).is_file() for name in (ACCURACY_FILE, FAILURES_FILE))

    @property
    def key(self) -> str:
        """A text that differs where other failures have been collected; empty if there are none."""
        return self._settings.results.stamp_of(*TABLES) if self.there else ""

    def groups(self, answered: AnsweredImages) -> KnownGroups | None:
        """Which test images are not independent, or may not be."""
        return groups_of_test(self._settings.out, answered.root, answered.paths, answered.right)

    def load(self, key: str | None = None) -> AnsweredImages:
        """Read the failures; their digest is the present `key`.

        Parameters
        ----------
        key : str, optional
            What the window shows.

        Raises
        ------
        SAFEError
            There are none, they are damaged, of images outside the page's root, or others than the window shows.
        """
        now = self.key
        failures = load_failures(self._settings.out)
        if key is not None and key != now:
            raise SAFEError(OUTDATED)
        if not is_within(failures.root, self._settings.root):
            raise SAFEError(
                f"Expected failures on images below {self._settings.root} (--root). Received: "
                f"{self._settings.out} holds some of {failures.root}. Collect others, or name another output folder."
            ).about("out")
        return dataclasses.replace(failures, digest=now)


def failures_of(clusters: RootCauseClusters, out: Path) -> AnsweredImages | None:
    """The failures in the output folder if the clusters are of these; None if they are of other images.

    Raises
    ------
    SAFEError
        The failures are damaged.
    """
    if clusters.image_root != (out / FAILURES).resolve():
        return None
    failures = load_failures(out)
    images = {*clusters.paths, *(skipped.path for skipped in clusters.skipped)}
    return failures if images == {*failures.failing} else None


def are_earlier(settings: PageSettings) -> bool:
    """Whether the clusters are of failures that were collected before those in the output folder."""
    try:
        clusters = settings.results.state().review.original
        return clusters.home == (settings.out / FAILURES).resolve() and failures_of(clusters, settings.out) is None
    except SAFEError:
        return False  # there are none, or their tab says what is damaged


def network_of(failures: AnsweredImages, settings: PageSettings) -> dict[str, str]:
    """The network that failed and its test images, as a form names them: `model`, `test`; empty as in `model_of`.

    Empty as well if they are not for the visitors of the page.
    """
    if (model := model_of(failures)) is None:
        return {}
    try:
        paths = [printable(settings.accept(os.fspath(path))) for path in (model, failures.root)]
    except SAFEError:
        return {}
    return dict(zip(("model", "test"), paths, strict=True))


def model_of(failures: AnsweredImages) -> Path | None:
    """The file of the network that failed, if it can be run again without being told anything about it.

    That is, of a classifier whose pixels are scaled as its file says, and which needs no trust; not a table.
    """
    model = failures.source
    is_keras, is_onnx = model.suffix.lower() in KERAS_SUFFIXES, model.suffix.lower() == ONNX_SUFFIX
    needs_options = failures.task != "classification" or failures.rescale or failures.trust_model
    return model if not needs_options and (is_keras or is_onnx) and model.is_file() else None
