"""When a loss or gradient is not finite: which tensor was the first, and the batch kept to look at."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from nanogfl.contract.detections import Detections
from nanogfl.data.dataset import DataSet
from nanogfl.data.loader import Batch, Loader
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.training.checkpointing.state import RunState
from nanogfl.training.step import TrainStep

SHOWN_PICTURES = 16
BAD_ARRAYS, BAD_PICTURE = "bad_batch.npz", "bad_batch.png"
_STAGES = ("weight", "output of", "loss", "gradient of")


def no_longer_finite(bad_step: int, state: RunState, loader: Loader) -> UserError:
    """The error for a loss or gradient that is not finite. Looks once more at the batch of that step, with the weights
    it met, and keeps the batch: of several ranks, that of the one which finds something earliest in the computation."""
    epoch, number = divmod(bad_step, loader.steps)
    batch = loader.batch(epoch, number)
    detach_guide = epoch >= loader.config.loss.assist_detach_epochs
    ranks = state.ranks
    bad = ranks.all_of(first_bad_tensor(state.step, batch, detach_guide=detach_guide))
    whose = min(range(len(bad)), key=lambda rank: _stage(bad[rank]))
    if whose == ranks.place.rank:
        _save_batch(state.run_dir, batch, loader.dataset)
    ranks.meet("keeping the bad batch")
    arrays, picture = state.run_dir / BAD_ARRAYS, state.run_dir / BAD_PICTURE
    first = f"first bad tensor{f' of rank {whose}' if ranks.several else ''}:"
    found = bad[whose] or "none when the batch was run once more"
    return UserError(
        f"the loss or its gradient is no longer a finite number at step {bad_step} (epoch {epoch + 1}, batch"
        f" {number + 1}); {first} {found}; the batch is kept in {arrays} and {picture}: lower train.lr, or"
        " use train.precision=fp32, and start again, or go on from what was saved last with --resume"
    )


def first_bad_tensor(step: TrainStep, batch: Batch, *, detach_guide: bool) -> str | None:
    """Runs the batch again and names the first tensor, in the order of computation, that is not finite; else None.

    Overwrites the gradients of `step`. Everything is computed before anything is examined, as all ranks must take part
    in each other's computation.
    """
    batch = batch.to(step.device)
    modules: dict[str, nn.Module] = {"": step.detector}
    if step.assist is not None:
        modules["assist."] = step.assist
    if step.lessons is not None:
        modules["adapters."] = step.lessons.adapters
    found_outputs: list[str] = []
    handles = [
        layer.register_forward_hook(_note_bad_output(f"output of {prefix}{name}", found_outputs))
        for prefix, module in modules.items()
        for name, layer in module.named_modules()
        if not list(layer.children())
    ]
    try:
        outputs = step.forward(batch.images, batch.colour, detach_guide)
    finally:
        for handle in handles:
            handle.remove()
    losses = step.losses(outputs, batch.truth, step.assign(outputs, batch.truth))
    step.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    for prefix, module in modules.items():
        for name, weight in module.named_parameters():
            if found := _describe(f"weight {prefix}{name}", weight):
                return found
    if found_outputs:
        return found_outputs[0]
    for name, value in zip(losses._fields, losses, strict=True):
        if name != "total" and (found := _describe(f"loss {name}", value)):
            return found
    if found := _describe("loss total", losses.total):
        return found
    for prefix, module in modules.items():
        for name, weight in reversed(list(module.named_parameters())):  # backward computes the last layers first
            if weight.grad is not None and (found := _describe(f"gradient of {prefix}{name}", weight.grad)):
                return found
    return None


def _stage(found: str | None) -> int:
    """The number of the stage in which `first_bad_tensor` found it; the last number where it found nothing."""
    return next((i for i, word in enumerate(_STAGES) if found and found.startswith(word)), len(_STAGES))


def _note_bad_output(name: str, found: list[str]):  # type: ignore[no-untyped-def]
    def hook(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and (text := _describe(name, output)):
            found.append(text)

    return hook


def _describe(name: str, tensor: Tensor) -> str | None:
    bad = ~torch.isfinite(tensor.detach())
    count = int(bad.sum())
    if not count:
        return None
    kind = "NaN" if bool(torch.isnan(tensor.detach()).any()) else "infinite"
    return f"{name} ({count:,} of {tensor.numel():,} values, {kind})"


def _save_batch(run_dir: Path, batch: Batch, dataset: DataSet) -> None:
    """Writes bad_batch.npz (arrays and file names, no pickles) and bad_batch.png."""
    arrays, picture = run_dir / BAD_ARRAYS, run_dir / BAD_PICTURE
    truth = {f"truth_{name}": value.cpu().numpy() for name, value in batch.truth._asdict().items()}
    files = np.array([dataset.images[int(index)].path.name for index in batch.indices])
    images = batch.images.cpu().numpy()
    with atomic_path(arrays) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images, colour=batch.colour.cpu().numpy(), files=files, **truth)
    pictures = []
    for b in range(min(SHOWN_PICTURES, len(images))):
        own = (truth["truth_image"] == b) & (truth["truth_boxes"][:, 2] > truth["truth_boxes"][:, 0])
        boxes, labels = truth["truth_boxes"][own], truth["truth_labels"][own]
        shown = Detections(boxes, np.ones(len(boxes), dtype=np.float32), labels)
        pictures.append(draw_detections(images[b], shown, dataset.classes, show_scores=False))
    sheet = tile(pictures, columns=4, titles=[str(name) for name in files[: len(pictures)]])
    with atomic_path(picture) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
