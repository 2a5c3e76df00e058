"""A running page is attacked over HTTP: nothing outside its root is read, and it answers all the while."""

import contextlib
import dataclasses
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from safe_dnn.analysis import check_places
from safe_dnn.page.analyses import make, names_in
from safe_dnn.page.app import serve
from safe_dnn.page.clusters.tab import refreshed
from safe_dnn.page.paths import FIELDS
from safe_dnn.page.pictures import picture
from safe_dnn.page.serving.guard import DELAY, MAX_BODY, MOST_GUESSES
from safe_dnn.page.settings import Results
from safe_dnn.rccs.clusters import LABELS_FILE, labels_text, load_clusters, save_clusters
from safe_dnn.report.evidence import EVIDENCE_FILE, SUMS_FILE
from safe_dnn.report.exports import EXPORT_ZIP
from safe_dnn.report.report import REPORT_FILE
from safe_dnn.store.output_folder import save_files
from safe_dnn.support.defects import LOG_FILE, VISITOR_MESSAGE
from safe_dnn.support.errors import SAFEError, confined
from tests.helpers.laid_out import settings_of
from tests.helpers.scenes import draw_scenes
from tests.helpers.small_models import lambda_model, saved
from tests.helpers.visiting import JSON, SECONDS, Visitor, served

PAGE = Path(__file__).parents[2] / "safe_dnn" / "page"
SECRET = "not-for-visitors"
FOUR_EACH = dict.fromkeys(("night", "snow", "wood"), 4)
CLOSING = {"connection": "close"}  # the server closes it too, after an error, and a next request would be lost
CLIENT = httpx.Client(timeout=SECONDS)  # one, since each sets up what it would need for encryption


class Attacked(NamedTuple):
    url: str
    folder: Path
    root: Path
    secret: Path


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A page with a root, results, and secrets beside the root, to which links in the root lead."""
    folder = tmp_path_factory.mktemp("attacked")
    root, secret = folder / "root", folder / "secret"
    draw_scenes(root / "failing", FOUR_EACH)
    draw_scenes(secret / SECRET, FOUR_EACH)
    (folder / "elsewhere").mkdir()
    (secret / f"{SECRET}.txt").write_text(SECRET)
    (secret / "labels.csv").write_text(f"image,label\nnight_00.png,{SECRET}\n")
    (root / "link").symlink_to(secret / SECRET)
    (root / "hop").symlink_to(root / "link")
    (root / "linked").mkdir()
    (root / "linked" / "a.png").symlink_to(secret / SECRET / "night_00.png")
    (root / "list.txt").write_text(f"failing/night_00.png\n{secret}/{SECRET}/night_01.png\n")
    (root / "climbing.txt").write_text(f"../secret/{SECRET}/night_01.png\n")
    with served(folder, "--root", root, cwd=folder / "elsewhere") as (url, _):
        visitor = Visitor(url, "first")
        assert "12 failures" in visitor.send("generate", images=str(root / "failing"))
        told = visitor.send("select", improvement=str(root / "failing"), accuracy="0.5", set_size="6", quota="equal")
        assert "6 of 12 improvement images selected" in told
        yield Attacked(url, folder, root, secret)
        assert visitor.client.get("/").status_code == 200
        visitor.client.close()
    CLIENT.close()


@pytest.fixture
def visitor(attacked: Attacked, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    visitor = Visitor(attacked.url, request.node.name)
    yield visitor
    visitor.client.close()


def outside(attacked: Attacked) -> list[str]:
    """Ways to say a path outside the root."""
    secret = attacked.secret / SECRET
    return [
        str(secret), f"{attacked.root}/../secret/{SECRET}", f"../secret/{SECRET}", f"secret/{SECRET}",
        str(attacked.root / "link"), str(attacked.root / "hop"), str(attacked.root / "linked"),
        str(attacked.root / "list.txt"), str(attacked.root / "climbing.txt"), f"{attacked.root}x/../secret/{SECRET}",
        f"/proc/self/cwd/secret/{SECRET}", f"//{secret}", "/", "~", "~root", "~nobody-of-this-name/x", ".", "",
        f"file://{secret}", f"{attacked.root}/%2e%2e/secret/{SECRET}", f"\\\\server\\share\\{SECRET}",
        f"//server/share/{SECRET}", f"{attacked.root}\0/../secret", f"{attacked.root}/failing\0.txt",
        f"{attacked.root}/" + "a/" * 3000, f"{attacked.root}/failing\n{secret}", f"{attacked.root}/\ud800",
        "/dev/stdin", "/proc/self/environ",
    ]  # fmt: skip


# --- Paths in fields --------------------------------------------------------------------------------------------


def test_no_way_to_say_a_path_outside_the_root_is_accepted(attacked):
    settings = settings_of(attacked.folder, attacked.root)
    # These name nothing that is there, below the root, and fail when they are opened.
    harmless = ("%2e%2e", "\n")
    for path in outside(attacked):
        if any(part in path for part in harmless):
            assert not Path(settings.accept(path)).exists()
            continue
        with pytest.raises(SAFEError, match="Expected a path below"):
            settings.accept(path)
    assert settings.accept(f" {attacked.root}/failing ") == f"{attacked.root}/failing"
    assert settings.accept(str(attacked.root)[:-4] + "secret/../root/failing")


PATH_FIELDS = (
    ("images", "generate", {}), ("predictions", "generate", {"images": "IN", "tested": "IN"}),
    ("tested", "generate", {"images": "IN", "predictions": "IN"}), ("parameters", "generate", {"images": "IN"}),
    ("features", "generate", {"images": "IN"}),
    ("improvement", "select", {"accuracy": "0.5"}),
    ("select-features", "select", {"improvement": "IN", "accuracy": "0.5"}),
    ("select-model", "select", {"improvement": "IN", "accuracy": "0.5", "select_test": "IN"}),
    ("select-features", "select", {"improvement": "IN", "accuracy": "0.5"}),
    ("select-test", "select", {"improvement": "IN", "accuracy": "0.5", "select_model": "IN"}),
    ("model", "retrain", {"train": "IN", "test": "IN"}), ("train", "retrain", {"model": "IN", "test": "IN"}),
    ("test", "retrain", {"model": "IN", "train": "IN"}),
    ("final-test", "retrain", {"model": "IN", "train": "IN", "test": "IN"}), ("labels-table", "take-labels", {}),
    ("failures-model", "collect", {"failures_test": "IN"}),
    ("failures-answers", "collect", {"failures_kind": "answers", "failures_test": "IN"}),
    ("failures-parameters", "collect", {"failures_kind": "answers", "failures_answers": "IN"}),
    ("failures-truth", "collect", {"failures_kind": "coco", "failures_results": "IN", "failures_test": "IN"}),
    ("failures-results", "collect", {"failures_kind": "yolo", "failures_truth": "IN", "failures_test": "IN"}),
    ("failures-test", "collect", {"failures_model": "IN"}),
    ("failures-train", "collect", {"failures_model": "IN", "failures_test": "IN"}),
    ("failures-targets", "collect", {"failures_model": "IN", "failures_test": "IN"}),
    ("failures-after", "collect", {"failures_model": "IN", "failures_test": "IN"}),
)  # fmt: skip


def test_every_path_field_refuses_what_lies_outside_the_root_and_can_be_chosen_for(attacked, visitor):
    inside = str(attacked.root / "failing")
    before = {path: path.stat().st_mtime_ns for path in (attacked.folder / "out").glob("*") if path.is_file()}
    for number, (field, button, others) in enumerate(PATH_FIELDS):
        given = {name: inside if value == "IN" else value for name, value in others.items()}
        path = outside(attacked)[(0, 1, 5, 9)[number % 4]]  # each is tried on PageSettings.accept above
        told = visitor.send(button, **(given | {field.replace("-", "_"): path}))
        assert "Expected a path below" in told, (field, told[:500])
        assert "Traceback" not in told
    told = visitor.fire(visitor.handler("classes-folder", "submit"), [str(attacked.secret / SECRET), None])
    assert "Expected a path below" in told
    after = {path: path.stat().st_mtime_ns for path in (attacked.folder / "out").glob("*") if path.is_file()}
    assert after == before
    props = [part["props"] for part in visitor.client.get("/config").json()["components"]]
    paths = {part["elem_id"] for part in props if str(part.get("placeholder", "")).startswith("/path/to/")}
    assert paths == set(FIELDS)


def test_a_picture_of_a_file_outside_the_root_is_not_shown(attacked):
    tile = np.asarray(picture(Path("/no/such/file"), 64))
    with confined(attacked.root):
        for path in (attacked.secret / SECRET / "night_00.png", attacked.root / "linked" / "a.png"):
            assert (np.asarray(picture(path, 64)) == tile).all()
            with confined(None):
                assert (np.asarray(picture(path, 64)) != tile).any()
        assert (np.asarray(picture(attacked.root / "failing" / "snow_00.png", 64)) != tile).any()


def test_results_of_images_outside_the_root_are_refused_when_the_page_is_started(attacked, tmp_path):
    out = attacked.folder / "out"
    for root in (attacked.root, None):
        with confined(root):
            check_places(out)
    with confined(tmp_path), pytest.raises(SAFEError, match=r"images below .*holds some of .*failing"):
        check_places(out)
    with pytest.raises(SAFEError, match="Name another output folder"):
        serve(out, root=str(tmp_path))
    with confined(tmp_path), pytest.raises(SAFEError, match="Expected results of images below"):
        Results(out).state()


def test_an_analysis_of_images_outside_the_root_is_not_opened(attacked, visitor):
    out = attacked.folder / "out"
    inner = out / make(out, "foreign")
    clusters = dataclasses.replace(load_clusters(out), image_root=attacked.secret / SECRET)
    save_clusters(clusters, inner)
    save_files(inner, {LABELS_FILE: labels_text(clusters)})
    try:
        answer = raw(attacked.url, "/a/foreign/")
        assert answer.status_code == 409
        assert "Expected results of images below" in answer.text
        assert raw(attacked.url, "/a/foreign/config").status_code == 409
    finally:
        shutil.rmtree(out / "foreign")


def test_another_address_demands_a_password_and_a_root(tmp_path):
    for given in ({}, {"root": str(tmp_path)}, {"auth": "a:b"}):
        with pytest.raises(SAFEError, match="expects --auth USER:PASSWORD and --root DIR"):
            serve(tmp_path / "out", host="0.0.0.0", **given)


# --- Routes -----------------------------------------------------------------------------------------------------


def raw(url: str, path: str, **more) -> httpx.Response:
    """A request whose path is sent as it is."""
    target = httpx.URL(url).copy_with(raw_path=path.encode("utf-8", "surrogateescape"))
    return CLIENT.request(more.pop("method", "GET"), target, **more)


@pytest.mark.slow
def test_no_route_gives_out_a_file_but_gifs(attacked):
    out = attacked.folder / "out"
    gif = out / "gifs" / "RCC_00.gif"
    given = raw(attacked.url, f"/gradio_api/file={gif}")
    assert given.headers["content-type"] == "image/gif"
    assert "sandbox" in given.headers["content-security-policy"]
    page = raw(attacked.url, "/").headers
    assert (page["x-content-type-options"], page["x-frame-options"]) == ("nosniff", "DENY")
    assert "frame-ancestors 'none'" in page["content-security-policy"]
    files = [attacked.secret / f"{SECRET}.txt", out / "labels.txt", out / "analysis.db", Path("/etc/passwd")]
    files += [*out.glob("runs/*/*"), *(attacked.root / place / "night_00.png" for place in ("failing", "link"))]
    names = [str(file) for file in files]
    names += [f"{gif}/../../labels.txt", f"{out}/gifs/../labels.txt", f"{out}/gifs/%2e%2e/labels.txt"]
    names += [f"{out}/gifs/%252e%252e/labels.txt", f"{out}/gifs//..//labels.txt", f"{gif}%00.txt", "%00"]
    names += [f"file://{files[0]}", f"file%3A%2F%2F{files[0]}", f"//{files[0]}", "C:\\windows\\win.ini", "."]
    names += ["..%5c..%5cetc%5cpasswd", "https://example.org/", "http://127.0.0.1:1/", "ftp://x/y", "data:,x", ""]
    names += ["out/labels.txt", "secret/not-for-visitors.txt", str(files[0]).replace("/", "%2f")]
    for route in ("file=", "file/", "proxy=", "stream/", "custom_component/", "deep_link?path="):
        for name in names:
            answer = raw(attacked.url, f"/gradio_api/{route}{name}")
            assert answer.status_code in (400, 403, 404, 405), (route, name, answer.status_code)
            assert SECRET not in answer.text
            assert "night_00" not in answer.text
            assert "root:" not in answer.text
    for route in ("static/", "assets/", "svelte/", ""):
        for name in names:
            answer = raw(attacked.url, f"/{route}..%2f..%2f..%2f..%2f..{name}")
            assert answer.status_code in (400, 403, 404), (route, name)


def test_what_gradio_offers_and_the_page_does_not_need_is_not_there(attacked):
    for path in ("upload", "upload_progress?upload_id=1", "process_recording", "run/predict", "api/predict", "call/x",
                 "call/v2/x", "dev/reload", "openapi.json", "runs", "run-history/connect", "vibe-edit", "vibe-code",
                 "stream/x", "mcp", "mcp/sse", "profiling/summary"):  # fmt: skip
        for method in ("GET", "POST"):
            assert raw(attacked.url, f"/gradio_api/{path}", method=method).status_code == 404, path
    for path in ("/gradio_api/upload", "/./gradio_api/upload", "/assets/../gradio_api/upload", "/gradio_api//upload",
                 "/gradio_api/./upload", "/GRADIO_API/upload", "/gradio_api/upload/", "/gradio_api/queue/../upload",
                 "/config/../gradio_api/upload", "/gradio_api%2fupload"):  # fmt: skip
        answer = raw(attacked.url, f"/{path}", method="POST", files={"files": ("x.png", b"x")})
        assert answer.status_code in (404, 405, 415), path
        assert raw(attacked.url, path, method="POST").status_code in (404, 405), path
    for path in ("monitoring", "monitoring/summary", "docs", "redoc", "openapi.json", "gradio_api", "robots.txt"):
        assert raw(attacked.url, f"/{path}").status_code == 404, path
    info = raw(attacked.url, "/gradio_api/info").json()
    assert info == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_nothing_can_be_uploaded(attacked, visitor):
    before = sorted(attacked.folder.rglob("*"))
    file = {"files": ("x.png", b"x" * 1000)}
    for path in ("/gradio_api/upload", "/gradio_api/component_server", "/gradio_api/queue/join"):
        assert httpx.post(attacked.url + path, files=file).status_code in (404, 415), path
    large = httpx.post(attacked.url + "/gradio_api/queue/join", content=b"x" * (MAX_BODY + 1))
    assert large.status_code == 413
    # A body that does not say how long it is: the server may close the connection before it has read all
    with contextlib.suppress(httpx.TransportError):
        answer = httpx.post(
            attacked.url + "/gradio_api/queue/join", content=(b"x" * 2**16 for _ in range(2 * MAX_BODY // 2**16))
        )
        assert answer.status_code >= 400
    assert sorted(attacked.folder.rglob("*")) == before


def test_an_image_that_leads_out_of_the_root_by_now_is_neither_exported_nor_reported_nor_drawn(attacked, visitor):
    visitor.open()
    image = attacked.root / "failing" / "snow_03.png"
    whole = image.read_bytes()
    image.unlink()
    image.symlink_to(attacked.secret / f"{SECRET}.txt")
    try:
        for widget, sent in (("report", [None]), ("export-all", [None])):
            told = visitor.fire(visitor.handler(widget, "click"), sent)
            assert "leads elsewhere by now" in told, told[-500:]
            assert '"path"' not in told
        out = attacked.folder / "out"
        with confined(attacked.root), pytest.raises(SAFEError, match="leads elsewhere by now"):
            refreshed(settings_of(out, attacked.root))
    finally:
        image.unlink()
        image.write_bytes(whole)


def test_exports_and_the_report_are_given_out_wherever_the_output_folder_lies(attacked, visitor):
    visitor.open()
    given = []
    out = attacked.folder / "out"
    made = (("report", REPORT_FILE), ("export-all", EXPORT_ZIP), ("evidence", SUMS_FILE))
    for (widget, name), kind in zip(made, ("inline", "attachment", "attachment"), strict=True):
        assert raw(attacked.url, f"/{name}").status_code == 404
        assert f"Download {name}" in visitor.fire(visitor.handler(widget, "click"), [None])
        given.append((f"/{name}", kind))
    for address, kind in given:
        answer = raw(attacked.url, address)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith(kind)
        assert "sandbox" in answer.headers["content-security-policy"]
    # What is not SAFE's, or lies elsewhere, is not given out under these names.
    (out / REPORT_FILE).unlink()
    (out / REPORT_FILE).symlink_to(attacked.secret / f"{SECRET}.txt")
    assert raw(attacked.url, f"/{REPORT_FILE}").status_code == 404
    for name in (REPORT_FILE, EXPORT_ZIP, SUMS_FILE, EVIDENCE_FILE):
        (out / name).unlink()


# --- Other origins ----------------------------------------------------------------------------------------------


def test_requests_of_other_origins_are_refused(attacked, visitor):
    sent = {
        "data": ["x", "", "", "", [], False, [], "auto", "", "pca", "auto"],
        "fn_index": visitor.handler("generate", "click")["id"], "session_hash": "evil",
    }  # fmt: skip
    paths = ("/gradio_api/queue/join", "/gradio_api/component_server", "/new", "/begin")
    for headers in (
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://["}, {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"},
    ):  # fmt: skip
        for path in paths:
            answer = CLIENT.post(attacked.url + path, content=json.dumps(sent), headers={**headers, **JSON})
            assert (answer.status_code, answer.text) == (403, "Requests from other pages are refused.\n"), path
            # Gradio would let other pages of this machine read what they are told: that they are refused
            assert "access-control-allow-origin" not in answer.headers
    assert names_in(attacked.folder / "out") == []


def test_a_name_that_leads_here_by_dns_is_refused_and_a_link_is_not(attacked):
    port = attacked.url.rpartition(":")[2]
    for host in (f"evil.example:{port}", "evil.example", f"localhost.evil.example:{port}", f"localhost@evil:{port}",
                 f"127.0.0.1.evil:{port}", "localhost:evil", "[::1", "169.254.169.254", ""):  # fmt: skip
        for path in ("/", "/config", "/gradio_api/queue/join"):
            answer = httpx.get(attacked.url + path, headers={"host": host})
            assert answer.status_code in (400, 403), (host, path)
    for host in (f"localhost:{port}", "localhost", "[::1]:1"):  # a tunnel may change the port
        assert httpx.get(attacked.url + "/", headers={"host": host}).status_code == 200, host
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    for path in ("/", "/a/gone/"):
        assert httpx.get(attacked.url + path, headers=followed).status_code in (200, 404), path
    for path in ("/config", "/a/gone/config"):
        assert httpx.get(attacked.url + path, headers=followed).status_code == 403, path


# --- Forged arguments -------------------------------------------------------------------------------------------

FORGED = [None, True, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "../../etc/passwd",
          [], [[]], {}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, [[0], [0], [0], [0]],
          [0, 0, "a", ["a"]], [{"a": 1}, {"b": 2}], ["x" * 10000] * 4]  # fmt: skip


def test_server_functions_answer_forged_arguments_with_nothing(attacked, visitor):
    for widget, functions in (
        ("grid", ["grid_picture"]), ("paths", ["paths_beside"]),
        ("labelling", ["label", "class_pictures"]),
    ):  # fmt: skip
        for function in functions:
            for data in FORGED:
                answer = visitor.serve(widget, function, data)
                assert answer.status_code == 200, (function, data, answer.text)
                assert SECRET not in answer.text
    for function in ("__class__", "__init__", "get_config", "postprocess", "preprocess", "../x", ""):
        assert visitor.serve("grid", function, 0).status_code == 404
    assert visitor.client.get("/").status_code == 200


@pytest.mark.slow
def test_event_handlers_bear_forged_arguments(attacked, visitor):
    """Every handler is called with what no widget sends; the browser is told neither a traceback nor a file."""
    labels = (attacked.folder / "out" / "labels.txt").read_text()
    visitor.open()  # so that the window shows the run, and handlers do not end at once
    for number, handler in enumerate(visitor.handlers):
        for k in range(3):
            values = [FORGED[(3 * number + 7 * k + i) % len(FORGED)] for i in range(len(handler["inputs"]))]
            if k:  # further in: Gradio refuses what is none of a widget's choices
                kinds = [visitor.kind_of(part) for part in handler["inputs"]]
                values = [None if kind in ("dropdown", "radio", "state") else "a\ud800\0<b>" for kind in kinds]
            try:
                told = visitor.fire(handler, values, {"indices": [*FORGED, 0], "index": (10**9, None)[k % 2]})
            except httpx.RemoteProtocolError:
                continue  # Gradio cannot say in UTF-8 that half of a character is no choice, and ends the answer
            assert "Traceback" not in told, handler["api_name"]
            assert "site-packages" not in told
            assert SECRET not in told
            assert "root:x:" not in told
    assert visitor.fire({"id": 10**6}, []).startswith(("400", "404", "422", "500"))
    assert (attacked.folder / "out" / "labels.txt").read_text() == labels
    # What Gradio does not bear is in the log; SAFE itself must have run into nothing.
    assert "Traceback" not in (attacked.folder / "stderr.txt").read_text(errors="replace")
    log = attacked.folder / "cache" / LOG_FILE
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    frames = {line.strip() for line in lines if line.strip().startswith(f'File "{PAGE}')}
    assert {frame for frame in frames if not any(door in frame for door in ("guard.py", "door.py"))} == set()


@pytest.mark.slow
def test_a_visitor_cannot_let_a_model_run_code_on_a_page_with_a_root(attacked, visitor):
    model, inside = str(saved(lambda_model(), attacked.root / "m.keras")), str(attacked.root / "failing")
    assert "contains code that runs" in visitor.send("retrain", model=model, train=inside, test=inside, trust=True)


def test_a_label_that_would_make_the_table_unreadable_is_not_kept(attacked, visitor):
    view, table = labelling(visitor, what="show")["view"], attacked.folder / "out" / "unsafe_set.csv"
    before = table.read_bytes()
    everything = {"view": view, "all": True, "index": None, "only": False, "asked": None, "by": ""}
    for label in ("x" * 200_000, "x" * 256, "a\nb", "a\0b", "\x1b[2J", "\ud800"):
        labelling(visitor, what="give", label=label, classes=[label], **everything)
        assert table.read_bytes() == before
    given = labelling(visitor, what="give", label="=a", classes=["=a"], **everything)
    assert {*given["view"]["labels"].values()} == {"=a"}
    assert b",'=a\n" in table.read_bytes()
    labelling(visitor, what="undo", view=given["view"])
    assert table.read_bytes() == before


def labelling(visitor: Visitor, **sent: object) -> dict:
    """What the script of the labelling is answered."""
    return visitor.serve("labelling", "label", sent).json()


def test_a_window_shows_and_labels_no_images_of_another_visitors_work(attacked, visitor):
    """Two visitors, one output folder: what the first window still shows is out of date, and it is told so."""
    folder = draw_scenes(attacked.root / "others", dict.fromkeys(FOUR_EACH, 5))
    other = Visitor(attacked.url, "other", visitor.client)
    visitor.open()
    visitor.fire(visitor.loads()[1], [])
    run = visitor.open()
    run = re.search(r'"([0-9a-f]{16})"', run)[1]
    view = labelling(visitor, what="show")["view"]
    for place in (f"/unsafe/{view['set']}/0", f"/unsafe/{view['set']}/0/large"):
        assert visitor.client.get(place).headers["content-type"] == "image/webp"
    assert visitor.serve("grid", "grid_picture", [0, run]).json().startswith("data:image")
    rows = (f"{run}/0", f"{run}/-1", f"{run}/x", f"{run}/{10**30}", f"{run}/12", "x/0", f"../{run}/0", f"{run}/0/0")
    assert [visitor.client.get(f"/image/{row}").status_code for row in rows] == [200] + 7 * [404]
    failing, size = str(attacked.root / "failing"), {"accuracy": "0.5", "set_size": "6", "quota": "equal"}
    try:
        assert "15 failures" in other.send("generate", images=str(folder))
        assert "6 of 15" in other.send("select", improvement=str(folder), **size)
        table = (attacked.folder / "out" / "unsafe_set.csv").read_bytes()
        assert visitor.serve("grid", "grid_picture", [0, run]).json() == ""
        assert visitor.client.get(f"/unsafe/{view['set']}/0").status_code == 404
        assert visitor.client.get(f"/image/{run}/0").status_code == 404
        sent = {"label": "a", "classes": ["a"], "index": 0, "all": False, "only": False, "asked": None, "by": ""}
        assert "Another unsafe set" in labelling(visitor, what="give", view=view, **sent)["news"]
        assert (attacked.folder / "out" / "unsafe_set.csv").read_bytes() == table
        note = ["visitor", json.dumps({"key": 0, "run": run, "last_entry": 1, "saved": ["", "", ""]}), "", "", ""]
        for widget, event, data in (
            ("reason-list", "select", [None, *note]), ("unsafe-rccs", "select", [None, "0"]),
            ("grid-next", "click", [None] * 5),
            ("undo", "click", note),
        ):  # fmt: skip
            told = visitor.fire(visitor.handler(widget, event), data, {"index": 0, "value": None, "selected": True})
            assert any(words in told for words in ("in another window", "in the meantime")), (widget, told[-600:])
            assert "data:image" not in told
            assert "/pictures/" not in told
    finally:
        other.send("generate", images=failing)
        other.send("select", improvement=failing, **size)


def test_requests_that_are_none_are_refused_without_a_traceback(attacked, visitor):
    odd = {"data": {}, "fn_index": "0", "session_hash": ["x"]}
    for body in (b"[" * 200_000, b"\xff\xfe", b"null", b'{"data": [NaN], "fn_index": 1e999}', json.dumps(odd).encode()):
        for path in ("queue/join", "component_server", "cancel", "reset"):
            answer = CLIENT.post(f"{attacked.url}/gradio_api/{path}", content=body, headers=JSON | CLOSING)
            assert answer.status_code >= 400 or path == "queue/join", (path, body[:60])
            assert "Traceback" not in answer.text
            assert answer.status_code < 500, (path, body[:60])
            assert "site-packages" not in answer.text
    host = attacked.url.removeprefix("http://")
    name, port = host.split(":")
    for request in (
        f"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
        f"GET http://evil.example/config HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET /{'a' * 200_000} HTTP/1.1\r\nHost: {host}\r\n\r\n", "\0" * 1000 + "\r\n\r\n",
    ):  # fmt: skip
        with socket.create_connection((name, int(port)), SECONDS) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(request.encode())
            first = connection.recv(1000)
            assert not first or first[9:10] == b"4", (request[:60], first[:60])
    assert visitor.client.get("/").status_code == 200


def malformed() -> Iterator[tuple[str, str, object]]:
    """Requests that Gradio cannot read: method, path, and a body for JSON or headers."""
    event = {"data": [], "fn_index": 0, "session_hash": "x"}
    wrong = [("fn_index", number) for number in (-1, 10**6, 10**30, "\ud800", 1e999)]
    wrong += [("data", "\ud800"), ("trigger_id", "\ud800")]
    for name, value in wrong:
        yield "POST", "/gradio_api/queue/join", event | {name: value}
    for component in (-1, 0, 10**30):
        sent = {"component_id": component, "fn_name": "grid_picture", "data": 0, "session_hash": "x"}
        yield "POST", "/gradio_api/component_server", sent
    yield "POST", "/gradio_api/cancel", {"session_hash": "x", "fn_index": "\ud800", "event_id": "x"}
    yield "POST", "/gradio_api/reset", {"data": [float("nan")]}
    for path in ("/?page=x", f"/assets/{'a' * 300}", f"/static/{'a' * 300}"):
        yield "GET", path, {}


def test_what_gradio_cannot_read_is_refused_and_is_no_defect(attacked, visitor):
    out = attacked.folder / "out"
    make(out, "inner")
    log, seen = attacked.folder / "cache" / LOG_FILE, attacked.folder / "stderr.txt"
    before = [file.read_bytes() if file.exists() else b"" for file in (log, seen)]
    for method, path, sent in malformed():
        body, headers = (json.dumps(sent), JSON) if method == "POST" else ("", sent)
        for analysis in ("", "/a/inner"):
            answer = visitor.client.request(method, analysis + path, content=body, headers=headers)
            assert 400 <= answer.status_code < 500, (analysis, path, sent, answer.text)
    browsers_own = next(one for one in visitor.handlers if not one["backend_fn"])
    assert "none of its fields sends" in visitor.fire(browsers_own, [None] * len(browsers_own["inputs"]))
    assert [file.read_bytes() if file.exists() else b"" for file in (log, seen)] == before
    shutil.rmtree(out / "inner")


def test_a_count_of_what_is_no_longer_there_is_answered_with_a_sentence(attacked, visitor):
    for widget in ("matrix", "matrix-before", "retraining-figures"):
        told = visitor.fire(visitor.handler(widget, "select"), [None, None])
        assert "Out of date" in told, widget
        assert VISITOR_MESSAGE not in told, widget


# --- Passwords --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_a_password_nothing_is_told_without_it(tmp_path):
    draw_scenes(tmp_path / "root" / "failing", FOUR_EACH)
    # Gradio's default folder for files is shared by all programs of a machine that use it.
    draw_scenes(tmp_path / "tmp" / "gradio", FOUR_EACH)
    make(tmp_path / "out", "inner")
    with (
        served(tmp_path, "--root", tmp_path / "root", "--auth", "ann:päss:word") as (url, _),
        httpx.Client(base_url=url, timeout=SECONDS) as client,
    ):
        paths = ["", "config", "manifest.json", "theme.css", "assets/x.js", "report.html", "new", "a/inner/", "a/gone/"]
        paths += ["a/inner/config", "gradio_api/app_id", "gradio_api/info", "gradio_api/queue/data?session_hash=x"]
        paths += [f"gradio_api/file={tmp_path}/out/gifs/RCC_00.gif", "gradio_api/cancel", "gradio_api/reset"]
        for path in [*paths, "gradio_api/queue/join", "gradio_api/component_server"]:
            for method in ("GET", "POST"):
                for auth in (None, ("ann", "päss:wor"), ("bob", "päss:word"), ("", "")):
                    if auth and (method, path) != ("GET", "config"):
                        continue  # a wrong one waits
                    answer = client.request(method, f"/{path}", auth=auth)
                    assert answer.status_code == 401, (method, path, auth)
                    assert answer.headers["www-authenticate"].startswith("Basic")
                    assert "inner" not in answer.text
                    assert str(tmp_path) not in answer.text
        assert client.post("/new", data={"name": "more"}).status_code == 401
        assert not (tmp_path / "out" / "more").exists()
        client.auth = httpx.BasicAuth("ann", "päss:word")
        assert client.get("/config").status_code == 200
        assert client.get("/a/inner/config").status_code == 200
        assert client.get(f"/gradio_api/file={tmp_path}/tmp/gradio/night_00.png").status_code == 404

        # Whatever address a visitor claims to have, few are looked at at once.
        def guess(i: int) -> int:
            said = {"x-forwarded-for": f"10.0.0.{i}"}
            return httpx.get(f"{url}/config", auth=("ann", str(i)), headers=said, timeout=SECONDS).status_code

        began = time.monotonic()
        with ThreadPoolExecutor(2 * MOST_GUESSES) as pool:
            assert {*pool.map(guess, range(2 * MOST_GUESSES))} <= {401, 429}
            assert time.monotonic() - began > DELAY
    assert not list((tmp_path / "tmp").glob("safe-page-*"))  # the served files are gone with the page
