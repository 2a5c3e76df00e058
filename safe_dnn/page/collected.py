"""The failures in the output folder with all answers of the network, and the network."""

import os
from pathlib import Path

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

OUTDATED = "Other failures were collected in the meantime. Reload the page to see them."


def collected(settings: PageSettings, key: str) -> AnsweredImages:
    """The failures that a window shows, which have this digest; a SAFEError if there are others by now, or none."""
    failures = settings.results.latest.failures
    if key != failures.digest:
        raise SAFEError(OUTDATED)
    return failures


def network_of(failures: AnsweredImages, settings: PageSettings) -> dict[str, str]:
    """The network that failed and its test images, as a form names them: `model`, `test`; empty as in `model_of`.

    Empty as well if they are not for the visitors of the page.
    """
    if (model := model_of(failures)) is None:
        return {}
    try:
        paths = [printable(settings.accept(os.fspath(path))) for path in (model, failures.root)]
    except SAFEError:
        return {}
    return dict(zip(("model", "test"), paths, strict=True))


def model_of(failures: AnsweredImages) -> Path | None:
    """The file of the network that failed, if it can be run again without being told anything about it.

    That is, of a classifier whose pixels are scaled as its file says, and which needs no trust; not a table.
    """
    model = failures.source
    is_keras, is_onnx = model.suffix.lower() in KERAS_SUFFIXES, model.suffix.lower() == ONNX_SUFFIX
    needs_options = failures.task != "classification" or failures.rescale or failures.trust_model
    return model if not needs_options and (is_keras or is_onnx) and model.is_file() else None
