"""Draw the README's picture of RCCs, docs/rccs.gif, from the GIFs of a run on the example.

    python -m lab.drawing.gifs [--out .method]

The largest RCCs play side by side, as SAFE draws them, with what each has in common above it.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageSequence

from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.gifs import gif_path
from safe_dnn.reasons.comparison import load_reasons
from safe_dnn.support.errors import SAFEError

PICTURE = Path(__file__).parents[2] / "docs" / "rccs.gif"
SHOWN, FRAMES, WIDTH, TITLE, GAP = 4, 10, 208, 26, 4  # RCCs, images of each, and pixels
MILLISECONDS = 700
COLOURS = 64


def titles(folder: Path) -> list[tuple[int, str]]:
    """The largest RCCs, each with the weak spot that it lies in."""
    clusters = load_clusters(folder)
    reasons = load_reasons(folder, clusters)
    spot_of = reasons.inside | reasons.same_as
    largest = sorted(spot_of, key=lambda rcc: -clusters.sizes[rcc])[:SHOWN]
    return [(rcc, reasons.spots[spot_of[rcc]].where) for rcc in largest]


def draw(folder: Path) -> list[Image.Image]:
    """The frames of the picture."""
    named, n_rccs = titles(folder), load_clusters(folder).n_rccs
    played = []
    for rcc, _ in named:
        with Image.open(gif_path(folder, rcc, n_rccs)) as gif:
            step = max(1, getattr(gif, "n_frames", 1) // FRAMES)
            played.append([frame.convert("RGB") for frame in ImageSequence.Iterator(gif)][::step][:FRAMES])
    height = round(WIDTH * played[0][0].height / played[0][0].width)
    font = ImageFont.load_default(13)
    frames = []
    for number in range(FRAMES):
        frame = Image.new("RGB", (len(named) * (WIDTH + GAP) - GAP, height + TITLE), "white")
        for place, ((_, where), of_rcc) in enumerate(zip(named, played, strict=True)):
            left = place * (WIDTH + GAP)
            shown = of_rcc[number % len(of_rcc)].resize((WIDTH, height), Image.Resampling.LANCZOS)
            frame.paste(shown, (left, TITLE))
            ImageDraw.Draw(frame).text((left + 2, 4), where, font=font, fill="#24292f")
        frames.append(frame.quantize(COLOURS))
    return frames


def main(arguments: list[str] | None = None) -> int:
    """Run the program; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.drawing.gifs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", default=".method", type=Path, metavar="DIR", help="the analysis of the example")
    options = parser.parse_args(arguments)
    try:
        first, *others = draw(options.out)
    except SAFEError as error:
        print(f"gifs: {error}", file=sys.stderr)
        return 2
    first.save(PICTURE, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, optimize=True)
    print(f"Written: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
