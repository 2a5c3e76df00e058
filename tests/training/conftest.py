"""Models that tests of training share."""

import pytest

from safe_dnn.dnn.model import load_dnn
from tests.helpers.small_models import colour_model, saved


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def dnn(folder):
    return load_dnn(saved(colour_model(), folder / "colours.keras"))
