from pathlib import Path

import pytest

from safe_dnn.store.places import recorded


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/data/analyses/one", "."),
        ("/data/analyses/one/images", "images"),
        ("/data/analyses/one/images/../images/", "images"),
        ("/data/analyses/images", "../images"),  # beside it
        ("/data/analyses", "/data/analyses"),
        ("/elsewhere/caf\udce9", "/elsewhere/caf\\xe9"),
    ],
)
def test_what_is_in_or_beside_an_analysis_is_recorded_as_seen_from_it(path, text):
    assert recorded(path, Path("/data/analyses/one")) == text
    text.encode()
