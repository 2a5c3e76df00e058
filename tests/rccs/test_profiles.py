import csv
import dataclasses
import json
import math
import re
import statistics
from collections import Counter

import numpy as np
import pytest

from dbscan.outcome import NOISE
from pipeline.descriptions import describe_rccs, refresh_rccs
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.run_record import parameter_notes
from rccs.clusters import save_clusters
from rccs.parameters import Parameters
from rccs.profiles import (
    circular_mean,
    circular_variance,
    known_medians,
    known_ranges,
    load_profiles,
    profile_clusters,
    profiles_text,
)
from support.errors import SAFEError
from support.output_folder import save_text
from support.run_folder import PROFILES_FILE, RUN_FILE


@pytest.fixture
def known(clusters, tmp_path) -> Parameters:
    """Numbers, angles and a category of the 26 images of `clusters`."""
    rng = np.random.default_rng(0)
    night, snow = clusters.labels == 0, clusters.labels == 1
    n = len(clusters.paths)
    return Parameters(
        tmp_path / "parameters.csv",
        {
            "light": np.where(night, rng.uniform(0.05, 0.21, n), rng.uniform(0, 1, n)),
            "gaze_deg": np.where(snow, rng.uniform(-12, 12, n) % 360, rng.uniform(0, 360, n)),
            "eyewear": np.where(night, "sunglasses", rng.choice(["none", "glasses"], n)),
        },
        (),
    )


def test_profiles_agree_with_the_standard_library(clusters, known):
    """The same figures by other means: `statistics`, complex numbers and counting."""
    rows = list(zip(clusters.labels.tolist(), *(known.columns[name].tolist() for name in known.columns), strict=True))
    for profile in profile_clusters(clusters, known.columns):
        found = {finding.parameter: finding for finding in profile.findings}
        own = [row for row in rows if row[0] == profile.rcc]
        light = [row[1] for row in own]
        assert found["light"].reduction == pytest.approx(
            1 - statistics.pvariance(light) / statistics.pvariance(row[1] for row in rows)
        )
        assert (found["light"].low, found["light"].high) == (min(light), max(light))
        assert found["light"].mean == pytest.approx(statistics.fmean(light))

        def spread(some):
            angles = [math.radians(row[2]) for row in some]
            return 1 - abs(sum(complex(math.cos(angle), math.sin(angle)) for angle in angles)) / len(some)

        assert found["gaze_deg"].reduction == pytest.approx(1 - spread(own) / spread(rows))
        told = set(found["eyewear"].value.split(" or "))
        assert found["eyewear"].share == sum(row[3] in told for row in own) / len(own)
        assert found["eyewear"].overall_share == sum(row[3] in told for row in rows) / len(rows)
        assert Counter(row[3] for row in own).most_common(1)[0][1] <= found["eyewear"].share * len(own)


def test_a_profile_says_in_words_what_its_images_have_in_common(clusters, known):
    night, snow, _ = profile_clusters(clusters, known.columns)
    assert night.text == "eyewear = sunglasses (100%, 38% overall); light 0.05–0.20 (all failures 0.05–0.93)"
    assert snow.findings[0].parameter == "gaze_deg"
    assert "°" in snow.findings[0].text


def test_two_categories_are_told_together_where_neither_is_common_enough(clusters, known):
    column = np.where(clusters.labels == 1, np.tile(["glasses", "sunglasses"], 13), np.full(26, "none"))
    snow = profile_clusters(clusters, {"eyewear": column})[1]
    assert snow.text == "eyewear = glasses or sunglasses (100%, 31% overall)"


def test_one_odd_image_does_not_widen_what_is_told(clusters, known):
    light = np.where(np.arange(26) % 2 == 0, 0.9, 0.3)
    light[np.flatnonzero(clusters.labels == 0)] = np.linspace(0.10, 0.19, 10)
    labels = clusters.labels.copy()
    clusters = dataclasses.replace(clusters, labels=np.where(labels == 2, 0, labels))  # six odd ones of sixteen
    few = profile_clusters(clusters, {"light": light})[0].findings[0]
    assert few.high == 0.9
    assert few.usual_low >= few.low
    assert few.usual_high <= few.high


def test_an_arc_across_north_is_told_as_one(clusters, known):
    gaze = next(f for f in profile_clusters(clusters, known.columns)[1].findings if f.parameter == "gaze_deg")
    assert gaze.low > 340
    assert gaze.high < 20
    degrees = known.columns["gaze_deg"]
    signed = dataclasses.replace(known, columns={"gaze_deg": (degrees + 180) % 360 - 180})
    gaze = profile_clusters(clusters, signed.columns)[1].findings[0]
    assert -20 < gaze.low < 0 < gaze.high < 20
    assert gaze.text.startswith("gaze_deg -")


def test_a_parameter_that_varies_as_ever_is_not_mentioned(clusters, known):
    same = dataclasses.replace(known, columns={"x": np.tile([0.0, 1.0], 13)})
    assert all(profile.text == "No parameter stands out." for profile in profile_clusters(clusters, same.columns))


def test_a_category_that_is_common_everywhere_is_not_mentioned(clusters, known):
    column = np.full(26, "none")
    column[np.flatnonzero(clusters.labels == 2)[0]] = "glasses"
    texts = [p.text for p in profile_clusters(clusters, {"eyewear": column})]
    assert texts == ["No parameter stands out."] * 3


def test_nearly_all_is_not_told_as_all(clusters, known):
    column = np.full(26, "a")
    finding = profile_clusters(clusters, {"c": column, "d": column})[0].findings[0]
    assert "100%" in finding.text
    assert "99%" in finding._replace(share=0.997).text


def test_one_known_image_compares_with_nothing(clusters, known):
    column = known.columns["light"].copy()
    night = np.flatnonzero(clusters.labels == 0)
    column[night[1:]] = np.nan
    one, *_ = profile_clusters(clusters, {"light": column})
    assert one.text == "The parameters of only one image are known: nothing to compare."
    column[night] = np.nan
    none, *_ = profile_clusters(clusters, {"light": column})
    assert none.text == "No parameter of its images is known."


def test_circular_statistics_of_known_angles():
    assert circular_mean(np.array([350.0, 10.0])) == pytest.approx(0, abs=1e-9) or circular_mean(
        np.array([350.0, 10.0])
    ) == pytest.approx(360)
    assert circular_variance(np.array([0.0, 90, 180, 270])) == pytest.approx(1)
    assert circular_variance(np.array([77.0, 77, 77])) == pytest.approx(0, abs=1e-12)
    assert circular_variance(np.array([0.0, 90])) == pytest.approx(1 - math.sqrt(0.5))


def test_what_is_saved_is_read_back(clusters, known, tmp_path):
    profiles = profile_clusters(clusters, known.columns)
    save_text(tmp_path, PROFILES_FILE, profiles_text(profiles))
    record = {"ranges": known_ranges(profiles), "medians": known_medians(profiles)}
    (tmp_path / RUN_FILE).write_text(json.dumps({"parameters": record}))
    read = load_profiles(tmp_path)
    assert [profile.text for profile in read] == [profile.text for profile in profiles]
    for ours, theirs in zip(profiles, read, strict=True):
        for a, b in zip(ours.findings, theirs.findings, strict=True):
            assert all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("record", ["", "[]", '{"parameters": {"ranges": {"light": [0, Infinity], "gaze_deg": [1]}}}'])
def test_without_the_range_of_all_failures_a_profile_has_shares_instead(clusters, known, tmp_path, record):
    save_text(tmp_path, PROFILES_FILE, profiles_text(profile_clusters(clusters, known.columns)))
    (tmp_path / RUN_FILE).write_text(record)
    night = load_profiles(tmp_path)[0]
    assert night.text == "eyewear = sunglasses (100%, 38% overall); light 0.05–0.20 (80%, 35% overall)"


def test_of_angles_in_all_directions_the_range_is_the_whole_circle(clusters, known):
    def text(degrees: np.ndarray) -> str:
        columns = {"gaze_deg": degrees}
        return profile_clusters(clusters, columns)[0].findings[0].text

    everywhere = np.linspace(0, 345, 26)
    assert text(everywhere).endswith(" (all failures 0–360°)")
    assert text((everywhere + 180) % 360 - 180).endswith(" (all failures -180 to 180°)")
    north = np.linspace(300, 420, 26)
    assert text(north % 360).endswith(" (all failures 300–60°)")
    assert text((north + 180) % 360 - 180).endswith(" (all failures -60 to 60°)")


def test_a_folder_without_profiles_has_none_and_a_damaged_file_is_refused(tmp_path):
    assert load_profiles(tmp_path) == ()
    (tmp_path / PROFILES_FILE).write_text("rcc,parameter\nx,y\n")
    with pytest.raises(SAFEError, match="is damaged"):
        load_profiles(tmp_path)


def test_a_run_describes_its_rccs_by_the_table_beside_the_images(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "case" / "failing", {"night": 30, "snow": 30, "wood": 30})
    names = [path.name for path in sorted(folder.iterdir())]
    with (tmp_path / "case" / "parameters.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["image", "scene", "hour"], *([f"failing/{n}", n.split("_")[0], int(n[-6:-4])] for n in names)]
        )
    out = tmp_path / "out"
    clusters = generate_clusters(folder, out, progress=lambda *step: None)
    texts = [profile.text for profile in load_profiles(out)]
    assert clusters.n_rccs >= 3
    assert all("% overall)" in text and text.startswith("scene = ") for text in texts)
    record = json.loads((out / "run.json").read_text())["parameters"]
    assert record["profiles"] == {str(rcc): text for rcc, text in enumerate(texts)}
    assert record["compared_with"] == "all failing images"

    # A table that was only found and cannot be read costs a note, and no earlier profiles are left.
    (tmp_path / "case" / "parameters.csv").write_bytes(b"\xff\xfe")
    again = generate_clusters(folder, out, progress=lambda *step: None)
    assert again.labels.tolist() == clusters.labels.tolist()
    assert {
        finding.parameter for profile in load_profiles(out) for finding in profile.findings if not finding.measured
    } == set()
    assert "Expected parameters" in parameter_notes(out)[0]

    # One that was named is refused before the long work.
    before = fake_network.images_seen
    with pytest.raises(SAFEError, match="Expected parameters"):
        generate_clusters(
            folder,
            out,
            ClusteringSettings(parameters=tmp_path / "case" / "parameters.csv"),
            progress=lambda *step: None,
        )
    assert fake_network.images_seen == before


def test_noise_has_no_profile(clusters, known, tmp_path):
    assert NOISE in clusters.labels
    assert [profile.rcc for profile in profile_clusters(clusters, known.columns)] == [0, 1, 2]
    assert describe_rccs(clusters) == ((), {})


def test_a_table_that_safe_did_not_write_survives_an_edit(clusters, tmp_path):
    save_clusters(clusters, tmp_path)
    (tmp_path / PROFILES_FILE).write_text("mine")
    refresh_rccs(tmp_path)
    assert (tmp_path / PROFILES_FILE).read_text() == "mine"


def test_what_is_measured_is_told_in_a_word_and_after_what_is_recorded(clusters):
    night = clusters.labels == 0
    rng = np.random.default_rng(0)
    columns = {
        "brightness": np.where(night, rng.uniform(0.02, 0.08, 26), rng.uniform(0.4, 0.9, 26)),
        "eyewear": np.where(night, "sunglasses", "none"),
        "sharpness": rng.uniform(0, 1, 26),
    }
    told, *_ = profile_clusters(clusters, columns, measured=("brightness", "sharpness"))
    assert re.fullmatch(
        r"eyewear = sunglasses \(100%, 38% overall\); dark \(brightness 0\.0\d+–0\.0\d+; all failures 0\.\d+–0\.\d+, "
        r"median 0\.\d+\)",
        told.text,
    )
    bright = {"brightness": 1 - columns["brightness"]}
    assert profile_clusters(clusters, bright, measured=["brightness"])[0].text.startswith("bright (brightness 0.9")
    nothing = profile_clusters(clusters, {"sharpness": columns["sharpness"]}, measured=["sharpness"])
    assert [profile.text for profile in nothing] == ["", "", ""]


def test_the_word_is_about_most_other_images_not_about_a_few_extreme_ones(clusters):
    """Of skewed values, a range that is above the median may still be in the lower half of all that there is."""
    night = clusters.labels == 0
    rng = np.random.default_rng(0)
    noise = np.where(night, rng.uniform(0.03, 0.05, 26), rng.uniform(0, 0.01, 26))
    noise[np.flatnonzero(~night)[:2]] = 1
    told = profile_clusters(clusters, {"noise": noise}, measured=["noise"])[0]
    assert re.fullmatch(r"noisy \(noise 0\.03\d*–0\.0[45]\d*; all failures 0\.0+–1\.0+, median 0\.0\d+\)", told.text)
    few = profile_clusters(clusters, {"noise": 1 - noise}, measured=["noise"])[0]
    assert few.text.startswith("little noise (")


def test_values_in_the_middle_of_the_others_have_no_word(clusters):
    night = clusters.labels == 0
    rng = np.random.default_rng(0)
    others = np.concatenate([rng.uniform(0, 0.3, 8), rng.uniform(0.7, 1, 8)])
    brightness = np.empty(26)
    brightness[night], brightness[~night] = rng.uniform(0.45, 0.55, 10), others
    middling = profile_clusters(clusters, {"brightness": brightness}, measured=["brightness"])[0]
    assert middling.findings[0].reduction > 0.8
    assert (middling.findings[0].value, middling.text) == ("", "")


def test_an_rcc_with_most_of_the_failures_has_a_word(clusters):
    most = dataclasses.replace(clusters, labels=np.where(clusters.labels == 0, 1, 0).astype(clusters.labels.dtype))
    brightness = np.where(most.labels == 0, 0.1, 0.8) + np.random.default_rng(0).uniform(0, 0.1, 26)
    assert profile_clusters(most, {"brightness": brightness}, measured=["brightness"])[0].findings[0].value == "dark"


def test_without_other_images_there_is_no_word(clusters):
    all_of_them = dataclasses.replace(clusters, labels=np.zeros_like(clusters.labels))
    bright = {"brightness": np.linspace(0.8, 1, 26)}
    assert profile_clusters(all_of_them, bright, measured=["brightness"])[0].text == ""


def test_words_and_measured_parameters_are_read_again(fake_network, draw_folder, tmp_path):
    out = tmp_path / "out"
    generate_clusters(draw_folder(tmp_path / "failing", {"night": 30, "snow": 30, "wood": 30}), out)
    profiles = load_profiles(out)
    assert all(finding.measured for profile in profiles for finding in profile.findings)
    assert any(profile.text for profile in profiles)
    assert {str(p.rcc): p.text for p in profiles} == json.loads((out / "run.json").read_text())["parameters"][
        "profiles"
    ]
