"""A service with a workspace for each visitor: what each may do, and what strangers may not."""

import contextlib
import io
import json
import os
import random
import re
import secrets
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, expect

from safe_dnn.page.paths import IN_AN_HOUR, Brought, room
from safe_dnn.page.serving.guard import MAX_BODY
from safe_dnn.page.serving.service import CACHE, HOME, USED, WORKSPACES
from safe_dnn.store.runs import RUNS_FOLDER
from safe_dnn.support.defects import LOG_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.uploads import Limits
from tests.helpers.browsing import begin_another, field, wait_until
from tests.helpers.laid_out import settings_of
from tests.helpers.scenes import draw_scenes
from tests.helpers.strangers import Stranger, contents_of, packed
from tests.helpers.visiting import JSON, SECONDS, served

pytestmark = pytest.mark.slow

MARK = "marked-for-the-owner"
ATTEMPTS = 200


class Hosted(NamedTuple):
    url: str
    folder: Path
    data: Path
    owner: Stranger
    images: dict[str, bytes]


def generated(visitor: Stranger, analysis: str, images: str, session: str = "window") -> str:
    """Generate RCCs; what the window is answered."""
    return visitor.window(analysis, session).send("generate", images=images)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """A service with an owner, whose analysis has everything that could be stolen."""
    folder = tmp_path_factory.mktemp("hosted")
    draw_scenes(folder / "drawn", dict.fromkeys(("night", "snow", "wood"), 6))
    images = {f"{MARK}_{name}": data for name, data in contents_of(folder / "drawn").items()}
    data = folder / "data"
    with served(folder, "--service", data) as (url, _):
        owner = Stranger(url)
        analysis = owner.make("owned")
        brought = owner.bring(analysis, "failing.zip", packed({f"in/{n}": d for n, d in images.items()}))
        assert brought["path"] == "/~/owned/uploads/failing/in"
        assert "18 failures" in generated(owner, analysis, brought["path"])
        yield Hosted(url, folder, data, owner, images)


@pytest.fixture
def stranger(hosted: Hosted) -> Stranger:
    visitor = Stranger(hosted.url, "127.0.0.9")
    visitor.make("mine")
    return visitor


def theirs(hosted: Hosted) -> Path:
    """The owner's workspace."""
    (found,) = (one for one in (hosted.data / WORKSPACES).iterdir() if (one / HOME / "owned").is_dir())
    return found


def listed(visitor: Stranger, analysis: str = "") -> str:
    """What a visitor's list in the header says."""
    return visitor.window(analysis, "listing").serve("header", "analyses_beside", []).json()["list"]


def test_a_visitor_sees_what_he_made_and_nobody_elses(hosted, stranger):
    assert "owned" in listed(hosted.owner)
    assert "mine" in listed(stranger)
    assert "owned" not in listed(stranger)
    assert stranger.client.get("/a/owned/").status_code == 404
    nobody = Stranger(hosted.url)
    for path in ("/", "/a/owned/"):
        assert "Only your browser can see" in nobody.client.get(path).text
    assert nobody.client.get("/a/owned/config").status_code == 404
    assert nobody.secret == ""  # whoever only looks gets no workspace


def test_no_answer_has_a_path_of_the_server(hosted):
    window = hosted.owner.window("/a/owned", "looking")
    answers = [hosted.owner.client.get(path).text for path in ("/a/owned/", "/a/owned/config")] + [listed(hosted.owner)]
    answers += [window.fire(one, [None] * len(one["inputs"])) for one in window.loads()]
    answers.append(hosted.owner.client.post("/a/owned/gradio_api/upload", files={"files": ("x.png", b"x")}).text)
    answers.append(generated(hosted.owner, "/a/owned", "/nowhere", "refused"))
    assert "Expected a path below /~" in answers[-1]
    told = "\n".join(answers)
    assert "/~/owned/uploads/failing/in" in told
    assert "/~own/cache/pictures/" in told
    assert "/~brought/" in told
    for secret in (str(hosted.folder), os.environ.get("HOME", "/root"), str(Path(__file__).parents[3])):
        assert secret not in told


def test_the_link_lets_another_browser_in_by_a_button_alone(hosted):
    assert f"/w/{hosted.owner.secret}" in listed(hosted.owner)
    other = Stranger(hosted.url)
    other.make("of the other")
    before = other.secret
    page = other.client.get(
        f"/w/{hosted.owner.secret}", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    )
    assert "Open the workspace" in page.text
    assert other.secret == before
    assert "owned" not in listed(other)
    entered = other.client.post(f"/w/{hosted.owner.secret}")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "owned" in listed(other)


def test_what_a_visitor_takes_home_opens_elsewhere_and_names_no_place(hosted, tmp_path):
    sent = hosted.owner.client.get("/a/owned/analysis.zip")
    with zipfile.ZipFile(io.BytesIO(sent.content)) as home:
        assert home.testzip() is None
        home.extractall(tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {"owned/labels.txt", "owned/gifs/RCC_00.gif", f"owned/{RUNS_FOLDER}"} <= names
    assert sum(MARK in name for name in names) == 18
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or str(hosted.folder).encode() not in path.read_bytes(), path
    with served(tmp_path, "--out", tmp_path / "owned") as (url, _):
        assert "18 failures" in looked_at(url)


def looked_at(url: str) -> str:
    window = Stranger(url).window("", "home")
    return "".join(window.fire(one, [None] * len(one["inputs"])) for one in window.loads())


def test_deleting_everything_leaves_nothing(hosted):
    visitor = Stranger(hosted.url)
    analysis = visitor.make("to be forgotten")
    visitor.bring(analysis, "few.zip", packed(dict(list(hosted.images.items())[:6])))
    assert "6 failures" in generated(visitor, analysis, "/~/to be forgotten/uploads/few")
    before = {path.name for path in (hosted.data / WORKSPACES).iterdir()}
    assert "Everything was deleted" in visitor.client.post("/leave").text
    after = {path.name for path in (hosted.data / WORKSPACES).iterdir()}
    assert len(before - after) == 1
    left = [path for path in hosted.folder.rglob("*") if path.is_file() and "forgotten" in str(path)]
    assert left == []


# --- Attacks ----------------------------------------------------------------------------------------------------


def near(secret: str, rng: random.Random) -> str:
    """A secret that is nearly the right one, or one that could be hoped to do."""
    place = rng.randrange(len(secret))
    other = rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-".replace(secret[place], ""))
    changed = secret[:place] + other + secret[place + 1 :]
    return rng.choice([changed, secret[:place], secret + other, secret.swapcase(), changed, secrets.token_urlsafe(16)])


def test_no_guessed_link_opens_a_workspace(hosted):
    rng, key = random.Random(0), theirs(hosted).name
    guesses = [near(hosted.owner.secret, rng) for _ in range(ATTEMPTS - 4)]
    guesses += [key, f"../{key}", f"{key[:22]}", f"{hosted.owner.secret}%00"]

    def tried(number: int) -> httpx.Response:
        visitor = Stranger(hosted.url, f"127.0.{1 + number // 200}.{1 + number % 200}")
        return visitor.client.request("POST" if number % 2 else "GET", f"/w/{guesses[number]}")

    with ThreadPoolExecutor(40) as pool:
        answers = [*pool.map(tried, range(ATTEMPTS))]
    assert {answer.status_code for answer in answers} <= {404, 403, 400}
    assert not any("set-cookie" in answer.headers for answer in answers)


def test_no_guessed_cookie_opens_a_workspace(hosted):
    rng, key = random.Random(1), theirs(hosted).name
    for number in range(ATTEMPTS):
        cookie = key if number == 0 else near(hosted.owner.secret, rng)
        answer = httpx.get(f"{hosted.url}/a/owned/config", cookies={"safe-workspace": cookie}, timeout=SECONDS)
        assert answer.status_code == 404
        assert MARK not in answer.text


def spelt(path: Path, hosted: Hosted, rng: random.Random) -> str:
    """A path of the owner's, as somebody else might hope to name it."""
    inner = path.relative_to(hosted.data / WORKSPACES).as_posix()
    below = path.relative_to(theirs(hosted)).as_posix()
    ways = [
        str(path), f"/~own/../{inner}", f"/~/../../{inner}", f"/~/../{below}", f"/~/{below.partition('/')[2] or below}",
        f"/~/mine/gifs/../../../../{inner}", f"/~own/cache/../../{inner}", str(path).replace("/", "%2F"),
        f"/~/%2e%2e/%2e%2e/{inner}", f"//{path}", f"/proc/self/root{path}", f"{hosted.data}/./{WORKSPACES}/{inner}",
    ]  # fmt: skip
    return rng.choice(ways)


def everything(hosted: Hosted) -> list[Path]:
    return [path for path in theirs(hosted).rglob("*") if path.is_file()]


def test_no_file_of_another_is_given_out(hosted, stranger):
    """Images, GIFs, thumbnails, features, runs and databases, by whatever address, with and without a workspace."""
    rng, files, nobody = random.Random(2), everything(hosted), Stranger(hosted.url)
    assert any(path.suffix == ".gif" for path in files)
    assert any(path.is_relative_to(theirs(hosted) / CACHE) for path in files)
    wanted = {path.read_bytes() for path in files if path.stat().st_size}
    for number in range(3 * ATTEMPTS):
        path = files[number % len(files)]
        place = spelt(path, hosted, rng)
        below = rng.choice([
            f"/a/mine/gradio_api/file={place}", f"/a/owned/gradio_api/file={place}", f"/gradio_api/file={place}",
            f"/a/mine/{place}", f"/a/mine/..{place}", f"/a/../{place}", f"/{path.name}", f"/a/owned/{path.name}",
        ])  # fmt: skip
        for visitor in (stranger, nobody):
            answer = visitor.client.get(below)
            assert answer.status_code in (403, 404), below
            assert answer.content not in wanted


def test_a_picture_whose_address_leaks_is_of_no_use_to_another(hosted, stranger):
    told = generated(hosted.owner, "/a/owned", "/~/owned/uploads/failing/in", "again")
    places = {place.rstrip("\\") for place in re.findall(r"gradio_api/file=[^\"'?&]+", told)}
    assert any(".gif" in place for place in places)
    cached = [f"gradio_api/file=/~own/{path.relative_to(theirs(hosted))}" for path in everything(hosted)]
    places |= {place for place in cached if place.endswith(".webp")}
    tries = [f"/a/{name}/{place}" for place in sorted(places) for name in ("owned", "mine")]
    for place in (tries * ATTEMPTS)[:ATTEMPTS]:
        assert stranger.client.get(place).status_code in (403, 404)
        assert hosted.owner.client.get(place.replace("/a/mine/", "/a/owned/")).status_code == 200


def test_no_event_job_or_stream_of_another_is_reached(hosted, stranger):
    window, own = hosted.owner.window("/a/owned", "of-the-owner"), stranger.window("/a/mine", "of-the-stranger")
    handlers = [one for one in window.handlers if one["backend_fn"]]
    rng = random.Random(3)
    for _ in range(ATTEMPTS):
        handler = rng.choice(handlers)
        sent = {"data": [None] * len(handler["inputs"]), "fn_index": handler["id"], "session_hash": "of-the-owner"}
        joined = stranger.client.post("/a/owned/gradio_api/queue/join", content=json.dumps(sent), headers=JSON)
        assert joined.status_code == 404
    paths = ("queue/data?session_hash=of-the-owner", "cancel", "reset", "component_server", "info", "startup-events")
    for path in paths:
        for method in ("GET", "POST"):
            answer = stranger.client.request(method, f"/a/owned/gradio_api/{path}", content=b"{}", headers=JSON)
            assert answer.status_code == 404
    # The owner's session, named on the stranger's own page, is another session.
    mixed = own.open()
    own.session = "of-the-owner"
    assert MARK not in mixed + own.open()


def test_no_path_of_the_host_or_of_another_is_taken_by_a_form(hosted, stranger):
    rng, files = random.Random(4), everything(hosted)
    hosts = ["/etc", "/", "~", "/proc/self/environ", "/proc/self/cwd", str(hosted.folder), "/~/..", "/~own/..", ".."]
    window = stranger.window("/a/mine", "typing")
    for number in range(ATTEMPTS // 4):
        path = hosts[number] if number < len(hosts) else spelt(rng.choice(files).parent, hosted, rng)
        told = window.send("generate", images=path)
        assert MARK not in told
        assert "failures" not in told or "Expected" in told, path


def test_no_upload_of_another_is_taken(hosted, stranger):
    sent = hosted.owner.client.post("/a/owned/gradio_api/upload", files={"files": ("later.zip", packed(hosted.images))})
    (path,) = sent.json()
    window = stranger.window("/a/mine", "stealing")
    rng, handler = random.Random(5), window.handler("upload-files", "upload")
    there = [path.replace("/~brought/", way) for way in ("/~/", "/~own/", "/~brought/../", "/", f"{hosted.folder}/")]
    files = everything(hosted)
    for number in range(ATTEMPTS // 4):
        place = there[number] if number < len(there) else spelt(rng.choice(files), hosted, rng)
        told = window.fire(handler, [[{"path": place, "orig_name": "x.zip", "meta": {"_type": "gradio.FileData"}}]])
        assert not re.search(r"Received \d", told), place
    assert stranger.client.get(f"/a/mine/gradio_api/file={path}").status_code == 404
    assert all(path.exists() for path in files if MARK in path.name)


def test_no_member_of_a_zip_file_gets_out_of_the_analysis(hosted, stranger):
    rng, before = random.Random(6), {path for path in hosted.folder.rglob("*") if "mine" not in str(path)}
    ups = ["../", "..\\", "/", "a/../../", "./../", "C:/", "~/", f"{theirs(hosted)}/", "a/..", "a\x00../"]
    image = next(iter(hosted.images.values()))
    for number in range(ATTEMPTS):
        name = rng.choice(ups) * rng.randint(1, 6) + rng.choice(["x.png", "labels.txt", "analysis.db", "owned/x.png"])
        answer = stranger.bring("/a/mine", f"z{number}.zip", packed({"ok.png": image, name: image}))
        assert "problem" in answer or answer["path"].startswith("/~/mine/uploads/")
    after = {path for path in hosted.folder.rglob("*") if "mine" not in str(path)}
    assert not {path for path in after - before if path.suffix in (".png", ".txt")}


def test_no_table_that_is_brought_leads_to_images_of_another(hosted, stranger):
    """Names of folders in `accuracy.json`, of images in lists and tables: as another's folder, or the host's."""
    target = theirs(hosted) / HOME / "owned" / "uploads" / "failing" / "in"
    names = sorted(path.name for path in target.iterdir())
    rows = "".join(f"{name},night,snow,false\n" for name in names)
    absolute = "".join(f"{target / name},night,snow,false\n" for name in names)
    mine = {f"in/{number}.png": data for number, data in enumerate(hosted.images.values())}
    for number, (root, table) in enumerate([(str(target), rows), (str(target), absolute), ("/etc", absolute)]):
        record = json.dumps({"test_root": root, "test_folder": root, "failures": 18, "test_size": 18})
        tables = {"predictions.csv": f"image,label,predicted,right\n{table}", "accuracy.json": record}
        lists = {"list.txt": "\n".join(str(target / name) for name in names), "failures.csv": tables["predictions.csv"]}
        texts = {name: text.encode() for name, text in {**tables, **lists}.items()}
        brought = stranger.bring("/a/mine", f"forged {number}.zip", packed({**mine, **texts}))
        place = f"/~/mine/uploads/forged {number}"
        for images in (brought["path"], f"{place}/list.txt"):
            generated(stranger, "/a/mine", images, f"forging {number}")
    window = stranger.window("/a/mine", "collecting")
    told = window.send("collect", failures_kind="answers", failures_answers=f"{place}/predictions.csv",
                       failures_test=str(target))  # fmt: skip
    assert "Expected a path below" in told
    assert [*(hosted.data / WORKSPACES).glob(f"*/{HOME}/mine/**/{MARK}*")] == []  # no copy of an image


# --- Limits and ends ----------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path):
    draw_scenes(tmp_path / "drawn", dict.fromkeys(("night", "snow"), 6))
    data = packed(contents_of(tmp_path / "drawn"))
    with contextlib.suppress(httpx.TransportError), served(tmp_path, "--service", tmp_path / "data") as (url, process):
        visitor = Stranger(url)
        visitor.make("owned")
        brought = visitor.bring("/a/owned", "a.zip", data)
        assert "12 images" in brought["notes"]
        os.kill(process, 9)
    with served(tmp_path, "--service", tmp_path / "data") as (url, _):
        again = Stranger(url)
        again.client.cookies = visitor.client.cookies
        assert "12 failures" in generated(again, "/a/owned", brought["path"])


def test_an_unused_workspace_ends_and_one_that_is_used_stays(tmp_path):
    with served(tmp_path, "--service", tmp_path / "data", "--days", "1", FAKE_ROUND="1") as (url, _):
        used, unused = Stranger(url), Stranger(url)
        used.make("used")
        unused.make("unused")
        (old,) = (one for one in (tmp_path / "data" / WORKSPACES).iterdir() if (one / HOME / "unused").is_dir())
        os.utime(old / USED, (time.time() - 90_000,) * 2)
        wait_until(lambda: not old.exists())
        assert "Only your browser can see" in unused.client.get("/").text
        assert "used" in listed(used)


def test_two_visitors_in_two_browsers_see_only_their_own(browser: Browser, tmp_path):
    draw_scenes(tmp_path / "drawn", dict.fromkeys(("night", "snow", "wood"), 6))
    archive = tmp_path / "failing.zip"
    archive.write_bytes(packed({f"in/{name}": data for name, data in contents_of(tmp_path / "drawn").items()}))
    with served(tmp_path, "--service", tmp_path / "data") as (url, _):
        first, second = (browser.new_context().new_page() for _ in range(2))
        for page, name in ((first, "of the first"), (second, "of the second")):
            page.goto(url)
            page.get_by_role("button", name="Begin").click()
            begin_another(page, name)
            expect(page).to_have_title(f"{name} – SAFE")
            expect(field(page, "images")).to_be_enabled()
            expect(page.locator("#suggested-paths")).to_have_count(0)  # no folders of the server are named
        with first.expect_file_chooser() as chooser:
            first.locator("#images .safe-upload").click()
        chooser.value.set_files(archive)
        expect(first.locator("#images [role=status]")).to_have_text("Received 18 images.")
        expect(field(first, "images")).to_have_value("/~/of the first/uploads/failing/in")
        first.locator("#generate").click()
        expect(first.locator("#clusters-status")).to_contain_text("18 failures")
        shown = first.locator("#reason-list img").first
        expect(shown).to_be_visible()
        wait_until(lambda: shown.evaluate("image => image.naturalWidth") > 0)
        picture = shown.get_attribute("src")
        assert second.goto(f"{url}/a/of%20the%20first/{picture}").status in (403, 404)
        second.goto(f"{url}/a/of%20the%20first/")
        expect(second.get_by_text("There is no analysis of the first any more")).to_be_visible()
        second.goto(url)
        expect(second).to_have_title("of the second – SAFE")
        assert "of the first" not in second.content()
        for page in (first, second):
            page.context.close()


def test_what_would_fill_the_disk_is_refused_before_a_byte_is_taken(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    for folder in (home, cache):
        folder.mkdir()
        (folder / "x").write_bytes(b"x" * 30)
    settings = settings_of(home)._replace(uploads=Limits(bytes=100), cache=cache)
    brought = Brought()
    assert room(settings).bytes == 40
    assert room(settings._replace(cache=None)).bytes == 100
    with pytest.raises(SAFEError, match="no room for so much"):
        brought.take_in(settings, 41)
    for _ in range(IN_AN_HOUR):  # what nobody unpacks counts all the same
        brought.take_in(settings, 40)
    with pytest.raises(SAFEError, match="no room for so much"):
        brought.take_in(settings, 1)
    (home / "x").write_bytes(b"x" * 80)
    with pytest.raises(SAFEError, match=r"in all analyses\. Received more"):
        room(settings)
    monkeypatch.setattr("safe_dnn.page.paths.LEAST_FREE", 2**70)
    with pytest.raises(SAFEError, match="nearly full"):
        room(settings)


def test_an_engineer_brings_images_to_the_ordinary_page(tmp_path):
    draw_scenes(tmp_path / "drawn", dict.fromkeys(("night", "snow"), 6))
    data = packed(contents_of(tmp_path / "drawn"))
    with served(tmp_path, "--uploads") as (url, _):
        engineer = Stranger(url)
        brought = engineer.bring("", "failing.zip", data)
        assert brought["path"] == str(tmp_path / "out" / "uploads" / "failing")
        assert "12 failures" in generated(engineer, "", brought["path"])
    with served(tmp_path) as (url, _):
        assert Stranger(url).client.post("/gradio_api/upload", files={"files": ("x.png", b"x")}).status_code == 404


def test_what_is_no_upload_is_refused_with_a_sentence(hosted, stranger):
    for body in (b"", b"[]", b"--x\r\n", b"--x\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n"):
        for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "application/json", ""):
            answer = stranger.client.post("/a/mine/gradio_api/upload", content=body, headers={"content-type": kind})
            assert 400 <= answer.status_code < 500 or answer.json() == [], (body, kind, answer.text)
    window = stranger.window("/a/mine", "odd")
    for sent in (
        None,
        [],
        [None],
        "x",
        {"path": "/etc/passwd"},
        [{"path": "/etc/passwd"}],
        [{"url": "http://127.0.0.1:1/x"}],
    ):
        told = window.fire(window.handler("upload-files", "upload"), [sent])
        assert "defect" not in told, sent
        assert "root:" not in told
    assert stranger.client.post("/a/mine/gradio_api/queue/join", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert "Traceback" not in (hosted.folder / "stderr.txt").read_text()
    assert not (hosted.folder / "cache" / LOG_FILE).exists()
