"""How an equalized loss treats the classes of a run: gamma_j in the log, and its picture."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.data.class_counts import boxes_per_class
from nanogfl.data.dataset import DataSet
from nanogfl.io.atomic import atomic_path
from nanogfl.loss.equalized import Equalizer

NAMED = 8  # classes with a name in the picture: these many of the largest gamma_j and these many of the smallest
_GAP = 0.05  # between two names, as a share of the axis


def focus_entry(equalizer: Equalizer | None) -> dict[str, Any]:
    """The log's entry at an epoch's end: gamma_j of every class in the data set's order. Waits for the device."""
    if equalizer is None:
        return {}
    return {"gamma": [round(value, 4) for value in equalizer.focus().gamma.tolist()]}


def save_focus(path: Path, log: list[dict[str, Any]], dataset: DataSet) -> None:
    """Left gamma_j over epochs, a line a class; right the last one over the class's number of training objects."""
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
    # orange is rare, blue is frequent; without plasma's yellow, which nobody could read as a name
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
    """Rising places for names beside rising values: at least `gap` apart, none above `highest`."""
    places = values.astype(np.float64)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], highest - gap * (len(places) - 1 - i))
    return places


def _named(last: NDArray[np.float64]) -> NDArray[np.int64]:
    """The classes with a name, by rising gamma_j."""
    order = np.argsort(last, kind="stable")
    return order if len(order) <= 2 * NAMED else np.concatenate((order[:NAMED], order[-NAMED:]))
