import tempfile

import pytest

from safe_dnn.support.text import reason_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "ValueError"),
        ("bad\nTraceback", "bad"),
        (
            f"no such file '{tempfile.gettempdir()}/tmp3x_q/model.weights.h5', mode",
            "no such file 'a temporary file', mode",
        ),
        (f"{tempfile.gettempdir()}/model.keras is bad", f"{tempfile.gettempdir()}/model.keras is bad"),
    ],
)
def test_the_reason_for_an_error_is_a_line_without_temporary_files(text, expected):
    assert reason_of(ValueError(text)) == expected
