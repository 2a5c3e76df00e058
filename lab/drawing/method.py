"""Draw the pictures of docs/method.md from the example case.

    python -m lab.drawing.method [--case example] [--work .method]

Runs the steps on the case (`make run` builds it in `example`) by the command line, with `vgg16-conv`, and writes the
pictures to docs/method/. The first run takes about ten minutes on two cores; later ones find the results in place.
Colours are those of Okabe and Ito, which colour-blind people can tell apart, and each is labelled.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.cluster.hierarchy import cophenet, leaves_list, linkage
from scipy.spatial.distance import squareform

from safe_dnn.api.probing import HEATMAPS_FILE, HEATMAPS_FOLDER
from safe_dnn.FE import extract_features
from safe_dnn.features.extractor import CONV_BLOCKS, CONV_LAYERS, comparable
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.rccs.clusters import LABELS_FILE, RootCauseClusters, load_clusters
from safe_dnn.rccs.confidence import by_closeness
from safe_dnn.rccs.dbscan.density import SMALLEST_BRANCH, Density
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.projection import average_neighbours
from safe_dnn.rccs.dbscan.tuning import tune
from safe_dnn.rccs.profiles import load_profiles
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, load_unsafe_set
from safe_dnn.reasons.probes import PROBES_FILE, changed_pixels, load_probes
from safe_dnn.report.drawings import heatmaps_of
from safe_dnn.store.runs import PROBES, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import replacing
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.training.result import RETRAINING_FILE

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "method"
TOOL = ROOT / "SAFE_Tool.py"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#7F7F7F")  # Okabe and Ito
INK, FAINT = "#24292f", "#b4bac2"
STYLE: Any = {
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.dpi": 110,
}
PHOTOGRAPHS = ("rccs", "heatmaps")  # as JPEG, a fifth of the bytes
SAVING: dict[str, dict[str, Any]] = {"png": {"optimize": True}, "jpg": {"quality": 90, "optimize": True}}
NAMES = {  # what an engineer would call each RCC of the example, by the known cause of most of its images
    "sunglasses": "sunglasses",
    "glare": "glare on glasses",
    "dark": "darkness",
    "out of focus": "out of focus",
    "head turned right": "head turned",
    "looking up-left at the border": "gaze up-left",
    "looking down-right at the border": "gaze down-right",
}

LOOKED_AT = ("glare on glasses", "head turned", "gaze up-left", "gaze down-right", "sunglasses")


@dataclass(frozen=True)
class Example:
    """The case and the run on it."""

    case: Path
    work: Path

    @cached_property
    def clusters(self) -> RootCauseClusters:
        return load_clusters(self.work)

    @cached_property
    def features(self) -> np.ndarray:
        extractor = choose_extractor("vgg16-conv")
        return extract_features(self.case / "failures", extractor).features

    @cached_property
    def averaged(self) -> np.ndarray:
        return average_neighbours(self.clusters.points)

    @cached_property
    def density(self) -> Density:
        return Density(Points(self.averaged), self.clusters.min_samples)

    @cached_property
    def names(self) -> dict[int, str]:
        """A name for each RCC."""
        causes = json.loads((self.case / "causes.json").read_text(encoding="utf-8"))
        of_image = {image.removeprefix("failures/"): cause["name"] for cause in causes for image in cause["failing"]}
        names = {}
        for rcc in self.rccs:
            known = [of_image[path] for path in self.clusters.members(rcc) if path in of_image]
            names[rcc] = NAMES[max(sorted(set(known)), key=known.count)] if known else f"RCC {rcc}"
        return names

    @property
    def rccs(self) -> list[int]:
        return [rcc for rcc in self.clusters.groups if rcc != NOISE]

    def colours(self, labels: np.ndarray) -> list[str]:
        return [FAINT if label == NOISE else COLOURS[label % len(COLOURS)] for label in labels]

    def image(self, path: str) -> np.ndarray:
        return np.asarray(Image.open(self.case / "failures" / path).convert("RGB"))


def draw_features(plt: Any, example: Example) -> Any:
    """Images of three RCCs beside their features: rows of one RCC resemble each other."""
    shown = [path for rcc in example.rccs[:4] for path, _ in by_closeness(example.clusters, rcc)[:12:6]]
    rows = [example.clusters.paths.index(path) for path in shown]
    scaled = comparable(example.features, "vgg16-conv")
    standard = (scaled - scaled.mean(axis=0)) / np.maximum(scaled.std(axis=0), 1e-9)
    # As many channels of each layer, those that vary most
    ends = np.cumsum(list(CONV_LAYERS.values()))
    each = [np.arange(end - width, end) for end, width in zip(ends, CONV_LAYERS.values(), strict=True)]
    columns = np.concatenate([np.sort(layer[np.argsort(-scaled.std(axis=0)[layer])[:16]]) for layer in each])

    figure = plt.figure(figsize=(9, 4.6))
    grid = figure.add_gridspec(len(shown), 2, width_ratios=(0.7, 9), hspace=0.12, wspace=0.02)
    for place, path in enumerate(shown):
        axis = figure.add_subplot(grid[place, 0])
        axis.imshow(example.image(path))
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if place % 2 == 0:
            name = example.names[example.clusters.labels[rows[place]]]
            axis.annotate(name, (-0.25, -0.06), xycoords="axes fraction", ha="right", va="center")
    axis = figure.add_subplot(grid[:, 1])
    limits = {"vmin": -2.5, "vmax": 2.5, "cmap": "PuOr_r"}
    picture = axis.imshow(standard[np.ix_(np.array(rows), columns)], aspect="auto", interpolation="nearest", **limits)
    layers = [n_layers for _, n_layers in CONV_BLOCKS]
    starts = 16 * np.concatenate([[0], np.cumsum(layers)])
    axis.set_xticks((starts[:-1] + starts[1:]) / 2 - 0.5, [f"block {i}" for i in range(1, len(layers) + 1)])
    axis.set_yticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.vlines(starts[1:-1] - 0.5, -0.5, len(shown) - 0.5, color="white", linewidth=2)
    axis.hlines(np.arange(1, len(shown)) - 0.5, -0.5, len(columns) - 0.5, color="white", linewidth=[1, 5] * 4)
    axis.set_title("16 channels of each of VGG16's 13 convolutional layers", loc="left")
    bar = figure.colorbar(picture, ax=axis, shrink=0.6, pad=0.015, ticks=[-2, 0, 2])
    bar.ax.set_yticklabels(["weaker", "average of\nall failures", "stronger"])
    bar.outline.set_visible(False)
    return figure


def draw_distances(plt: Any, example: Example) -> Any:
    """Distances between all failing images after each transformation, and how far neighbours agree."""
    labels = example.clusters.labels
    order = np.concatenate([np.flatnonzero(labels == rcc) for rcc in example.clusters.groups])
    scaled = comparable(example.features, "vgg16-conv")
    spaces = {
        "Features": scaled,
        "After PCA and scaling": example.clusters.points,
        "After averaging neighbours": example.averaged,
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.5))
    stops = np.cumsum([(labels == rcc).sum() for rcc in example.clusters.groups])
    for axis, (name, points) in zip(axes, spaces.items(), strict=True):
        points = points[order].astype(np.float64)
        squares = (points**2).sum(axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
        limits = {"vmin": 0, "vmax": np.percentile(distances, 98)}
        picture = axis.imshow(distances, cmap="cividis", interpolation="antialiased", **limits)
        axis.set_title(name)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        same = labels[order][:, None] == labels[order]
        share = distances[same & ~np.eye(len(order), dtype=bool)].mean() / distances[~same].mean()
        axis.set_xlabel(f"within / between RCCs: {share:.2f}", fontsize=9.5)
        for start, stop, rcc in zip([0, *stops[:-1]], stops, example.clusters.groups, strict=True):
            colour = FAINT if rcc == NOISE else COLOURS[rcc % len(COLOURS)]
            axis.plot([-9, -9], [start + 4, stop - 4], color=colour, linewidth=5, solid_capstyle="butt", clip_on=False)
            if axis is axes[0]:
                name = "no cluster" if rcc == NOISE else example.names[rcc]
                axis.text(-22, (start + stop) / 2, name, ha="right", va="center", fontsize=9.5)
    figure.tight_layout(w_pad=1.2)
    bar = figure.colorbar(picture, ax=axes, shrink=0.45, pad=0.02, ticks=[0, limits["vmax"]])
    bar.ax.set_yticklabels(["near", "far"])
    bar.outline.set_visible(False)
    return figure


def radius_of(density: Density, members: np.ndarray, upper: float) -> float:
    """An eps at which DBSCAN finds a cluster: halfway between the longest step within it and the shortest out of it."""
    inside = np.isin(np.arange(len(density.points)), members)
    reachability = density.reachability()
    within = linkage(squareform(reachability[np.ix_(inside, inside)], checks=False), "single")[:, 2].max(initial=0)
    return float(within + reachability[np.ix_(inside, ~inside)].min(initial=upper)) / 2


def groups_in_the_plane() -> np.ndarray:
    """Two tight groups of 26 and 24 points, a loose one of 34, and three points away from all."""
    rng = np.random.default_rng(7)
    groups = [((0, 0), 0.3, 26), ((1.7, 0.1), 0.3, 24), ((5.2, 1.0), 0.95, 34)]
    points = np.concatenate([rng.normal(centre, spread, (n, 2)) for centre, spread, n in groups])
    return np.concatenate([points, [(1.2, 3.2), (-1.2, 2.4), (2.9, -1.6)]]).astype(np.float32)


def draw_dbscan(plt: Any, example: Example | None) -> Any:
    """DBSCAN on points in the plane: one eps for all finds two of three groups, one for each branch all three."""
    points = groups_in_the_plane()
    density = Density(Points(points), 5)
    tuned = tune(points)
    upper = 2 * float(tuned.k_distances[tuned.knee or -1])
    radii = [radius_of(density, np.flatnonzero((tuned.labels == rcc) & tuned.is_core), upper) for rcc in range(3)]
    panels = (
        ("eps = 0.4: the loose group falls apart", *density.cluster(0.4), None, 0.4),
        ("eps = 1.0: the tight groups are one", *density.cluster(1.0), None, 1.0),
        ("SAFE: an eps for each branch", tuned.labels, tuned.is_core, radii, 0.0),
    )
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.75), sharex=True, sharey=True)
    for axis, (title, labels, is_core, own_radii, eps) in zip(axes, panels, strict=True):
        # The colour of a cluster is that of the group in which most of its points are, as SAFE finds it
        colours = [INK] * len(points)
        for cluster in range(labels.max() + 1):
            rows = np.flatnonzero(labels == cluster)
            colour = COLOURS[np.bincount(tuned.labels[rows][tuned.labels[rows] >= 0]).argmax()]
            for row in rows:
                colours[row] = colour
            for row in rows[is_core[rows]]:
                radius = own_radii[cluster] if own_radii else eps
                axis.add_patch(plt.Circle(points[row], radius, color=colour, alpha=0.07, linewidth=0))
        kinds = {
            "core point": (is_core, "o", 24),
            "border point": (~is_core & (labels != NOISE), "^", 28),
            "noise": (labels == NOISE, "x", 22),
        }
        for name, (mask, marker, size) in kinds.items():
            edge = {} if marker == "x" else {"edgecolors": "white", "linewidths": 0.5}
            chosen = [colour for colour, of_kind in zip(colours, mask, strict=True) if of_kind]
            axis.scatter(*points[mask].T, s=size, marker=marker, c=chosen, zorder=3, **edge)
            axis.scatter([], [], marker=marker, color=INK, s=size, label=name)
        axis.set_title(title, fontsize=10.5)
        axis.set(xticks=[], yticks=[], aspect="equal", xlim=(-2, 8.4), ylim=(-2.7, 5.2))
        axis.spines[:].set_visible(False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=3, handletextpad=0.2)
    figure.tight_layout(rect=(0, 0.07, 1, 1), w_pad=0.5)
    return figure


def draw_tree(plt: Any, example: Example) -> Any:
    """The steps between the failing images and the clusters at each eps: RCCs are branches of the tree."""
    density, labels = example.density, example.clusters.labels
    order = leaves_list(density.merges)
    steps = np.concatenate([[np.nan], squareform(cophenet(density.merges))[order[:-1], order[1:]]])
    place = np.argsort(order)
    knee = float(example.clusters.k_distances[example.clusters.knee or -1])
    top = float(density.merges[-1, 2]) * 1.06
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 6.6), sharex=True, height_ratios=(1, 1.25))

    upper.bar(np.arange(len(order)), steps, width=1, color=example.colours(labels[order]))
    upper.set(ylabel="step to the next image", ylim=(0, top))
    upper.tick_params(bottom=False)
    lower.imshow(
        _tree_picture(example, order, np.linspace(top, 0, 500)),
        extent=(-0.5, len(order) - 0.5, 0, top),
        aspect="auto",
        interpolation="nearest",
    )
    lower.axhline(2 * knee, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    lower.annotate("the search begins here: twice the knee of the k-distance curve", (0, 2 * knee), (6, 4),
                   textcoords="offset points", fontsize=9)  # fmt: skip
    for rcc in example.rccs:
        ends = np.flatnonzero(labels[order] == rcc)
        radius = radius_of(density, np.flatnonzero(labels == rcc), 2 * knee)
        lower.plot([ends[0], ends[-1]], [radius, radius], color="white", linewidth=3.5, solid_capstyle="butt")
        lower.plot([ends[0], ends[-1]], [radius, radius], color=INK, linewidth=1.6, solid_capstyle="butt")
        text = f"{example.names[rcc]}\n".replace(" ", "\n", 1) + f"{len(ends)} images"
        lower.annotate(text, (np.median(place[labels == rcc]), 0), (0, -6), textcoords="offset points", ha="center",
                       va="top", fontsize=9)  # fmt: skip
    lower.set(ylabel="eps", xticks=[])
    figure.tight_layout(h_pad=0.6)
    return figure


def _tree_picture(example: Example, order: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A row of pixels for each eps, a column for each image: grey where clusters hold several RCCs, coloured in one."""
    labels = example.clusters.labels
    whole = {rcc: int((labels == rcc).sum()) for rcc in example.rccs}
    picture = np.ones((len(levels), len(order), 3))
    for row, eps in enumerate(levels):
        found, is_core = example.density.cluster(eps)
        found[~is_core] = NOISE
        of_place = found[order]
        split = {rcc: len(np.unique(found[(labels == rcc) & is_core])) > 1 for rcc in example.rccs}
        for cluster in np.unique(of_place[of_place != NOISE]):
            columns = np.flatnonzero(of_place == cluster)
            if len(columns) < SMALLEST_BRANCH:
                continue
            rccs = set(labels[order[columns]].tolist()) - {NOISE}
            colour = np.array([0.82, 0.84, 0.87])
            if len(rccs) == 1:
                rcc = rccs.pop()
                code = int(COLOURS[rcc % len(COLOURS)][1:], 16)
                colour = np.array([code >> shift & 255 for shift in (16, 8, 0)]) / 255
                if split[rcc] and len(columns) < 0.9 * whole[rcc]:
                    colour = 0.45 * colour + 0.55
            picture[row, columns] = colour
            if len(columns) < len(order):
                picture[row, columns[-1]] = 1
    return picture


def draw_rccs(plt: Any, example: Example) -> Any:
    """Six images of each RCC, from its middle to its edge, and what its images have in common."""
    profiles = {profile.rcc: profile.text for profile in load_profiles(example.work)}
    figure, axes = plt.subplots(len(example.rccs), 6, figsize=(9, 1.12 * len(example.rccs)))
    for line, rcc in zip(axes, example.rccs, strict=True):
        members = [path for path, _ in by_closeness(example.clusters, rcc)]
        places = np.linspace(0, len(members) - 1, len(line)).round().astype(int)
        for axis, path in zip(line, [members[i] for i in places], strict=True):
            axis.imshow(example.image(path))
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        common = profiles[rcc].split(";")[0].split(" (")[0]
        colour = COLOURS[rcc % len(COLOURS)]
        line[0].annotate(f"{example.names[rcc]}", (-0.12, 0.72), xycoords="axes fraction", ha="right", va="center",
                         fontweight="bold")  # fmt: skip
        line[0].annotate(f"{len(members)} images\n{common}", (-0.12, 0.32), xycoords="axes fraction", ha="right",
                         va="center", fontsize=9.5)  # fmt: skip
        line[0].plot([-0.05, -0.05], [0, 1], transform=line[0].transAxes, color=colour, linewidth=5, clip_on=False,
                     solid_capstyle="butt")  # fmt: skip
    figure.subplots_adjust(left=0.27, right=1, top=1, bottom=0, wspace=0.03, hspace=0.06)
    return figure


def draw_heatmaps(plt: Any, example: Example) -> Any:
    """Where the network looks in the failing images of some RCCs, in right ones, and what the first lack."""
    review = load_review(example.work)
    subject_of = {name: review.subjects[rcc] for rcc, name in example.names.items()}
    kept = heatmaps_of(example.work, review.run, review.subjects.values())
    figure, axes = plt.subplots(len(LOOKED_AT), 1, figsize=(6, 2.1 * len(LOOKED_AT)), squeeze=False)
    for axis, name in zip(axes[:, 0], LOOKED_AT, strict=True):
        axis.imshow(np.asarray(kept[subject_of[name]].picture))
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[0, 0].set_title("failing images · right images · what failing ones lack")
    figure.subplots_adjust(left=0.2, right=1, top=0.95, bottom=0, hspace=0.05)
    return figure


def draw_unsafe(plt: Any, example: Example) -> Any:
    """Improvement images by their distance to the nearest core point of an RCC, and the nearest, which are selected."""
    clusters, unsafe = example.clusters, load_unsafe_set(example.work)
    found = extract_features(unsafe.improvement_root, choose_extractor("vgg16-conv"))
    core_points = Points(clusters.points[clusters.is_core])
    nearest, distances = core_points.nearest_to(clusters.projection.apply(found.features))
    rcc_of = clusters.labels[clusters.is_core][nearest]
    selected = np.isin(found.paths, [image.image for image in unsafe.images])
    n = len(example.rccs)
    figure = plt.figure(figsize=(9, 0.62 * n + 0.7))
    grid = figure.add_gridspec(n, 6, width_ratios=(9, 0.9, 0.9, 0.9, 0.9, 0.9), wspace=0.04, hspace=0.08)
    axis = figure.add_subplot(grid[:, 0])
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(rcc_of))
    for line, rcc in enumerate(example.rccs):
        colour = COLOURS[rcc % len(COLOURS)]
        for rows, style in (
            ((rcc_of == rcc) & ~selected, {"s": 7, "color": FAINT, "linewidths": 0}),
            ((rcc_of == rcc) & selected, {"s": 13, "color": colour, "linewidths": 0}),
        ):
            axis.scatter(distances[rows], line + spread[rows], **style)
        axis.plot([clusters.reach[rcc]] * 2, [line - 0.42, line + 0.42], color=INK, linewidth=1.6)
        images = [image for image in unsafe.images if image.rcc == rcc][:5]
        for column, image in enumerate(images, start=1):
            small = figure.add_subplot(grid[line, column])
            small.imshow(np.asarray(Image.open(unsafe.improvement_root / image.image).convert("RGB")))
            small.set(xticks=[], yticks=[])
            small.spines[:].set_visible(False)
            if line == 0 and column == 1:
                small.set_title("the nearest five", loc="left", fontsize=9.5)
    axis.set_yticks(range(n), [example.names[rcc] for rcc in example.rccs])
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(n - 0.5, -0.5), xlim=(0, None), xlabel="distance to the nearest core point")
    axis.set_title("coloured: selected · grey: not selected · line: reach of the RCC", loc="left", fontsize=9.5)
    axis.spines["left"].set_visible(False)
    return figure


def draw_retraining(plt: Any, example: Example) -> Any:
    """How much of each RCC the retrained model gets right."""
    record = json.loads((example.work / RETRAINING_FILE).read_text(encoding="utf-8"))
    shares = {int(share["name"]): share for share in record["per_rcc"]}
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(example.rccs) + 1))
    for line, rcc in enumerate(example.rccs):
        share = shares[rcc]
        right = share["after"] / share["images"]
        axis.barh(line, 1, color="#eceef1", height=0.62)
        axis.barh(line, right, color=COLOURS[rcc % len(COLOURS)], height=0.62)
        axis.text(1.01, line, f"{share['after']} of {share['images']}", va="center", fontsize=9.5)
    axis.set_yticks(range(len(example.rccs)), [example.names[rcc] for rcc in example.rccs])
    axis.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.set(ylim=(len(example.rccs) - 0.5, -0.5), xlim=(0, 1.12))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    before, after = record["accuracy_before"], record["accuracy_after"]
    title = f"Images like those of each RCC that are right now. Test accuracy: {before:.1%} → {after:.1%}"
    axis.set_title(title, loc="left", fontsize=10.5)
    return figure


def draw_probe(plt: Any, example: Example) -> Any:
    """A right image darkened as far as dark failures, one changed as much otherwise, and a failing one brightened."""
    probe = load_probes(present_runs(example.work)[PROBES])[0]
    right, failing = Path(example.case / "test"), example.image(example.clusters.members(0)[0])
    path = next(
        path
        for path in sorted(right.rglob("*.png"))
        if not (example.case / "failures" / path.relative_to(right)).exists()
    )
    pixels = np.asarray(Image.open(path).convert("RGB"))
    darkened, otherwise = changed_pixels(pixels, probe)
    brightened, _ = changed_pixels(failing, probe.back)
    pictures = {
        "right": pixels, "as dark as these": darkened, "changed as much": otherwise, "failing": failing,
        "brightened": brightened,
    }  # fmt: skip
    figure, axes = plt.subplots(1, len(pictures), figsize=(9, 2.1))
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set(xticks=[], yticks=[], title=title)
        axis.spines[:].set_visible(False)
    figure.subplots_adjust(left=0, right=1, top=0.85, bottom=0, wspace=0.05)
    return figure


PLOTS: Mapping[str, Callable[[Any, Example], Any]] = {
    "features": draw_features,
    "distances": draw_distances,
    "dbscan": draw_dbscan,
    "tree": draw_tree,
    "rccs": draw_rccs,
    "heatmaps": draw_heatmaps,
    "probe": draw_probe,
    "unsafe": draw_unsafe,
    "retraining": draw_retraining,
}


def kind_of(name: str) -> str:
    """What a picture's name ends in."""
    return "jpg" if name in PHOTOGRAPHS else "png"


def run_steps(case: Path, work: Path) -> None:
    """Run the steps whose results are not in the work folder yet.

    Raises
    ------
    SAFEError
        The case is not there, or a step failed (the command line has printed why).
    """
    accuracy = case / ACCURACY_FILE
    if not accuracy.is_file():
        build = f"python -m safe_dnn.casestudies.build gd --out {case}"
        raise SAFEError(f"Expected the case gd, built. Received: {case}. Run: {build}")
    tested = json.loads(accuracy.read_text(encoding="utf-8"))
    known = ["--test-accuracy", tested["test_accuracy"], "--test-size", tested["test_size"]]
    sets = ["--train", case / "train", "--test", case / "test", "--improvement", case / "improvement"]
    steps = (
        (LABELS_FILE, ["cluster", case / "failures", "--extractor", "vgg16-conv"]),
        (f"{HEATMAPS_FOLDER}/{HEATMAPS_FILE}", ["heatmaps"]),
        (PROBES_FILE, ["probe", "--reason", "weak spot 1"]),
        (UNSAFE_SET_FILE, ["select", case / "improvement", *known]),
        (RETRAINING_FILE, ["retrain", case / "model.keras", *sets]),
    )
    for result, command in steps:
        words = [str(word) for word in [sys.executable, TOOL, *command, "--out", work]]
        if not (work / result).is_file() and subprocess.run(words, check=False).returncode:
            raise SAFEError(f"The command {command[0]} failed.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", default="example", type=Path, metavar="DIR", help="the built case gd")
    parser.add_argument("--work", default=".method", type=Path, metavar="DIR", help="where the run is kept")
    parser.add_argument("--only", nargs="+", choices=PLOTS, default=list(PLOTS), help="these pictures")
    options = parser.parse_args(arguments)
    try:
        run_steps(options.case, options.work)
    except SAFEError as error:
        print(f"lab.drawing.method: {error}", file=sys.stderr)
        return 2
    example = Example(options.case, options.work)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    PICTURES.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        for name in options.only:
            figure = PLOTS[name](plt, example)
            kind = kind_of(name)
            with replacing(PICTURES / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, bbox_inches="tight", pad_inches=0.12, pil_kwargs=SAVING[kind])
            plt.close(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
