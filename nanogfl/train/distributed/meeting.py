"""How the processes of one training find each other, and what they make sure of before they do anything together."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed import FileStore, PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from nanogfl.errors import UserError
from nanogfl.train.distributed.place import MEETING_FILE, Place, end_with_launcher, place_from_environment
from nanogfl.train.distributed.ranks import Ranks
from nanogfl.train.distributed.settings import require_same_settings


@contextmanager
def joined(device: torch.device, minutes: float, settings: Mapping[str, str] | None = None) -> Iterator[Ranks]:
    """This process's place among the others that the environment tells of; alone without.

    `settings`: what every rank must have been given alike (distributed/settings.py). Raises UserError where they
    differ, for a device that a rank cannot have, and where the others do not come or are lost on the way.
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
    """Through which the processes find each other: a file on one machine, torchrun's address on several."""
    if file := os.environ.get(MEETING_FILE):
        store: Store = FileStore(file, place.world)
    else:
        store, _, _ = next(rendezvous("env://", place.rank, place.world, timeout=wait))
    store.set_timeout(wait)
    # torchrun's store outlives the processes that it restarts, and the addresses of the dead are still in it
    return PrefixStore(f"nanogfl {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _all_settings(store: Store, ranks: Ranks, own: Mapping[str, str]) -> list[dict[str, str]]:
    """Of each rank, by rank. As JSON, so that nothing which comes from a network is executed."""
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
    """gloo's own errors are plain ones, whose text names its source file."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
