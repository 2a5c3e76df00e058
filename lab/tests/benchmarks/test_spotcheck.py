import csv
import json

import numpy as np

from lab.benchmarks.spotcheck.tables import main


def test_blind_spots_of_drawn_scenes_are_discovered(tmp_path, capsys):
    rng = np.random.default_rng(0)
    things = [[str(value) for value in row] for row in rng.choice(["yes", "no"], (2000, 6))]
    blind = [row[:4] == ["yes", "yes", "no", "yes"] for row in things]
    wrong = rng.random(2000) < np.where(blind, 0.95, 0.02)
    tables = {
        "meta": [["image", *"abcdef"], *([f"{i}.png", *row] for i, row in enumerate(things))],
        "answers": [
            ["image", "label", "predicted"],
            *([f"{i}.png", "scene", "other" if failed else "scene"] for i, failed in enumerate(wrong)),
        ],
    }
    for name, rows in tables.items():
        with (tmp_path / f"1-{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    (tmp_path / "1-truth.json").write_text(json.dumps([[0] if inside else [] for inside in blind]), encoding="utf-8")
    assert main(["--data", str(tmp_path), "--shuffles", "1"]) == 0
    text = capsys.readouterr().out
    assert "| all | 1 | 1 | 0 | 1 |" in text
    assert "something is named in 0 of 1 runs" in text


def test_a_folder_without_settings_is_refused(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "Expected settings of SpotCheck" in capsys.readouterr().err
