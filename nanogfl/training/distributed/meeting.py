"""How the processes of one training find each other, and how they check that all were started alike."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import FileStore, PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from nanogfl import __version__
from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.training.checkpointing.resume_rules import values
from nanogfl.training.device import choose_precision
from nanogfl.training.distributed.launch import MEETING_FILE, Place, end_with_launcher, place_from_environment
from nanogfl.training.distributed.ranks import Ranks

OWN_TO_A_MACHINE = (
    "data.root",
    "data.cache_dir",
    "data.workers",
    "data.memory_gb",
    "train.threads",
    "train.init_from",  # all start from the weights that rank 0 has read
    "train.teacher",  # compared by its sha256
    "model.backbone.weights",
    "train.loggers",  # of rank 0
)
_MOST_NAMED = 4


def shared_settings(config: Config, device: torch.device, *, resume: object) -> dict[str, str]:
    """Every key that must be equal on all ranks, and its value as JSON; `auto` is replaced by this machine's choice."""
    settings = values(config)
    settings |= {"train.device": device.type, "train.precision": choose_precision(device, config.train.precision)}
    settings |= {"--resume": resume, "the version of nanogfl": __version__}
    return {key: json.dumps(value) for key, value in settings.items() if key not in OWN_TO_A_MACHINE}


def require_same_settings(told: Sequence[Mapping[str, str]]) -> None:
    """Raises UserError, the same on all ranks, where a rank's settings are not rank 0's. `told`: by rank."""
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


@contextmanager
def joined(device: torch.device, minutes: float, settings: Mapping[str, str] | None = None) -> Iterator[Ranks]:
    """Joins the processes that the environment names, for at most `minutes` at a time; alone where it names none.

    `settings`: what every rank must have been given alike (`shared_settings`). Raises UserError where they differ, for
    a device that a rank cannot have, and where other ranks do not come or are lost on the way.
    """
    place = place_from_environment()
    if place is None:
        yield Ranks(device)
        return
    end_with_launcher()
    device, wait = _own_device(device, place), timedelta(minutes=minutes)
    backend = "nccl" if device.type == "cuda" else "gloo"
    ranks = Ranks(device, place, minutes)
    try:
        store = _meeting(place, wait)
        require_same_settings(_all_settings(store, ranks, settings or {}))
        distributed.init_process_group(
            backend,
            store=store,
            rank=place.rank,
            world_size=place.world,
            timeout=wait,
            device_id=device if device.type == "cuda" else None,
        )
        ranks = Ranks(device, place, minutes, distributed.new_group(backend="gloo", timeout=wait))
        yield ranks
    except RuntimeError as error:
        if not _of_the_network(error):
            raise
        raise ranks.lost(f"{ranks.who_is_missing()} ended or stood still", error) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _meeting(place: Place, wait: timedelta) -> Store:
    """The store through which the processes find each other: a file of `run_ranks`, or torchrun's address."""
    if file := os.environ.get(MEETING_FILE):
        store: Store = FileStore(file, place.world)
    else:
        store, _, _ = next(rendezvous("env://", place.rank, place.world, timeout=wait))
    store.set_timeout(wait)
    # torchrun's store outlives the processes that it restarts, and still holds the addresses of the dead
    return PrefixStore(f"nanogfl {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _all_settings(store: Store, ranks: Ranks, own: Mapping[str, str]) -> list[dict[str, str]]:
    """The settings of each rank, by rank. They travel as JSON: nothing that comes over a network is executed."""
    place, told = ranks.place, []
    store.set(f"settings of {place.rank}", json.dumps(own))
    for rank in range(place.world):
        try:
            told.append(json.loads(store.get(f"settings of {rank}")))
        except RuntimeError as error:
            raise ranks.lost(f"rank {rank} did not come to: the start", error) from error
    store.set(f"{place.rank} knows all", "")
    if ranks.first:  # the store may end with this process
        store.wait([f"{rank} knows all" for rank in range(place.world)])
    return told


def _own_device(device: torch.device, place: Place) -> torch.device:
    if device.type == "cpu":
        return device
    if str(device) != "cuda":
        raise UserError(
            f"train.device {device} cannot be shared by {place.world} processes: set it to cuda, where each takes a GPU"
            " of its own, or to cpu"
        )
    count = torch.cuda.device_count()
    if place.local_rank >= count:
        raise UserError(
            f"rank {place.rank} is process {place.local_rank + 1} of this machine, which has {count} GPUs: start at"
            f" most {count} a machine"
        )
    own = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(own)
    return own


def _of_the_network(error: RuntimeError) -> bool:
    """Gloo raises a plain RuntimeError, whose text names its source file."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
