"""Record a visitor's first time on a service, docs/service.gif: from the empty page to GIFs, report and ZIP files.

    python -m lab.drawing.visit [--case example]

The visitor brings a ZIP file of 200 failing images. Needs Chromium and the tools for development.
"""

import argparse
import io
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image

from lab.drawing.page import CHROMIUM, PORT, ROOT
from safe_dnn.support.images import find_images

PICTURE = ROOT / "docs" / "service.gif"
IMAGES = 200
SIZE = (860, 538)
SECONDS = 2.5  # that a screen is seen
WAIT = 600_000  # milliseconds


def packed(failures: Path, to: Path) -> None:
    """A ZIP file of failing images."""
    listing = find_images(failures)
    with zipfile.ZipFile(to, "w") as archive:
        for number, path in enumerate(random.Random(0).sample(listing.paths, IMAGES)):
            archive.write(listing.root / path, f"failing/{number:03d}.png")


def screens(url: str, archive: Path) -> list[Image.Image]:
    """What the visitor sees, one screen after the other."""
    from playwright.sync_api import expect, sync_playwright

    seen: list[Image.Image] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(WAIT)
        expect.set_options(timeout=WAIT)

        def look(milliseconds: int = 1500) -> None:
            page.wait_for_timeout(milliseconds)  # until pictures are there, and nothing moves
            seen.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))

        page.goto(url)
        look()
        page.get_by_role("button", name="Begin").click()
        expect(page.locator("#images :is(textarea, input)")).to_be_enabled()
        look()
        with page.expect_file_chooser() as chooser:
            page.locator("#images .safe-upload").click()
        chooser.value.set_files(archive)
        expect(page.locator("#images [role=status]")).to_contain_text("Received")
        look()
        page.locator("#generate").click()
        page.wait_for_timeout(4000)
        look()
        expect(page.locator("#clusters-status")).to_contain_text("root cause clusters hold")
        expect(page.locator("#map .safe-map-none")).to_be_hidden()
        look(15_000)
        page.get_by_role("tab", name="Report").click()
        page.locator("#report").click()
        expect(page.locator("a[href='report.html']").first).to_be_visible()
        page.locator("#export-all").click()
        expect(page.locator("a[href='export.zip']").first).to_be_visible()
        look()
        page.locator("header nav summary").first.click()
        look()
        browser.close()
    return seen


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", default="example", type=Path, metavar="DIR", help="the built case gd")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "failing.zip")
        packed(options.case / "failures", archive)
        tool = [sys.executable, str(ROOT / "SAFE_Tool.py"), "ui", "--port", str(PORT)]
        service = [*tool, "--service", f"{folder}/service"]
        with subprocess.Popen(service, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline().startswith("SAFE is on ")
                seen = screens(f"http://127.0.0.1:{PORT}", archive)
            finally:
                server.terminate()
    frames = [screen.quantize(128) for screen in seen]
    frames[0].save(
        PICTURE, save_all=True, append_images=frames[1:], duration=int(1000 * SECONDS), loop=0, optimize=True
    )
    print(f"Written: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
