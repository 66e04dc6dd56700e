"""Batches, made by threads ahead of the loop. Their content is a pure function of seed, epoch and position."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nanogfl.config import Config
from nanogfl.data.arrays import DataIndex
from nanogfl.data.augment.boxes import move_truth
from nanogfl.data.augment.plan import Plans, draw_plans, is_plain
from nanogfl.data.augment.render_cv2 import render_into
from nanogfl.data.augment.render_torch import render_batch
from nanogfl.data.cache.frames import Frames
from nanogfl.data.dataset import DataSet
from nanogfl.data.order import EpochOrder
from nanogfl.data.truth import Truth, make_truth
from nanogfl.errors import UserError


class Batch(NamedTuple):
    images: Tensor
    """uint8 (B, H, W, 3) BGR, before the colour augmentation"""
    colour: Tensor
    """float32 (B, 3, 4) gains and offsets: see `data.augment.colour.apply_colour`"""
    truth: Truth
    indices: Tensor
    """int64 (B,) the data set's image that each picture is made from (its first layer)"""

    def to(self, device: torch.device) -> "Batch":
        images, colour = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.colour))
        return Batch(images, colour, self.truth.to(device), self.indices)


class Loader:
    """Training batches. The number of threads decides how fast they come, never their content."""

    def __init__(
        self,
        dataset: DataSet,
        config: Config,
        frames: Frames,
        device: torch.device | None = None,
        *,
        pad: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """device: where the pictures go and, with data.cache=device, where they are rendered.
        pad: pads truth lists to few lengths, for compiled code.
        rank, world: this process takes the `rank`-th of `world` equal shares of every batch.

        Raises UserError if a batch has no equal shares.
        """
        self.dataset, self.frames = dataset, frames
        self.config = config
        """may be replaced between two streams by one with another schedule"""
        self.waited = 0.0
        """seconds that the loop has waited for batches; the loop resets it"""
        self._order = EpochOrder(dataset, seed=config.train.seed, repeat_threshold=config.data.repeat_threshold)
        self.batch_size = min(config.train.batch_size, self._order.length)
        """of all processes together"""
        if self.batch_size % world:
            few = ", as many as the training set has," if self.batch_size < config.train.batch_size else ""
            raise UserError(
                f"{world} processes cannot share batches of {self.batch_size} images{few} equally: set train.batch_size"
                f" to a multiple of {world}"
            )
        self._share = self.batch_size // world
        self._first = rank * self._share
        self.pass_steps = self._order.length // self.batch_size
        """batches of a pass over the set, without a last partial one: batch norm needs full ones"""
        self._index = DataIndex.of(dataset)
        self._device = device or torch.device("cpu")
        self._pad = pad
        self._resident: Tensor | None = None
        if config.data.cache == "device":
            assert frames.slots is not None
            self._resident = torch.from_numpy(frames.slots).to(self._device)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.config.train.epoch_batches or self.pass_steps

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The `steps` batches of an epoch."""
        return self.stream(epoch, epoch + 1)

    def stream(self, first: int, end: int, done: int = 0) -> Generator[Batch]:
        """The batches of the epochs `first` up to `end`, without the first `done` of epoch `first`. No epoch waits for
        its first batch."""
        workers = self.config.data.workers
        if workers == 0:
            for epoch, number, order in self._places(first, end, done):
                yield self._timed(partial(self._prepare, epoch, number, order))
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="render") as pool:
            queue: deque[Future[_Prepared]] = deque()
            try:
                for place in self._places(first, end, done):
                    queue.append(pool.submit(self._prepare, *place))
                    if len(queue) > workers + 2:  # one per worker in progress, and some that are ready
                        yield self._timed(queue.popleft().result)
                while queue:
                    yield self._timed(queue.popleft().result)
            finally:
                pool.shutdown(cancel_futures=True)

    def _places(self, first: int, end: int, done: int) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        for epoch in range(first, end):
            order = self._order_of(epoch)
            for number in range(done if epoch == first else 0, self.steps):
                yield epoch, number, order

    def batch(self, epoch: int, number: int) -> Batch:
        """Makes one batch of an epoch again."""
        return self._finish(self._prepare(epoch, number, self._order_of(epoch)))

    def plans(self, epoch: int, number: int) -> Plans:
        """The augmentation of one batch."""
        return self._draw(epoch, number, self._order_of(epoch))

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        """(L,) index of the image at each position of the epoch."""
        if not self.config.train.epoch_batches:
            return self._order.order(epoch)
        length = self.steps * self.batch_size
        return self._order.images(epoch * length, length)

    def _timed(self, prepare: Callable[[], "_Prepared"]) -> Batch:
        start = time.perf_counter()
        batch = self._finish(prepare())
        self.waited += time.perf_counter() - start
        return batch

    def _draw(self, epoch: int, number: int, order: NDArray[np.int64]) -> Plans:
        spec, augment, train = self.config.model.input, self.config.augment, self.config.train
        first = number * self.batch_size + self._first
        positions = np.arange(first, first + self._share)
        end, epochs = train.walked(epoch + 1)
        plain = is_plain(augment, end - 1, epochs)
        own = order[positions]
        return draw_plans(self._index, own, positions, spec, augment, seed=train.seed, epoch=epoch, plain=plain)

    def _prepare(self, epoch: int, number: int, order: NDArray[np.int64]) -> "_Prepared":
        """A worker's part: plans, truth, and the pixels unless the device renders them."""
        spec = self.config.model.input
        plans = self._draw(epoch, number, order)
        truth = make_truth(move_truth(self._index, plans, self.config.augment.keep_visible), pad=self._pad)
        if self._resident is not None:
            return _Prepared(plans, truth, None)
        # pinned memory is copied to a GPU while it computes
        pinned = self._device.type == "cuda"
        images = torch.empty((len(plans.mix), *spec.hw, 3), dtype=torch.uint8, pin_memory=pinned)
        for b, picture in enumerate(images.numpy()):
            render_into(picture, plans, b, self.frames.get, self._index.hw, spec)
        return _Prepared(plans, truth, images)

    def _finish(self, prepared: "_Prepared") -> Batch:
        plans, truth, images = prepared
        if images is None:
            assert self._resident is not None
            slot_of, content_hw = self.frames.slot_of, self.frames.content_hw
            images = render_batch(self._resident, slot_of, content_hw, plans, self._index.hw, self.config.model.input)
        return Batch(images, torch.from_numpy(plans.colour), truth, torch.from_numpy(plans.index[:, 0]))


class _Prepared(NamedTuple):
    plans: Plans
    truth: Truth
    images: Tensor | None
