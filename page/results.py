"""What the output folder holds, read once and kept as long as the files stay the same."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clustering import CLUSTERS_FILE, RootCauseClusters
from errors import SAFEError
from profiles import PROFILES_FILE, Profile, load_profiles
from review import EDITS_FILE, NOTES_FILE, RccNote, Review, fingerprint, load_review

_FILES = (CLUSTERS_FILE, EDITS_FILE, NOTES_FILE, PROFILES_FILE)
CHANGED = "These clusters were generated anew in another window. Reload the page to see the new ones."


class Shown(NamedTuple):
    """What the windows of the page show.

    Attributes
    ----------
    review : Review
    profiles : mapping of int to Profile
        By RCC; empty where no parameters are known.
    problem : str
        Why the profiles cannot be shown, the clusters not needing them.
    run : str
        Fingerprint of the clusters as they were found: windows that show another one are out of date.
    """

    review: Review
    profiles: Mapping[int, Profile]
    problem: str
    run: str

    @property
    def clusters(self) -> RootCauseClusters:
        """With the engineer's edits."""
        return self.review.clusters

    @property
    def notes(self) -> Mapping[int, RccNote]:
        return self.review.notes


class Results:
    """The results in an output folder."""

    def __init__(self, out: Path):
        self._out = out
        self._lock = threading.Lock()
        self._stamp: tuple = ()
        self._shown: Shown | None = None

    def shown(self, run: str | None = None) -> Shown:
        """The clusters, notes and profiles.

        Parameters
        ----------
        run : str, optional
            What the window shows; a SAFEError where the folder holds something else by now.
        """
        with self._lock:
            stamp = tuple(self._stamp_of(name) for name in _FILES)
            if self._shown is None or stamp != self._stamp:
                review = load_review(self._out)
                profiles, problem = {}, ""
                try:
                    profiles = {profile.rcc: profile for profile in load_profiles(self._out)}
                except SAFEError as error:
                    problem = str(error)
                self._shown = Shown(review, profiles, problem, fingerprint(review.original))
                self._stamp = stamp
            if run is not None and run != self._shown.run:
                raise SAFEError(CHANGED)
            return self._shown

    @property
    def there(self) -> bool:
        """Whether there are clusters at all."""
        return (self._out / CLUSTERS_FILE).is_file()

    def _stamp_of(self, name: str) -> tuple[int, int] | None:
        try:
            status = (self._out / name).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size
