"""What train.init_from names: a checkpoint's path, published weights, or auto."""

from dataclasses import dataclass
from pathlib import Path

from nanogfl.config import ModelConfig
from nanogfl.errors import UserError
from nanogfl.io.read_file import is_file
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint
from nanogfl.model.nanodet.weights import VARIANTS, model_config
from nanogfl.training.start.named import get_named
from nanogfl.training.start.published import PUBLISHED, Published, did_you_mean, find_published

AUTO = "auto"


@dataclass(frozen=True)
class Chosen:
    init_from: str | None
    """a path or a name; None: from scratch"""
    checkpoint: Checkpoint | None
    lines: list[str]
    """for people"""


def choose_start(init_from: str, model: ModelConfig) -> Chosen:
    """Reads the checkpoint that `init_from` names, and fetches it where need be. A file goes before a name.

    Raises UserError where there is neither, where it cannot be fetched, and where the file is no checkpoint.
    """
    named = find_published(init_from)
    if not is_file(Path(init_from)):
        if init_from == AUTO:
            return _best_at_hand(model)
        if named is not None:
            return _start_from(named)
        raise UserError(
            f"checkpoint {init_from} does not exist: expected a .pt file that `nanogfl train` wrote, auto, or the name"
            f" of published weights: {did_you_mean(init_from)}"
        )
    checkpoint = load_checkpoint(init_from)
    lines = [_started(init_from, checkpoint)]
    if named is not None or init_from == AUTO:
        lines.append(f"  {Path(init_from).absolute()} is a file here, so that the name does not count")
    return Chosen(init_from, checkpoint, lines)


def best_at_hand(model: ModelConfig) -> tuple[Published | None, Published | None]:
    """The published weights of `model`'s network with the highest AP: of those that need no download, and a better one
    that needs one. Ties go to the first in the table."""
    fitting = sorted((weights for weights in PUBLISHED if _fits(weights, model)), key=lambda weights: -weights.ap)
    here = next((weights for weights in fitting if is_file(weights.path)), None)
    return here, next((weights for weights in fitting if here is None or weights.ap > here.ap), None)


def same_network(one: ModelConfig, other: ModelConfig) -> bool:
    """Backbone, neck and activation are the same. The input may have another size, the head other outputs."""
    return (one.backbone, one.neck, one.activation) == (other.backbone, other.neck, other.activation)


def _fits(weights: Published, model: ModelConfig) -> bool:
    if weights.kind == "shipped":
        return is_file(weights.path) and same_network(load_checkpoint(weights.path).config.model, model)
    variant = next(variant for variant in VARIANTS if variant.name == weights.variant)
    return same_network(model_config(variant, reg_max=7), model)


def _best_at_hand(model: ModelConfig) -> Chosen:
    here, better = best_at_hand(model)
    hint = f"{better} is better: `{better.fetch_command}` fetches it, {better.megabytes:.1f} MB" if better else ""
    if here is not None:
        chosen = _start_from(here)
        return Chosen(here.name, chosen.checkpoint, chosen.lines + [f"  {hint}"] * bool(hint))
    if better is not None:
        return Chosen(None, None, [f"start: from scratch, no weights of this network are at hand; {hint}"])
    return Chosen(None, None, ["start: from scratch, there are no published weights of this network"])


def _start_from(weights: Published) -> Chosen:
    lines: list[str] = []
    checkpoint = get_named(weights, lambda line: lines.append(f"  {line}"))
    return Chosen(weights.name, checkpoint, [_started(str(weights), checkpoint), *lines])


def _started(what: str, checkpoint: Checkpoint) -> str:
    return f"start: {what}, averaged weights, {len(checkpoint.classes)} classes"
