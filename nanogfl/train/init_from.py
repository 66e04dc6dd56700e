"""Fine-tuning: another checkpoint's weights where they fit, fresh ones where they don't, and saying which."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nanogfl.config import Config, ModelConfig
from nanogfl.contract.errors import UserError
from nanogfl.model.checkpoint import Checkpoint
from nanogfl.model.detector import Detector
from nanogfl.recipe import differences
from nanogfl.train.parts import part_of

LEAST_SHARE = 0.1
"""of the detector's parameters: the stem's shape is that of every width, so that something always fits"""

_INPUT = ("mean", "std")  # they follow model.input, not the file
# The head's last convolutions: rows of classes and, behind them, of distributions; or a convolution for each.
_CLASSES_ONLY, _BOX_ONLY = "head.class_output.", "head.box_output."
_OUTPUTS = ("head.outputs.", _CLASSES_ONLY, _BOX_ONLY)


@dataclass
class CarriedOver:
    """What became of every tensor of the detector's state dict."""

    kept: list[str] = field(default_factory=list)
    """equal to the file's"""
    partly: list[str] = field(default_factory=list)
    """outputs of the head of which some rows are the file's and the others fresh"""
    fresh: dict[str, str] = field(default_factory=dict)
    """name -> why"""
    unused: list[str] = field(default_factory=list)
    """of the file"""
    shared_classes: tuple[str, ...] = ()
    new_classes: tuple[str, ...] = ()
    distributions: str = "fresh"
    """of the outputs' distribution rows: kept or fresh"""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Counts and names by part."""
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
        lines.append(
            f"  classes kept by name: {shared or 'none'}; fresh: {new or 'none'};"
            f" distribution rows {self.distributions}"
        )
        if self.unused:
            lines.append(f"  {len(self.unused)} tensors of the file have no place here ({_short(self.unused)})")
        return lines + self.notes


def carry_over(detector: Detector, model: ModelConfig, classes: tuple[str, ...], source: Checkpoint) -> CarriedOver:
    """Copies the averaged weights into a fresh `detector` where name and shape fit.

    Of the head's outputs the rows are judged one by one: the first C are class logits, kept where a class has the
    same name in both; the other 4 (R + 1) are distributions, kept where reg_max is the same.
    """
    result, state = CarriedOver(), detector.state_dict()
    result.shared_classes = tuple(name for name in classes if name in source.classes)
    result.new_classes = tuple(name for name in classes if name not in source.classes)
    for name, tensor in state.items():
        given = source.weights.get(name)
        if name in _INPUT:
            continue
        if given is None:
            result.fresh[name] = "not in the file"
        elif name.startswith(_OUTPUTS):
            kernel = name.rpartition(".")[0] + ".weight"  # it decides for the bias: a fresh class starts at the prior
            if source.weights[kernel].shape[1:] == state[kernel].shape[1:]:
                _carry_rows(name, tensor, given, model, classes, source, result)
            else:
                result.fresh[name] = "of other channels"
        elif given.shape != tensor.shape:
            result.fresh[name] = "of another shape"
        else:
            tensor.copy_(given)
            result.kept.append(name)
    if not any(name.startswith(_OUTPUTS) for name in (*result.kept, *result.partly)):
        result.shared_classes, result.new_classes = (), classes
    result.unused = [name for name in source.weights if name not in state]
    changed = differences(Config(model=source.config.model), Config(model=model))
    if changed := [line for line in changed if not line.startswith(("model.backbone.weights", "model.selection"))]:
        result.notes.append(f"  another model than the file's: {', '.join(changed)}")
    return result


def require_enough(result: CarriedOver, detector: Detector, origin: str) -> None:
    """Raises UserError where hardly anything of the detector came from the file: it is of another model."""
    sizes = {name: parameter.numel() for name, parameter in detector.named_parameters()}
    kept = sum(sizes.get(name, 0) for name in (*result.kept, *result.partly))
    if kept < LEAST_SHARE * sum(sizes.values()):
        differs = "; ".join(note.strip() for note in result.notes)
        raise UserError(
            f"train.init_from {origin} fits only {kept / sum(sizes.values()):.1%} of this detector's parameters"
            f" ({differs or 'other names and shapes'}): take its model section, or train without it"
        )


def _carry_rows(
    name: str,
    tensor: Tensor,
    given: Tensor,
    model: ModelConfig,
    classes: tuple[str, ...],
    source: Checkpoint,
    result: CarriedOver,
) -> None:
    """tensor (C + 4 (R + 1), ...), given the same with the file's C and R; a shared head has them one by one."""
    same_bins = model.head.reg_max == source.config.model.head.reg_max
    ours, theirs = ((), ()) if name.startswith(_BOX_ONLY) else (classes, source.classes)
    shared = [class_name for class_name in ours if class_name in theirs]
    has_box = not name.startswith(_CLASSES_ONLY)
    if not shared and not (has_box and same_bins):
        reasons = ["other classes"] * bool(ours) + ["another reg_max"] * has_box
        result.fresh[name] = f"of {' and '.join(reasons)}"
        return
    with torch.no_grad():
        for class_name in shared:
            tensor[ours.index(class_name)] = given[theirs.index(class_name)]
        if has_box and same_bins:
            tensor[len(ours) :] = given[len(theirs) :]
            result.distributions = "kept"
    whole = len(shared) == len(ours) and (same_bins or not has_box)
    (result.kept if whole else result.partly).append(name)


def _short(names: list[str]) -> str:
    """Every name, tensors of one module together: neck.reduce.0.1.{weight, bias}."""
    modules: dict[str, list[str]] = {}
    for name in names:
        module, _, tensor = name.rpartition(".")
        modules.setdefault(module, []).append(tensor)
    return ", ".join(
        f"{module}.{tensors[0]}" if len(tensors) == 1 else f"{module}.{{{', '.join(tensors)}}}"
        for module, tensors in modules.items()
    )
