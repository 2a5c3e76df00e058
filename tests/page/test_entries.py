"""What visitors type and what goes wrong behind the page: each ends in a sentence that the window shows."""

import json
import os
from collections.abc import Iterator

import pytest

from safe_dnn.page.app import serve
from safe_dnn.rccs.clusters import fingerprint, load_clusters
from safe_dnn.rccs.review.review import load_review
from safe_dnn.support.errors import SAFEError
from tests.helpers.scenes import draw_scenes
from tests.helpers.visiting import Visitor, served
from tests.support.test_entries import bad_paths

# --- Paths ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """A window of a page without a root, whose folder holds clusters and an unsafe set."""
    folder = tmp_path_factory.mktemp("typing")
    draw_scenes(folder / "images", {"night": 4, "snow": 4})
    with served(folder, cwd=folder) as (url, _):
        visitor = Visitor(url, "typing")
        images = str(folder / "images")
        assert "8 failures" in visitor.send("generate", images=images)
        assert "4 of 8" in visitor.send("select", improvement=images, set_size="4", quota="equal")
        yield visitor
        assert "defect" not in (folder / "stderr.txt").read_text()
        visitor.client.close()


def test_no_way_to_mistype_a_path_ends_without_a_sentence(visitor, tmp_path):
    """Of one field; the tests of security try them all."""
    for path in bad_paths(tmp_path).values():
        told = visitor.send("generate", images=path)
        assert "Expected a" in told, (path[:100], told[-600:])
        assert '"success": false' not in told, path[:100]


def test_the_page_is_not_started_on_a_folder_whose_name_it_cannot_show(tmp_path):
    with pytest.raises(SAFEError, match="output folder whose name is text"):
        serve(tmp_path / os.fsdecode(b"r\xe9sultats"), port=1)


@pytest.mark.parametrize("auth", ["ann", ":x", "ann:", f"ann:{os.fsdecode(bytes([233]))}"])
def test_a_password_that_cannot_be_typed_is_refused(tmp_path, auth):
    with pytest.raises(SAFEError, match="--auth must be USER:PASSWORD"):
        serve(tmp_path, port=1, auth=auth)


# --- Defects ----------------------------------------------------------------------------------------------------


def test_what_is_no_note_on_an_rcc_or_a_weak_spot_is_refused_in_a_sentence(visitor, tmp_path_factory):
    out = tmp_path_factory.getbasetemp() / "typing0" / "out"
    run = fingerprint(load_clusters(out))
    keys = [[0], {"a": 1}, None, 1e308, "[]", '[["a"]]', 99]
    forged = [json.dumps({"key": key, "run": run, "last_entry": 0, "saved": []}) for key in keys]
    for about in (*forged, json.dumps({"key": 0, "run": "0" * 16, "last_entry": 0, "saved": 1}), "x", "[]", "{}", 3):
        told = visitor.fire(visitor.handler("note-name", "blur"), ["ann", about, "a", "", ""])
        assert "Not kept" in told or "Reload" in told, (about, told[-300:])
    assert load_review(out).notes == {}


def test_where_a_folder_of_images_lies_by_now_is_asked_once_and_looked_at(visitor, tmp_path_factory):
    # The last test: the folder stays in its new place.
    out = tmp_path_factory.getbasetemp() / "typing0" / "out"
    images, now, run = out.parent / "images", out.parent / "disk" / "images", fingerprint(load_clusters(out))
    picture = visitor.serve("grid", "grid_picture", [0, run]).text
    now.parent.mkdir()
    images.rename(now)
    [ask] = [one for one in visitor.loads() if visitor.id_of("moved-to") in one["outputs"]]
    assert f"no longer in {images}" in visitor.fire(ask, [])
    assert "missing" in visitor.send("take-place", moved_to=str(out))
    assert visitor.serve("grid", "grid_picture", [0, run]).text != picture
    assert '"success": true' in visitor.send("take-place", moved_to=str(now))
    assert visitor.serve("grid", "grid_picture", [0, run]).text == picture
    assert "no longer in" not in visitor.fire(ask, [])
