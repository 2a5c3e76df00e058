"""Clusters of failures that were collected before go on showing all their images."""

import json
import os

import numpy as np
import pytest

from dnn.detector_failures import find_detection_failures
from dnn.failures import collect_failures, load_failures
from dnn.rounds import keep_round
from dnn.tested import find_predictions, read_predictions
from page.results import Results
from pipeline.comparison import explain_failures
from pipeline.descriptions import known_parameters, refresh_rccs
from pipeline.generation import ClusteringSettings, generate_clusters
from rccs.clusters import RootCauseClusters, load_clusters
from rccs.gifs import gif_shows
from rccs.notes import RccNote
from rccs.review import load_review, set_note
from rccs.rounds import rounds_in
from reasons import load_reasons
from reporting.export import export_rccs
from reporting.history import compare_clusters, list_runs, open_run, restore_run
from support.errors import SAFEError
from support.run_folder import FAILURES, OBJECTS, ROUNDS_FOLDER
from tests.helpers.answered import AnsweredCase, draw_case
from tests.helpers.detected import draw_detected, write_json

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def case(fake_network, tmp_path) -> AnsweredCase:
    return draw_case(tmp_path)


def collect(case: AnsweredCase, *, right: str = "") -> set[str]:
    """Collect failures, with the images right whose names begin with `right`; return the names of the failures."""
    _, *rows = case.table.read_text().splitlines()
    table = case.table.with_name("answers.csv")
    cells = [row.split(",")[:3] for row in rows]
    mended = [[name, label, label if right and name.startswith(right) else told] for name, label, told in cells]
    table.write_text("\n".join(map(",".join, [["image", "label", "predicted"], *mended])) + "\n")
    return {failure.source for failure in collect_failures(table, case.test, case.out).failing}


def content_of(clusters: RootCauseClusters) -> dict[str, bytes]:
    return {path: (clusters.image_root / path).read_bytes() for path in clusters.paths}


def test_an_earlier_run_keeps_its_images_when_the_network_gets_them_right(case):
    before = collect(case)
    first = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    set_note(case.out, RccNote(0, "nights"))
    content = content_of(first)
    after = collect(case, right="night")
    assert after < before == set(first.paths)

    shown = load_clusters(case.out)
    assert shown.image_root != first.image_root == shown.home
    assert content_of(shown) == content
    assert all(gif_shows(shown, case.out, rcc) for rcc in shown.groups)  # none has to be drawn again

    second = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    assert (second.image_root, set(second.paths)) == (first.image_root, after)
    current, earlier = list_runs(case.out)
    assert (current.images, earlier.images) == (len(after), len(before))
    assert compare_clusters(*(open_run(case.out, run.name).clusters for run in (current, earlier))).same_folder
    assert content_of(open_run(case.out, earlier.name).clusters) == content

    restored = restore_run(case.out, earlier.name)
    refresh_rccs(case.out)
    assert content_of(restored) == content
    assert load_review(case.out).notes[0].name == "nights"
    export = export_rccs(restored, {}, case.out / "export")
    assert (export.images, export.missing) == (len(before), ())
    assert len(rounds_in(case.out)) == 1


def test_what_is_known_of_an_earlier_run_is_that_of_its_round(case):
    collect(case)
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    known = known_parameters(case.out, clusters)
    collect(case, right="night")
    assert explain_failures(case.out)  # with the answers of then, in which nights are wrong
    assert sum(rate.wrong for rate in load_reasons(case.out, clusters).rates(clusters).values()) == len(clusters.paths)
    again = known_parameters(case.out, load_clusters(case.out))
    np.testing.assert_equal(dict(again), dict(known))


def test_failures_that_no_clusters_are_of_are_replaced(case):
    collect(case)
    generate_clusters(case.failing, case.out, SETTINGS)  # of other images
    collect(case, right="night")
    assert rounds_in(case.out) == []


def test_each_round_that_clusters_are_of_is_kept_and_once(case):
    for right in ("night", "snow", "snow", "wood"):
        collect(case, right=right)
        generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    keep_round(case.out)
    keep_round(case.out)
    kept = [load_failures(path) for path in rounds_in(case.out)]
    assert {frozenset(f.source for f in each.failing) for each in kept} == {
        frozenset(clusters.paths) for clusters in (open_run(case.out, run.name).clusters for run in list_runs(case.out))
    }
    assert all(find_predictions(path / FAILURES)[1] == case.test for path in rounds_in(case.out))


def test_a_round_is_copied_where_files_cannot_be_linked(case, monkeypatch):
    collect(case)
    content = content_of(generate_clusters(case.out / FAILURES, case.out, SETTINGS))

    def refuse(*_):
        raise OSError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    collect(case, right="night")
    assert content_of(load_clusters(case.out)) == content


def test_failures_stay_if_those_before_cannot_be_kept(case):
    before = collect(case)
    content = content_of(generate_clusters(case.out / FAILURES, case.out, SETTINGS))
    (case.out / ROUNDS_FOLDER).write_text("in the way")
    with pytest.raises(SAFEError, match=r"Could not keep the earlier failures in .*rounds"):
        collect(case, right="night")
    assert {failure.source for failure in load_failures(case.out).failing} == before
    assert content_of(load_clusters(case.out)) == content


def test_crops_of_a_detector_stay_those_of_their_results(fake_network, tmp_path):
    case = draw_detected(tmp_path)
    find_detection_failures(*case[:4])
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    content, known = content_of(clusters), known_parameters(case.out, clusters)
    # The first false detection is another one by now, under the same number in its file.
    results = json.loads(case.results.read_text())
    for each in results:
        each["bbox"][0] += 3
        each["category_id"] = each["category_id"] % 3 + 1
    write_json(case.results, results)
    find_detection_failures(*case[:4])

    shown = load_clusters(case.out)
    assert content_of(shown) == content
    again = known_parameters(case.out, shown)
    np.testing.assert_equal(dict(again), dict(known))
    assert explain_failures(case.out)
    tested = read_predictions(*find_predictions(shown.image_root))
    assert tested.root == shown.image_root.parent / OBJECTS


def test_the_page_that_shows_clusters_goes_on_showing_their_images(case):
    collect(case)
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    results, content = Results(case.out), content_of(clusters)
    assert content_of(results.shown().clusters) == content
    collect(case, right="night")
    assert content_of(results.shown().clusters) == content
