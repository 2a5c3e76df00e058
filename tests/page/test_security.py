"""A running page is attacked over HTTP: nothing outside its root is read, and it answers all the while."""

import asyncio
import contextlib
import dataclasses
import io
import json
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.responses import PlainTextResponse

from page.app import MOST_QUEUED, serve
from page.guard import FIRST_DELAY, LONGEST_LINE, MAX_BODY, Guard
from page.images_view import MOST_AT_ONCE
from page.jobs import Jobs, PageSettings
from page.picker import FIELDS
from page.pictures import picture
from page.results import Results, check_within
from page.runs_view import refreshed
from page.shelf import delete, make
from rccs.clusters import load_clusters, save_clusters
from support.defects import LOG_FILE, VISITOR_MESSAGE
from support.errors import SAFEError
from support.files import cache_folder
from support.run_folder import EXPORT_ZIP, REPORT_FILE
from tests.helpers.scenes import draw_scene
from tests.helpers.visiting import JSON, SECONDS, Visitor, serving

PAGE = Path(__file__).parents[2] / "page"
SECRET = "not-for-visitors"
CLOSING = {"connection": "close"}  # the server closes it too, after an error, and a next request would be lost
CLIENT = httpx.Client(timeout=SECONDS)  # one, since each sets up what it would need for encryption


class Attacked(NamedTuple):
    url: str
    folder: Path
    root: Path
    secret: Path


def draw_images(folder: Path, n: int = 4) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for scene in ("night", "snow", "wood"):
        for i in range(n):
            draw_scene(scene, rng).save(folder / f"{scene}_{i}.png")
    return folder


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A page with a root, results, and secrets beside the root, to which links in the root lead."""
    folder = tmp_path_factory.mktemp("attacked")
    root, secret = folder / "root", folder / "secret"
    draw_images(root / "failing")
    draw_images(secret / SECRET)
    (folder / "elsewhere").mkdir()
    (secret / f"{SECRET}.txt").write_text(SECRET)
    (secret / "labels.csv").write_text(f"image,label\nnight_0.png,{SECRET}\n")
    (root / "link").symlink_to(secret / SECRET)
    (root / "hop").symlink_to(root / "link")
    (root / "linked").mkdir()
    (root / "linked" / "a.png").symlink_to(secret / SECRET / "night_0.png")
    (root / "list.txt").write_text(f"failing/night_0.png\n{secret}/{SECRET}/night_1.png\n")
    (root / "climbing.txt").write_text(f"../secret/{SECRET}/night_1.png\n")
    with serving(folder, "--root", root, cwd=folder / "elsewhere") as url:
        visitor = Visitor(url, "first")
        told = visitor.fire(
            visitor.handler("generate", "click"), [str(root / "failing"), "pca", "", "", [], "auto", "auto"]
        )
        assert "12 failures" in told
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
        str(secret),
        f"{attacked.root}/../secret/{SECRET}",
        f"{attacked.root}/failing/../../secret/{SECRET}",
        f"../secret/{SECRET}",
        f"secret/{SECRET}",
        str(attacked.root / "link"),
        str(attacked.root / "hop"),
        str(attacked.root / "linked"),
        str(attacked.root / "list.txt"),
        str(attacked.root / "climbing.txt"),
        f"{attacked.root}x/../secret/{SECRET}",
        f"/proc/self/cwd/secret/{SECRET}",
        f"//{secret}",
        "/",
        "~",
        "~root",
        "~nobody-of-this-name/x",
        ".",
        "",
        f"file://{secret}",
        f"{attacked.root}/%2e%2e/secret/{SECRET}",
        f"\\\\server\\share\\{SECRET}",
        f"//server/share/{SECRET}",
        f"{attacked.root}\0/../secret",
        f"{attacked.root}/failing\0.txt",
        f"{attacked.root}/" + "a/" * 3000,
        f"{attacked.root}/failing\n{secret}",
        f"{attacked.root}/\ud800",
        "/dev/stdin",
        "/proc/self/environ",
    ]


# --- Paths in fields --------------------------------------------------------------------------------------------


def test_no_way_to_say_a_path_outside_the_root_is_accepted(attacked):
    settings = PageSettings(attacked.folder, Jobs(), Results(attacked.folder), root=attacked.root)
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


@pytest.mark.parametrize(
    ("field", "button", "others"),
    [
        ("images", "generate", {}),
        ("predictions", "generate", {"images": "IN", "tested": "IN"}),
        ("tested", "generate", {"images": "IN", "predictions": "IN"}),
        ("improvement", "select", {"accuracy": "0.5"}),
        ("select-model", "select", {"improvement": "IN", "accuracy": "0.5", "select_test": "IN"}),
        ("select-test", "select", {"improvement": "IN", "accuracy": "0.5", "select_model": "IN"}),
        ("model", "retrain", {"train": "IN", "test": "IN"}),
        ("train", "retrain", {"model": "IN", "test": "IN"}),
        ("test", "retrain", {"model": "IN", "train": "IN"}),
        ("labels-table", "take-labels", {}),
        ("failures-model", "collect", {"failures_test": "IN"}),
        ("failures-answers", "collect", {"failures_kind": "answers", "failures_test": "IN"}),
        ("failures-truth", "collect", {"failures_kind": "coco", "failures_results": "IN", "failures_test": "IN"}),
        ("failures-results", "collect", {"failures_kind": "yolo", "failures_truth": "IN", "failures_test": "IN"}),
        ("failures-test", "collect", {"failures_model": "IN"}),
        ("failures-train", "collect", {"failures_model": "IN", "failures_test": "IN"}),
        ("failures-targets", "collect", {"failures_model": "IN", "failures_test": "IN"}),
    ],
)
def test_every_path_field_refuses_what_lies_outside_the_root(attacked, visitor, field, button, others):
    inside = str(attacked.root / "failing")
    before = {path: path.stat().st_mtime_ns for path in (attacked.folder / "out").glob("*") if path.is_file()}
    paths = outside(attacked)
    given = {name: inside if value == "IN" else value for name, value in others.items()}
    # Each is tried on PageSettings.accept above; over HTTP those that differ in kind.
    for path in (paths[0], paths[1], paths[5], paths[9], paths[21], paths[23]):
        told = visitor.send(button, **(given | {field.replace("-", "_"): path}))
        assert "Expected a path below" in told, (path, told[:500])
        assert "Traceback" not in told
    after = {path: path.stat().st_mtime_ns for path in (attacked.folder / "out").glob("*") if path.is_file()}
    assert after == before


def test_the_folder_of_classes_is_refused_outside_the_root(attacked, visitor):
    told = visitor.fire(visitor.handler("classes-folder", "submit"), [str(attacked.secret / SECRET), None])
    assert "Expected a path below" in told


def test_every_path_field_can_be_chosen_for(visitor):
    props = [part["props"] for part in visitor.client.get("/config").json()["components"]]
    paths = {part["elem_id"] for part in props if str(part.get("placeholder", "")).startswith("/path/to/")}
    assert paths == set(FIELDS)


def test_whoever_looks_for_a_path_is_shown_nothing_outside_the_root(attacked, visitor):
    for field in ("images", "labels-table"):
        for typed in (*outside(attacked), str(attacked.root), f"{attacked.root}/failing"):
            answer = json.loads(visitor.serve("picker", "listed_folder", [field, typed]).json())
            shown = [answer["place"], *answer["above"], *answer["entries"]]
            for entry in shown:
                path = Path(entry["path"])
                assert path.resolve() == path
                assert path.is_relative_to(attacked.root), typed
            assert SECRET not in json.dumps(shown)
            assert answer["place"]["path"] != f"{attacked.root}/linked" or answer["place"]["holds"] == "no images"
    answers = [
        json.loads(visitor.serve("picker", "listed_folder", ["images", typed]).json())
        for typed in (f"{attacked.secret}/{SECRET}", f"{attacked.secret}/is-not-there")
    ]
    assert answers[0] | {"notes": ""} == answers[1] | {"notes": ""}
    assert answers[0]["notes"].replace(SECRET, "is-not-there") == answers[1]["notes"]


def test_a_picture_of_a_file_outside_the_root_is_not_shown(attacked):
    tile = np.asarray(picture(Path("/no/such/file"), 64, None))
    for path in (attacked.secret / SECRET / "night_0.png", attacked.root / "linked" / "a.png"):
        assert (np.asarray(picture(path, 64, attacked.root)) == tile).all()
        assert (np.asarray(picture(path, 64, None)) != tile).any()
    assert (np.asarray(picture(attacked.root / "failing" / "snow_0.png", 64, attacked.root)) != tile).any()


def test_results_of_images_outside_the_root_are_refused_when_the_page_is_started(attacked, tmp_path):
    out = attacked.folder / "out"
    check_within(out, attacked.root)
    check_within(out, None)
    with pytest.raises(SAFEError, match=r"--root.*holds some of .*failing"):
        check_within(out, tmp_path)
    with pytest.raises(SAFEError, match="Name another output folder with --out"):
        serve(out, root=str(tmp_path))
    with pytest.raises(SAFEError, match="--root"):
        Results(out, tmp_path).shown()


def test_an_analysis_of_images_outside_the_root_is_neither_opened_nor_pictured(attacked, visitor):
    out = attacked.folder / "out"
    inner = out / make(out, "foreign")
    clusters = dataclasses.replace(load_clusters(out), image_root=attacked.secret / SECRET)
    save_clusters(clusters, inner)
    try:
        answer = raw(attacked.url, "/a/foreign/")
        assert answer.status_code == 409
        assert "Expected results of images below" in answer.text
        assert raw(attacked.url, "/a/foreign/config").status_code == 409
        shown = raw(attacked.url, "/analyses/picture?name=foreign").content
        assert shown == raw(attacked.url, "/analyses/picture?name=foreign&v=2").content
        faces = Image.open(io.BytesIO(shown)).convert("RGB").crop((0, 0, 160, 160))
        tile = picture(Path("/no/such/file"), 160, None)
        assert np.abs(np.asarray(faces, int) - np.asarray(tile, int)).mean() < 8
    finally:
        delete(out, "foreign")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "myhost"])
def test_another_address_demands_a_password_and_a_root(tmp_path, host):
    for given in ({}, {"root": str(tmp_path)}, {"auth": "a:b"}):
        with pytest.raises(SAFEError, match="expects --auth USER:PASSWORD and --root DIR"):
            serve(tmp_path / "out", host=host, **given)


# --- Routes -----------------------------------------------------------------------------------------------------


def raw(url: str, path: str, **more) -> httpx.Response:
    """A request whose path is sent as it is."""
    target = httpx.URL(url).copy_with(raw_path=path.encode("utf-8", "surrogateescape"))
    return CLIENT.request(more.pop("method", "GET"), target, **more)


def test_no_route_gives_out_a_file_but_gifs(attacked):
    out = attacked.folder / "out"
    gif = out / "gifs" / "RCC_00.gif"
    assert raw(attacked.url, f"/gradio_api/file={gif}").headers["content-type"] == "image/gif"
    files = [attacked.secret / f"{SECRET}.txt", out / "labels.txt", out / "clusters.npz", Path("/etc/passwd")]
    files += [attacked.root / "failing" / "night_0.png", attacked.root / "link" / "night_0.png"]
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
            assert "night_0" not in answer.text
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


def test_the_headers_keep_other_pages_out(attacked):
    answer = raw(attacked.url, "/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    gif = raw(attacked.url, f"/gradio_api/file={attacked.folder / 'out' / 'gifs' / 'RCC_00.gif'}")
    assert "sandbox" in gif.headers["content-security-policy"]
    assert gif.headers["cross-origin-resource-policy"] == "same-origin"


def test_an_image_that_leads_out_of_the_root_by_now_is_neither_exported_nor_reported_nor_drawn(attacked, visitor):
    visitor.fire(visitor.loads()[0], [])
    image = attacked.root / "failing" / "snow_3.png"
    whole = image.read_bytes()
    image.unlink()
    image.symlink_to(attacked.secret / f"{SECRET}.txt")
    try:
        for widget, sent in (("report", [None]), ("export-one", [None, None]), ("export-all", [None])):
            told = visitor.fire(visitor.handler(widget, "click"), sent)
            assert "leads elsewhere by now" in told, told[-500:]
            assert '"path"' not in told
        out = attacked.folder / "out"
        settings = PageSettings(out, Jobs(), Results(out, attacked.root), root=attacked.root)
        with pytest.raises(SAFEError, match="leads elsewhere by now"):
            refreshed(settings)
    finally:
        image.unlink()
        image.write_bytes(whole)


def test_exports_and_the_report_are_given_out_wherever_the_output_folder_lies(attacked, visitor):
    visitor.fire(visitor.loads()[0], [])
    told = visitor.fire(visitor.handler("export-one", "click"), [None, None])
    path = re.search(r'"path": "([^"]+RCC_0.zip)"', told)
    assert path, told[-500:]
    given = [(f"/gradio_api/file={path[1]}", "attachment")]
    out = attacked.folder / "out"
    for widget, name, kind in (("report", REPORT_FILE, "inline"), ("export-all", EXPORT_ZIP, "attachment")):
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
    for path in (out / REPORT_FILE, out / EXPORT_ZIP):
        path.unlink()


# --- Other origins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": ""},
        {"referer": "http://["},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"referer": "http://evil.example/x"},
    ],
    ids=lambda headers: " ".join(*headers.items()),
)
def test_requests_of_other_origins_are_refused(attacked, visitor, headers):
    sent = {
        "data": ["x", "pca", "", "", [], "auto", "auto"],
        "fn_index": visitor.handler("generate", "click")["id"],
        "session_hash": "evil",
    }
    for path in ("/gradio_api/queue/join", "/gradio_api/component_server", "/gradio_api/cancel", "/login"):
        for kind in ("application/json", "text/plain"):
            answer = CLIENT.post(
                attacked.url + path, content=json.dumps(sent), headers={**headers, "content-type": kind}
            )
            assert (answer.status_code, answer.text) == (403, "Requests from other pages are refused.\n"), path
            # Gradio would let other pages of this machine read what they are told: that they are refused
            assert answer.headers.get("access-control-allow-origin") in (None, "http://127.0.0.1:1")


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
    assert httpx.get(attacked.url + "/", headers=followed).status_code == 200
    assert httpx.get(attacked.url + "/config", headers=followed).status_code == 403


# --- Forged arguments -------------------------------------------------------------------------------------------

FORGED = [None, True, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "../../etc/passwd",
          [], [[]], {}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, [[0], [0], [0], [0]],
          [0, 0, "a", ["a"]], [{"a": 1}, {"b": 2}], ["x" * 10000] * 4]  # fmt: skip


def test_server_functions_answer_forged_arguments_with_nothing(attacked, visitor):
    for widget, functions in (
        ("map", ["map_pictures"]),
        ("grid", ["grid_picture"]),
        ("picker", ["listed_folder"]),
        ("labelling", ["label_state", "label_picture", "give_label", "undo_label", "class_pictures"]),
    ):
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
    visitor.fire(visitor.loads()[0], [])  # so that the window shows the run, and handlers do not end at once
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
    assert {
        frame for frame in frames if not any(door in frame for door in ("guard.py", "entrance.py", "door.py"))
    } == set()


def test_a_visitor_cannot_let_a_model_run_code_on_a_page_with_a_root(attacked, visitor):
    code = {"class_name": "Functional", "config": {"layers": [{"class_name": "Lambda", "config": {"function": "…"}}]}}
    with zipfile.ZipFile(attacked.root / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(code))
    model, inside = str(attacked.root / "m.keras"), str(attacked.root / "failing")
    told = visitor.send("retrain", model=model, train=inside, test=inside, trust=True)
    assert "contains code that runs" in told


def test_a_label_that_would_make_the_table_unreadable_is_not_kept(attacked, visitor):
    state = visitor.serve("labelling", "label_state", [None, ["a"]]).json()
    table = attacked.folder / "out" / "unsafe_set.csv"
    before = table.read_bytes()
    for label in ("x" * 200_000, "x" * 256, "a\nb", "a\0b", "\x1b[2J", "\ud800"):
        visitor.serve("labelling", "give_label", [state["rcc"], None, label, [label], state["set"]])
        assert table.read_bytes() == before
    given = visitor.serve("labelling", "give_label", [state["rcc"], None, "=a", ["=a"], state["set"]]).json()
    assert {image["label"] for image in given["images"]} == {"=a"}
    assert b",'=a\n" in table.read_bytes()
    visitor.serve("labelling", "undo_label", [state["rcc"], ["=a"], state["set"]])
    assert table.read_bytes() == before


def test_a_window_shows_and_labels_no_images_of_another_visitors_work(attacked, visitor):
    """Two visitors, one output folder: what the first window still shows is out of date, and it is told so."""
    folder = draw_images(attacked.root / "others", 5)
    other = Visitor(attacked.url, "other", visitor.client)
    visitor.fire(visitor.loads()[0], [])
    visitor.fire(visitor.loads()[1], [])
    run = visitor.fire(visitor.loads()[0], [])
    run = re.search(r'"([0-9a-f]{16})"', run)[1]
    state = visitor.serve("labelling", "label_state", [None, ["a"]]).json()
    assert visitor.serve("labelling", "label_picture", [0, state["set"]]).json().startswith("data:image")
    assert visitor.serve("grid", "grid_picture", [0, run]).json().startswith("data:image")
    pictures = visitor.serve("map", "map_pictures", [[0, -1, "x", 10**30, *[1] * 1000], run]).json()
    assert [picture[:10] for picture in pictures[:5]] == ["data:image", "data:image", "", "", "data:image"]
    assert len(pictures) == MOST_AT_ONCE
    failing, size = str(attacked.root / "failing"), {"accuracy": "0.5", "set_size": "6", "quota": "equal"}
    try:
        assert "15 failures" in other.fire(
            other.handler("generate", "click"), [str(folder), "pca", "", "", [], "auto", "auto"]
        )
        assert "6 of 15" in other.send("select", improvement=str(folder), **size)
        table = (attacked.folder / "out" / "unsafe_set.csv").read_bytes()
        for widget, function, sent in (
            ("grid", "grid_picture", [0, run]),
            ("map", "map_pictures", [[0], run]),
            ("labelling", "label_picture", [0, state["set"]]),
        ):
            assert visitor.serve(widget, function, sent).json() in ("", [""]), function
        visitor.serve("labelling", "give_label", [0, 0, "a", ["a"], state["set"]])
        assert (attacked.folder / "out" / "unsafe_set.csv").read_bytes() == table
        for handler, data in (
            (visitor.handler("rcc-list", "select"), [None]),
            (visitor.handler("unsafe-rcc", "input"), [0, None]),
            (visitor.handler("grid-next", "click"), [None] * 5),
            (visitor.handler("export-one", "click"), [None, None]),
            (visitor.handler("merge", "click"), [None, None, 1]),
        ):
            told = visitor.fire(handler, data, {"index": 0, "value": None, "selected": True})
            refused = ("in another window", "in the meantime", '"success": false')
            assert any(words in told for words in refused), told[-600:]
            assert "data:image" not in told
            assert "/pictures/" not in told
    finally:
        other.fire(other.handler("generate", "click"), [failing, "pca", "", "", [], "auto", "auto"])
        other.send("select", improvement=failing, **size)


def test_requests_that_are_none_are_refused_without_a_traceback(attacked, visitor):
    generate = visitor.handler("generate", "click")["id"]
    join = {"data": ["x", "pca", "", "", [], "auto", "auto"], "fn_index": generate, "session_hash": "odd"}
    bodies = [b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"{}", b'{"data": [NaN], "fn_index": 1e999}']
    bodies += [b'{"data": [' + b"1" * 100_000 + b'], "fn_index": 1, "session_hash": "x"}', b""]
    for odd in ({"fn_index": -1}, {"fn_index": "0"}, {"session_hash": None}, {"session_hash": ["x"]}, {"data": {}}):
        bodies.append(json.dumps(join | odd).encode())
    for body in bodies:
        for path in ("queue/join", "component_server", "cancel", "reset"):
            answer = CLIENT.post(f"{attacked.url}/gradio_api/{path}", content=body, headers=JSON | CLOSING)
            assert answer.status_code >= 400 or path == "queue/join", (path, body[:60])
            assert "Traceback" not in answer.text
            assert "site-packages" not in answer.text
    host = attacked.url.removeprefix("http://")
    name, port = host.split(":")
    for request in (
        "GET / HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
        f"GET http://evil.example/config HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"CONNECT evil.example:80 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET /gradio_api/file=/etc/passwd HTTP/1.0\r\nHost: {host}\r\n\r\n",
        f"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"GET /{'a' * 200_000} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "\0" * 1000 + "\r\n\r\n",
    ):
        with socket.create_connection((name, int(port)), SECONDS) as connection, contextlib.suppress(ConnectionError):
            connection.sendall(request.encode())
            first = connection.recv(1000)
            assert not first or first[9:10] == b"4", (request[:60], first[:60])
    assert visitor.client.get("/").status_code == 200


def test_a_file_that_a_browser_claims_to_have_uploaded_is_not_served(attacked, visitor):
    secret = str(attacked.secret / f"{SECRET}.txt")
    claimed = {"path": secret, "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}
    for widget, event in (("generate", "click"), ("train", "submit"), ("merge", "click"), ("restore", "click")):
        handler = visitor.handler(widget, event)
        told = visitor.fire(handler, [claimed] * len(handler["inputs"]))
        assert SECRET not in told.replace(secret, "")
    for name in (secret, f"{attacked.folder}/out/labels.txt"):
        assert raw(attacked.url, f"/gradio_api/file={name}").status_code == 404


# --- Many at once -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_requests_at_once_are_all_answered(attacked, visitor):
    gif = attacked.folder / "out" / "gifs" / "RCC_00.gif"

    def ask(i: int) -> int:
        if i % 4 == 0:
            return httpx.get(f"{attacked.url}/gradio_api/file={gif}", timeout=SECONDS).status_code
        if i % 4 == 1:
            return httpx.get(f"{attacked.url}/config", timeout=SECONDS).status_code
        if i % 4 == 2:
            return visitor.serve("labelling", "label_picture", [i, None]).status_code
        return httpx.get(f"{attacked.url}/gradio_api/file={attacked.secret}", timeout=SECONDS).status_code

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers == [200, 200, 200, 404] * 50


def windows(attacked: Attacked, n: int) -> list[str]:
    """What n windows that are opened at once are told by the first tab."""
    first = Visitor(attacked.url, "counting")
    load = first.loads()[0]
    first.client.close()
    told = [""] * n

    def open_window(i: int) -> None:
        window = Visitor.__new__(Visitor)
        window.__dict__ |= first.__dict__ | {
            "session": f"window {i}", "client": httpx.Client(base_url=attacked.url, timeout=2 * SECONDS),
        }  # fmt: skip
        with window.client, window.client.stream("GET", f"/gradio_api/heartbeat/{window.session}"):
            told[i] = window.fire(load, [])

    threads = [threading.Thread(target=open_window, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert httpx.get(attacked.url + "/gradio_api/app_id", timeout=SECONDS).status_code == 200
        assert time.monotonic() - began < SECONDS / 2
        time.sleep(0.1)
    return told


@pytest.mark.parametrize("n", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_many_windows_are_opened_at_once_and_the_page_answers_all_the_while(attacked, n):
    for told in windows(attacked, n):
        assert "12 failures" in told, (attacked.folder / "stderr.txt").read_text(errors="replace")[-3000:]


@pytest.mark.slow  # the queue is worked off for a minute
def test_more_clicks_than_the_queue_holds_are_refused_and_the_page_goes_on(attacked, visitor):
    load = visitor.loads()[0]["id"]

    def click(i: int) -> int:
        sent = {"data": [], "fn_index": load, "session_hash": f"impatient {i}"}
        return CLIENT.post(f"{attacked.url}/gradio_api/queue/join", content=json.dumps(sent), headers=JSON).status_code

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(click, range(3 * MOST_QUEUED)))
    assert set(answers) == {200, 503}
    assert answers.count(200) >= MOST_QUEUED
    deadline = time.monotonic() + 5 * SECONDS
    while "12 failures" not in (told := visitor.fire(visitor.loads()[0], [])):  # some are still waiting
        assert time.monotonic() < deadline, told
        time.sleep(0.5)


# --- Passwords --------------------------------------------------------------------------------------------------


def guarded() -> httpx.AsyncClient:
    """A stand-in for Gradio that knows one password, behind the guard."""

    async def gradio(scope, receive, send):
        body = (await receive()).get("body", b"")
        if scope["path"] == "/config":
            raise ZeroDivisionError("/home/ann")
        status = 307 if scope["path"] == "/login//" else 200 if b"password=right" in body else 400
        await PlainTextResponse("", status)(scope, receive, send)

    guard = Guard(gradio, None, ())
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard, client=("10.0.0.9", 1)), base_url="http://any.name")


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the guard has waited each time; it waits for a moment instead."""
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0.01)

    real = asyncio.sleep
    monkeypatch.setattr("page.guard.asyncio.sleep", sleep)
    return waited


async def attempt(client: httpx.AsyncClient, password: str, path: str = "/login") -> int:
    return (await client.post(path, data={"password": password})).status_code


def test_a_wrong_password_takes_longer_each_time(waited):
    async def attack() -> None:
        async with guarded() as client:
            for _ in range(6):
                assert await attempt(client, "wrong") == 400
            assert waited == [0.5, 1, 2, 4, 4, 4]

    asyncio.run(attack())


def test_what_is_neither_right_nor_wrong_does_not_shorten_the_wait(waited):
    async def attack() -> None:
        async with guarded() as client:
            for _ in range(3):
                await attempt(client, "wrong")
            for path in ("/login//", "/login/"):
                await attempt(client, "wrong", path)
            assert await attempt(client, "right", "/login//") == 307
            await attempt(client, "wrong")
            assert waited == [0.5, 1, 2, 4, 4]

    asyncio.run(attack())


def test_a_visitor_who_logs_in_does_not_let_one_guess_who_shares_the_address(waited):
    async def attack() -> None:
        async with guarded() as client:
            for _ in range(8):
                await attempt(client, "wrong")
            assert await attempt(client, "right") == 200
            assert len(waited) == 8  # a right one does not wait
            await attempt(client, "wrong")
            assert waited[-1] == 4
            for _ in range(5):
                await attempt(client, "right")
            await attempt(client, "wrong")
            assert waited[-1] == 0.5  # of all that were mistyped once

    asyncio.run(attack())


def test_attempts_of_one_address_are_answered_in_turn_and_the_right_one_gets_in(waited):
    answers = []

    async def one(client: httpx.AsyncClient, password: str) -> None:
        answers.append((password, await attempt(client, password)))

    async def attack() -> None:
        async with guarded() as client:
            passwords = ["wrong 1", "wrong 2", "right", "wrong 3"]
            await asyncio.gather(*(one(client, password) for password in passwords))
            assert answers == [("wrong 1", 400), ("wrong 2", 400), ("right", 200), ("wrong 3", 400)]
            assert waited == [0.5, 1, 1]

    asyncio.run(attack())


def test_a_line_of_attempts_is_bounded_and_begins_anew(waited):
    async def attack() -> None:
        async with guarded() as client:
            answers = await asyncio.gather(*(attempt(client, "wrong") for _ in range(LONGEST_LINE + 9)))
            assert sorted(answers) == [400] * LONGEST_LINE + [429] * 9
            assert len(waited) == LONGEST_LINE
            assert await attempt(client, "right") == 200

    asyncio.run(attack())


def test_what_fails_further_in_is_a_sentence_and_a_traceback_in_the_log(capsys):
    async def ask() -> httpx.Response:
        async with guarded() as client:
            return await client.get("/config")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.text) == (500, VISITOR_MESSAGE + "\n")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "raise ZeroDivisionError" in (cache_folder() / LOG_FILE).read_text()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_with_a_password_nothing_is_told_without_it(tmp_path):
    draw_images(tmp_path / "root" / "failing")
    # Gradio's default folder for files is shared by all programs of a machine that use it.
    draw_images(tmp_path / "tmp" / "gradio")
    make(tmp_path / "out", "inner")
    with (
        serving(tmp_path, "--root", tmp_path / "root", "--auth", "ann:päss:word") as url,
        httpx.Client(base_url=url, timeout=SECONDS) as client,
    ):
        assert client.get("/config").status_code == 401
        for path in ("queue/join", "component_server"):
            assert client.post(f"/gradio_api/{path}", json={}).status_code == 401, path
        for path in ("info", "queue/data?session_hash=x", "queue/status", f"file={tmp_path}/out/gifs/RCC_00.gif"):
            assert client.get(f"/gradio_api/{path}").status_code == 401, path
        assert str(tmp_path) not in client.get("/").text
        for path in ("/analyses", "/a/inner/", "/a/gone/"):  # the question for the password, whatever the address
            answer = client.get(path)
            assert '"auth_required":true' in answer.text.replace(" ", ""), path
            assert "inner" not in answer.text
        for path in ("config", "gradio_api/info", f"gradio_api/file={tmp_path}/out/inner/gifs/RCC_00.gif"):
            assert client.get(f"/a/inner/{path}").status_code in (401, 404), path
        for path in ("/a/inner/gradio_api/queue/join", "/a/inner/gradio_api/component_server"):
            assert client.post(path, json={}).status_code == 401, path
        for path in ("/a/inner/login", "/a/inner/logout"):  # one door, at which attempts are counted
            assert client.post(path, data={"username": "ann", "password": "x"}).status_code == 404
        for action in ("new", "delete"):
            assert client.post(f"/analyses/{action}", data={"name": "inner"}).status_code in (401, 405)
        assert (tmp_path / "out" / "inner").is_dir()
        for user, password in (("ann", "päss:wor"), ("bob", "päss:word"), ("", "")):
            answer = client.post("/login", data={"username": user, "password": password})
            assert answer.status_code in (400, 422)
        assert client.get("/config").status_code == 401
        assert client.post("/login", data={"username": "ann", "password": "päss:word"}).status_code == 200
        assert client.get("/config").status_code == 200
        assert "Analyses" in client.get("/analyses").text
        assert client.get("/a/inner/config").status_code == 200
        assert client.get(f"/gradio_api/file={tmp_path}/tmp/gradio/night_0.png").status_code == 404

        # Whatever address a visitor claims to have, one is checked at a time, and each holds up those behind it.
        def guess(i: int) -> int:
            claimed = {"x-forwarded-for": f"10.0.0.{i}", "x-real-ip": f"10.0.0.{i}", "forwarded": f"for=10.0.0.{i}"}
            return CLIENT.post(
                f"{url}/login", data={"username": "ann", "password": str(i)}, headers=claimed
            ).status_code

        began = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(guess, range(3))) == {400}
            assert time.monotonic() - began > 3 * FIRST_DELAY
    assert not list((tmp_path / "tmp").glob("safe-page-*"))  # the served files are gone with the page
