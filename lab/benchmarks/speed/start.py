"""Waiting times for `lab/benchmarks/speed/`: whole commands as typed by an engineer, each in a separate process.

They use the benchmark's own cache folder.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images

TOOL = Path(__file__).parents[3] / "SAFE_Tool.py"
NETWORKS = ("tensorflow", "keras")
CHROMIUM = "/usr/bin/chromium"


def start_help() -> dict:
    """Time of `--help`."""
    return {"seconds": _ran("--help")[0]}


def run_command(images: str, n: int, extractor: str, out: str, traced: bool = False) -> dict:
    """Time of `cluster` on the first n images of a folder, using the cache; if traced, whether it imports Keras.

    The folder `out` is deleted before: GIFs that are there already would not be drawn.
    """
    shutil.rmtree(out, ignore_errors=True)
    folder = prepare_folder(Path(out))
    listing = find_images(images)
    names = folder / "images.txt"
    names.write_text("".join(f"{listing.root / path}\n" for path in listing.paths[:n]), encoding="utf-8")
    command = ("cluster", str(names), "--extractor", extractor, "--out", str(folder))
    seconds, log = _ran(*command, flags=("-X", "importtime") if traced else ())
    imported = {line.rsplit("|", 1)[-1].strip() for line in log.splitlines() if line.startswith("import time:")}
    return {"images": min(n, len(listing.paths)), "seconds": seconds, "networks": int(bool(imported & set(NETWORKS)))}


def _ran(*command: str, flags: tuple[str, ...] = ()) -> tuple[float, str]:
    """Run a command of SAFE; return its time in seconds and its stderr."""
    begin = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, *flags, TOOL, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - begin, ran.stderr


def open_page(out: str) -> dict:
    """Time of `ui` in a browser without a cache, since the command: first answer, first paint, usable page.

    The page is usable when its button is there. The browser is started beforehand and requests the page repeatedly from
    the time of the command.
    """
    from playwright.sync_api import sync_playwright

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        begin = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, TOOL, "ui", "--port", str(port), "--out", str(prepare_folder(Path(out)))],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"no_proxy": "127.0.0.1"},
        )  # fmt: skip
        try:
            wait_for(url)
            answered = time.perf_counter() - begin
            page.goto(url, wait_until="commit")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length", polling=20)
            painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
            page.wait_for_selector("#generate", timeout=60_000)
            usable = time.perf_counter() - begin
        finally:
            server.terminate()
            server.wait()
            browser.close()
    return {"seconds": usable, "painted": answered + painted, "server": answered}


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, seconds: float = 60) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while True:
        try:
            with opener.open(url, timeout=seconds):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


MEASURED = {function.__name__: function for function in (start_help, run_command, open_page)}
