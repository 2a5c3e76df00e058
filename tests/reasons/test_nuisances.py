"""What does not matter is set aside, and stays so in later steps."""

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters, select_images
from safe_dnn.options import ClusteringSettings, SelectionSettings
from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, load_clusters, run_record
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.reasons.run_record import notes_of
from safe_dnn.report.summary_lines import algorithm_summary, selection_summary
from safe_dnn.support.errors import SAFEError
from tests.helpers.answered import People, draw_people, draw_person

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


ASIDE = SETTINGS._replace(set_aside=("person",))


def purity(clusters: RootCauseClusters, of: Callable[[str], object]) -> float:
    """Share of the images in RCCs that have the commonest value of their RCC."""
    groups = [[of(path) for path in clusters.members(rcc)] for rcc in range(clusters.n_rccs)]
    return sum(max(map(group.count, group)) for group in groups) / sum(map(len, groups))


def person_of(path: str) -> str:
    return path[5:7]


def is_dark(path: str) -> bool:
    return int(path[8:10]) < 20


@pytest.mark.slow
def test_what_hides_the_reason_is_set_aside(people):
    clusters = generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=people.parameters))
    assert purity(clusters, person_of) > 0.9
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    assert purity(clusters, person_of) < 0.5
    assert purity(clusters, is_dark) > 0.95
    assert "without person" in algorithm_summary(clusters)
    assert not any(note.startswith("set aside: ") for note in notes_of(people.out))
    record = run_record(people.out)["set_aside"]
    assert (record["names"], record["fitted_to"], record["right"]) == (["person"], 160, 80)
    explain_failures(people.out)
    rates = load_reasons(people.out, load_clusters(people.out)).rates
    assert len(rates) == clusters.n_rccs
    assert all(rate.figures.rate == pytest.approx(0.5, abs=0.2) for rate in rates.values())


@pytest.mark.slow
def test_improvement_images_are_treated_in_the_same_way_where_the_nuisance_is_known(people):
    clusters = generate_clusters(people.failing, people.out, ASIDE._replace(parameters=people.parameters))
    unsafe = select_images(people.improvement, people.out, SelectionSettings(size=16))
    assert load_unsafe_set(people.out) == unsafe
    assert unsafe.notes == ("person was not subtracted for 4 images, because it is unknown for them",)
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
    assert unsafe.notes == (
        "person was not subtracted for 16 images, because it is unknown for them",
        "no improvement image is like those of RCC 0 (40 failing images), RCC 1 (40 failing images): "
        "record images like these",
    )


def test_without_predictions_it_is_fitted_to_the_failing_images_alone_and_this_is_told(people):
    people.table.unlink()
    settings = ASIDE._replace(parameters=people.parameters)
    clusters = generate_clusters(people.failing, people.out, settings)
    assert purity(clusters, is_dark) > 0.95
    assert "from the failing images alone" in notes_of(people.out)[-1]
    assert run_record(people.out)["set_aside"]["fitted_to"] == 80


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("persona", r"Received: persona\. Known are age, person, serial, site\."),
        ("label", r"Received: label\. Known are"),
        ("site", "in common. Received site, which has 1 value and is known of 160 of 160 images"),
        ("serial", "in common. Received serial, which has 160 values"),
        ("age", "known of more than half of the images, .* Received age, which has 9 values and is known of 40 of 160"),
    ],
)
def test_what_cannot_be_set_aside_is_told_before_the_long_work(people, fake_network, name, message):
    header, *rows = people.parameters.read_text().splitlines()
    rows = [f"{row},{i % 9 if i < 40 else ''}" for i, row in enumerate(rows)]
    people.parameters.write_text("\n".join([f"{header},age", *rows]) + "\n")
    settings = ASIDE._replace(parameters=people.parameters, set_aside=(name,))
    with pytest.raises(SAFEError, match=message):
        generate_clusters(people.failing, people.out, settings)
    assert fake_network.images_seen == 0


# --- What sets failing images apart, where it is not known what does not matter ---------------------------------


STAINS = ((255, 255, 0), (0, 0, 255), (255, 0, 255))  # at the top, in the middle, at the bottom: reasons for failing


def draw_stained(person: int, reason: int, rng: np.random.Generator) -> Image.Image:
    pixels = np.array(draw_person(person, False, rng))
    pixels[48 + 48 * reason : 80 + 48 * reason, 64:160] = STAINS[reason]
    return Image.fromarray(pixels)


def reason_of(path: str) -> int:
    return int(path[8:10]) // 10


@pytest.fixture
def stained(fake_network, tmp_path) -> People:
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
def test_failing_images_are_grouped_by_what_sets_them_apart_from_right_ones_unless_looks_alone_are_asked_for(stained):
    clusters = generate_clusters(stained.failing, stained.out, SETTINGS._replace(reducer="pca"))
    for rcc in range(clusters.n_rccs):  # none may be steady, since each person divides into stains
        assert len({person_of(path) for path in clusters.members(rcc)}) == 1
    assert clusters.beyond_class is None
    clusters = generate_clusters(stained.failing, stained.out, SETTINGS)
    assert clusters.beyond_class.is_contrast
    assert clusters.beyond_class.contrast > clusters.beyond_class.appearance + 0.1
    assert purity(clusters, reason_of) > 0.95
    assert purity(clusters, person_of) < 0.5
    assert "contrast with correct images, then neighbour averaging" in algorithm_summary(clusters)
    assert run_record(stained.out)["beyond_class"]["contrast"] == clusters.beyond_class.contrast
    again = load_clusters(stained.out)
    assert again.beyond_class == clusters.beyond_class
    assert again.parts.tolist() == clusters.parts.tolist()
    for name, part in clusters.projection.axis._asdict().items():
        np.testing.assert_array_equal(getattr(again.projection.axis, name), part)


@pytest.mark.slow
def test_nothing_sets_images_apart_that_fail_by_chance(fake_network, tmp_path):
    people = draw_people(tmp_path)  # images that are right are as often dark
    people.parameters.unlink()
    generate_clusters(people.failing, people.out)
    labels = (people.out / LABELS_FILE).read_bytes()
    assert load_clusters(people.out).beyond_class is None
    generate_clusters(people.failing, people.out, SETTINGS._replace(parameters=None, reducer="pca"))
    assert (people.out / LABELS_FILE).read_bytes() == labels
