"""Take the README's picture of the page, docs/clusters.png, from the run that `lab.drawing.method` made.

    python -m lab.drawing.page [--case example] [--work .method]

Names some of the RCCs first, as an engineer would. Needs Chromium and the tools for development.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from PIL import Image

from lab.drawing.method import Example, run_steps
from safe_dnn.api.explaining import explain_failures
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import set_note
from safe_dnn.support.errors import SAFEError

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "clusters.png"
CHROMIUM = "/usr/bin/chromium"
PORT = 7861
UNNAMED = ("gaze down-right", "gaze up-left")
NOTE = "Hazard H3: gaze lost behind glare"
SHOWN = "glare on glasses"
WAIT = 60_000  # milliseconds


def take_picture(url: str, rcc: int) -> None:
    """Open the page, choose an RCC, and take the picture."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        expect(page.locator("#reason-list .safe-card").first).to_be_visible(timeout=WAIT)
        page.locator(f"#reason-list [data-rcc='{rcc}']").click()
        expect(page.locator(":is(#note-name, #note-name) input:visible")).to_have_value(SHOWN, timeout=WAIT)
        expect(page.locator("#map .safe-map-none")).to_be_hidden(timeout=WAIT)
        page.wait_for_timeout(5000)  # until the pictures are there and the player has begun
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.screenshot(path=PICTURE)
        browser.close()
    with Image.open(PICTURE) as picture:
        reduced = picture.convert("RGB").quantize(256)  # a third of the bytes
    reduced.save(PICTURE, optimize=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", default="example", type=Path, metavar="DIR", help="the built case gd")
    parser.add_argument("--work", default=".method", type=Path, metavar="DIR", help="where the run is kept")
    options = parser.parse_args(arguments)
    try:
        run_steps(options.case, options.work)
    except SAFEError as error:
        print(f"lab.drawing.page: {error}", file=sys.stderr)
        return 2
    example = Example(options.case, options.work)
    for rcc, name in example.names.items():
        if name not in UNNAMED:
            verdict = "unclear" if name == "head turned" else "unsafe"
            set_note(options.work, Note(rcc, name, NOTE if name == SHOWN else "", verdict))
    explain_failures(options.work)  # takes minutes at first
    shown = next(rcc for rcc, name in example.names.items() if name == SHOWN)
    command = [sys.executable, ROOT / "SAFE_Tool.py", "ui", "--port", str(PORT), "--out", options.work]
    with subprocess.Popen([*command, "--example", options.case], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            if not server.stdout.readline().startswith("SAFE is on "):
                print(f"lab.drawing.page: the page did not start on port {PORT}", file=sys.stderr)
                return 1
            take_picture(f"http://127.0.0.1:{PORT}", shown)
        finally:
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
