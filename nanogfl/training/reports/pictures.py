"""Pictures of a run: its curves, validation detections beside the truth, the focus of an equalized loss."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.detections import Detect, Detections
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.data.cache.frames import read_checked
from nanogfl.data.class_counts import boxes_per_class
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.io.atomic import atomic_path
from nanogfl.loss.criterion import LOSS_PARTS
from nanogfl.loss.distill.criterion import DISTILL_PARTS
from nanogfl.loss.equalized import Equalizer

SHOWN_IMAGES = 6
NAMED = 8  # classes whose names are shown: so many of the largest gamma_j and so many of the smallest
_GAP = 0.05  # between two names, as a share of the axis


def save_curves(path: Path, log: list[dict[str, Any]]) -> None:
    """Losses and AP over epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision = figure.subplots(1, 2)
    epochs = [entry["epoch"] for entry in log]
    for name in ("loss", *LOSS_PARTS, *DISTILL_PARTS):
        if any(entry.get(name) for entry in log):  # side and quality are 0 where nothing learns them
            losses.plot(epochs, [entry.get(name, 0.0) for entry in log], label=name)
    losses.set(xlabel="epoch", title="training loss", ylim=(0, None))
    losses.grid(alpha=0.3)
    losses.legend()
    evaluated = [entry for entry in log if entry.get("ap") is not None]
    for name, label in (("ap", "AP"), ("ap50", "AP50")):
        precision.plot([e["epoch"] for e in evaluated], [e[name] for e in evaluated], marker=".", label=label)
    precision.set(xlabel="epoch", title="validation (averaged weights)", ylim=(0, 1))
    precision.grid(alpha=0.3)
    precision.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def save_validation_picture(path: Path, detect: Detect, dataset: DataSet) -> None:
    """A few validation images, spread over the set: ground truth on the left, detections on the right."""
    step = max(1, len(dataset.images) // SHOWN_IMAGES)
    pictures, titles = [], []
    for image in dataset.images[: step * SHOWN_IMAGES : step]:
        frame = read_checked(image)
        found = detect(frame).above(SHOWN_SCORE)
        pictures.append(draw_detections(frame, _as_detections(image), dataset.classes, show_scores=False))
        pictures.append(draw_detections(frame, found, dataset.classes))
        titles += ["truth", f"detections above {SHOWN_SCORE}"]
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", tile(pictures, columns=4, titles=titles))[1].tobytes())


def _as_detections(image: ImageRecord) -> Detections:
    shown = ~image.crowd
    return Detections(image.boxes[shown], np.ones(int(shown.sum()), dtype=np.float32), image.labels[shown])


def focus_entry(equalizer: Equalizer | None) -> dict[str, Any]:
    """What the focus adds to the log's entry: gamma_j per class, in the data set's order. Waits for the device."""
    if equalizer is None:
        return {}
    return {"gamma": [round(value, 4) for value in equalizer.focus().gamma.tolist()]}


def save_focus(path: Path, log: list[dict[str, Any]], dataset: DataSet) -> None:
    """Left: gamma_j over epochs, one line per class. Right: the last gamma_j over the class's training objects."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    entries = [entry for entry in log if "gamma" in entry]
    epochs = [entry["epoch"] for entry in entries]
    gamma = np.array([entry["gamma"] for entry in entries])  # (epochs, C)
    objects, last = boxes_per_class(dataset), gamma[-1]

    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    over_epochs, over_objects = figure.subplots(1, 2, sharey=True)
    # orange is rare, blue is frequent; plasma's yellow is left out, for it is unreadable as text
    palette = ListedColormap(colormaps["plasma_r"](np.linspace(0.25, 1, 256)))
    colouring = ScalarMappable(LogNorm(1, max(10, objects.max())), palette)
    colours = colouring.to_rgba(np.maximum(objects, 1))

    for label in np.argsort(-objects, kind="stable"):  # rare classes on top
        marker = "." if len(epochs) < 30 else ""
        over_epochs.plot(epochs, gamma[:, label], color=colours[label], marker=marker, linewidth=1.3)
    low, high = float(gamma.min()), float(gamma.max())
    margin = max(0.05 * (high - low), 0.5)
    over_epochs.set(xlabel="epoch", ylabel="gamma of the class", ylim=(low - margin, high + margin))
    over_epochs.xaxis.set_major_locator(MaxNLocator(integer=True))
    over_epochs.set_title("focus of every class over the training")
    named = _named(last)
    places = spread_out(last[named], high, _GAP * (high - low + 2 * margin))
    for label, place in zip(named, places, strict=True):
        text, beside = f"{dataset.classes[label]}  {last[label]:.2f}", over_epochs.get_yaxis_transform()
        over_epochs.text(1.02, place, text, transform=beside, color=colours[label], va="center", fontsize=8)
    over_objects.scatter(objects, last, c=colours, s=24)
    over_objects.set_xscale("symlog", linthresh=1)  # a logarithm with a place for 0
    over_objects.set_xlim(-0.3, 2 * max(10, objects.max()))
    over_objects.set(xlabel="training objects of the class", title=f"after epoch {epochs[-1]}")
    figure.colorbar(colouring, ax=over_objects, label="training objects")
    for axes in (over_epochs, over_objects):
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def spread_out(values: NDArray[np.float64], highest: float, gap: float) -> NDArray[np.float64]:
    """(K,) rising values -> (K,) places for their names, at least `gap` apart and none above `highest`."""
    places = values.astype(np.float64)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], highest - gap * (len(places) - 1 - i))
    return places


def _named(last: NDArray[np.float64]) -> NDArray[np.int64]:
    """The classes whose names are shown, by rising gamma_j."""
    order = np.argsort(last, kind="stable")
    return order if len(order) <= 2 * NAMED else np.concatenate((order[:NAMED], order[-NAMED:]))
