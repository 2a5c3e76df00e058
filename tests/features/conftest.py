"""What tests of the features share."""

from pathlib import Path

import pytest


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    """Some bytes in the place of VGG16's weights: choosing reads them, and only loading would look inside."""
    path = tmp_path / "vgg16.h5"
    path.write_bytes(b"weights")
    return path
