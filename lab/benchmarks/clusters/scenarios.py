"""Injected failure scenarios: image sets with known root causes.

A scenario is a disturbance of an image: blur, fog, a dirty lens. `make_mix` disturbs the images of any folder, with one
scenario per image in given, usually very unequal shares. It writes the images and a `scenarios.csv` with the scenario
of each: the ground truth for purity and coverage of root cause clusters.

Every function of `SCENARIOS` takes an image, uint8 of shape (height, width, 3), RGB, and a `numpy.random.Generator`,
which determines the place and the strength of the disturbance, and returns a new array of the same shape and type.
Sizes are relative to the shorter side, so any resolution works. The random numbers of an image depend only on its name
and its scenario: the same pair gives the same pixels in every mix.
"""

import csv
import io
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

Pixels = np.ndarray

SIDE = 128  # pixels; smaller images are enlarged to this size before they are disturbed, as in the `injected` set
SMALLEST_SHARE = 0.02
SCENARIOS_FILE = "scenarios.csv"


def _to_image(pixels: np.ndarray) -> Pixels:
    """Round and clip floats to 8-bit pixels."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _luminance(image: Pixels) -> np.ndarray:
    return image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _smooth_field(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Random field from 0 to 1 of shape (height, width) that varies over about 1 / cells of the image."""
    coarse = Image.fromarray((rng.random((cells + 1, cells + 1)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC), np.float64) / 255


def _convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter each channel with a kernel, repeating the border; by FFT, so that the cost is the same for any kernel."""
    pad = max(kernel.shape) // 2 + 1
    padded = np.pad(image.astype(np.float64), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    size = (padded.shape[0], padded.shape[1])
    spectrum = np.fft.rfft2(kernel, size)[..., None] * np.fft.rfft2(padded, axes=(0, 1))
    filtered = np.fft.irfft2(spectrum, size, axes=(0, 1))
    shift = (kernel.shape[0] // 2, kernel.shape[1] // 2)
    return np.roll(filtered, (-shift[0], -shift[1]), (0, 1))[pad:-pad, pad:-pad]


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Out of focus: Gaussian blur of 3–6 % of the side."""
    radius = rng.uniform(0.03, 0.06) * min(image.shape[:2])
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def motion_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Moving camera: straight motion blur of 16–28 % of the side, in any direction."""
    length = int(rng.uniform(0.16, 0.28) * min(image.shape[:2])) | 1
    angle = rng.uniform(0, np.pi)
    along = np.linspace(-length / 2, length / 2, 8 * length)
    kernel = np.zeros((length + 2, length + 2))
    centre = kernel.shape[0] // 2
    rows = np.rint(centre + along * np.sin(angle)).astype(int)
    columns = np.rint(centre + along * np.cos(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1)
    return _to_image(_convolve(image, kernel / kernel.sum()))


def noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Sensor noise: Gaussian, independent for each pixel and channel, sigma 25–60."""
    return _to_image(image + rng.normal(0, rng.uniform(25, 60), image.shape))


def salt_and_pepper(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Dead and hot pixels: 4–12 % of the pixels black or white."""
    share = rng.uniform(0.04, 0.12)
    draw = rng.random(image.shape[:2])[..., None]
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, image)).astype(np.uint8)


def dark(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Night: 8–25 % of the light."""
    return _to_image(image * rng.uniform(0.08, 0.25))


def bright(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Overexposed: 1.8–3 times the light plus 30–70, highlights lost."""
    return _to_image(image * rng.uniform(1.8, 3.0) + rng.uniform(30, 70))


def fog(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Drifting whitish haze that hides 50–85 % of the scene."""
    drifts = _smooth_field((image.shape[0], image.shape[1]), 3, rng)[..., None]
    density = np.clip(rng.uniform(0.60, 0.75) + 0.25 * (drifts - 0.5), 0, 1)
    return _to_image(image * (1 - density) + rng.uniform(200, 230) * density)


def low_resolution(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Far away or badly scaled: the shorter side reduced to 10–18 pixels, shown as squares."""
    height, width = image.shape[:2]
    scale = rng.uniform(10, 18) / min(height, width)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    reduced = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.asarray(reduced.resize((width, height), Image.Resampling.NEAREST))


def occlusion(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Something in front: a plain dark rectangle over 12–25 % of the image, near the centre."""
    height, width = image.shape[:2]
    share, aspect = rng.uniform(0.12, 0.25), rng.uniform(0.7, 1.4)
    rows, columns = int(height * np.sqrt(share * aspect)), int(width * np.sqrt(share / aspect))
    top = int(rng.uniform(0.2, 0.8) * (height - rows))
    left = int(rng.uniform(0.2, 0.8) * (width - columns))
    covered = image.copy()
    covered[top : top + rows, left : left + columns] = rng.integers(0, 40)
    return covered


def rotation(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Camera tilted by 35–75° to either side; the empty corners are black."""
    angle = rng.uniform(35, 75) * rng.choice([-1, 1])
    return np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC))


def upside_down(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Camera mounted upside down: rotated by 180°."""
    return np.ascontiguousarray(image[::-1, ::-1])


def jpeg(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Compressed too strongly: JPEG quality 3–8, with visible 8×8 blocks."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(3, 9)))
    return np.asarray(Image.open(buffer).convert("RGB"))


def colour_cast(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Wrong white balance: orange light, red raised by 20–50 %, most of the blue lost."""
    gains = np.array([rng.uniform(1.2, 1.5), rng.uniform(0.6, 0.75), rng.uniform(0.15, 0.35)])
    return _to_image(image * gains + np.array([30, 0, 0]))


def rain(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Bright slanted streaks over a slightly darkened scene."""
    side = min(image.shape[:2])
    length = int(rng.uniform(0.10, 0.18) * side) | 1
    drops = (rng.random(image.shape[:2]) < rng.uniform(0.010, 0.018)).astype(np.float64)
    slant = np.tan(np.radians(rng.uniform(-25, 25)))
    kernel = np.zeros((length, 2 * length + 1))
    rows = np.arange(length)
    kernel[rows, np.rint(length + (rows - length / 2) * slant).astype(int)] = 1
    streaks = np.clip(_convolve(drops[..., None], kernel), 0, 1) * rng.uniform(0.6, 0.85)
    return _to_image(image * 0.8 * (1 - streaks) + 235 * streaks)


def low_contrast(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Everything close to a mid grey, with 10–22 % of the contrast left."""
    return _to_image(rng.uniform(90, 150) + rng.uniform(0.10, 0.22) * (image - 127.5))


def grey(image: Pixels, rng: np.random.Generator) -> Pixels:
    """No colour: luminance only, contrast slightly raised."""
    luminance = _luminance(image)
    return _to_image(
        np.repeat((luminance.mean() + rng.uniform(1.0, 1.3) * (luminance - luminance.mean()))[..., None], 3, 2)
    )


def shadow(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A hard shadow: one side of a slanted line keeps 10–25 % of its light."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    angle = rng.uniform(0, 2 * np.pi)
    side = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle) > rng.uniform(-0.12, 0.12)
    return _to_image(image * np.where(side, rng.uniform(0.10, 0.25), 1.0)[..., None])


def dirt(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Mud on the lens: 15–30 soft brown spots."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    count = rng.integers(15, 31)
    rows, columns = rng.uniform(0, height, count), rng.uniform(0, width, count)
    radii = rng.uniform(0.03, 0.09, count) * min(height, width)
    distance = np.hypot(y[..., None] - rows, x[..., None] - columns) / radii
    cover = np.clip(1.6 - 1.2 * distance, 0, 0.95).max(axis=-1)[..., None]
    return _to_image(image * (1 - cover) + np.array([72, 54, 34]) * cover)


def glare(image: Pixels, rng: np.random.Generator) -> Pixels:
    """The sun in the picture: a white disc with a wide halo, anywhere."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    row, column = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
    distance = np.hypot(y - row, x - column) / (rng.uniform(0.16, 0.24) * min(height, width))
    light = np.exp(-(np.maximum(distance - 0.5, 0) ** 2))[..., None]
    return _to_image(image * (1 - light) + np.array([255, 252, 235]) * light)


SCENARIOS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "blur": blur,
    "motion-blur": motion_blur,
    "noise": noise,
    "salt-and-pepper": salt_and_pepper,
    "dark": dark,
    "bright": bright,
    "fog": fog,
    "low-resolution": low_resolution,
    "occlusion": occlusion,
    "rotation": rotation,
    "upside-down": upside_down,
    "jpeg": jpeg,
    "colour-cast": colour_cast,
    "rain": rain,
    "low-contrast": low_contrast,
    "grey": grey,
    "shadow": shadow,
    "dirt": dirt,
    "glare": glare,
}


def disturb(image: Pixels, name: str, scenario: str) -> Pixels:
    """Disturb an image.

    Parameters
    ----------
    image : ndarray of shape (height, width, 3), uint8
    name : str
        The image's name, which with `scenario` seeds the random numbers.
    scenario : str
        A key of `SCENARIOS`.

    Returns
    -------
    ndarray of the same shape and type as `image`
    """
    rng = np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(scenario.encode())])
    return SCENARIOS[scenario](image, rng)


def read_base(path: Path) -> Pixels:
    """Read an image file as RGB pixels; if its shorter side is smaller than `SIDE`, it is enlarged to that."""
    image = Image.open(path).convert("RGB")
    shorter = min(image.size)
    if shorter < SIDE:
        image = image.resize(
            (round(image.width * SIDE / shorter), round(image.height * SIDE / shorter)), Image.Resampling.BICUBIC
        )
    return np.asarray(image)


def draw_shares(
    rng: np.random.Generator, *, scenarios: Sequence[str] = tuple(SCENARIOS), fewest: int = 3, most: int = 9
) -> dict[str, float]:
    """Draw the scenarios of a mix and the share of each.

    The shares are log-uniform over a factor of 25, so most mixes have one or two large scenarios and a tail of small
    ones; none is below `SMALLEST_SHARE`.

    Returns
    -------
    dict of str to float
        Share of each scenario; the sum is 1.
    """
    count = int(rng.integers(fewest, min(most, len(scenarios)) + 1))
    chosen = rng.choice(list(scenarios), count, replace=False)
    weights = np.exp(rng.uniform(0, np.log(25), count))
    shares = SMALLEST_SHARE + (1 - count * SMALLEST_SHARE) * weights / weights.sum()
    return dict(zip(chosen.tolist(), shares.tolist(), strict=True))


def plan_mix(
    names: Sequence[str], n_images: int, shares: Mapping[str, float], rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Assign scenarios to images; no image is used twice.

    Parameters
    ----------
    names : sequence of str
        The images to choose from, at least `n_images`.
    n_images : int
    shares : mapping of str to float
        Share of each scenario.
    rng : numpy.random.Generator

    Returns
    -------
    list of (name, scenario)
        `n_images` pairs. Each scenario has its rounded share of them, but at least one; the largest takes the
        remainder.
    """
    counts = {scenario: max(1, round(share * n_images)) for scenario, share in shares.items()}
    counts[max(shares, key=shares.__getitem__)] += n_images - sum(counts.values())
    chosen = rng.choice(sorted(names), n_images, replace=False).tolist()
    scenarios = [scenario for scenario, count in counts.items() for _ in range(count)]
    return list(zip(chosen, scenarios, strict=True))


def make_mix(
    image_folder: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    n_images: int = 600,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[tuple[str, str]]:
    """Write a set of disturbed images and the scenario of each.

    Parameters
    ----------
    image_folder : path
        Searched recursively for PNG and JPEG files.
    out_dir : path
        Output folder for `images/00000.png` … in random order, and `scenarios.csv` with the columns image, scenario.
    n_images : int
    shares : mapping of str to float, optional
        Share of each scenario; drawn by `draw_shares` if not given.
    seed : int

    Returns
    -------
    list of (str, str)
        The rows of `scenarios.csv`.
    """
    rng = np.random.default_rng(seed)
    source, out = Path(image_folder), Path(out_dir)
    found = (path for path in source.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    names = sorted(path.relative_to(source).as_posix() for path in found)
    shares = draw_shares(rng) if shares is None else shares
    plan = plan_mix(names, n_images, shares, rng)
    rng.shuffle(plan)
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (name, scenario) in enumerate(plan):
        pixels = disturb(read_base(source / name), name, scenario)
        Image.fromarray(pixels).save(out / "images" / f"{index:05d}.png")
        rows.append((f"{index:05d}.png", scenario))
    with (out / SCENARIOS_FILE).open("w", newline="") as file:
        csv.writer(file).writerows([("image", "scenario"), *rows])
    return rows
