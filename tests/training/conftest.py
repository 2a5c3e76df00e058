"""A small classifier that a test file fine-tunes."""

import pytest

from dnn.model import load_dnn
from tests.helpers.small_models import colour_model, saved


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def dnn(folder):
    return load_dnn(saved(colour_model(), folder / "colours.keras"))
