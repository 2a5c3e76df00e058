import numpy as np
import pytest

from safe_dnn.rccs.image_search import matching_images
from safe_dnn.support.errors import SAFEError

PATHS = ("night/Eye_0.png", "night/eye_1.png", "day/eye_2.png", "day/a=b.png")
COLUMNS = {
    "light": np.array([0.1, 0.5, np.nan, 0.9]),
    "eyewear": np.array(["sunglasses", "none", "", "glasses"]),
    "head_yaw_deg": np.array([10.0, -20.0, 30.0, np.nan]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("night", [0, 1]),
        ("  night   eye_1 ", [1]),
        ("nowhere", []),
        ("light<=0.5", [0, 1]),
        ("light=0.1", [0]),
        ("Light>-1", [0, 1, 3]),  # unknown fits no condition
        ("eyewear=GLASSES", [0, 3]),
        ("eyewear!=sunglasses", [1, 3]),
        ("eyewear=", [0, 1, 3]),
        ("head_yaw_deg>0 light<1", [0]),
        ("day eyewear=glasses", [3]),
        ("light < 0.5", [0]),
        ("light>= .9", [3]),
        ("eyewear = sun light < 1", [0]),
        ("eyewear= light < 1", [0, 1, 3]),
        ("eyewear= day", []),  # the space is taken
        ('eyewear="" day', [3]),
    ],
)
def test_images_are_those_that_every_word_fits(text, expected):
    assert matching_images(text, PATHS, COLUMNS).tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('weather="light rain"', [0]),
        ("weather = 'light rain' day", []),
        ("weather=light rain", []),  # a word of its own
        ('"road type"=motorway', [1]),
        ('"my night"', [1]),
        ("driver's", [0]),
        ("weather=driver's", [1]),
        ('weather="light', []),
    ],
)
def test_what_has_spaces_stands_in_quotes(text, expected):
    columns = {"weather": np.array(["light rain", "driver's view"]), "road type": np.array(["town", "motorway"])}
    assert matching_images(text, ("night/driver's.png", "my night/b.png"), columns).tolist() == expected


def test_without_parameters_a_sign_may_be_part_of_a_name():
    assert matching_images("a=b", PATHS, {}).tolist() == [3]
    with pytest.raises(SAFEError, match=r"Expected a parameter of these images \(none are known\). Received: light"):
        matching_images("light<1", PATHS, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", "Received: nothing"),
        ("lite<1", r"\(light, eyewear, head_yaw_deg\)\. Received: lite"),
        ("light<dark", "light is a number. Received: light<dark"),
        ("light <", "light is a number. Received: light<"),
        ("eyewear<1", "eyewear is not a number; expected eyewear=… Received: eyewear<1"),
    ],
)
def test_what_cannot_be_looked_for_is_told(text, message):
    with pytest.raises(SAFEError, match=message):
        matching_images(text, PATHS, COLUMNS)
