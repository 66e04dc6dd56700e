"""The processes of one training: which this is, what they tell each other, how long they wait for each other."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from nanogfl.config import Config, TrainConfig
from nanogfl.contract.errors import UserError
from nanogfl.train.launch import Place, place_from_environment

Value = TypeVar("Value")

_CPU, _ALONE = torch.device("cpu"), Place(0, 1, 0)


@dataclass(frozen=True)
class Ranks:
    """Without arguments the one process of a training: nothing is sent, and every method gives what it was given.

    With several, all call the same methods in the same order, whatever their data are. Tensors of the device go
    through torch's default group, everything else through `host`.
    """

    device: torch.device = _CPU
    place: Place = _ALONE
    minutes: float = 0.0
    """the longest that this process waits for the others"""
    host: "distributed.ProcessGroup | None" = None

    @property
    def first(self) -> bool:
        """It alone writes files and speaks."""
        return self.place.rank == 0

    @property
    def several(self) -> bool:
        return self.place.world > 1

    def shares_statistics(self, config: TrainConfig) -> bool:
        """Batch norms are of all processes: torch has that on GPUs only."""
        return self.several and self.device.type == "cuda" and config.sync_batch_norm

    def lines(self, config: Config) -> list[str]:
        """For people."""
        if not self.several:
            return []
        share, world = config.train.batch_size // self.place.world, self.place.world
        norms = "all together" if self.shares_statistics(config.train) else "its own share, their statistics averaged"
        return [f"processes: {world}, each with {share} of {config.train.batch_size} images; batch norms see {norms}"]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """In place, the mean over the ranks, by one all-reduce; equal in every rank to the bit."""
        if not self.several:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.place.world
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def spread(self, modules: Iterable[nn.Module]) -> None:
        """Every rank's weights and statistics become rank 0's."""
        if self.several:
            for module in modules:
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, 0)

    def all_of(self, value: Value) -> list[Value]:
        """What each rank gave, by rank."""
        if not self.several:
            return [value]
        values: list[Value] = [value] * self.place.world
        distributed.all_gather_object(values, value, self.host)
        return values

    def collect(self, value: Value) -> list[Value]:
        """In rank 0 what each rank gave, by rank; nothing in the others."""
        if not self.several:
            return [value]
        values: list[Value] | None = [value] * self.place.world if self.first else None
        distributed.gather_object(value, values, 0, self.host)
        return values or []

    def of_first(self, value: Value) -> Value:
        """Rank 0's."""
        if not self.several:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0, self.host)
        return values[0]

    def largest(self, *values: int) -> list[int]:
        """Of each value over the ranks."""
        if not self.several:
            return list(values)
        together = torch.tensor(values)
        distributed.all_reduce(together, distributed.ReduceOp.MAX, self.host)
        return [int(value) for value in together.tolist()]

    def meet(self, where: str) -> None:
        """Returns when every rank is here. Raises UserError where one does not come in time. `where`: for people."""
        if not self.several:
            return
        try:
            distributed.monitored_barrier(self.host, timedelta(minutes=self.minutes), wait_all_ranks=True)
        except RuntimeError as error:
            missing = re.search(r"Ranks? ([\d, ]+) failed to pass", str(error))
            who = f"rank {missing[1].strip(' ,')}" if missing else "another rank"
            raise self._lost(f"{who} did not come to: {where}", error) from error

    def require_same(self, what: str, value: object) -> None:
        """Raises UserError, the same in all ranks, where a rank's `value` is not rank 0's."""
        values = self.all_of(value)
        other = [str(rank) for rank, theirs in enumerate(values) if theirs != values[0]]
        if other:
            raise UserError(
                f"rank {', '.join(other)} has another {what} than rank 0: give every machine the same files"
            )

    @contextmanager
    def one_a_machine_first(self, where: str) -> Iterator[None]:
        """Around what finds its work done where another process of this machine has been through it."""
        if self.place.local_rank:
            self.meet(where)
        yield
        if not self.place.local_rank:
            self.meet(where)

    def _lost(self, what: str, error: RuntimeError) -> UserError:
        reason = str(error).splitlines()[0].removesuffix(".")
        return UserError(
            f"rank {self.place.rank} of {self.place.world} waited in vain, at most {self.minutes:g} minutes: {what}"
            f" ({reason}); see what that rank says, raise train.timeout_minutes if it was only slow, and go on from"
            " what was saved last with --resume"
        )


@contextmanager
def joined(device: torch.device, minutes: float) -> Iterator[Ranks]:
    """This process's place among the others that the environment tells of; alone without.

    Raises UserError for a device that a rank cannot have, and where the others do not come or are lost on the way.
    """
    place = place_from_environment()
    if place is None:
        yield Ranks(device)
        return
    device, wait = _own_device(device, place), timedelta(minutes=minutes)
    backend = "nccl" if device.type == "cuda" else "gloo"
    ranks = Ranks(device, place, minutes)
    try:
        distributed.init_process_group(
            backend,
            store=_meeting(place, wait),
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
        raise ranks._lost("another rank ended or stood still", error) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _meeting(place: Place, wait: timedelta) -> Store:
    """Where the processes find each other's addresses. torchrun's outlives the processes that it restarts, and those
    of the dead are still in it."""
    store, _, _ = next(rendezvous("env://", place.rank, place.world, timeout=wait))
    store.set_timeout(wait)
    return PrefixStore(f"nanogfl {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


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
