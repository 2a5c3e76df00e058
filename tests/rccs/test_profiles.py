import dataclasses
import math
import statistics
from collections import Counter

import numpy as np
import pytest

from safe_dnn.rccs.parameters import Parameters
from safe_dnn.rccs.profiles import PROFILES_FILE, load_profiles, profile_clusters, profiles_text
from safe_dnn.store.output_folder import save_files


@pytest.fixture
def known(clusters) -> Parameters:
    """Numbers, angles and a category of the 26 images of `clusters`."""
    rng = np.random.default_rng(0)
    night, snow = clusters.labels == 0, clusters.labels == 1
    n = len(clusters.paths)
    return Parameters(
        {
            "light": np.where(night, rng.uniform(0.05, 0.21, n), rng.uniform(0, 1, n)),
            "gaze_deg": np.where(snow, rng.uniform(-12, 12, n) % 360, rng.uniform(0, 360, n)),
            "eyewear": np.where(night, "sunglasses", rng.choice(["none", "glasses"], n)),
        },
        (),
    )  # fmt: skip


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
    ranges = [snow.findings[0]._replace(usual_low=low, usual_high=120.0).range for low in (120.0, -0.4, -2.0)]
    assert ranges == ["120°", "0–120°", "-2 to 120°"]
    shorts = [snow.findings[0]._replace(usual_low=low, usual_high=120.0).short for low in (120.0, 90.0, -2.0)]
    assert shorts == ["gaze_deg = 120", "gaze_deg from 90 to 120", "gaze_deg from -2 to 120"]  # as weak spots are
    light = next(finding for finding in night.findings if finding.parameter == "light")
    light = light._replace(usual_low=0.66, usual_high=1.0, overall_low=0.66, overall_high=15.0)
    assert light.text == "light 0.66–1.00 (all failures 0.66–15.00)"  # not 1–15
    common = np.where(clusters.labels == 0, "wet", np.where(np.arange(len(clusters.paths)) % 4, "wet", "dry"))
    assert profile_clusters(clusters, {"road": common})[0].text == "No parameter stands out."  # most failures have it


def test_an_arc_across_north_is_told_as_one(clusters, known):
    gaze = next(f for f in profile_clusters(clusters, known.columns)[1].findings if f.parameter == "gaze_deg")
    assert gaze.low > 340
    assert gaze.high < 20
    degrees = known.columns["gaze_deg"]
    signed = dataclasses.replace(known, columns={"gaze_deg": (degrees + 180) % 360 - 180})
    gaze = profile_clusters(clusters, signed.columns)[1].findings[0]
    assert -20 < gaze.low < 0 < gaze.high < 20
    assert gaze.text.startswith("gaze_deg -")


def test_one_known_image_compares_with_nothing(clusters, known):
    column = known.columns["light"].copy()
    night = np.flatnonzero(clusters.labels == 0)
    column[night[1:]] = np.nan
    one, *_ = profile_clusters(clusters, {"light": column})
    assert one.text == "The parameters of only one image are known: nothing to compare."
    column[night] = np.nan
    none, *_ = profile_clusters(clusters, {"light": column})
    assert none.text == "No parameter of its images is known."


def test_what_is_saved_is_read_back(clusters, known, tmp_path):
    profiles = profile_clusters(clusters, known.columns)
    save_files(tmp_path, {PROFILES_FILE: profiles_text(profiles)})
    read = load_profiles(tmp_path)
    assert [profile.text for profile in read] == [profile.text for profile in profiles]
    for ours, theirs in zip(profiles, read, strict=True):
        for a, b in zip(ours.findings, theirs.findings, strict=True):
            assert all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))
