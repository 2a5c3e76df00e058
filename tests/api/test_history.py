import dataclasses

import numpy as np
import pytest

from safe_dnn.api.generation import generate_clusters, restore_run
from safe_dnn.rccs.clusters import CLUSTERS_FILE, save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import digests_of, in_run


def other(clusters, shift: int = 1):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


def replace(clusters, folder) -> int:
    """A new run takes the place of the one in the folder, whose number is returned."""
    number = present_runs(folder)[CLUSTERS].number
    save_clusters(clusters, folder)
    return number


def test_a_damaged_run_cannot_take_the_place_of_a_good_one(clusters, out):
    file = in_run(out, CLUSTERS_FILE)
    damaged, empty = replace(other(clusters), out), replace(other(clusters, 2), out)
    file.write_bytes(file.read_bytes()[:1000])
    (out / RUNS_FOLDER / str(empty) / CLUSTERS_FILE).unlink()
    present, before = present_runs(out)[CLUSTERS], digests_of(out / RUNS_FOLDER)
    for number, why in ((damaged, "not as SAFE wrote it"), (empty, "Received none"), (99, "Received: 99")):
        with pytest.raises(SAFEError, match=why):
            restore_run(out, number)
    assert present_runs(out)[CLUSTERS] == present
    assert digests_of(out / RUNS_FOLDER) == before


def test_notes_that_cannot_be_read_are_told_before_a_new_run_and_not_overwritten(clusters, out, fake_network):
    set_note(out, Note(0, "deadly"))
    damaged = (out / DATABASE_FILE).read_bytes().replace(b'"deadly"', b'"deadly!')
    (out / DATABASE_FILE).write_bytes(damaged)
    (clusters.image_root / "night_00.png").write_bytes(b"another image")
    with pytest.raises(SAFEError, match=r"analysis\.db: entry 2 cannot be read"):
        generate_clusters(clusters.image_root, out)
    assert fake_network.images_seen == 0
    assert (out / DATABASE_FILE).read_bytes() == damaged
