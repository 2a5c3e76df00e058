"""An analysis with evidence."""

import pytest


@pytest.fixture
def out(attested):
    return attested
