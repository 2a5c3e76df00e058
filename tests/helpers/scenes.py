"""Images that are drawn: one look per root cause."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

# One look per root cause: ground, colour of the shape, and the shape.
SCENES = {
    "night": ((12, 14, 30), (70, 80, 120), "moon"), "snow": ((235, 240, 245), (180, 30, 30), "post"),
    "wood": ((30, 110, 40), (110, 70, 30), "trunks"), "sea": ((20, 60, 200), (240, 220, 60), "horizon"),
}  # fmt: skip


def draw_scene(scene: str, rng: np.random.Generator, side: int = 64) -> Image.Image:
    """A scene with the shape moved a little and noise over it, so that no two are equal."""
    ground, colour, shape = SCENES[scene]
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(-2, 3, size=2) + side // 2
    if shape == "moon":
        draw.ellipse((x - 12, y - 12, x + 12, y + 12), fill=colour)
    elif shape == "post":
        draw.rectangle((x - 5, 4, x + 5, side), fill=colour)
    elif shape == "trunks":
        for left in (x - 24, x, x + 18):
            draw.rectangle((left, 0, left + 6, side), fill=colour)
    else:
        draw.rectangle((0, y, side, side), fill=colour)
    noisy = np.asarray(image) + rng.normal(0, 3, (side, side, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def draw_scenes(folder: Path, counts: Mapping[str, int], seed: int = 0, side: int = 64, **names: str) -> Path:
    """`draw_scenes(folder, {"night": 5, "snow": 4})`: the folder, with images night_00.png, night_01.png, …

    `names` are other names for images of a scene, with braces for the number.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for scene, count in counts.items():
        for i in range(count):
            draw_scene(scene, rng, side).save(folder / names.get(scene, f"{scene}_{{:02d}}.png").format(i))
    return folder
