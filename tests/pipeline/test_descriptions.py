"""Recorded parameters of failing images: the same in cards, on the map, in the search and in the report."""

from pathlib import Path

import pytest

from dnn.failures import collect_failures
from page.results import Results
from pipeline.descriptions import known_parameters
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.run_record import given_parameters, notes_of
from rccs.clusters import save_clusters
from rccs.profiles import load_profiles
from rccs.search import matching_images
from support.errors import SAFEError
from support.run_folder import FAILURES
from tests.helpers.answered import AnsweredCase, draw_case, record_light
from tests.helpers.fake_network import FakeNetwork

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def case(fake_network: FakeNetwork, tmp_path: Path) -> AnsweredCase:
    """Failures that SAFE has collected, of a test set with recorded parameters."""
    case = draw_case(tmp_path / "case")
    record_light(case.test / "parameters.csv")
    collect_failures(case.table, case.test, case.out)
    return case


def test_parameters_of_the_test_set_are_known_of_collected_failures(case):
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    columns = Results(case.out).parameters()
    assert len(matching_images("light<0.4", clusters.paths, columns)) == 12
    assert any("light" in profile.text for profile in load_profiles(case.out))
    assert given_parameters(case.out) == ""  # found, not given


def test_a_table_that_cannot_be_read_is_refused_before_the_long_work_if_given_and_a_note_if_found(case, fake_network):
    table = case.test / "parameters.csv"
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(SAFEError, match="Expected parameters"):
        generate_clusters(case.out / FAILURES, case.out, SETTINGS._replace(parameters=table))
    assert fake_network.images_seen == 0
    generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    assert "Expected parameters" in notes_of(case.out)[0]


def test_clusters_of_an_earlier_version_that_name_no_table_have_the_parameters_as_well(case):
    clusters = generate_clusters(case.out / FAILURES, case.out, SETTINGS)
    save_clusters(clusters, case.out)
    assert "light" in known_parameters(case.out, clusters)
    assert "light" not in known_parameters(case.out, clusters, within=case.out.resolve())
