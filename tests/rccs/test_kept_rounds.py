"""Clusters of failures that were collected before go on showing all their images."""

import json
from pathlib import Path

import numpy as np

from safe_dnn.dnn.detection.detector_failures import find_detection_failures
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.dnn.tested import find_predictions, read_predictions
from safe_dnn.pipeline.descriptions import known_parameters, refresh_rccs
from safe_dnn.pipeline.explaining import explain_failures
from safe_dnn.pipeline.exports import export_results
from safe_dnn.pipeline.generation import ClusteringSettings, generate_clusters
from safe_dnn.pipeline.reporting.history import list_runs, restore_run
from safe_dnn.rccs.clusters import RootCauseClusters, load_clusters
from safe_dnn.rccs.failure_rounds import rounds_in
from safe_dnn.rccs.gifs import gif_shows
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES, OBJECTS
from tests.helpers.answered import AnsweredCase
from tests.helpers.detected import draw_detected, write_json
from tests.helpers.places import OWN, digests_of
from tests.helpers.troubles import Disk, Trouble

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


def collect(case: AnsweredCase, *, right: str = "") -> set[str]:
    """Collect failures, with the images right whose names begin with `right`; return the names of the failures."""
    _, *rows = case.table.read_text().splitlines()
    table = case.table.with_name("answers.csv")
    cells = [row.split(",")[:3] for row in rows]
    mended = [[name, label, label if right and name.startswith(right) else told] for name, label, told in cells]
    table.write_text("\n".join(map(",".join, [["image", "label", "predicted"], *mended])) + "\n")
    return {failure.source for failure in collect_failures(table, case.test, case.out).failing}


def files_of(folder: Path) -> dict[str, str]:
    """What lies in an output folder, without the database and locks, by digest."""
    return {name: digest for name, digest in digests_of(folder).items() if name.partition("-")[0] not in OWN}


def content_of(clusters: RootCauseClusters) -> dict[str, bytes]:
    return {path: (clusters.image_root / path).read_bytes() for path in clusters.paths}


def test_an_earlier_run_keeps_its_images_when_the_network_gets_them_right(case):
    before = collect(case)
    first = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    set_note(case.out, Note(0, "nights"))
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
    assert f"of {len(after)} images" in current.text
    assert f"of {len(before)} images" in earlier.text
    assert len({load_clusters(case.out, listed.run).home for listed in (current, earlier)}) == 1
    assert content_of(load_clusters(case.out, earlier.run)) == content

    restored = restore_run(case.out, earlier.name)
    refresh_rccs(case.out)
    assert content_of(restored) == content
    assert load_review(case.out).notes[0].name == "nights"
    export = export_results(case.out, case.out / "export")
    assert (export.images, export.missing) == (len(before), ())
    assert len(rounds_in(case.out)) == 1


def test_on_a_full_disk_the_failures_stay_as_they_are_wherever_it_gets_full(case, monkeypatch):
    collect(case)
    generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    before = files_of(case.out)
    disk, refused = Disk(monkeypatch), []
    while True:
        with disk.trouble(Trouble("full", len(refused))):
            try:
                collect(case, right="night")
                break
            except SAFEError as error:
                refused.append(str(error))
        assert files_of(case.out) == before, refused[-1]
    assert len(refused) > 20
    assert all("No space left" in why or "is full" in why for why in refused)
    assert len(rounds_in(case.out)) == 1


def test_crops_of_a_detector_stay_those_of_their_results(fake_network, tmp_path):
    case = draw_detected(tmp_path)
    find_detection_failures(case.given, case.out)
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    content, known = content_of(clusters), known_parameters(case.out, clusters)
    # The first false detection is another one by now, under the same number in its file.
    results = json.loads(case.results.read_text())
    for each in results:
        each["bbox"][0] += 3
        each["category_id"] = each["category_id"] % 3 + 1
    write_json(case.results, results)
    find_detection_failures(case.given, case.out)

    shown = load_clusters(case.out)
    assert content_of(shown) == content
    again = known_parameters(case.out, shown)
    np.testing.assert_equal(dict(again), dict(known))
    assert explain_failures(case.out)
    tested = read_predictions(*find_predictions(shown.image_root))
    assert tested.root == shown.image_root.parent / OBJECTS
