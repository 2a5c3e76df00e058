"""What is behind traffic signs: sky, land or houses, and a road, painted from back to front.

Pictures are drawn at twice the size; colours are those of daylight, from 0 to 255.
"""

import numpy as np
from PIL import Image, ImageDraw

from lab.casestudies.signs.faces import face_of
from lab.casestudies.signs.parameters import PICTURES, Scene
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.scene import TEXTURE_SIDE, textures

FINE = 2
WIDE = SIDE * FINE
_BOARDS = (3, 4)  # at least and at most, in front of shops
_BOARD_SIZE = (20, 34)  # pixels of the image

Colour = tuple[int, int, int]


def paint_surroundings(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Paint what is behind the signs: RGB, WIDE pixels wide and high."""
    horizon = round(WIDE * rng.uniform(0.5, 0.62))
    high, low = _tinted((118, 160, 212), rng, 26), _tinted((206, 216, 224), rng, 18)
    picture = _sky(high, low, horizon, rng)
    draw = ImageDraw.Draw(picture)
    if scene.surroundings in ("country", "motorway"):
        _hills(draw, horizon, rng)
        _trees(draw, horizon, rng, 14 if scene.surroundings == "country" else 5)
    else:
        _houses(draw, horizon, rng)
    picture = Image.blend(picture, Image.new("RGB", picture.size, low), scene.haze)
    _road(ImageDraw.Draw(picture), horizon, scene.surroundings, rng)
    if scene.surroundings == "shops":
        _boards(picture, scene, rng)
    return picture


def _tinted(colour: Colour, rng: np.random.Generator, spread: int) -> Colour:
    change = rng.integers(-spread, spread + 1) + rng.integers(-spread // 3, spread // 3 + 1, 3)
    red, green, blue = np.clip(np.array(colour) + change, 0, 255).tolist()
    return red, green, blue


def _sky(high: Colour, low: Colour, horizon: int, rng: np.random.Generator) -> Image.Image:
    """From one colour at the top to another at the horizon, with clouds."""
    share = np.clip(np.arange(WIDE) / horizon, 0, 1)[:, None, None]
    sky = np.array(high) * (1 - share) + np.array(low) * share
    clouds = np.kron(_crop("coarse", rng), np.ones((FINE, FINE)))[:, :, None]
    return Image.fromarray(np.clip(sky + 16 * np.maximum(clouds, -0.5), 0, 255).astype(np.uint8))


def _crop(grain: str, rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(TEXTURE_SIDE - SIDE, size=2).tolist()
    return textures()[grain][top : top + SIDE, left : left + SIDE]


def _hills(draw: ImageDraw.ImageDraw, horizon: int, rng: np.random.Generator) -> None:
    for height, colour in ((34, (96, 120, 118)), (18, (84, 112, 78))):
        x = np.linspace(0, WIDE, 9)
        y = horizon - height * rng.uniform(0.1, 1.0, 9)
        draw.polygon(
            [(0, WIDE), *zip(x.tolist(), y.tolist(), strict=True), (WIDE, WIDE)], fill=_tinted(colour, rng, 14)
        )


def _trees(draw: ImageDraw.ImageDraw, horizon: int, rng: np.random.Generator, most: int) -> None:
    for _ in range(int(rng.integers(2, most))):
        x, size = rng.uniform(0, WIDE), rng.uniform(10, 46)
        foot = horizon + size * 0.35
        draw.line([(x, foot), (x, foot - size)], fill=(64, 52, 40), width=max(2, int(size / 9)))
        leaves = _tinted((58, 92, 44), rng, 20)
        for _ in range(6):
            u, v, r = (
                x + size * rng.uniform(-0.4, 0.4),
                foot - size * rng.uniform(0.8, 1.6),
                size * rng.uniform(0.2, 0.4),
            )
            draw.ellipse([u - r, v - r, u + r, v + r], fill=_tinted(leaves, rng, 9))


def _houses(draw: ImageDraw.ImageDraw, horizon: int, rng: np.random.Generator) -> None:
    left = int(rng.integers(-40, 0))
    while left < WIDE:
        width, height = int(rng.integers(44, 100)), int(rng.integers(60, 170))
        wall = _tinted([(178, 160, 138), (150, 148, 150), (196, 186, 168), (142, 108, 92)][rng.integers(4)], rng, 16)
        top = horizon + 12 - height
        draw.rectangle([left, top, left + width, horizon + 14], fill=wall)
        draw.polygon(
            [(left - 4, top), (left + width / 2, top - int(rng.integers(2, 34))), (left + width + 4, top)], (92, 62, 54)
        )
        glass = _tinted((74, 86, 102), rng, 18)
        step = int(rng.integers(18, 26))
        for x in range(left + 7, left + width - 10, step):
            for y in range(top + 8, horizon - 6, step + 4):
                draw.rectangle([x, y, x + step // 2, y + step // 2 + 4], fill=glass, outline=(222, 220, 214))
        left += width + int(rng.integers(0, 12))


def _road(draw: ImageDraw.ImageDraw, horizon: int, where: str, rng: np.random.Generator) -> None:
    ground = (150, 146, 140) if where in ("town", "shops") else (96, 122, 62)
    draw.rectangle([0, horizon + 10, WIDE, WIDE], fill=_tinted(ground, rng, 14))
    far, near, bend = rng.uniform(6, 18), rng.uniform(120, 210), rng.uniform(60, WIDE - 60)
    middle = WIDE / 2 + rng.uniform(-50, 50)
    tar = _tinted((92, 92, 96), rng, 12)
    draw.polygon(
        [(bend - far, horizon + 10), (bend + far, horizon + 10), (middle + near, WIDE), (middle - near, WIDE)], fill=tar
    )
    for start, end in ((0.08, 0.16), (0.26, 0.40), (0.56, 0.84)):
        ends = [(bend + (middle - bend) * share, horizon + 10 + (WIDE - horizon) * share) for share in (start, end)]
        draw.line(ends, fill=(214, 212, 202), width=max(1, round(9 * start)))
    if where == "motorway":
        side = rng.choice([-1, 1])
        rail = [(bend + side * far * 2.2, horizon + 8), (middle + side * near * 1.5, WIDE - 20)]
        draw.line(rail, fill=(172, 174, 178), width=5)


def _boards(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> None:
    """Boards of shops, which look like signs, where they do not meet one."""
    free = [sign.box for sign in scene.signs]
    for _ in range(int(rng.integers(_BOARDS[0], _BOARDS[1] + 1))):
        for _ in range(30):
            size = int(rng.integers(*_BOARD_SIZE))
            x, y = rng.uniform(3, SIDE - size - 3), rng.uniform(3, 0.7 * SIDE - size)
            if not any(_meets((x, y, size), box) for box in free):
                face = face_of("board", int(rng.integers(PICTURES))).resize((size * FINE, size * FINE))
                picture.paste(face, (round(x * FINE), round(y * FINE)), face)
                free.append((x, y, size, size))
                break


def _meets(square: tuple[float, float, int], box: tuple[float, float, float, float], margin: float = 11) -> bool:
    x, y, size = square
    left, top, width, height = box
    across = x < left + width + margin and left < x + size + margin
    return across and y < top + height + margin and top < y + size + margin
