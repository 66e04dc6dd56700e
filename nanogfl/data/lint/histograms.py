"""Histograms of the training objects: sizes and aspects as the network sees them, objects an image, boxes a class."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.lint.finding import Split
from nanogfl.data.lint.sizes import TINY, sides_at_input
from nanogfl.io.atomic import atomic_path
from nanogfl.io.printable import printable

SIZE_EDGES = 2.0 ** np.arange(0, 11.25, 0.25)
"""network-input pixels"""
ASPECT_EDGES = 2.0 ** np.arange(-4, 4.25, 0.25)
"""width over height"""
MOST_NAMED = 30
"""classes with a name in the picture"""
_BAR, _MARK = "#3465a4", "#c4600c"


def histograms(train: Split, spec: InputSpec) -> dict[str, Any]:
    """Edges and counts, for a script. The outermost bins hold what lies beyond, too."""
    sides = sides_at_input(train, spec)
    size, aspect = np.sqrt(sides.prod(axis=1)), sides[:, 0] / sides[:, 1]
    return {
        "size": {"edges": SIZE_EDGES.round(3).tolist(), "counts": _counts(size, SIZE_EDGES).tolist()},
        "aspect": {"edges": ASPECT_EDGES.round(4).tolist(), "counts": _counts(aspect, ASPECT_EDGES).tolist()},
        "objects_per_image": np.bincount(_objects_per_image(train)).tolist(),
    }


def save_histograms(path: Path, train: Split, spec: InputSpec, finest_stride: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.figure import Figure

    sides = sides_at_input(train, spec)
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    (sizes, aspects), (numbers, classes) = figure.subplots(2, 2)

    _stairs(sizes, _counts(np.sqrt(sides.prod(axis=1)), SIZE_EDGES), SIZE_EDGES)
    _mark(sizes, finest_stride, f"finest stride {finest_stride:g}", 0.94)
    _mark(sizes, TINY, f"tiny below {TINY:g}", 0.88)
    sizes.set(xlabel="square root of the area, px at the input", ylabel="objects")
    sizes.set_title(f"sizes at {spec.hw[1]} x {spec.hw[0]} ({spec.resize})")

    _stairs(aspects, _counts(sides[:, 0] / sides[:, 1], ASPECT_EDGES), ASPECT_EDGES)
    aspects.set(xlabel="width / height at the input", ylabel="objects", title="aspects")

    per_image = np.bincount(_objects_per_image(train))
    numbers.bar(np.arange(len(per_image)), per_image, width=0.9, color=_BAR)
    numbers.set(xlabel="objects", ylabel="images", title="objects an image")

    _class_bars(classes, train)
    for axes in (sizes, aspects, numbers):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that matplotlib's font lacks is drawn as a box
        figure.savefig(temporary, format="png", dpi=110)


def _stairs(axes: Any, counts: NDArray[np.int64], edges: NDArray[np.float64]) -> None:
    axes.stairs(counts, edges, fill=True, color=_BAR)
    axes.set_xscale("log", base=2)
    ticks = edges[::4]  # an octave each
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    filled = np.flatnonzero(counts)
    if len(filled):  # the bins in use and one on either side
        axes.set_xlim(edges[max(0, filled[0] - 1)], edges[min(len(edges) - 1, filled[-1] + 2)])


def _mark(axes: Any, place: float, text: str, height: float) -> None:
    """A vertical line with its name, where it lies within what is shown."""
    low, high = axes.get_xlim()
    if low <= place <= high:
        axes.axvline(place, color=_MARK, linewidth=1.2)
        ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        beside = axes.get_xaxis_transform()
        axes.text(place, height, f" {text} ", color=_MARK, transform=beside, fontsize=8, ha="center", bbox=ground)


def _class_bars(axes: Any, train: Split) -> None:
    """Boxes a class, the commonest first; only a curve where nobody could read the names."""
    boxes = train.boxes_per_class()
    order = np.argsort(-boxes, kind="stable")
    long = bool(boxes.max() > 50 * max(1, boxes.min()))
    if len(order) <= MOST_NAMED:
        axes.barh(np.arange(len(order)), boxes[order], color=_BAR)
        axes.set_yticks(np.arange(len(order)), [_drawn(train.dataset.classes[label]) for label in order], fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="boxes", title="boxes a class")
        axes.set_xscale("symlog" if long else "linear")
        axes.grid(alpha=0.3, axis="x")
    else:
        axes.bar(np.arange(len(order)), boxes[order], width=1.0, color=_BAR)
        names = [_drawn(train.dataset.classes[label]) for label in order]
        ends = f"{', '.join(names[:3])} ... {', '.join(names[-2:])}"
        axes.set(xlabel=f"classes by frequency: {ends}", ylabel="boxes", title=f"boxes of {len(order)} classes")
        axes.set_yscale("symlog" if long else "linear")
        axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)


def _counts(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.histogram(values.clip(edges[0], edges[-1]), edges)[0].astype(np.int64)


def _objects_per_image(train: Split) -> NDArray[np.int64]:
    return np.bincount(train.image_of[~train.index.crowd], minlength=len(train.index))


def _drawn(name: str) -> str:
    """Matplotlib would read what is between two dollars as a formula."""
    return printable(name).replace("$", r"\$")
