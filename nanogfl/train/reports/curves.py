"""Pictures of a run: its curves, and validation detections beside the truth."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nanogfl.contract.detections import Detect, Detections
from nanogfl.data.cache.frames import read_checked
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.io.atomic import atomic_path
from nanogfl.loss.criterion import LOSS_PARTS

SHOWN_IMAGES = 6
SHOWN_SCORE = 0.4  # what a client shows by default, too


def save_curves(path: Path, log: list[dict[str, Any]]) -> None:
    """Losses and learning rate, AP, over epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no display, no global state
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision = figure.subplots(1, 2)
    epochs = [entry["epoch"] for entry in log]
    for name in ("loss", *LOSS_PARTS):
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
    """A few validation images, spread over the set: the truth on the left, detections on the right."""
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
