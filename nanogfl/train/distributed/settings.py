"""What all processes of one training must be told alike, on whichever machine each of them runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from nanogfl import __version__
from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.train.device import choose_precision

OWN_TO_A_MACHINE = (
    "data.root",
    "data.cache_dir",
    "data.workers",
    "data.memory_gb",
    "train.threads",
    "train.init_from",  # all start from the weights that rank 0 has read
    "model.backbone.weights",
)
_MOST_NAMED = 4


def shared_settings(config: Config, device: torch.device, *, resume: object) -> dict[str, str]:
    """Every key that must be equal, and its value as JSON; `auto` is replaced by what this machine makes of it."""
    settings = dict(_flat(config.to_dict(), ""))
    settings |= {"train.device": device.type, "train.precision": choose_precision(device, config.train.precision)}
    settings |= {"--resume": resume, "the version of nanogfl": __version__}
    return {key: json.dumps(value) for key, value in settings.items() if key not in OWN_TO_A_MACHINE}


def require_same_settings(told: Sequence[Mapping[str, str]]) -> None:
    """Raises UserError, the same in all ranks, where a rank was told otherwise than rank 0. `told`: by rank."""
    first = told[0]
    different = [
        f"{key} is {theirs.get(key, 'unknown')} on rank {rank} and {first.get(key, 'unknown')} on rank 0"
        for rank, theirs in enumerate(told)
        for key in {**first, **theirs}
        if theirs.get(key) != first.get(key)
    ]
    if different:
        more = f", and {len(different) - _MOST_NAMED} more" if len(different) > _MOST_NAMED else ""
        raise UserError(
            f"the processes of this training were started with different settings: {'; '.join(different[:_MOST_NAMED])}"
            f"{more}: start all of them with the same recipe and options (only {', '.join(OWN_TO_A_MACHINE)} may"
            " differ)"
        )


def _flat(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
