"""What is read of an analysis, and when."""

from types import SimpleNamespace

import pytest

from safe_dnn import analysis as module
from safe_dnn.analysis import Analysis
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.support.errors import SAFEError, confined


@pytest.fixture
def out(clusters, tmp_path):
    save_clusters(clusters, tmp_path / "out")
    return tmp_path / "out"


def test_nothing_is_read_that_is_not_asked_for_and_nothing_twice(out, monkeypatch):
    reads = []
    load = module.load_clusters
    monkeypatch.setattr(module, "load_clusters", lambda *given: reads.append(1) or load(*given))
    first = Analysis(out)
    assert (first.there, first.is_selected, reads) == (True, False, [])
    assert first.now() is first
    assert first.clusters.paths == first.review.clusters.paths
    set_note(out, Note(0, "dusk"))  # by another process
    later = first.now()
    assert (later is first, first.notes, later.notes[0].name) == (False, {}, "dusk")
    assert later.original is first.original
    assert later.now() is later
    assert reads == [1]


def test_what_cannot_be_read_is_named_and_the_rest_is_there(out, monkeypatch):
    def damaged(*_):
        raise SAFEError("It is damaged.")

    monkeypatch.setattr(module, "load_reasons", damaged)
    found = Analysis(out)
    assert (found.problem, len(found.listed) > 0) == ("It is damaged.", True)
    with pytest.raises(SAFEError, match="It is damaged"):
        _ = found.register
    with pytest.raises(SAFEError, match="Expected an unsafe set"):
        _ = found.unsafe


def test_images_outside_the_folder_that_may_be_opened_are_refused(out, tmp_path, monkeypatch):
    with confined(tmp_path / "root"):
        for part in ("original", "review", "clusters", "listed", "columns", "groups"):
            with pytest.raises(SAFEError, match="Expected results of images below"):
                getattr(Analysis(out), part)
        failures = SimpleNamespace(root=tmp_path)
        monkeypatch.setattr(module, "load_failures", lambda folder: failures)
        with pytest.raises(SAFEError, match="Expected results of images below"):
            _ = Analysis(out).failures
