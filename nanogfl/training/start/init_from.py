"""Fine-tuning: a checkpoint's weights where they fit, fresh ones elsewhere, and a report of both."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint
from nanogfl.model.detector import Detector
from nanogfl.recipe import differences
from nanogfl.training.start.freeze import part_of
from nanogfl.training.start.head_rows import OUTPUTS, Head, matching_rows

LEAST_SHARE = 0.1
"""of the detector's parameters; something always fits, as the stem has the same shape at every width"""

_INPUT = ("mean", "std")  # they follow model.input, not the file


@dataclass
class CarriedOver:
    """What became of every tensor of the detector's state dict."""

    kept: list[str] = field(default_factory=list)
    """equal to the file's"""
    partly: list[str] = field(default_factory=list)
    """outputs of the head with some rows from the file and some fresh"""
    fresh: dict[str, str] = field(default_factory=dict)
    """name -> why"""
    unused: list[str] = field(default_factory=list)
    """of the file"""
    shared_classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    rows: dict[str, str] = field(default_factory=dict)
    """the outputs' other rows by name: kept or fresh"""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Counts and names by part, for people."""
        by_part: dict[str, list[str]] = {}
        for name in (*self.kept, *self.partly, *self.fresh):
            by_part.setdefault(part_of(name), []).append(name)
        lines = []
        for part, names in by_part.items():
            kept = sum(name in self.kept for name in names)
            partly = [name for name in names if name in self.partly]
            parts = [f"{kept} of {len(names)} tensors kept"]
            parts += [f"{len(partly)} kept in part ({_short(partly)})"] if partly else []
            for reason in dict.fromkeys(self.fresh.values()):
                lost = [name for name in names if self.fresh.get(name) == reason]
                parts += [f"{len(lost)} fresh, {reason} ({_short(lost)})"] if lost else []
            lines.append(f"  {part}: {'; '.join(parts)}")
        shared, new = ", ".join(self.shared_classes), ", ".join(self.new_classes)
        rows = "".join(f"; {kind} {state}" for kind, state in self.rows.items())
        lines.append(f"  classes kept by name: {shared or 'none'}; fresh: {new or 'none'}{rows}")
        if self.unused:
            lines.append(f"  {len(self.unused)} tensors of the file have no place here ({_short(self.unused)})")
        return lines + self.notes


def carry_over(detector: Detector, config: Config, classes: tuple[str, ...], source: Checkpoint) -> CarriedOver:
    """Copies the averaged weights of `source` into a fresh `detector` where name and shape fit.

    The rows of the head's outputs are copied one by one, where they mean the same (head_rows.py).
    """
    result, state, copied = CarriedOver(), detector.state_dict(), set[str]()
    ours, theirs = Head(config.model.head, classes), Head(source.config.model.head, source.classes)
    for name, tensor in state.items():
        given = source.weights.get(name)
        if name in _INPUT:
            continue
        if given is None:
            result.fresh[name] = "not in the file"
        elif name.startswith(OUTPUTS):
            kernel = name.rpartition(".")[0] + ".weight"  # it decides for the bias: a fresh class starts at the prior
            if source.weights[kernel].shape[1:] == state[kernel].shape[1:]:
                copied |= _carry_rows(name, tensor, given, ours, theirs, result)
            else:
                result.fresh[name] = "of other channels"
        elif given.shape != tensor.shape:
            result.fresh[name] = "of another shape"
        else:
            tensor.copy_(given)
            result.kept.append(name)
    shared = source.classes if "classes" in copied else ()
    result.shared_classes = tuple(name for name in classes if name in shared)
    result.new_classes = tuple(name for name in classes if name not in shared)
    result.rows = {"distribution rows" if ours.config.bins else "box rows": "kept" if "box" in copied else "fresh"}
    if ours.layout.quality:
        result.rows["quality row"] = "kept" if "quality" in copied else "fresh"
    result.unused = [name for name in source.weights if name not in state]
    changed = [line for line in differences(source.config, config) if line.startswith("model.")]
    changed = [line for line in changed if not line.startswith(("model.backbone.weights", "model.selection"))]
    if changed:
        result.notes.append(f"  another model than the file's: {', '.join(changed)}")
    return result


def require_enough(result: CarriedOver, detector: Detector, origin: str) -> None:
    """Raises UserError where the file filled less than LEAST_SHARE of the detector: it is of another model."""
    sizes = {name: parameter.numel() for name, parameter in detector.named_parameters()}
    kept = sum(sizes.get(name, 0) for name in (*result.kept, *result.partly))
    if kept < LEAST_SHARE * sum(sizes.values()):
        differs = "; ".join(note.strip() for note in result.notes)
        raise UserError(
            f"train.init_from {origin} fits only {kept / sum(sizes.values()):.1%} of this detector's parameters"
            f" ({differs or 'other names and shapes'}): take its model section, or train without it"
        )


def _carry_rows(name: str, tensor: Tensor, given: Tensor, ours: Head, theirs: Head, result: CarriedOver) -> set[str]:
    """Copies the matching rows of one output. Returns the kinds of rows that were copied."""
    matching = matching_rows(name, ours, theirs)
    copied = [rows for rows in matching if rows.ours]
    with torch.no_grad():
        for rows in copied:
            tensor[rows.ours] = given[rows.theirs]
    if not copied:
        result.fresh[name] = f"of {' and '.join(rows.reason for rows in matching)}"
    elif all(len(rows.ours) == rows.count for rows in matching):
        result.kept.append(name)
    else:
        result.partly.append(name)
    return {rows.kind for rows in copied}


def _short(names: list[str]) -> str:
    """All names, grouped by module: neck.reduce.0.1.{weight, bias}."""
    modules: dict[str, list[str]] = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        modules.setdefault(module, []).append(tensor)
    return ", ".join(
        f"{module}.{tensors[0]}" if len(tensors) == 1 else f"{module}.{{{', '.join(tensors)}}}"
        for module, tensors in modules.items()
    )
