"""Where the network looks, for each reason of an analysis: kept, and written as a picture."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from safe_dnn.api.probing import HEATMAPS_FILE, HEATMAPS_FOLDER, asking, look, map_of, model_at_hand, probe_reasons
from safe_dnn.dnn.failures import find_failures
from safe_dnn.dnn.predictions import Predictions
from safe_dnn.dnn.tested import read_predictions
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.reasons.run_record import with_answers
from safe_dnn.report.drawings import heatmap_html
from safe_dnn.support.errors import SAFEError, confined
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, PREDICTIONS_FILE
from tests.helpers.small_models import NAMES, clusters_of, colour_model, draw_set, saved


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An analysis of a network that takes red and green images for blue ones if all but the left is blue."""
    folder = tmp_path_factory.mktemp("built")
    test = draw_set(folder / "test", 6, {"red": ("blue", 4), "green": ("blue", 3)})
    failures = find_failures(saved(colour_model(maps=True), folder / "m.keras"), test, folder / "out")
    out = folder / "out"
    labels = {path: int(path.startswith("red/")) for path in failures.failing}
    clusters = clusters_of((out / FAILURES).resolve(), labels)
    clusters, record = with_answers(clusters, read_predictions(out / PREDICTIONS_FILE, test), specified=False)
    save_clusters(clusters, out, extra=record)
    return folder


@pytest.fixture
def out(built, tmp_path):
    return shutil.copytree(built, tmp_path / "copy") / "out"


def orange_of(picture: Image.Image) -> np.ndarray:
    """How much more red than blue each pixel has."""
    pixels = np.asarray(picture).astype(int)
    return pixels[..., 0] - pixels[..., 2]


def test_what_speaks_for_one_class_speaks_against_the_other_and_what_lowers_an_error_is_for_the_truth():
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[20:24, 12:18] = 255  # one of the parts
    spot = np.arange(64).reshape(8, 8) == 5 * 8 + 2

    def mapped(outputs_of, truth, *, regression=False):
        def answers(images):
            light = np.array([image.mean() / 255 for image in images])
            return Predictions(np.arange(len(images)), np.column_stack(outputs_of(light)))

        return map_of(SimpleNamespace(regression=regression, truth=lambda _: [truth], answers=answers), 0, pixels)

    for truth, sign in ((0, 1), (1, -1)):
        values = sign * mapped(lambda light: [light, 1 - light], truth)
        assert values[spot].item() > 0.5
        assert values[~spot].max() < 0
    for target, sign in ((1.0, 1), (0.0, -1)):
        values = sign * mapped(lambda light: [light], [target], regression=True)
        assert values[spot].item() > 0
        assert values[~spot].max() < 0


@pytest.mark.slow
def test_what_failing_images_lack_is_where_their_cause_is(out):
    found = look(out)
    assert sorted(found) == ["RCC 0", "RCC 1"]
    for heatmap in found.values():
        lost = orange_of(heatmap.picture)[:, 2 * 240 :]  # the third part
        assert lost[:, 60:].min() > 60
        assert abs(lost[:, :15]).mean() < 0.1 * abs(lost[:, 60:]).mean()  # the left column has the true colour
        assert heatmap.text.endswith("orange against it. Model: m.keras.")
    html = heatmap_html(found["RCC 1"])
    assert "4 failing images, 4 right, and what failing ones lack" in html
    assert html.count("data:image/jpeg") == 1


def test_pictures_and_their_table_are_those_of_the_present_reasons(out):
    look(out, ["RCC_01"])
    folder = out / HEATMAPS_FOLDER
    facts = json.loads((folder / HEATMAPS_FILE).read_text(encoding="utf-8"))["RCC_01"]
    assert (facts["n_failing"], facts["n_right"], facts["model"]) == (4, 4, "m.keras")
    (folder / "mine.png").write_bytes(b"mine")
    look(out)
    assert sorted(path.name for path in folder.iterdir()) == ["RCC_00.png", "RCC_01.png", HEATMAPS_FILE, "mine.png"]
    with Image.open(folder / "RCC_00.png") as picture:
        assert picture.size == (3 * 240, 240)


def test_what_is_missing_is_said(out):
    for ask in (look, probe_reasons):
        with pytest.raises(SAFEError, match="Generate them first"):
            ask(out.parent / "nothing")
    with pytest.raises(SAFEError, match=r"^Expected reasons such as .* Received: RCC_7; there are RCC ., RCC .\.$"):
        look(out, ["RCC_7"])
    record = json.loads((out / ACCURACY_FILE).read_text())
    (out.parent / "m.keras").rename(out.parent / "other.keras")
    assert model_at_hand(out / FAILURES) is None
    with pytest.raises(SAFEError, match=r"Received: .*, without them"):
        look(out)
    assert look(out, model=out.parent / "other.keras")
    (out.parent / "test" / "red" / "plain_00.png").write_bytes(b"no image")
    for names, message in (
        (NAMES[:2], r"^Expected 2 classes or outputs\. Received: .*, with 3\. Name"),
        ([*NAMES[:2], "other"], r"^Expected the true class .* Received: red\. Is it the model"),
    ):
        (out / ACCURACY_FILE).write_text(json.dumps(record | {"classes": names}))
        with pytest.raises(SAFEError, match=message):
            look(out, model=out.parent / "other.keras")


def test_the_network_at_hand_is_the_recorded_one_with_the_scaling_that_was_requested(out):
    record = json.loads((out / ACCURACY_FILE).read_text())
    (out / ACCURACY_FILE).write_text(json.dumps(record | {"rescale": "signed"}))
    asked = asking(out, ["RCC 1", "RCC_00"])
    assert (asked.dnn.path, asked.dnn.scaling) == (out.parent / "m.keras", "signed")
    assert {one.name for one in asked.reasons} == {"RCC 0", "RCC 1"}
    with confined(out):
        assert model_at_hand(out / FAILURES) is None
