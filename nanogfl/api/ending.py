"""The end of a run that was started from a folder: the export through its gate, the file's AP, and the page."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from nanogfl.api.exporting import NEEDED, export
from nanogfl.api.folder_story import Story
from nanogfl.api.model import load
from nanogfl.api.page import Measured, next_commands, write_page
from nanogfl.api.tell import teller
from nanogfl.config import Config, DataConfig
from nanogfl.data.cache.frames import read_checked, without_unreadable
from nanogfl.data.readers.coco import read_annotations
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError, require
from nanogfl.evaluation.coco_ap import format_report, score
from nanogfl.model.checkpoint import load_checkpoint, save_checkpoint
from nanogfl.training.callbacks import Outcome

EXPORT_SECONDS, EVALUATION_SECONDS = 25.0, 0.05
"""for one run's export and page, and per validation image; estimates for 2 CPU cores at
320 x 320, on the safe side"""


@dataclass(frozen=True)
class Finished(Outcome):
    """What a training from a folder returns. `report` is of the exported file, or of best.pt if there is none."""

    page: Path
    """page.md: AP per class, pictures, choices, what was left out"""
    onnx: Path | None
    """best.onnx, which agrees with PyTorch; None: the packages for the export are not installed"""


def export_complaint() -> str | None:
    """What is missing for an export; None: nothing. To be said before the training, which is not ended by it."""
    try:
        require("export", *NEEDED)
    except UserError as error:
        return str(error)
    return None


def ending_seconds(config: Config) -> float:
    """About what `finish_run` takes, to be left of train.minutes."""
    data = config.data
    try:
        images = len(read_annotations(Path(data.root) / data.val.annotations)["images"])
    except UserError:  # the training says so
        images = 0
    return (EXPORT_SECONDS if export_complaint() is None else 0.0) + EVALUATION_SECONDS * images


def finish_run(outcome: Outcome, story: Story, data: DataConfig, *, verbose: bool) -> Finished:
    """Exports best.pt, measures AP with the exported file, and writes the page. `data`: where the data are now.

    Raises UserError where the export is refused; the page says so, too, and best.pt stays.
    """
    tell = teller(verbose)
    best, model, refused = outcome.best, outcome.best, None
    _note_place(best, data)
    complaint = export_complaint()
    if complaint is not None:
        verdict = [f"not exported: {complaint}; then nanogfl export {best}"]
    else:
        try:
            exported = export(best, verbose=verbose)
        except UserError as error:
            refused, verdict = str(error), [f"refused: {error}", f"{best} is kept"]
        else:
            model = exported.path
            verdict = [
                f"{model.name} agrees with PyTorch on {exported.card.parity['on']}: {exported.parity}",
                f"{model.stat().st_size / 1e6:.2f} MB, {len(exported.model.graph.node)} nodes",
            ]
    tell(f"measuring {model} on the validation images")
    measured = _measure(best, model, verdict)
    for line in format_report(measured.report).split("\n"):
        tell(line)
    page = write_page(outcome.run_dir, story, measured)
    tell(f"the run on one page: {page}")
    if refused is not None:
        raise UserError(f"{refused}; the checkpoint {best} is kept, and {page} describes the run")
    for command in next_commands(outcome.run_dir, story, measured):
        tell(f"next: {command}")
    onnx = model if measured.verified else None
    return Finished(outcome.run_dir, outcome.best_ap, outcome.best_epoch, measured.report, page, onnx)


def _note_place(best: Path, data: DataConfig) -> None:
    """best.pt may be older than a move of the folder or of the run: it then names where its data lie now."""
    checkpoint = load_checkpoint(best)
    if checkpoint.config.data != data:
        save_checkpoint(best, replace(checkpoint, config=replace(checkpoint.config, data=data)))


def _measure(best: Path, model: Path, verdict: list[str]) -> Measured:
    """Detects in the validation images of the checkpoint `best` with `model`, the checkpoint or its .onnx."""
    detector, checkpoint = load(model), load_checkpoint(best)
    data = checkpoint.config.data
    dataset = load_split(
        Path(data.root) / data.val.annotations,
        Path(data.root) / data.val.images,
        class_ids=checkpoint.category_ids,
        class_names=checkpoint.classes,
    )
    dataset = without_unreadable(dataset, strict=False)
    start = time.perf_counter()
    detections = [detector(read_checked(image)) for image in dataset.images]
    report = score(dataset, detections, time.perf_counter() - start)
    return Measured(model, dataset, detections, report, verified=model.suffix == ".onnx", verdict=tuple(verdict))
