import dataclasses
import html.parser
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safe_dnn.analysis import Analysis
from safe_dnn.dnn.failures import collect_failures
from safe_dnn.rccs.clusters import LABELS_FILE, fingerprint, load_clusters, run_record, save_clusters
from safe_dnn.rccs.confidence import BOUND, confidence_text
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import merge_rccs, move_images, set_note, undo_edit
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, UnsafeImage, UnsafeSet, save_unsafe_set
from safe_dnn.reasons.comparison import Comparison, Reasons, save_reasons
from safe_dnn.reasons.register import REGISTER_FILE
from safe_dnn.report import report
from safe_dnn.report.exports import show_present, write_register
from safe_dnn.report.markup import LOOSE
from safe_dnn.report.report import REPORT_FILE, report_html, write_report
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.images import Skipped
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.text import range_text, rate_text
from safe_dnn.training.before_after import Answered, Share
from safe_dnn.training.certainty import difference_interval
from safe_dnn.training.finetuning import Epoch
from safe_dnn.training.result import RETRAINING_FILE, save_retraining
from safe_dnn.training.settings import Settings
from tests.helpers.places import in_run, rows_in
from tests.helpers.small_models import FakeModel, clusters_of, retraining_for
from tests.helpers.spots import weak_spot
from tests.helpers.steadied import steadied

TEMPLATES = Path(report.__file__).parent / "templates"
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
            self.text += "".join(f"{word} " for word in data.split())

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def select(found, folder, **changes) -> None:
    """An unsafe set of two images of RCC 0 and one of RCC 2, one of them labelled."""
    images = (
        UnsafeImage("new/a.png", 0, 0.1, True, "left"), UnsafeImage("new/b.png", 0, 0.3, False),
        UnsafeImage("new/c.png", 2, 0.2, True),
    )  # fmt: skip
    run = fingerprint(found)
    unsafe = UnsafeSet(folder, images, 4, "N = ⌈a <formula>⌉ = 4", 9, (5, 1, 3), (), run, (1,), run=run)
    save_unsafe_set(dataclasses.replace(unsafe, **changes), folder)


def retrain(folder, **changes) -> None:
    changed = tuple(Answered(f"left/{i:03}.png", "left", "up", "left") for i in range(25))
    result = dataclasses.replace(
        retraining_for(fingerprint(load_clusters(folder))),
        model=Path("/models/<gaze>.keras"), accuracy_before=0.76, accuracy_after=0.845, test_size=2400,
        improved=changed, worsened=changed[:2], per_class=(Share("left & up", 300, 200, 270),),
        per_rcc=tuple(Share(str(rcc), n, 0, n // 2) for rcc, n in ((0, 10), (1, 8), (-1, 2))),
        history=(Epoch(0, None, 0.9, 0.1, 1.0), Epoch(1, 0.5, 0.9, 0.8, 1.0)), best=1,
        settings=Settings(1e-4), assumptions=("Pixels are scaled by <1/255>.",),
    )  # fmt: skip
    save_retraining(dataclasses.replace(result, **changes), FakeModel(b"weights"), folder)


def test_the_report_is_one_file_that_loads_and_runs_nothing(out):
    page = Page(report_html(out))
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


def test_the_report_says_how_steady_rccs_are(clusters, tmp_path):
    known = steadied(clusters)
    save_clusters(known, tmp_path)
    document = report_html(tmp_path)
    text = Page(document).text
    for expected in (
        *(confidence_text(known, rcc) for rcc in (0, 1)),
        "100 random parts of the images, each 50% to 80% of them, were clustered in the same way.",
    ):  # fmt: skip
        assert expected in text
    assert re.search(r"52% +loose", text)
    assert document.count(LOOSE) == 2  # in the table and with the RCC
    merge_rccs(tmp_path, 1, 0)
    text = Page(report_html(tmp_path)).text
    assert "Changed by hand: how steady it is now is not known" in text
    assert "52%" not in text
    assert "94%" not in text


def test_names_notes_verdicts_and_edits_are_told(out):
    set_note(out, Note(0, "night", "hazard H3", "unsafe"))
    set_note(out, Note(NOISE, note="odd ones"))
    merge_rccs(out, 2, 1)
    move_images(out, ["sea_00.png"], 1)
    undo_edit(out)
    text = Page(report_html(out)).text
    for expected in (
        "RCC 0 · night", "hazard H3", "unsafe", "odd ones", "Merged RCC 2 into RCC 1",
        "Moved sea_00.png from No cluster to RCC 1", "Undone: Moved sea_00.png from No cluster to RCC 1",
        "The clustering found 3 RCCs; after the edits there are 2, and 6 images changed cluster",
    ):  # fmt: skip
        assert expected in text
    assert "RCC 2 6 images" not in text


def test_a_retraining_of_other_clusters_or_damaged_is_said_to_be_so(clusters, out):
    retrain(out)
    save_clusters(dataclasses.replace(clusters, labels=np.roll(clusters.labels, 1)), out)
    assert "was for other root cause clusters" in Page(report_html(out)).text
    save_clusters(clusters, out)
    in_run(out, RETRAINING_FILE).write_text("{}")
    assert "is damaged" in Page(report_html(out)).text


def find_spots(clusters, out) -> list[str]:
    """Two weak spots in the folder; their conditions."""
    dark, snow = Literal("light", "<", 0.2), Literal("label", "=", "snow")
    spots = tuple(weak_spot((each,), 20, 8, 0.2, 0.6, 0.1) for each in (dark, snow))
    images = (np.arange(8), np.arange(10, 18))
    save_reasons(Reasons(spots, images, None, 0.3), clusters, out, present_runs(out)[CLUSTERS])
    return [spot.conditions for spot in spots]


def section(document: str, key: str) -> str:
    return re.search(rf"<section id='{key}'>.*?</section>", document, re.DOTALL)[0]


def test_each_figure_of_the_first_page_is_in_the_files(clusters, out):
    dark, _ = find_spots(clusters, out)
    set_note(out, Note(0, "night", verdict="unsafe", hazard="night", status="closed"))
    set_note(out, Note((dark, ""), verdict="unclear"))
    select(clusters, out)
    retrain(out, test_size=2413)
    write_register(out)
    show_present(out)
    summary = json.loads(json.dumps(write_report(out)))  # plain values
    text = Page(section((out / REPORT_FILE).read_text(encoding="utf-8"), "first-page")).text
    register, unsafe = rows_in(out / REGISTER_FILE), rows_in(out / UNSAFE_SET_FILE)
    result = json.loads((out / RETRAINING_FILE).read_text())
    of = Counter(line.split("\t")[0] for line in (out / LABELS_FILE).read_text().splitlines())
    images, judged = of.total(), Counter(row["verdict"] for row in register)
    known = {
        f"{images:,}", f"{len(of) - 1}", f"{of['-1'] / images:.1%}", f"{of['-1']}", f"{len(register)}",
        f"{1 - of['-1'] / images:.0%}", f"{sum(judged.values()) - judged['']}", f"{judged['unsafe']}",
        f"{len(unsafe)}", f"{sum(bool(row['label']) for row in unsafe)}", f"{result['test_size']:,}",
        f"{result['accuracy_before']:.2%}", f"{result['accuracy_after']:.2%}", "30%", "10%",  # find_spots
        *(row["reason"].split()[-1] for row in register),
        f"{sum(row['status'] == 'closed' for row in register)}", f"{judged['']}",
    }  # fmt: skip
    for row in register:
        known |= {row["tested"], row["wrong"]} - {""}
        rates = [f"{float(row[part]):.0%}" for part in ("rate", "low", "high") if row[part]]
        known |= {*rates, *(rate.rstrip("%") for rate in rates)}
    for share in result["per_rcc"]:
        n, right = share["images"], share["after"]
        low, high = clopper_pearson(np.array([n - right]), np.array([n]))
        known |= {f"{n}", *whole(1.0, 1 - right / n, low[0], high[0])}
    figures = [one.rstrip(".,") for one in re.findall(r"\d[\d,.]*%?", re.sub("light (<|is below) 0.2", "", text))]
    assert len(figures) > 25
    assert {*figures} <= known
    assert (summary["failing"], summary["clusters"], summary["no_cluster"]) == (images, len(of) - 1, of["-1"])
    assert [str(one["rates"]["wrong"]) for one in summary["reasons"] if one["rates"]] == [
        row["wrong"] for row in register if row["wrong"]
    ]
    assert {one["reason"]: one["verdict"] for one in summary["reasons"]} == {
        row["reason"]: row["verdict"] for row in register
    }
    assert summary["unsafe_set"] == {"images": len(unsafe), "labelled": sum(bool(row["label"]) for row in unsafe)}
    assert summary["retraining"]["accuracy_after"] == result["accuracy_after"]


def table_in(document: str, key: str, number: int = 0) -> list[list[str]]:
    """The cells of a table of a section, without its heads."""
    table = re.findall(r"<table.*?</table>", section(document, key), re.DOTALL)[number]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    return [[" ".join(Page(cell).text.split()) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]


def rates_in(row: dict[str, str], *columns: str) -> list[str]:
    return [rate_text(float(row[column])) for column in columns]


def explain(clusters, out) -> None:
    """A weak spot and rates of RCCs, of 758 tested images."""
    dark = weak_spot((Literal("light", "<", 0.2),), 400, 399, 0.9, 0.98, 0.004, new_rate=0.95)
    same = {rcc: np.flatnonzero(clusters.labels == rcc) for rcc in clusters.groups}
    of_failing = np.array([next(row for row in same[rcc] if row != i) for i, rcc in enumerate(clusters.labels)])
    of_right = np.repeat([same[0][0], same[1][0], same[2][0]], [2, 30, 700])
    comparison = Comparison(np.arange(26), of_failing, of_right, right_in_spots=(np.arange(732) < 1)[None])
    found = Reasons((dark,), (np.arange(8),), comparison, 26 / 758, tested=758)
    save_reasons(found, clusters, out, present_runs(out)[CLUSTERS])


def test_the_tables_of_reasons_have_the_figures_of_the_files(clusters, out):
    explain(clusters, out)
    select(clusters, out)
    show_present(out)
    document = report_html(out)
    sizes = Counter(line.split("\t")[0] for line in (out / LABELS_FILE).read_text().splitlines())
    unsafe, rates = rows_in(out / UNSAFE_SET_FILE), {row["rcc"]: row for row in rows_in(out / RATES_FILE)}
    assert rates_in(rates["2"], "rate") == ["0.9%"], "which is neither 1 % nor none"
    by_rcc = {cells[0].removeprefix("RCC "): cells for cells in table_in(document, "summary")}
    [spot], [cells] = rows_in(out / WEAK_SPOTS_FILE), table_in(document, "weak-spots")
    for rcc, (_, _, size, share, fails, _, to_label) in by_rcc.items():
        key = rcc if rcc != "No cluster" else "-1"
        assert (size, share) == (f"{sizes[key]}", f"{sizes[key] / 26:.1%}")
        if key in rates:
            # RCC 0 is weak spot 1 as well: its rate is that of the condition
            rate, like = rates_in(spot, "rate", "expected") if key == "0" else rates_in(rates[key], "rate", "expected")
            assert re.fullmatch(rf"{rate} wrong .* expected, {like}", fails)
            assert to_label == f"{sum(row['rcc'] == key for row in unsafe)}"
            card = Page(re.search(rf"<article class='card' id='rcc-{key}'>.*?</article>", document, re.DOTALL)[0]).text
            assert f"{sizes[key]} images · {sizes[key] / 26:.1%} of all failing images" in card
            assert ({rate} if key == "0" else {rate, like}) <= {*re.findall(r"[\d.]+%", card)}
    assert len(by_rcc) == 4
    [spot], [cells] = rows_in(out / WEAK_SPOTS_FILE), table_in(document, "weak-spots")
    rate, expected, low, high = rates_in(spot, "rate", "expected", "low", "high")
    assert cells[2:6] == [
        f"{spot['wrong']} of {spot['tested']}, {rate}",
        f"{low[:-1]}–{high}",
        expected,
        f"about {float(spot['excess']):.0f}",
    ]
    assert rate == "99.7%"
    [shown] = [cells for cells in table_in(document, "first-page") if cells[0] == spot["where"]]
    assert shown[1:3] == [f"{spot['wrong']} of {spot['tested']}", f"{rate} ({low[:-1]}–{high})"]
    selected = {cells[0]: cells[1:] for cells in table_in(document, "unsafe-set")}
    for rcc, candidates in (("0", 5), ("2", 3)):
        mine = [row for row in unsafe if row["rcc"] == rcc]
        counts = len(mine), sum(row["within_eps"] == "true" for row in mine), sum(bool(row["label"]) for row in mine)
        assert selected[f"RCC {rcc}"] == [str(candidates), *map(str, counts)]


def test_the_tables_of_retraining_have_the_figures_of_the_file(out):
    retrain(out)
    document = report_html(out)
    result = json.loads(in_run(out, RETRAINING_FILE).read_text())
    for cells, share in zip(table_in(document, "retraining", 1), result["per_class"], strict=True):
        n, before, after = share["images"], share["before"], share["after"]
        low, high = clopper_pearson(np.array([after]), np.array([n]))
        assert cells[1:] == [f"{n}", f"{before}", f"{after}", f"{after / n:.1%}", f"{low[0]:.1%} to {high[0]:.1%}"]
    assert table_in(document, "first-page", 1) == table_in(document, "retraining"), "also on the first page"
    for (before, after, images), share in zip(table_in(document, "retraining"), result["per_rcc"], strict=False):
        n, wrong = share["images"], share["images"] - share["after"]
        low, high = clopper_pearson(np.array([wrong]), np.array([n]))
        assert (before, images) == ("100%", f"{n}")
        assert after == f"→ {rate_text(wrong / n)} ({range_text(low[0], high[0])})"
    assert f"{result['test_size']:,} images" in Page(section(document, "retraining")).text


def constants_of(key: str) -> set[str]:
    """The figures that the template of a section, if it has one, says of every analysis."""
    file = TEMPLATES / f"{key.replace('-', '_')}.html"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return figures_in(re.sub(r"{{.*?}}|{%.*?%}|{#.*?#}", " ", text, flags=re.DOTALL))


def figures_in(text: str) -> set[str]:
    return {one.rstrip(".,") for one in re.findall(r"(?<![\w.])\d[\d.,]*%?", text)}


def whole(*shares: float) -> set[str]:
    """In whole percent, with and without the sign, as at both ends of a range."""
    texts = [rate_text(share) for share in shares]
    return {*texts, *(text.rstrip("%") for text in texts)}


def test_each_figure_in_the_prose_is_in_the_files(clusters, out):
    """Of each section, and each RCC, what its own files say, and what its template says of every analysis."""
    save_clusters(steadied(clusters), out)
    explain(steadied(clusters), out)
    select(steadied(clusters), out)
    retrain(out)
    show_present(out)
    document = report_html(out)
    run, result = (json.loads(in_run(out, name).read_text()) for name in ("run.json", RETRAINING_FILE))
    unsafe, rates, [spot] = (rows_in(out / file) for file in (UNSAFE_SET_FILE, RATES_FILE, WEAK_SPOTS_FILE))
    found, settings = load_clusters(out), result["settings"].values()
    images, noise = len(found.paths), found.labels == NOISE
    n, improved, worsened = result["test_size"], len(result["improved"]), len(result["worsened"])
    gain = [float(end[0]) for end in difference_interval(*(np.array([k]) for k in (n, improved, worsened)))]
    right = round(n * result["accuracy_before"])
    lost = [float(end[0]) for end in clopper_pearson(np.array([worsened]), np.array([right]))]
    known = {
        "noise": {f"{noise.sum()}", f"{noise.mean():.1%}", "1"},
        "weak-spots": {rate_text(26 / 758), "758", rate_text(8 / 708), "2", "95"},
        "unsafe-set": {f"{len(unsafe)}", f"{sum(bool(row['label']) for row in unsafe)}", "4", "9"},
        "retraining": {
            *(f"{value:g}" for value in settings), f"{improved}", f"{worsened}", f"{n:,}", f"{result['best']}",
            *(f"{result[key]}" for key in ("train_size", "unsafe_size")), f"{len(result['history']) - 1}",
            *(f"{result[key]:.2%}" for key in ("accuracy_before", "accuracy_after")), "95%", "255",
            *(f"{100 * each:.1f}" for each in (result["accuracy_after"] - result["accuracy_before"], *gain)),
            f"{100 * (improved - worsened) / n:.1f}", f"{improved - 20}", *(f"{end:.1%}" for end in lost),
            f"{right:,}", f"{worsened / right:.1%}",
        },
        "run": {
            f"{run['components']}", f"{run['eps']:.4g}", f"{run['min_samples']}", f"{run['counts']['rccs']}",
            f"{noise.mean():.1%}", f"{run['steadiness']['samples']}", *run["versions"].values(), "50%", "80%", BOUND,
        },
        "limits": {f"{noise.sum()}", f"{run['counts']['skipped']}"},
        "reading": {BOUND},
    }  # fmt: skip
    for row in rates:
        rcc = int(row["rcc"])
        mine, to_label = found.labels == rcc, [image for image in unsafe if image["rcc"] == row["rcc"]]
        known[f"rcc-{rcc}"] = {
            f"{mine.sum()}", f"{mine.sum() / images:.1%}", f"{found.is_core[mine].sum()}", row["tested"], row["wrong"],
            *whole(*(float(row[key]) for key in ("rate", "low", "high", "expected"))),
            *whole(run["steadiness"]["together"][rcc]), f"{len(to_label)}", f"{(5, 1, 3)[rcc]}",
        }  # fmt: skip
    known["rcc-0"] |= {spot["tested"], spot["wrong"]} | whole(float(spot["rate"]))
    parts = {key: section(document, key) for key in re.findall(r"<section id='([^']+)'>", document)}
    for card in re.findall(r"<article class='card' id='.*?</article>", parts.pop("rccs"), re.DOTALL):
        parts[re.search("rcc-[0-9]", card)[0]] = card
    parts.pop("first-page")
    for key, part in parts.items():
        part = part.replace(os.fspath(out), "").replace(os.fspath(Path.cwd()), "")
        part = re.sub(r"<(table|svg|h2).*?</\1>|(RCC|weak spot) \d|light &lt; 0.2", " ", part, flags=re.DOTALL)
        assert figures_in(Page(part).text) <= known.get(key, set()) | constants_of(key), key


def test_weak_spots_have_the_engineers_name_verdict_and_note(clusters, out):
    dark, snow = find_spots(clusters, out)
    set_note(out, Note((dark, ""), "<b>night", "hazard <H3>", "unsafe"))
    set_note(out, Note(('[["rain", ">=", 1.0]]', ""), "rain", "", "unsafe"))  # found no more
    set_note(out, Note((snow, "/other"), "of another test set", "", "unsafe"))
    document = report_html(out)
    Page(document)
    first, second = re.findall(r"<tr>.*?</tr>", section(document, "weak-spots"), re.DOTALL)[1:]
    assert "<b>light &lt; 0.2</b><br>&lt;b&gt;night<p class='note'>hazard &lt;H3&gt;</p>" in first
    assert "<span class='verdict unsafe'>unsafe</span>" in first
    assert "<span class='verdict none'>not judged</span>" in second
    assert "<div class='tile'><b>1</b><span>reasons judged unsafe</span></div>" in section(document, "first-page")
    assert "1 note on conditions that are not among these weak spots" in section(document, "weak-spots")
    assert "another test set" not in document


def test_markup_in_names_notes_and_files_is_shown_as_text(clusters, tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&.png"
    root = tmp_path / "a<b>&'\""
    root.mkdir()
    names = []
    for i, path in enumerate(clusters.paths):
        names.append(f"{i:02}{evil.replace('/', '')}" if i % 2 else path)
        Image.open(clusters.image_root / path).save(root / names[-1])
    odd = dataclasses.replace(
        clusters, image_root=root, paths=tuple(names), skipped=(Skipped(evil, "<b>reason</b>"),),
        extractor=dataclasses.replace(clusters.extractor, notice="</style><script>1</script>"),
    )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    save_clusters(odd, out)
    set_note(out, Note(0, "</title><script>alert(1)</script>", "<a href='http://x'>note</a>", "safe"))
    move_images(out, [names[1]], 2 if names[1] not in odd.members(2) else 0)
    page = Page(report_html(out))
    assert page.of("script") == []
    assert all(image["src"].startswith("data:") for image in page.of("img"))
    assert all(link["href"].startswith("#") for link in page.of("a"))
    assert "</title><script>alert(1)</script>" in page.text
    assert "<a href='http://x'>note</a>" in page.text
    assert f"01{evil}" in page.text
    assert any(image["alt"].endswith(evil) for image in page.of("img"))


def test_images_that_are_gone_and_names_that_are_not_unicode_are_no_obstacle(clusters, out):
    paths = tuple("sea_\udcff.png" if path == "sea_00.png" else path for path in clusters.paths)
    save_clusters(dataclasses.replace(clusters, paths=paths, image_root=out / "gone"), out)
    page = Page(report_html(out))
    assert len(page.of("img")) == 17
    assert "sea_\ufffd.png" in page.text


def test_very_many_rccs_are_cut_short_and_the_report_says_so(clusters, out, monkeypatch):
    monkeypatch.setattr(report, "MOST_CARDS", 2)
    page = Page(report_html(out))
    assert "Only in the table above: 1 more RCC." in page.text
    assert {attributes["id"] for _, attributes in page.tags if "id" in attributes} >= {"rcc-0", "rcc-1", "rcc-2"}
    assert len(page.of("img")) == 12
    monkeypatch.setattr(report, "MOST_IMAGE_BYTES", 10)
    page = Page(report_html(out))
    assert page.of("img") == []
    assert "left out to keep this report small" in page.text


@pytest.mark.parametrize("n", [1, 2, 3])
def test_so_few_images_that_there_is_no_rcc_have_a_report(clusters, out, n):
    save_clusters(clusters_of(clusters.image_root, dict.fromkeys(clusters.paths[:n], NOISE)), out)
    text = Page(report_html(out)).text
    assert "There are none: all failing images are in no cluster." in text
    assert "nothing to tune" in text


def test_a_report_says_that_rccs_were_not_compared_with_images_that_are_right(clusters, out, monkeypatch):
    told = "The RCCs were not compared with images that are right: their error rates are missing."
    assert told not in Page(report_html(out)).text  # no answers to a test set were given
    record = {**run_record(out), "predictions": {"images": 758}}
    monkeypatch.setattr("safe_dnn.analysis.run_record", lambda folder, run: record)
    assert told in Page(section(report_html(out), "first-page")).text
    explain(clusters, out)
    assert told not in Page(report_html(out)).text


def test_images_in_class_folders_count_as_labelled_as_on_the_page(explained):
    collect_failures(explained.table, explained.test, explained.out)
    clusters = load_clusters(explained.out)
    classes = Analysis(explained.out).failures.known_classes
    images = (UnsafeImage(f"{classes[0]}/a.png", 0, 0.1, True), UnsafeImage("new/b.png", 0, 0.3, False))
    unsafe = UnsafeSet(explained.out, images, 2, "", 2, (2, 0), (), fingerprint(clusters), run=fingerprint(clusters))
    save_unsafe_set(unsafe, explained.out)
    assert write_report(explained.out)["unsafe_set"] == {"images": 2, "labelled": 1}
