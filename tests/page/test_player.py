"""The player of a GIF: its script alone in a browser."""

import base64
import io

from PIL import Image
from playwright.sync_api import Browser, expect

from safe_dnn.page.assets import asset
from safe_dnn.rccs.gifs import MOST_FRAMES, _drawn
from tests.helpers.browsing import new_window
from tests.helpers.scripts import run_alone


def test_the_player_counts_images_as_the_caption_of_each_frame_does(browser: Browser, tmp_path):
    frames = [Image.new("P", (8, 8), i) for i in range(MOST_FRAMES)]
    for i, frame in enumerate(frames):
        frame.putpalette([i, i, i] * 256)
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    source = f"data:image/gif;base64,{base64.b64encode(file.getvalue()).decode()}"
    (tmp_path / "page.html").write_text(f"<div id='player'>{asset('clusters/player.html')}</div>")
    window = new_window(browser)
    window.goto((tmp_path / "page.html").as_uri())  # scripts take GIFs apart only on pages that can be trusted
    run_alone(window, "#player", ("clusters/player.js",), {"source": source, "name": "RCC 0", "count": 851})
    expect(window.locator("output")).to_be_visible()
    numbers = [row + 1 for row in _drawn([("", "")] * 851)]
    for frame in (0, 42, 96, 99):
        window.locator("input").fill(str(frame))
        expect(window.locator("output")).to_have_text(f"{numbers[frame]} / 851")
    window.close()
