"""Is it the cause? On the page, of a model that fails in the dark: a button, a cancel, an answer that is kept."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from dnn.failures import find_failures
from pipeline.comparison import explain_failures
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.reporting.report import report_html
from SAFE_Tool import main
from tests.helpers.browsing import FAKED, WAIT, opened, served_from, unfold
from tests.helpers.small_models import red_model, saved

SIDE, COLOURS = 8, {"blue": (40, 40, 200), "red": (200, 40, 40)}


def draw(folder, name, n, light, seed):
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        pixels = np.full((SIDE, SIDE, 3), COLOURS[name]) * light * rng.uniform(0.9, 1.1) + rng.normal(
            0, 3, (SIDE, SIDE, 3)
        )
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{light}_{i:02d}.png")


@pytest.mark.slow
def test_a_reason_is_probed_and_the_answer_is_kept(browser, fake_network, tmp_path, capsys):
    model = red_model()
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.array([-2.0])])  # red, if there is enough of it
    test = tmp_path / "test"
    for name, light, n in (("blue", 1.0, 20), ("blue", 0.2, 10), ("red", 1.0, 20), ("red", 0.2, 12)):
        draw(test, name, n, light, n)
    out = tmp_path / "page" / "out"
    find_failures(saved(model, tmp_path / "model.keras"), test, out)
    generate_clusters(out / "failures", out, ClusteringSettings(extractor="vgg16-conv"))
    explain_failures(out)
    with served_from(out.parent, tool=FAKED) as served:
        with opened(browser, served) as page:
            unfold(page)
            page.locator("#spots [data-rank]").first.click()
            page.locator("#probe-spot").click()
            answer = page.locator("#probe-spot-answer")
            expect(answer).to_contain_text("It is the light", timeout=4 * WAIT)  # a process loads TensorFlow
            expect(answer.locator("svg").first).to_be_visible()
        with opened(browser, served) as page:
            page.locator("#spots [data-rank]").first.click()
            expect(page.locator("#probe-spot-answer")).to_contain_text("It is the light")
    assert "It is the light" in report_html(out)
    assert (out / "probes.csv").is_file()
    assert main(["probe", "--out", str(out), "--reason", "RCC 99"]) == 2
    assert "Expected reasons such as `weak spot 1` or `RCC 0`" in capsys.readouterr().err
    (tmp_path / "model.keras").unlink()
    assert main(["probe", "--out", str(out)]) == 2
    assert "and the model itself" in capsys.readouterr().err
