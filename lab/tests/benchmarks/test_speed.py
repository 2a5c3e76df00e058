import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lab.benchmarks.speed import __main__ as speed
from lab.benchmarks.speed import stages as speed_stages
from lab.benchmarks.speed.report import SECTIONS, exponent
from lab.benchmarks.speed.stages import MEASURED, generated_points


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure without starting a process for each measurement; the names of what was measured."""
    measured = []

    def run_apart(name, *arguments, cache=None):
        with monkeypatch.context() as changed:
            if cache:
                changed.setenv("SAFE_CACHE", str(cache))
            measured.append(name)
            return MEASURED[name](*json.loads(json.dumps(arguments))) | {"peak_mb": 100.0}

    monkeypatch.setattr(speed, "run_apart", run_apart)
    return measured


def run(tmp_path, *arguments):
    return speed.main([*map(str, arguments), "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")])


def test_detections_are_counted_as_by_the_evaluation_of_coco(in_this_process, tmp_path):
    assert run(tmp_path, "--only", "detections", "--detected", 40, 300, "--repeats", 1) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "300 objects and as many detections in 40 images" in text
    assert "Found and false are as many as in that evaluation." in text


def test_weak_spots_of_generated_answers_are_found_and_their_time_is_told(in_this_process, tmp_path):
    assert run(tmp_path, "--only", "tested", "--tested", 3000, "--repeats", 1) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "A table of 3,000 answers" in text
    assert "The condition that was put in is found." in text


@pytest.mark.slow
def test_every_stage_that_needs_no_network_runs_on_tiny_sizes(in_this_process, draw_folder, tmp_path):
    images = draw_folder(tmp_path / "images", {"night": 3, "snow": 2})
    stages = ("--only", "tuning", "growth", "selection", "searched", "gifs", "--searched", 1000, "--repeats", 2)
    sizes = ("--points", 300, "--settings", 7, "--growth", 120, 240, "--improvement", 60, 120, "--cores", 90)
    assert run(tmp_path, *stages, *sizes, "--images", images, "--frames", 6) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "In 9 of 9 settings the core points, their clusters and the noise are the same" in text
    assert "the same images in the same order" in text
    assert "One GIF of 6 frames, 224 pixels wide" in text
    assert "| 240 | 1 |" in text
    assert "1,000 generated answers, seven classes and 30 columns" in text
    assert "is found in each." in text
    assert (tmp_path / "results" / "plots" / "speed.png").stat().st_size > 1000
    assert in_this_process.count("try_settings") == 2
    assert in_this_process.count("try_settings_with_scikit_learn") == 1

    # One stage again: the others stay as they were measured.
    in_this_process.clear()
    assert run(tmp_path, "--only", "growth", "--growth", 100) == 0
    assert set(in_this_process) == {"cluster_generated"}
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "| 100 | 1 |" in text
    assert "In 9 of 9 settings" in text

    # What was measured elsewhere stays, too.
    (tmp_path / "work" / "tuning.json").unlink()
    assert run(tmp_path, "--only", "growth", "--report") == 0
    assert (tmp_path / "results" / "speed.md").read_text(encoding="utf-8") == text


def test_extraction_counts_its_images(in_this_process, draw_folder, fake_network, monkeypatch, tmp_path):
    images = draw_folder(tmp_path / "images", {"night": 3, "snow": 2})
    monkeypatch.setattr(speed_stages, "load_network", lambda _: fake_network)
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr("safe_dnn.features.weights._processor_flags", lambda: {"avx_vnni", "avx512bw"})
    monkeypatch.setitem(MEASURED, "extract_images_plainly", lambda *_: {"images": 4, "seconds": 2.0, "gflop": 30.7})
    monkeypatch.setitem(MEASURED, "extract_images_with_pytorch", lambda *_: {"images": 4, "seconds": 1.0})
    monkeypatch.setitem(MEASURED, "multiply_matrices", lambda: {"gflops": 200.0})
    monkeypatch.setenv("SAFE_CACHE", os.environ["SAFE_CACHE"])  # the measurement takes another
    monkeypatch.setattr(speed, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))  # in this process they share it
    assert run(tmp_path, "--only", "extraction", "--images", images, "--extracted", 4, "--repeats", 1) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "4 images, vgg16-conv" in text
    assert "one `predict` per image | 2.00 | 1.00 |" in text
    assert "batches | 4.00 | 2.00 |" in text
    assert "30.7 GFLOP" in text
    assert "Two extractions at once take" in text
    # In all three precisions and two at once: to warm up, the bare network before and after, and SAFE's
    assert fake_network.images_seen == 5 * 4 * 4


def test_the_work_of_vgg16_for_an_image_is_that_of_its_layers():
    network = speed_stages._plain_network("vgg16-conv")
    assert speed_stages._flop(network) == pytest.approx(30.69e9, rel=1e-3)  # 15.3 G multiplications and additions


def test_whole_commands_are_timed(in_this_process, draw_folder, fake_network, monkeypatch, tmp_path):
    images = draw_folder(tmp_path / "images", {"night": 3, "snow": 2})
    taken, there = [], []

    def ran(*command, **_):
        taken.append(command)
        if command[0] == "cluster":
            there.append([path.name for path in Path(command[-1]).iterdir()])
            (Path(command[-1]) / "gifs").mkdir()
        return 1.5, LOG

    monkeypatch.setattr(speed_stages.speed_start, "_ran", ran)
    monkeypatch.setitem(MEASURED, "open_page", lambda _: {"seconds": 3.0, "painted": 2.0, "server": 1.0})
    assert run(tmp_path, "--only", "start", "--images", images, "--repeats", 1, "--cached", 4, "--extracted", 3) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "| `cluster`, 4 images, all cached, into an empty folder | 1.5 |" in text
    assert "| `cluster`, 3 images, nothing cached (one run) | 1.5 |" in text
    assert "TensorFlow is not loaded" in text
    assert [command[0] for command in taken] == ["cluster", "cluster", "cluster", "--help", "cluster"]
    assert there == 4 * [["images.txt"]]  # no GIFs of the run before, which would not be drawn again


def test_what_an_idle_page_takes_is_told(in_this_process, monkeypatch, tmp_path):
    states = ("none", "bare", "plays", "away", "paused", "many")
    shares = {f"{what}_{n}": 0.5 + len(n) for what in ("server", "browser") for n in states}
    monkeypatch.setitem(
        MEASURED, "idle_page", lambda _, rccs, spots, __: {"rccs": rccs, "spots": spots, "windows": 20, **shares}
    )
    assert run(tmp_path, "--only", "idle", "--repeats", 1) == 0
    text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert "40 RCCs and 200 weak spots" in text
    assert "| one window, its GIF paused | 6.5 | 6.5 |\n| 20 windows, paused | 4.5 | 4.5 |" in text


LOG = "import time: self [us] | cumulative | imported package\nimport time:       100 |        100 |   numpy\n"


def test_workers_whose_rows_are_other_ones_are_shown(monkeypatch, in_this_process, draw_folder, tmp_path):
    images = draw_folder(tmp_path / "images", {"night": 1})
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda _: True)
    monkeypatch.setitem(MEASURED, "digest_here", lambda *_: {"digest": "a"})
    for digest, words in (("a", "byte for byte"), ("b", "**not the same**")):
        measured = {
            1: {"images": 4, "seconds": 2.0, "digest": "a"},
            2: {"images": 4, "seconds": 1.25, "digest": digest},
        }
        monkeypatch.setitem(MEASURED, "extract_on_workers", lambda *given, measured=measured: measured[given[3]])
        assert run(tmp_path, "--only", "workers", "--images", images, "--repeats", 1) == 0
        text = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
        assert words in text
        assert "1.60 times as fast" in text


def test_a_cached_run_that_loads_a_network_is_told(monkeypatch, draw_folder, tmp_path):
    log = LOG + "import time:       100 |        100 | keras\n"
    monkeypatch.setattr(speed_stages.speed_start, "_ran", lambda *_, **__: (1.5, log))
    images = draw_folder(tmp_path / "images", {"night": 1})
    found = MEASURED["run_command"](str(images), 1, "vgg16-conv", str(tmp_path / "out"), True)
    assert found["networks"] == 1


@pytest.mark.slow
def test_a_measurement_runs_in_a_process_of_its_own_and_tells_its_peak_of_memory():
    found = speed.run_apart("cluster_generated", 60)
    assert 30 < found["peak_mb"] < 1000
    assert found["seconds"] > 0 < found["processor"]


def test_missing_images_are_an_error_in_one_line(tmp_path, capsys):
    assert run(tmp_path, "--only", "gifs") == 2
    assert "Give --images" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["0", "-3", "many"])
def test_a_size_that_is_none_is_refused(tmp_path, size, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, "--points", size)
    assert "1 or more" in capsys.readouterr().err


def test_the_exponent_is_the_power_by_which_a_value_grows():
    sizes = np.array([1000, 5000, 20000])
    assert exponent(sizes, 3e-6 * sizes**1.7) == pytest.approx(1.7)


def test_other_images_and_other_clusters_than_the_rivals_are_shown():
    ours = {"seconds": 1.0, "peak_mb": 200.0}
    selection = {"sizes": [10], "cores": 5, "repeats": 1, "compared": 10, "runs": [ours], "theirs": ours}
    assert "**other images**" in SECTIONS["selection"]({**selection, "same": False})


def test_settings_that_differ_are_counted(tmp_path):
    labels = np.array([[0, 0, 1, 1, -1], [0, 0, 1, 1, -1], [0, 0, 0, 1, 1]])
    cores = np.ones((3, 5), bool)
    cores[:, 4] = False
    np.savez(tmp_path / "a.npz", labels=labels, cores=cores, silhouettes=np.array([0.5, 0.5, 0.5]))
    other = labels.copy()
    other[0] = [1, 1, 0, 0, -1]  # the same clusters by other numbers
    other[1] = [0, 1, 1, 1, -1]
    other[2] = [0, 0, 0, 1, 0]  # a border point in the other cluster
    np.savez(tmp_path / "b.npz", labels=other, cores=cores, silhouettes=np.array([0.75, 0.5, 0.5]))
    found = speed_stages.compare_settings(str(tmp_path / "a.npz"), str(tmp_path / "b.npz"))
    assert (found["settings"], found["equal"], found["border_elsewhere"]) == (3, 2, 1)
    assert found["silhouette_apart"] == 0.25


def test_generated_points_are_the_same_each_time():
    assert np.array_equal(generated_points(50), generated_points(50))
    assert generated_points(50).shape == (50, 256)


@pytest.mark.parametrize(("of_bare", "disturbed"), [(0.97, False), (1.2, True)])
def test_a_share_of_the_bare_network_above_1_is_told_to_be_noise(of_bare, disturbed):
    run = {"images": 4, "seconds": 1.0, "bare": of_bare, "peak_mb": 1.0, "gflop": 30.7}
    measured = {"ours": run, "theirs": run, "bfloat16": run, "at_once": run, "gemm": {"gflops": 200.0}}
    result = {"extractor": "vgg16-conv", "repeats": 1, "of_bare": of_bare, **measured}
    assert ("other work disturbed" in SECTIONS["extraction"](result)) is disturbed
