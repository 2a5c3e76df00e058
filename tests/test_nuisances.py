"""What does not matter is offered, set aside, and stays so in later steps."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dbscan.contrast import LOOKS
from dnn.tested import read_predictions
from nuisances import fails_equally, nuisance_offer
from pipeline.comparison import explain_failures
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.improvement import select_images
from pipeline.run_record import nuisance_of, set_aside_notes
from pipeline.summaries import how_found, selection_summary
from rccs.clusters import RootCauseClusters, load_clusters
from rccs.unsafe_set import load_unsafe_set
from reasons import load_reasons
from SAFE_Tool import main
from selection import SelectionSettings
from support.errors import SAFEError
from support.files import read_arrays, read_record
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, RUN_FILE
from tests.helpers.answered import People, draw_people, draw_person
from tests.helpers.fake_network import FakeNetwork

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def people(fake_network: FakeNetwork, tmp_path: Path) -> People:
    return draw_people(tmp_path)


ASIDE = SETTINGS._replace(set_aside=("person",))


def purity(clusters: RootCauseClusters, of: Callable[[str], object]) -> float:
    """Share of the images in RCCs that have the commonest value of their RCC."""
    groups = [[of(path) for path in clusters.members(rcc)] for rcc in range(clusters.n_rccs)]
    return sum(max(map(group.count, group)) for group in groups) / sum(map(len, groups))


def person_of(path: str) -> str:
    return path[5:7]


def is_dark(path: str) -> bool:
    return int(path[8:10]) < 20


def test_what_hides_the_reason_is_offered_and_set_aside(people):
    clusters = generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    assert purity(clusters, person_of) > 0.9
    assert nuisance_of(people.out) is None  # the rates are not known yet
    explain_failures(people.out)
    name, sentence = nuisance_of(people.out)
    assert name == "person"
    n_rccs = clusters.n_rccs
    assert sentence == (
        f"{n_rccs} of {n_rccs} RCCs are one person each, and the network fails about equally often on each: set person "
        "aside (--set-aside person) to find what else the failures have in common."
    )
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    assert nuisance_of(people.out) is None
    assert purity(clusters, person_of) < 0.5
    assert purity(clusters, is_dark) > 0.95
    assert "without person" in how_found(clusters)
    assert set_aside_notes(people.out) == []
    record = read_record(people.out / RUN_FILE)["set_aside"]
    assert (record["names"], record["fitted_to"], record["right"]) == (["person"], 160, 80)
    explain_failures(people.out)
    assert nuisance_of(people.out) is None
    rates = load_reasons(people.out, load_clusters(people.out)).rates(clusters)
    assert len(rates) == clusters.n_rccs
    assert all(rate.rate == pytest.approx(0.5, abs=0.2) for rate in rates.values())


@pytest.mark.slow
def test_the_command_line_offers_and_sets_aside(people, capsys):
    command = ["cluster", str(people.failing), "--parameters", str(people.parameters), "--out", str(people.out)]
    assert main(command) == 0
    assert "(--set-aside person) to find what else" in capsys.readouterr().out
    assert main([*command, "--set-aside", "person", "--set-aside", "brightness"]) == 0
    shown = capsys.readouterr()
    assert "· without person, brightness ·" in shown.out
    assert "--set-aside" not in shown.out
    assert main([*command, "--set-aside", "nobody"]) == 2
    assert capsys.readouterr().err.strip().startswith("safe: Expected the name of a recorded parameter")
    with pytest.raises(SystemExit):
        main(["cluster", "--help"])
    assert "--set-aside NAME" in capsys.readouterr().out


@pytest.mark.slow
def test_what_was_set_aside_is_kept_with_the_run_and_the_same_run_gives_the_same_bytes(people):
    settings = ASIDE._replace(set_aside=("person", "brightness", "hue_deg"))
    clusters = generate_clusters(people.failing, people.out, settings)
    loaded = load_clusters(people.out).set_aside
    assert loaded.names == ("person", "brightness", "hue_deg")
    assert loaded.effects.tolist() == clusters.set_aside.effects.tolist()
    assert loaded.centre.tolist() == clusters.set_aside.centre.tolist()
    columns = {"person": np.array(["p1", ""]), "brightness": np.array([0.4, 0.5]), "hue_deg": np.array([9.0, np.nan])}
    assert loaded.terms(columns).tolist() == clusters.set_aside.terms(columns).tolist()
    labels = (people.out / LABELS_FILE).read_bytes()
    again = generate_clusters(people.failing, people.out / "again", settings)
    assert again.points.tobytes() == clusters.points.tobytes()
    assert (people.out / "again" / LABELS_FILE).read_bytes() == labels


def test_improvement_images_are_treated_in_the_same_way_where_the_nuisance_is_known(people):
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    unsafe = select_images(people.improvement, people.out, SelectionSettings(size=16))
    assert load_unsafe_set(people.out) == unsafe
    assert unsafe.notes == ("person was not set aside in 4 images, of which it is not known",)
    assert unsafe.notes[0] in selection_summary(unsafe)
    dark = {rcc: is_dark(clusters.members(rcc)[0]) for rcc in range(clusters.n_rccs)}
    for image in unsafe.images:
        number = int(image.image[3])
        if number:  # otherwise the person is not known
            assert dark[image.rcc] == (number < 2)
    known = max(image.distance for image in unsafe.images if image.image[3] != "0")
    assert known < min(image.distance for image in unsafe.images if image.image[3] == "0")
    (people.improvement / "parameters.csv").unlink()
    people.parameters.unlink()
    unsafe = select_images(people.improvement, people.out, SelectionSettings(size=16))
    assert unsafe.notes == ("person was not set aside in 16 images, of which it is not known",)


def test_without_predictions_it_is_fitted_to_the_failing_images_alone_and_this_is_told(people):
    people.table.unlink()
    settings = ASIDE._replace(parameters=people.parameters)
    clusters = generate_clusters(people.failing, people.out, settings)
    assert purity(clusters, is_dark) > 0.95
    assert "from the failing images alone" in set_aside_notes(people.out)[0]
    assert read_record(people.out / RUN_FILE)["set_aside"]["fitted_to"] == 80
    with pytest.raises(SAFEError, match="Received: label"):
        generate_clusters(people.failing, people.out, settings._replace(set_aside=("label",)))


def test_values_that_are_unknown_are_told(people):
    lines = people.parameters.read_text().splitlines()
    people.parameters.write_text("\n".join(line for line in lines if "_00" not in line) + "\n")
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    assert set_aside_notes(people.out) == ["person is unknown of 4 of 80 images, and not set aside in them."]
    assert clusters.set_aside.known({"person": np.array(["p1", ""])}).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("persona", r"Received: persona\. Known are .*person, .*brightness"),
        ("site", "that differs between images. Received site, which is the same for all 160 images"),
        ("label", "that differs between images. Received label"),
        ("serial", "whose values several images have in common. Received serial, which has 160 different values"),
        ("width_px", "that differs between images. Received width_px"),
        ("age", "known of more than half of the images. Received age, which is unknown of 120 of 160 images"),
    ],
)
def test_what_cannot_be_set_aside_is_told_before_the_long_work(people, fake_network, name, message):
    header, *rows = people.parameters.read_text().splitlines()
    rows = [f"{row},{i % 9 if i < 40 else ''}" for i, row in enumerate(rows)]
    people.parameters.write_text("\n".join([f"{header},age", *rows]) + "\n")
    settings = ASIDE._replace(parameters=people.parameters, set_aside=(name,))
    with pytest.raises(SAFEError, match=message):
        generate_clusters(people.failing, people.out, settings)
    with pytest.raises(SAFEError, match="Received twice: person"):
        generate_clusters(people.failing, people.out, settings._replace(set_aside=("person", "person")))
    assert fake_network.images_seen == 0


def test_of_a_very_large_test_set_it_is_fitted_to_a_random_part(people, monkeypatch):
    monkeypatch.setattr("reasons.MOST_COMPARED", 100)
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    assert read_record(people.out / RUN_FILE)["set_aside"]["fitted_to"] == 100
    assert purity(clusters, is_dark) > 0.95


@pytest.mark.slow
def test_no_category_is_offered_whose_values_fail_differently(people):
    rng = np.random.default_rng(0)
    for i in range(90):  # the DNN gets more images of the first person right
        draw_person(0, False, rng).save(people.test / "face" / f"p0_{i + 100}.png")
        with people.table.open("a") as file:
            file.write(f"face/p0_{i + 100}.png,face,face\n")
        with people.parameters.open("a") as file:
            file.write(f"face/p0_{i + 100}.png,p0,m{i},here\n")
    generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    explain_failures(people.out)
    assert nuisance_of(people.out)[0] == LOOKS  # it does not fail more often on most RCCs


def test_values_that_share_rccs_count_if_they_are_few_of_all(people):
    clusters = generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    tested = read_predictions(people.table, people.test)
    sitting = {path: place // 4 for place, path in enumerate(tested.paths)}  # 40 of them, two failing images in each
    header, *rows = people.parameters.read_text().splitlines()
    rows = [f"{row},s{sitting[row.split(',')[0]]}" for row in rows]
    people.parameters.write_text("\n".join([f"{header},sitting", *rows]) + "\n")
    of_failing = np.array([sitting[path] for path in clusters.paths])
    together, mixed = (dataclasses.replace(clusters, labels=labels) for labels in (of_failing // 3, of_failing % 4))
    offer = nuisance_offer(together, tested, parameters=people.parameters)
    assert offer.name == "sitting"
    # The last RCC has only two images, and does not count.
    assert offer.sentence.startswith("13 of 13 RCCs are of at most 3 of the 40 values of sitting each, and")
    assert nuisance_offer(mixed, tested, parameters=people.parameters) is None


def test_rates_of_values_are_compared_beyond_chance():
    rng = np.random.default_rng(0)
    column = np.repeat([f"p{i}" for i in range(50)], 30)
    wrong = rng.random(1500) < 0.36
    assert fails_equally(column, wrong)
    assert fails_equally(column, np.where(rng.random(1500) < 0.1, column < "p3", wrong))
    assert not fails_equally(column, wrong | (column < "p2"))
    assert fails_equally(np.append(column, [""] * 500), np.append(wrong, [True] * 500))  # unknown values do not count


def test_a_damaged_record_of_what_was_set_aside_is_told(people):
    generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    arrays = read_arrays(people.out / CLUSTERS_FILE)
    for damaged in (
        {"set_aside_centre": arrays["set_aside_centre"][:-1]},
        {"set_aside_effects": np.full_like(arrays["set_aside_effects"], np.nan)},
        {"set_aside": np.frombuffer(b'[["person", "mood", [], []]]', np.uint8)},
    ):
        np.savez(people.out / CLUSTERS_FILE, **{**arrays, **damaged})
        with pytest.raises(SAFEError, match="Generate the clusters again"):
            load_clusters(people.out)


def test_what_is_known_only_of_failing_images_is_not_offered(people):
    clusters = generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    tested = read_predictions(people.table, people.test)
    assert nuisance_offer(clusters, tested, parameters=people.parameters).name == "person"
    wrong = {path for path, right in zip(tested.paths, tested.right, strict=True) if not right}
    header, *rows = people.parameters.read_text().splitlines()
    rows = [row for row in rows if row.split(",")[0] in wrong]
    people.parameters.write_text("\n".join([header, *rows]) + "\n")
    assert nuisance_offer(clusters, tested, parameters=people.parameters) is None
