"""The pictures on traffic signs, and on boards that look like signs."""

import functools
from collections.abc import Callable

from PIL import Image, ImageDraw

FACE = 64  # pixels of a face
_FINE = 4  # drawn larger, since Pillow's edges are hard
_RED, _BLUE, _WHITE, _BLACK = (176, 24, 30), (18, 74, 160), (232, 232, 226), (24, 24, 26)
_YELLOW, _GREEN = (236, 190, 40), (30, 120, 66)

Draw = ImageDraw.ImageDraw
Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


@functools.cache
def face_of(name: str, picture: int) -> Image.Image:
    """A sign that faces the camera, or with the name `board` what is none: RGBA, FACE pixels wide and high.

    Drawn from scratch after the Vienna Convention on Road Signs and Signals (1968), with simplified pictures.
    """
    face = Image.new("RGBA", (FACE * _FINE, FACE * _FINE))
    _FACES[name](Pen(ImageDraw.Draw(face)), picture)
    return face.reduce(_FINE)


class Pen:
    """Draws in the unit square, from its top left corner."""

    def __init__(self, draw: Draw):
        self._draw = draw

    def area(self, points: Points, colour: Colour) -> None:
        self._draw.polygon([_scaled(point) for point in points], fill=colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        self._draw.line([_scaled(point) for point in points], fill=colour, width=round(width * FACE * _FINE))

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self._draw.ellipse([_scaled((x - radius, y - radius)), _scaled((x + radius, y + radius))], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self._draw.rectangle([_scaled((left, top)), _scaled((right, bottom))], fill=colour)


def _scaled(point: tuple[float, float]) -> tuple[float, float]:
    return point[0] * FACE * _FINE, point[1] * FACE * _FINE


def _danger(pen: Pen, picture: int) -> None:
    pen.area([(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)], _RED)
    pen.area([(0.5, 0.24), (0.84, 0.89), (0.16, 0.89)], _WHITE)
    if picture == 0:  # danger
        pen.box(0.46, 0.44, 0.54, 0.69, _BLACK)
        pen.disc(0.5, 0.78, 0.05, _BLACK)
    elif picture == 1:  # a bend
        pen.line([(0.42, 0.83), (0.42, 0.68), (0.55, 0.58), (0.55, 0.46)], _BLACK, 0.08)
    elif picture == 2:  # a crossing
        pen.line([(0.38, 0.56), (0.62, 0.82)], _BLACK, 0.08)
        pen.line([(0.62, 0.56), (0.38, 0.82)], _BLACK, 0.08)
    else:  # bumps
        pen.disc(0.41, 0.78, 0.09, _BLACK)
        pen.disc(0.59, 0.78, 0.09, _BLACK)
        pen.box(0.26, 0.78, 0.74, 0.83, _BLACK)


def _mandatory(pen: Pen, picture: int) -> None:
    pen.disc(0.5, 0.5, 0.5, _WHITE)
    pen.disc(0.5, 0.5, 0.47, _BLUE)
    quarter = (0, 1, 3)[picture] if picture < 3 else 0
    shaft: Points = [(0.5, 0.8), (0.5, 0.35)]
    head: Points = [(0.5, 0.16), (0.68, 0.42), (0.32, 0.42)]
    pen.line([_turned(point, quarter) for point in shaft], _WHITE, 0.13)
    pen.area([_turned(point, quarter) for point in head], _WHITE)
    if picture == 3:  # straight on or right
        pen.line([(0.5, 0.62), (0.74, 0.62)], _WHITE, 0.11)
        pen.area([(0.88, 0.62), (0.70, 0.48), (0.70, 0.76)], _WHITE)


def _turned(point: tuple[float, float], quarters: int) -> tuple[float, float]:
    x, y = point
    for _ in range(quarters):
        x, y = 1 - y, x
    return x, y


def _prohibitory(pen: Pen, picture: int) -> None:
    pen.disc(0.5, 0.5, 0.5, _RED)
    pen.disc(0.5, 0.5, 0.37, _WHITE)
    if picture in (0, 1):  # a limit of 30 or 80
        pen.line([(0.30, 0.34), (0.44, 0.34), (0.44, 0.66), (0.30, 0.66)], _BLACK, 0.07)
        pen.line([(0.32, 0.5), (0.44, 0.5)], _BLACK, 0.07)
        if picture == 1:
            pen.line([(0.31, 0.34), (0.31, 0.66)], _BLACK, 0.07)
        pen.line([(0.56, 0.34), (0.69, 0.34), (0.69, 0.66), (0.56, 0.66), (0.56, 0.31)], _BLACK, 0.07)
    elif picture == 2:  # no cars
        pen.box(0.28, 0.48, 0.72, 0.60, _BLACK)
        pen.area([(0.36, 0.48), (0.42, 0.36), (0.58, 0.36), (0.64, 0.48)], _BLACK)
        pen.disc(0.37, 0.62, 0.06, _BLACK)
        pen.disc(0.63, 0.62, 0.06, _BLACK)


def _board(pen: Pen, picture: int) -> None:
    if picture == 0:  # a cup
        pen.disc(0.5, 0.5, 0.5, _BLUE)
        pen.area([(0.28, 0.36), (0.64, 0.36), (0.58, 0.72), (0.34, 0.72)], _WHITE)
        pen.line([(0.62, 0.42), (0.76, 0.44), (0.74, 0.58), (0.60, 0.60)], _WHITE, 0.06)
    elif picture == 1:  # a sale
        pen.disc(0.5, 0.5, 0.5, _RED)
        pen.disc(0.5, 0.5, 0.40, _YELLOW)
        pen.line([(0.34, 0.68), (0.66, 0.32)], _RED, 0.08)
        pen.disc(0.38, 0.38, 0.09, _RED)
        pen.disc(0.62, 0.62, 0.09, _RED)
    elif picture == 2:  # a pizza
        pen.area([(0.5, 0.0), (1.0, 1.0), (0.0, 1.0)], _RED)
        pen.area([(0.5, 0.14), (0.88, 0.88), (0.12, 0.88)], _YELLOW)
        for x, y in ((0.5, 0.42), (0.38, 0.68), (0.64, 0.74)):
            pen.disc(x, y, 0.08, _RED)
    else:  # a pharmacy
        pen.disc(0.5, 0.5, 0.5, _RED)
        pen.disc(0.5, 0.5, 0.42, _WHITE)
        pen.box(0.42, 0.2, 0.58, 0.8, _GREEN)
        pen.box(0.2, 0.42, 0.8, 0.58, _GREEN)


_FACES: dict[str, Callable[[Pen, int], None]] = {
    "danger": _danger,
    "mandatory": _mandatory,
    "prohibitory": _prohibitory,
    "board": _board,
}
