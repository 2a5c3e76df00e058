"""A chain of rounds is one history, as it was recorded."""

import dataclasses
import json

import numpy as np
import pytest

from safe_dnn.pipeline.reporting.history import restore_run
from safe_dnn.pipeline.reporting.report import report_html
from safe_dnn.pipeline.reporting.round_figures import rounds_of
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.edits import merge_rccs
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.store.chain import speaking
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, add_run, runs_of
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from safe_dnn.support.tables import table_text
from safe_dnn.training.closure import CLOSURE_FILE, REST
from tests.helpers.worked_on import retrain, select

STATES = {"RCC 0": "closed", "RCC 1": "reduced", "weak spot 1": "closed", REST: "new"}


@pytest.fixture
def chain(clusters, tmp_path):
    """Two rounds: of the first a later model was asked, and retrained; its failures are those of the second."""
    out = tmp_path / "out"
    out.mkdir()
    clusters = dataclasses.replace(clusters, image_root=clusters.image_root.rename(out / FAILURES))
    (out / ACCURACY_FILE).write_text(json.dumps({"model": "../gaze.keras"}))
    with speaking("Ann"):
        first = save_clusters(clusters, out, more=answered("a", 74, 26))
        set_note(out, Note(0, verdict="unsafe"))
    closure = table_text(("reason", "state"), STATES.items())
    add_run(out, CONFIRMATION, {CLOSURE_FILE: closure}, clusters=first.itself, facts={"edits": 0})
    select(out, tmp_path / "improvement", "red", "", "blue")
    retrain(out, b"weights")
    rows = np.arange(18)
    fewer = dataclasses.replace(
        clusters, paths=clusters.paths[:18], labels=clusters.labels[rows], is_core=clusters.is_core[rows],
        points=clusters.points[rows], reach=clusters.reach[:3], attributes=None,
    )  # fmt: skip
    (out / ACCURACY_FILE).write_text(json.dumps({"model": "retrained.keras"}))
    with speaking("Bob"):
        save_clusters(fewer, out, more=answered("b", 74, 18))
    return out, clusters


def answered(digest, images, wrong):
    return {"predictions": {"digest": digest, "images": images, "wrong": wrong, "source": "p.csv", "tested": "test"}}


def test_a_chain_of_rounds_is_told_as_it_was_recorded(chain, clusters, tmp_path):
    out, _ = chain
    first, second = rounds_of(out)
    assert first.figures == pytest.approx((74, 48, 48 / 74, 0.529, 0.756), abs=1e-3)
    assert (first.tested, first.who) == ("test", ("Ann",))
    assert (first.reasons, first.later, first.unsafe) == ((3, 0), {"closed": 2, "reduced": 1}, (3, 2))
    assert (second.model, second.since, second.figures[1], second.who) == ("retrained.keras", 1, 56, ("Bob",))
    assert (second.later, second.unsafe) == ({}, ())
    document = report_html(out)
    assert "2 closed, 1 reduced" in document
    assert "not asked" in document
    retrain(out, b"again")
    *_, after = rounds_of(out)
    assert (after.number, after.since, after.figures[:3], after.reasons) == (3, 2, (4, 3, 0.75), ())


def test_the_clusters_that_are_present_or_were_gone_on_with_stand_for_their_round(chain):
    out, clusters = chain
    other = dataclasses.replace(clusters, labels=np.where(clusters.labels == 2, 1, clusters.labels), eps=9.0)
    save_clusters(other, out, more=answered("a", 74, 26))
    assert [one.number for one in rounds_of(out)] == [1, 1, 2]
    restore_run(out, str(runs_of(out, CLUSTERS)[1].number))
    assert [(one.number, one.reasons) for one in rounds_of(out)] == [(1, (3, 0)), (2, (2, 0))]
    restore_run(out, str(runs_of(out, CLUSTERS)[0].number))
    merge_rccs(out, 2, 1)
    assert rounds_of(out)[0].later == {}, "of RCCs that were edited since, it is not known"
    assert load_review(out).edits


def test_a_damaged_round_says_so(chain):
    out, _ = chain
    (out / "runs" / "1" / "clusters.npz").chmod(0o644)
    (out / "runs" / "1" / "clusters.npz").write_bytes(b"")
    first, _ = rounds_of(out)
    assert "is damaged" in first.problem
    assert "is damaged" in report_html(out)
