"""The processes of one training: which this is, what they tell each other, how long they wait for each other.

Why no DistributedDataParallel: a detector of a million parameters has 4 MB of gradients, which one flat all-reduce
after the backward pass sends at once: overlapping buckets would gain nothing. The same call carries the batch norms'
statistics, the losses' sums and the flag that stops every rank at a loss that is not finite. The forward pass stays one
graph for torch.compile, gradients accumulate without `no_sync`, and the weights keep their names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from nanogfl.config import Config, TrainConfig
from nanogfl.errors import UserError
from nanogfl.training.distributed.launch import Place

Value = TypeVar("Value")

_CPU, _ALONE = torch.device("cpu"), Place(0, 1, 0)
_ANSWER_S = 5.0
"""for the other ranks that wait to say so, once one is missed"""


@dataclass(frozen=True)
class Ranks:
    """Without arguments, the only process of a training: nothing is sent, and every method returns what it was given.

    Of several processes, all call the same methods in the same order, whatever their data. Tensors on the device go
    through torch's default group, everything else through `host`.
    """

    device: torch.device = _CPU
    place: Place = _ALONE
    minutes: float = 0.0
    """the longest that this process waits for the others"""
    host: "distributed.ProcessGroup | None" = None

    @property
    def first(self) -> bool:
        """Rank 0, which alone writes files and speaks."""
        return self.place.rank == 0

    @property
    def several(self) -> bool:
        return self.place.world > 1

    def shares_statistics(self, config: TrainConfig) -> bool:
        """Whether batch norms span all processes, which torch has on GPUs only."""
        return self.several and self.device.type == "cuda" and config.sync_batch_norm

    def lines(self, config: Config) -> list[str]:
        """For people."""
        if not self.several:
            return []
        share, world = config.train.batch_size // self.place.world, self.place.world
        norms = "all together" if self.shares_statistics(config.train) else "its own share, their statistics averaged"
        return [f"processes: {world}, each with {share} of {config.train.batch_size} images; batch norms see {norms}"]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors (any shape) by their mean over the ranks, in one all-reduce; the bits are equal in all."""
        if not self.several:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.place.world
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def spread(self, modules: Iterable[nn.Module]) -> None:
        """Replaces every rank's weights and statistics by rank 0's."""
        if self.several:
            for module in modules:
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, 0)

    def all_of(self, value: Value) -> list[Value]:
        """The value of each rank, by rank."""
        if not self.several:
            return [value]
        values: list[Value] = [value] * self.place.world
        distributed.all_gather_object(values, value, self.host)
        return values

    def collect(self, value: Value) -> list[Value]:
        """In rank 0 the value of each rank, by rank; an empty list in the others."""
        if not self.several:
            return [value]
        values: list[Value] | None = [value] * self.place.world if self.first else None
        distributed.gather_object(value, values, 0, self.host)
        return values or []

    def of_first(self, value: Value) -> Value:
        """Rank 0's value."""
        if not self.several:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0, self.host)
        return values[0]

    def largest(self, *values: int) -> list[int]:
        """The largest of each value over the ranks."""
        if not self.several:
            return list(values)
        together = torch.tensor(values)
        distributed.all_reduce(together, distributed.ReduceOp.MAX, self.host)
        return [int(value) for value in together.tolist()]

    def meet(self, where: str) -> None:
        """Waits for every rank. Raises UserError, which names the place `where`, if one does not come in time."""
        if not self.several:
            return
        try:
            distributed.monitored_barrier(self.host, timedelta(minutes=self.minutes), wait_all_ranks=True)
        except RuntimeError as error:
            raise self.lost(f"{_missing_in(error)} did not come to: {where}", error) from error

    def require_same(self, what: str, value: object) -> None:
        """Raises UserError, the same on all ranks, where a rank's `value` is not rank 0's."""
        values = self.all_of(value)
        other = [str(rank) for rank, theirs in enumerate(values) if theirs != values[0]]
        if other:
            raise UserError(
                f"rank {', '.join(other)} has another {what} than rank 0: give every machine the same files"
            )

    @contextmanager
    def one_a_machine_first(self, where: str) -> Iterator[None]:
        """Wraps work that leaves a cache behind: the first process of this machine does it, then the others find it."""
        if self.place.local_rank:
            self.meet(where)
        yield
        if not self.place.local_rank:
            self.meet(where)

    def who_is_missing(self) -> str:
        """The rank that does not answer after a call that failed or timed out; those that wait as well do."""
        if self.host is None:
            return "another rank"
        try:
            distributed.monitored_barrier(self.host, timedelta(seconds=_ANSWER_S), wait_all_ranks=True)
        except RuntimeError as error:
            return _missing_in(error)
        return "another rank"

    def lost(self, what: str, error: RuntimeError) -> UserError:
        reason = str(error).splitlines()[0].removesuffix(".")
        return UserError(
            f"rank {self.place.rank} of {self.place.world} waited in vain, at most {self.minutes:g} minutes: {what}"
            f" ({reason}); see what that rank says, raise train.timeout_minutes if it was only slow, and go on from"
            " what was saved last with --resume"
        )


def _missing_in(error: RuntimeError) -> str:
    missing = re.search(r"Ranks? ([\d, ]+) failed to pass", str(error))
    return f"rank {missing[1].strip(' ,')}" if missing else "another rank"
