import dataclasses
import datetime
import html.parser
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dbscan.outcome import NOISE
from rccs.answers import Answers
from rccs.clusters import fingerprint, save_clusters
from rccs.conditions import Literal
from rccs.edits import merge_rccs, move_images, undo_edit
from rccs.notes import RccNote
from rccs.review import load_review, set_note
from rccs.spot_notes import SpotNote, set_spot_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, save_unsafe_set
from rccs.weak_spots import WeakSpot
from reasons import Reasons, reasons_files
from reporting import cards, material, provenance, report
from reporting.report import report_html, write_report
from SAFE_Tool import main
from support.errors import SAFEError
from support.images import Skipped
from support.output_folder import save_files
from support.run_folder import CLUSTERS_FILE, PROFILES_FILE, RETRAINING_FILE, RUN_FILE, SPOT_NOTES_FILE, UNSAFE_SET_FILE
from tests.helpers.steadied import steadied, without_steady_groups
from training.finetuning import Epoch
from training.settings import Settings

NOW = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
VOID = {"meta", "img", "br", "wbr"}


class Page(html.parser.HTMLParser):
    """An HTML document taken apart: its tags with attributes, its text, and whether every tag is closed in order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data + " "

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def saved(clusters, folder):
    """A new output folder with these clusters in it."""
    folder.mkdir()
    save_clusters(clusters, folder)
    return folder


@pytest.fixture
def out(clusters, tmp_path):
    """An output folder with the clusters of the fixture in it."""
    return saved(clusters, tmp_path / "out")


def select(found, folder, **changes) -> None:
    """An unsafe set of two images of RCC 0 and one of RCC 2, one of them labelled."""
    images = (
        UnsafeImage("new/a.png", 0, 0.1, True, "left"),
        UnsafeImage("new/b.png", 0, 0.3, False),
        UnsafeImage("new/c.png", 2, 0.2, True),
    )
    unsafe = UnsafeSet(folder, images, 4, "N = ⌈a <formula>⌉ = 4", 9, (5, 1, 3), (), fingerprint(found), (1,))
    save_unsafe_set(dataclasses.replace(unsafe, **changes), folder)


def retrain(folder, **changes) -> None:
    changed = [{"image": f"left/{i:03}.png", "label": "left", "before": "up", "after": "left"} for i in range(25)]
    record = {
        "model": "/models/<gaze>.keras",
        "test_root": "/data/test",
        "task": "classification",
        "accuracy_before": 0.76,
        "accuracy_after": 0.845,
        "test_size": 2400,
        "train_size": 5000,
        "unsafe_size": 3,
        "improved": changed,
        "worsened": changed[:2],
        "per_rcc": [
            {"name": str(rcc), "images": n, "before": 0, "after": n // 2} for rcc, n in ((0, 10), (1, 8), (-1, 2))
        ],
        "per_class": [{"name": "left & up", "images": 300, "before": 200, "after": 270}],
        "history": [Epoch(0, None, 0.9, 0.1, 1.0)._asdict(), Epoch(1, 0.5, 0.9, 0.8, 1.0)._asdict()],
        "best": 1,
        "settings": Settings(1e-4)._asdict(),
        "threshold": None,
        "assumptions": ["Pixels are scaled by <1/255>."],
        "stopped": "",
        "seconds": 2.0,
        "waiting": 0.0,
        "skipped": [],
    }
    (folder / RETRAINING_FILE).write_text(json.dumps({**record, **changes}))


def test_the_report_is_one_file_that_loads_and_runs_nothing(out):
    page = Page(write_report(out).read_text(encoding="utf-8"))
    assert page.of("script") == page.of("link") == page.of("iframe") == []
    images = page.of("img")
    assert len(images) == 5 + 5 + 5 + 2
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in images)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(link["href"].startswith("#") for link in page.of("a"))
    assert "default-src 'none'" in page.of("meta")[1]["content"]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.of("a")} <= ids
    style = (Path(report.__file__).with_suffix(".css")).read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_report_says_how_steady_rccs_are_and_which_images_lie_between_two(clusters, tmp_path):
    save_clusters(steadied(clusters), tmp_path)
    document = report_html(tmp_path)
    text = Page(document).text
    for expected in (
        "Loose: two of its images are together in only 52% of the clusterings of random parts; 1 also near another RCC",
        "Steady: two of its images are together in 94% of the clusterings of random parts",
        "nearest to RCC 2: together with its images in 30% of the clusterings",
        "1 of them is near an RCC: together with its images in at least 20% of the clusterings.",
        "Below 75% an RCC is",
        "100 random parts of the images, each 50% to 80% of them, were clustered in the same way.",
    ):
        assert expected in text
    assert re.search(r"52% +loose", text)
    assert document.count(material.LOOSE) == 2  # in the table and with the RCC
    assert "<b>1</b><span>loose RCCs</span>" in document
    merge_rccs(tmp_path, 1, 0)
    text = Page(report_html(tmp_path)).text
    assert "Changed by hand: how steady it is now is not known" in text
    assert "52%" not in text
    assert "94%" not in text


def test_the_report_of_a_run_without_steady_groups_says_so_and_what_to_do(clusters, tmp_path):
    save_clusters(without_steady_groups(clusters), tmp_path)
    text = Page(report_html(tmp_path)).text
    assert text.count("No steady groups: in 100 random parts of the images") == 2
    assert "No group of them is steady" in text
    assert "for an individual or rare reason" not in text
    assert "No root cause clusters in 26 failures." in text


def test_the_report_of_an_older_run_says_nothing_of_steadiness(out):
    run = json.loads((out / RUN_FILE).read_text())
    del run["steadiness"]
    (out / RUN_FILE).write_text(json.dumps(run))
    text = report_html(out).split("</style>")[1]
    for word in ("Steadiness", "steady", "Steady", "oose", "random parts"):
        assert word not in text


def test_the_report_says_why_it_was_not_measured(clusters, tmp_path):
    one = dataclasses.replace(
        clusters, labels=np.zeros(26, int), is_core=np.ones(26, bool), reach=np.ones(1, np.float32)
    )
    save_clusters(one, tmp_path)
    assert "How steady RCCs are was not measured: there are fewer than 30 images." in report_html(tmp_path)


def test_the_same_run_gives_the_same_report(out):
    assert report_html(out, now=NOW) == report_html(out, now=NOW)
    assert "2024-05-01 12:00 UTC" in report_html(out, now=NOW)


def test_a_report_says_what_was_found_and_what_is_not_there_yet(clusters, out):
    text = Page(report_html(out)).text
    for expected in (
        "3 root cause clusters explain 92% of 26 failures.",
        "26 images on which",
        "RCC 0",
        "10 images · 38.5% of all failing images · 10 core images",
        "RCC 1",
        "8 images · 30.8% of all failing images · 7 core images",
        "not judged",
        "2 images , 7.7% of all failing images",
        "None: all images were used.",
        "Nothing: the RCCs are as they were found.",
        "No images to label (unsafe set) have been selected.",
        "The network has not been retrained.",
        "vgg16-conv-fake-float32",
        fingerprint(clusters),
        os.fspath(clusters.image_root),
        "numpy " + np.__version__,
        "ISO 21448",
        "Reviewed by",
    ):
        assert expected in text


def test_the_table_of_rccs_says_what_they_are_taken_for(clusters, tmp_path):
    assert "what its images have in common" not in section(report_html(saved(clusters, tmp_path / "plain")), "summary")
    night = clusters.labels == 0
    n = len(night)
    answers = Answers(
        np.where(night, "shirt", "bag"), np.where(night, "coat", "shoe"), np.full(n, 0.9, np.float32), "confidence"
    )
    table = section(report_html(saved(dataclasses.replace(clusters, answers=answers), tmp_path / "known")), "summary")
    assert "Name, and what its images have in common" in table
    assert table.count("All are shirt taken for coat") == 1
    assert table.count("All are bag taken for shoe") == 2


def test_names_notes_verdicts_and_edits_are_told(out):
    set_note(out, RccNote(0, "night", "hazard H3", "unsafe"))
    set_note(out, RccNote(NOISE, note="odd ones"))
    merge_rccs(out, 2, 1)
    move_images(out, ["sea_00.png"], 1)
    undo_edit(out)
    text = Page(report_html(out)).text
    for expected in (
        "RCC 0 · night",
        "hazard H3",
        "unsafe",
        "odd ones",
        "Merged RCC 2 into RCC 1",
        "Moved sea_00.png from No cluster to RCC 1",
        "Undone: Moved sea_00.png from No cluster to RCC 1",
        "The clustering found 3 RCCs; after the edits there are 2, and 6 images changed cluster",
    ):
        assert expected in text
    assert "RCC 2 6 images" not in text


def test_the_unsafe_set_is_told_rcc_by_rcc(clusters, out):
    select(clusters, out)
    page = Page(report_html(out))
    for expected in ("N = ⌈a <formula>⌉ = 4", "3 of 4 wanted: all candidates", "9 readable images", "RCC 1 (left out)"):
        assert expected in page.text
    rows = " ".join(page.text[page.text.index("8. The images to label (the unsafe set)", 500) :].split())
    assert "RCC 0 5 2 1 1" in rows  # candidates, selected, within reach, labelled
    assert "RCC 2 3 1 1 0" in rows
    assert "nearest are selected, in proportion to its failing images, as far" in rows
    select(clusters, out, quota="equal")
    assert "nearest are selected, the same number for each RCC, as far" in " ".join(Page(report_html(out)).text.split())
    assert "likely to get wrong" not in rows
    select(clusters, out, model="/models/<gaze>.keras")
    text = " ".join(Page(report_html(out)).text.split())
    assert "Chosen with /models/<gaze>.keras" in text
    assert "are those of the next nearest that <gaze>.keras is most likely to get wrong." in text


def test_an_unsafe_set_of_other_clusters_is_not_reported_as_of_these(clusters, out):
    select(clusters, out, clusters="0" * 16)
    text = Page(report_html(out)).text
    assert "was selected for other clusters, or before these were last edited" in text
    assert "<formula>" not in text
    (out / UNSAFE_SET_FILE).write_text("damaged")
    assert "is damaged" in Page(report_html(out)).text


def test_what_retraining_brought_is_told(out):
    retrain(out)
    text = Page(report_html(out)).text
    for expected in (
        "76.0% → 84.5%",
        "+8.5 percentage points",
        "Better beyond doubt: +1.0 points (95% interval 0.6 to 1.5; McNemar p < .0001)",
        "Wrong now of 1,824 images right before: 2, 0.1% (95% interval 0.0% to 0.4%)",
        "25 images that the network got wrong before",
        "2 images that the network got right before",
        "/models/<gaze>.keras",
        "Pixels are scaled by <1/255>.",
        "left & up",
        "left/019.png",
        "5 more; retraining.json lists all.",
        "Training 1 epoch; epoch 1 was kept Settings",
        "learning_rate 0.0001",
        "the confusions cannot be shown",  # the result is as those of older versions
    ):
        assert expected in text
    assert "left/020.png" not in text


def test_the_confusions_before_and_after_are_reported(out):
    retrain(out, answers=[["a.png", "left", "up", "left"]] * 2400)
    text = " ".join(Page(report_html(out)).text.split())
    assert "What was taken for what before left up left 0 2,400 up 0 0" in text
    assert "And what is now left up left 2,400 0 up 0 0" in text


def test_why_a_retraining_was_stopped_is_told(out):
    retrain(out, stopped="on request")
    assert "epoch 1 was kept Stopped on request Settings" in Page(report_html(out)).text


def test_the_spread_of_several_seeds_is_reported(out):
    accuracies = (0.84, 0.845, 0.86)
    rows = [{"seed": i, "accuracy_after": a, "improved": 25, "worsened": 2} for i, a in enumerate(accuracies)]
    retrain(out, repetitions=rows)
    assert "Seeds 3 repetitions: accuracy 0.840 to 0.860, mean 0.848; kept: seed" in Page(report_html(out)).text


def test_a_retraining_of_other_clusters_or_damaged_is_said_to_be_so(out):
    retrain(out, per_rcc=[{"name": "7", "images": 3, "before": 0, "after": 1}])
    assert "The shares per RCC are for other clusters" in Page(report_html(out)).text
    retrain(out)
    newer = (out / RETRAINING_FILE).stat().st_mtime + 60
    os.utime(out / CLUSTERS_FILE, (newer, newer))
    assert "was for other root cause clusters" in Page(report_html(out)).text
    os.utime(out / CLUSTERS_FILE, (newer - 120, newer - 120))
    (out / RETRAINING_FILE).write_text("{}")
    assert "is damaged" in Page(report_html(out)).text


def find_spots(clusters, out) -> list[str]:
    """Two weak spots in the folder; their conditions."""
    dark, snow = Literal("light", "<", 0.2), Literal("label", "=", "snow")
    spots = tuple(WeakSpot((each,), 20, 8, 0.2, 0.6, 0.1) for each in (dark, snow))
    images = (np.arange(8), np.arange(10, 18))
    save_files(out, reasons_files(Reasons(spots, images, None, 0.3), clusters, clusters))
    return [spot.conditions for spot in spots]


def section(document: str, key: str) -> str:
    return re.search(rf"<section id='{key}'>.*?</section>", document, re.DOTALL)[0]


def test_weak_spots_have_the_engineers_name_verdict_and_note(clusters, out):
    dark, snow = find_spots(clusters, out)
    set_spot_note(out, SpotNote(dark, "", "<b>night", "hazard <H3>", "unsafe"))
    set_spot_note(out, SpotNote('[["rain", ">=", 1.0]]', "", "rain", "", "unsafe"))  # found no more
    set_spot_note(out, SpotNote(snow, "/other", "of another test set", "", "unsafe"))
    document = report_html(out)
    Page(document)
    first, second = re.findall(r"<tr>.*?</tr>", section(document, "weak-spots"), re.DOTALL)[1:]
    assert "<b>light &lt; 0.2</b><br>&lt;b&gt;night<p class='note'>hazard &lt;H3&gt;</p>" in first
    assert "<span class='verdict unsafe'>unsafe</span>" in first
    assert "<span class='verdict none'>not judged</span>" in second
    assert "<div class='tile'><b>1</b><span>weak spots judged unsafe</span></div>" in section(document, "summary")
    assert "1 note on conditions that are not among these weak spots" in section(document, "weak-spots")
    assert "another test set" not in document


def test_notes_on_weak_spots_that_are_damaged_are_told_and_the_report_goes_on(clusters, out):
    find_spots(clusters, out)
    (out / SPOT_NOTES_FILE).write_text("x")
    found = section(report_html(out), "weak-spots")
    assert "must begin with the column names conditions,where,name" in found
    assert "light &lt; 0.2" in found


def test_without_weak_spots_none_are_counted(out):
    assert "weak spots judged" not in report_html(out)


def test_skipped_images_are_listed_with_their_reasons_up_to_a_limit(clusters, out, monkeypatch):
    monkeypatch.setattr(provenance, "MOST_ROWS", 3)
    skipped = tuple(Skipped(f"bad_{i}.png", "truncated <file>") for i in range(5))
    save_clusters(dataclasses.replace(clusters, skipped=skipped), out)
    text = Page(report_html(out)).text
    assert "5 files could not be used" in text
    assert "bad_2.png truncated <file>" in re.sub(r"\s+", " ", text)
    assert "bad_3.png" not in text
    assert "2 more; run.json lists all." in text


def test_markup_in_names_notes_and_files_is_shown_as_text(clusters, tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&.png"
    root = tmp_path / "a<b>&'\""
    root.mkdir()
    names = []
    for i, path in enumerate(clusters.paths):
        names.append(f"{i:02}{evil.replace('/', '')}" if i % 2 else path)
        Image.open(clusters.image_root / path).save(root / names[-1])
    odd = dataclasses.replace(
        clusters,
        image_root=root,
        paths=tuple(names),
        notice="</style><script>1</script>",
        skipped=(Skipped(evil, "<b>reason</b>"),),
    )
    out = tmp_path / "out"
    out.mkdir()
    save_clusters(odd, out)
    set_note(out, RccNote(0, "</title><script>alert(1)</script>", "<a href='http://x'>note</a>", "safe"))
    move_images(out, [names[1]], 2 if names[1] not in odd.members(2) else 0)
    page = Page(report_html(out))
    assert page.of("script") == []
    assert all(image["src"].startswith("data:") for image in page.of("img"))
    assert all(link["href"].startswith("#") for link in page.of("a"))
    assert "</title><script>alert(1)</script>" in page.text
    assert "<a href='http://x'>note</a>" in page.text
    assert f"01{evil}" in page.text
    assert any(image["alt"].endswith(evil) for image in page.of("img"))


def test_damaged_profiles_are_told_and_cost_no_report(out):
    (out / PROFILES_FILE).write_text("rcc,parameter\n0,light\n")
    assert f"{PROFILES_FILE} is damaged" in Page(report_html(out)).text


def test_run_json_is_not_needed(out):
    for damage in ("{", "[]", '{"versions": 3}'):
        (out / "run.json").write_text(damage)
        assert "10 images" in Page(report_html(out)).text


def test_images_that_are_gone_and_names_that_are_not_unicode_are_no_obstacle(clusters, out):
    paths = tuple("sea_\udcff.png" if path == "sea_00.png" else path for path in clusters.paths)
    save_clusters(dataclasses.replace(clusters, paths=paths, image_root=out / "gone"), out)
    page = Page(write_report(out).read_text(encoding="utf-8"))
    assert len(page.of("img")) == 17
    assert "sea_\ufffd.png" in page.text


def test_very_many_rccs_are_cut_short_and_the_report_says_so(clusters, out, monkeypatch):
    monkeypatch.setattr(cards, "MOST_CARDS", 2)
    monkeypatch.setattr(report, "MOST_CARDS", 2)
    page = Page(report_html(out))
    assert "Only in the table above: the smallest 1 RCC." in page.text
    assert len(page.of("img")) == 12
    monkeypatch.setattr(report, "MOST_IMAGE_BYTES", 10)
    page = Page(report_html(out))
    assert page.of("img") == []
    assert "left out to keep this report small" in page.text


@pytest.mark.parametrize("n", [1, 2, 3])
def test_so_few_images_that_there_is_no_rcc_have_a_report(clusters, out, n):
    rows = slice(0, n)
    few = dataclasses.replace(
        clusters,
        paths=clusters.paths[rows],
        labels=np.full(n, NOISE),
        is_core=np.zeros(n, bool),
        points=clusters.points[rows],
        reach=np.zeros(0, np.float32),
        settings=(),
        k_distances=np.zeros(0, np.float32),
        knee=None,
    )
    save_clusters(few, out)
    text = Page(report_html(out)).text
    assert "There are none: all failing images are in no cluster." in text
    assert "nothing to tune" in text


def test_without_clusters_the_error_says_to_generate_them_first(tmp_path):
    with pytest.raises(SAFEError, match="Generate them first"):
        write_report(tmp_path)


def test_progress_is_told(out):
    steps = []
    write_report(out, progress=lambda *step: steps.append(step))
    assert steps[-1] == ("Collecting images for the report", 17, 17)
    assert load_review(out).edits == ()


def test_the_command_line_writes_a_report(out, capsys):
    assert main(["report", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"Written: {out / 'report.html'}\n"
    assert "Why the network fails" in (out / "report.html").read_text(encoding="utf-8")
    assert main(["report", "--out", str(out / "nothing")]) == 2
    assert "Generate them first" in capsys.readouterr().err


def test_a_report_that_is_cancelled_stops_at_once_and_writes_nothing(out, monkeypatch):
    class CancelledError(Exception):
        pass

    drawn = []

    def slow(path, side):
        drawn.append(path)
        time.sleep(0.01)
        return Image.new("RGB", (side, side))

    def cancel(*_):
        raise CancelledError

    monkeypatch.setattr(report, "thumbnail", slow)
    with pytest.raises(CancelledError):
        write_report(out, progress=cancel)
    assert len(drawn) < 12
    assert not (out / "report.html").exists()
