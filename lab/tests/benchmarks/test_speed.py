import json

import numpy as np
import pytest

from lab.benchmarks import speed
from lab.benchmarks.speed import MEASURED, exponent, generated_points


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure without starting a process for each measurement; the names of what was measured."""
    measured = []

    def run_apart(name, *arguments):
        measured.append(name)
        return MEASURED[name](*json.loads(json.dumps(arguments))) | {"peak_mb": 100.0}

    monkeypatch.setattr(speed, "run_apart", run_apart)
    return measured


def run(tmp_path, *arguments):
    code = speed.main([*map(str, arguments), "--repeats", "1", "--results", str(tmp_path / "results")])
    page = tmp_path / "results" / "speed.md"
    return code, page.read_text(encoding="utf-8") if page.exists() else ""


def test_growth_is_measured_and_other_sections_stay(in_this_process, tmp_path):
    code, text = run(tmp_path, "--only", "growth", "--growth", 120, 240)
    assert code == 0
    assert "| 240 | 1 |" in text
    assert (tmp_path / "results" / "plots" / "speed.png").stat().st_size > 1000
    assert in_this_process == ["cluster_generated", "cluster_generated"]
    (tmp_path / "results" / "speed.md").write_text(text + "\n<!-- speed-workers -->\nkept\n<!-- /speed-workers -->\n")
    _, text = run(tmp_path, "--only", "growth", "--growth", 100)
    assert "| 100 | 1 |" in text
    assert "\nkept\n" in text


def test_extraction_counts_its_images(in_this_process, draw_folder, fake_network, monkeypatch, tmp_path):
    images = draw_folder(tmp_path / "images", {"night": 3, "snow": 2})
    monkeypatch.setattr(speed, "load_network", lambda _: fake_network)
    monkeypatch.setattr("safe_dnn.features.vgg16._processor_flags", lambda: {"avx512bw"})
    monkeypatch.setitem(MEASURED, "extract_images_plainly", lambda *_: {"images": 4, "seconds": 2.0, "gflop": 30.7})
    monkeypatch.setitem(MEASURED, "multiply_matrices", lambda: {"gflops": 200.0})
    code, text = run(tmp_path, "--only", "extraction", "--images", images, "--extracted", 4)
    assert code == 0
    assert "4 images, vgg16-conv" in text
    assert "one `predict` per image | 2.00 | 1.00 |" in text
    # In both precisions: to warm up, the bare network before and after, and SAFE's
    assert fake_network.images_seen == 2 * 4 * 4


def test_the_work_of_vgg16_for_an_image_is_that_of_its_layers():
    import keras

    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert speed.flop(network) == pytest.approx(30.69e9, rel=1e-3)  # 15.3 G multiplications and additions


@pytest.mark.parametrize(("digest", "words"), [("a", "byte for byte"), ("b", "**not the same**")])
def test_rows_of_workers_are_compared(monkeypatch, in_this_process, tmp_path, digest, words):
    measured = {
        1: {"images": 4, "seconds": 2.0, "digest": "a"},
        2: {"images": 4, "seconds": 1.25, "digest": digest},
    }
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setitem(MEASURED, "digest_here", lambda *_: {"digest": "a"})
    monkeypatch.setitem(MEASURED, "extract_on_workers", lambda images, n, count: measured[count])
    _, text = run(tmp_path, "--only", "workers", "--images", tmp_path)
    assert words in text
    assert "1.60 times as fast" in text


@pytest.mark.slow
def test_a_measurement_runs_in_a_separate_process_with_its_own_peak_of_memory():
    measured = speed.run_apart("cluster_generated", 60)
    assert 30 < measured["peak_mb"] < 1000
    assert measured["seconds"] > 0 < measured["processor"]


def test_missing_images_are_an_error_in_one_line(tmp_path, capsys):
    assert run(tmp_path, "--only", "extraction")[0] == 2
    assert "Give --images" in capsys.readouterr().err


def test_the_exponent_is_the_power_by_which_a_value_grows():
    sizes = np.array([1000, 5000, 20000])
    assert exponent(sizes, 3e-6 * sizes**1.7) == pytest.approx(1.7)


def test_generated_points_are_the_same_each_time():
    assert np.array_equal(generated_points(50)[0], generated_points(50)[0])
    assert generated_points(50)[0].shape == (50, 256)
