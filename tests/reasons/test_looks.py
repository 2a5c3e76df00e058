"""Looks are set aside where it is not known what does not matter, and offered where few RCCs fail more often."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.comparison import explain_failures
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.run_record import notes_of, nuisance_of
from pipeline.summaries import how_found
from rccs.clusters import LABELS_FILE, load_clusters, run_record
from rccs.dbscan.contrast import LOOKS
from rccs.spots.rates import Rate
from reasons.nuisances import check_answers, looks_alone, looks_offer
from SAFE_Tool import main
from support.errors import SAFEError
from tests.helpers.answered import People, draw_people, draw_person
from tests.reasons.test_nuisances import person_of, purity

SETTINGS = ClusteringSettings(extractor="vgg16-conv")
ASIDE = SETTINGS._replace(set_aside=(LOOKS,))
STAINS = ((255, 255, 0), (0, 0, 255), (255, 0, 255))  # at the top, in the middle, at the bottom: reasons for failing


def draw_stained(person: int, reason: int, rng: np.random.Generator) -> Image.Image:
    pixels = np.array(draw_person(person, False, rng))
    pixels[48 + 48 * reason : 80 + 48 * reason, 64:160] = STAINS[reason]
    return Image.fromarray(pixels)


def reason_of(path: str) -> int:
    return int(path[8:10]) // 10


@pytest.fixture
def people(fake_network, tmp_path) -> People:
    """Four persons, of whom nothing is recorded; the DNN fails on all of them where there is a stain."""
    found = People(*(tmp_path / name for name in ("test", "dnn/failures", "dnn/predictions.csv", "none", "new", "out")))
    rng = np.random.default_rng(0)
    for folder in (found.test / "face", found.failing / "face", found.improvement):
        folder.mkdir(parents=True)
    rows = ["image,label,predicted"]
    for person in range(4):
        for i in range(60):
            name, wrong = f"face/p{person}_{i:02d}.png", i < 30
            drawn = draw_stained(person, i // 10, rng) if wrong else draw_person(person, False, rng)
            drawn.save(found.test / name)
            if wrong:
                shutil.copyfile(found.test / name, found.failing / name)
            rows.append(f"{name},face,{'other' if wrong else 'face'}")
        for reason in range(3):
            draw_stained(person, reason, rng).save(found.improvement / f"q{person}_{reason}.png")
    found.table.write_text("\n".join(rows) + "\n")
    (found.failing.parent / "accuracy.json").write_text(f'{{"test_root": "{found.test}"}}')
    return found


@pytest.mark.slow
def test_looks_that_right_images_have_as_well_are_set_aside(people):
    clusters = generate_clusters(people.failing, people.out, SETTINGS)
    for rcc in range(clusters.n_rccs):  # none may be steady, since each person divides into stains
        assert len({person_of(path) for path in clusters.members(rcc)}) == 1
    assert clusters.without == ()
    clusters = generate_clusters(people.failing, people.out, ASIDE)
    assert clusters.contrast == 2  # from one of the three reasons to the others
    assert purity(clusters, reason_of) > 0.95
    assert purity(clusters, person_of) < 0.5
    assert "without looks" in how_found(clusters)
    assert not any(note.startswith("set aside: ") for note in notes_of(people.out))
    record = run_record(people.out)["set_aside"]
    assert (record["names"], record["fitted_to"], record["right"]) == ([LOOKS], 240, 120)
    assert record["directions"] == clusters.contrast
    explain_failures(people.out)
    assert nuisance_of(people.out) is None


@pytest.mark.slow
def test_they_are_offered_where_few_rccs_fail_more_often_and_stay_where_nothing_sets_failures_apart(
    fake_network, tmp_path, capsys
):
    people = draw_people(tmp_path)  # images that are right are as often dark
    command = ["cluster", str(people.failing), "--out", str(people.out)]
    people.parameters.unlink()
    assert main(command) == 0
    offered = capsys.readouterr().out
    assert "RCCs fail clearly more often than elsewhere: most show what images look like" in offered
    assert "Set looks aside (--set-aside looks)" in offered
    assert nuisance_of(people.out)[0] == LOOKS
    labels = (people.out / LABELS_FILE).read_bytes()
    assert main([*command, "--set-aside", LOOKS]) == 0
    assert "safe: set aside: nothing that VGG16 sees in the failing images sets them apart from 80" in (
        capsys.readouterr().err
    )
    assert (people.out / LABELS_FILE).read_bytes() == labels
    assert load_clusters(people.out).contrast == 0
    assert nuisance_of(people.out) is None  # not again


def rates_of(*verdicts: str) -> list[Rate]:
    return [Rate(rcc, 50, 20, 0.3, 0.5, 0.2, 0.01, verdict) for rcc, verdict in enumerate(verdicts)]


def test_no_more_than_half_of_at_least_four_rccs_fail_more_often_where_looks_are_offered():
    assert looks_offer(rates_of("more", "more", "too few", "as often")).sentence.startswith("2 of 4 RCCs fail clearly")
    assert looks_offer(rates_of("more", "less", "less", "less")).sentence.startswith("1 of 4 RCCs fails clearly")
    assert looks_offer(rates_of(*["too few"] * 4)).sentence.startswith("None of 4 RCCs fail clearly")
    assert looks_offer(rates_of("more", "more", "more", "as often", "less")) is None
    assert looks_offer(rates_of("less", "less", "less")) is None
    assert looks_offer([]) is None


def test_looks_are_set_aside_alone():
    assert looks_alone((LOOKS,))
    assert not looks_alone(("person", "site"))
    with pytest.raises(SAFEError, match="Received as well: person"):
        looks_alone(("person", LOOKS))
    with pytest.raises(SAFEError, match="looks twice"):
        looks_alone((LOOKS, LOOKS))


def test_without_predictions_there_is_nothing_to_compare_with(people, fake_network):
    people.table.unlink()
    with pytest.raises(SAFEError, match=r"right, to set looks aside\. Received none"):
        generate_clusters(people.failing, people.out, ASIDE)
    assert fake_network.images_seen == 0
    with pytest.raises(SAFEError, match="Received none"):
        check_answers(None)
