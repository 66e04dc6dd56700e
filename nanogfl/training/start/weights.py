"""The weights that a training starts from: random, a backbone's file, or a detector's checkpoint."""

from dataclasses import dataclass

from torch import Tensor

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint
from nanogfl.model.detector import Detector
from nanogfl.training.start.backbone_weights import load_trunk, read_trunk
from nanogfl.training.start.choose import AUTO, choose_start
from nanogfl.training.start.init_from import carry_over, require_enough


@dataclass(frozen=True)
class Start:
    """What `read_start` read, for `fill`. At most one of trunk and checkpoint is set."""

    trunk: dict[str, Tensor] | None
    checkpoint: Checkpoint | None
    lines: list[str]
    """for people"""
    init_from: str | None = None
    """what train.init_from comes to: a path, a name or nothing, but not auto"""


@dataclass(frozen=True)
class Filled:
    loaded: frozenset[str]
    """names in the detector's state dict whose tensors come from the file as a whole"""
    lines: list[str]


def read_start(config: Config) -> Start:
    """Fetches and reads the files before the images are read. Raises UserError for a file that cannot be used."""
    weights, init_from = config.model.backbone.weights, config.train.init_from
    if weights is not None and init_from not in (None, AUTO):
        raise UserError(
            f"train.init_from {init_from} and model.backbone.weights {weights} both give the backbone's weights:"
            " set one of them to none"
        )
    if weights is not None:
        trunk, lines = read_trunk(config.model.backbone)
        lines += ["  so that train.init_from auto looks for no detector"] * (init_from == AUTO)
        return Start(trunk, None, lines)
    if init_from is not None:
        chosen = choose_start(init_from, config.model)
        if chosen.checkpoint is not None:
            chosen.checkpoint.build()  # its weights fit its own config
        return Start(None, chosen.checkpoint, chosen.lines, chosen.init_from)
    return Start(None, None, [])


def fill(detector: Detector, config: Config, classes: tuple[str, ...], start: Start) -> Filled:
    """Fills a fresh `detector` on the CPU from `start`. Draws no random numbers. Raises UserError where little fits."""
    if start.trunk is not None:
        load_trunk(detector.backbone, start.trunk)
        loaded = [f"backbone.{name}" for name in detector.backbone.state_dict()]
        return Filled(frozenset(loaded), [*start.lines, "  fresh: neck, head"])
    if start.checkpoint is not None:
        result = carry_over(detector, config, classes, start.checkpoint)
        require_enough(result, detector, str(config.train.init_from))
        return Filled(frozenset(result.kept), start.lines + result.lines())
    return Filled(frozenset(), start.lines)
