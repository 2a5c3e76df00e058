"""Is it the cause, and where does it look? Asked on the page, by keyboard, of a model that fails in the dark."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from safe_dnn.api.explaining import explain_failures
from safe_dnn.api.generation import generate_clusters
from safe_dnn.dnn.failures import find_failures
from safe_dnn.options import ClusteringSettings
from safe_dnn.report.report import report_html
from safe_dnn.SAFE_Tool import main
from tests.helpers.browsing import WAIT, opened, served_from, unfold
from tests.helpers.small_models import COLOURS, SIDE, saved
from tests.page.test_accessibility import serious


def draw(folder, name, n, light, seed):
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        pixels = np.full((SIDE, SIDE, 3), COLOURS[name]) * light * rng.uniform(0.9, 1.1)
        pixels += rng.normal(0, 3, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{light}_{i:02d}.png")


def model_that_fails_in_the_dark():
    """Red, if there is enough of it."""
    from keras import Input, Sequential, layers

    red, enough = layers.Conv2D(1, 1), layers.Dense(1, activation="sigmoid")
    given, mean = layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D()
    model = Sequential([Input((SIDE, SIDE, 3)), given, red, mean, enough])
    red.set_weights([np.reshape([8.0, 0, -8], (1, 1, 3, 1)), np.zeros(1)])
    enough.set_weights([np.ones((1, 1)), np.array([-2.0])])
    return model


def ask(page, name):
    """By keyboard."""
    button = page.locator(f"#{name}:enabled")
    expect(button).to_be_visible(timeout=4 * WAIT)
    button.press("Enter")
    return page.locator(f"#{name}-answer")


@pytest.mark.slow
def test_a_reason_is_probed_and_the_answer_is_kept(browser, fake_network, tmp_path, capsys):
    test = tmp_path / "test"
    for name, light, n in (("blue", 1.0, 20), ("blue", 0.2, 10), ("red", 1.0, 20), ("red", 0.2, 12)):
        draw(test, name, n, light, n)
    out = tmp_path / "page" / "out"
    find_failures(saved(model_that_fails_in_the_dark(), tmp_path / "model.keras"), test, out)
    generate_clusters(out / "failures", out, ClusteringSettings(extractor="vgg16-conv"))
    explain_failures(out)
    with served_from(out.parent) as served:
        with opened(browser, served) as page:
            unfold(page)
            page.locator("#reason-list [data-is=spot]").first.click()
            answer = ask(page, "probe")
            expect(answer).to_contain_text("Cause: the light", timeout=4 * WAIT)  # a process loads TensorFlow
            looks = ask(page, "look")
            expect(looks).to_contain_text("what failing ones lack", timeout=4 * WAIT)
            expect(looks.locator("img")).to_have_count(1)
            assert serious(page) == []
        with opened(browser, served) as page:
            page.locator("#reason-list [data-is=spot]").first.click()
            expect(page.locator("#probe-answer")).to_contain_text("Cause: the light")
            expect(page.locator("#look-answer img")).to_have_count(1)
    assert "Cause: the light" in report_html(out)
    assert (out / "probes.csv").is_file()
    assert main(["probe", "--out", str(out), "--reason", "RCC 99"]) == 2
    assert "Expected reasons such as `weak spot 1` or `RCC 0`" in capsys.readouterr().err
    (tmp_path / "model.keras").unlink()
    assert main(["probe", "--out", str(out)]) == 2
    assert "and the model itself" in capsys.readouterr().err
