"""Batches: the epoch's order, rendering in threads ahead of the loop, and the truth of a whole batch in flat lists."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nanogfl.config import Config
from nanogfl.data.cache import FrameCache
from nanogfl.data.coco import DataSet
from nanogfl.data.plan import draw_plan
from nanogfl.data.render import Sample, render

BATCHES_AHEAD = 3


class Truth(NamedTuple):
    """Every object of a batch in one list (G may be 0), and the ignored regions likewise."""

    boxes: Tensor
    """(G, 4) x1 y1 x2 y2 in network-input pixels"""
    labels: Tensor
    """(G,) class index"""
    image: Tensor
    """(G,) position in the batch"""
    ignored: Tensor
    """(Q, 4)"""
    ignored_image: Tensor
    """(Q,)"""

    def to(self, device: torch.device) -> "Truth":
        return Truth(*(tensor.to(device, non_blocking=True) for tensor in self))


class Batch(NamedTuple):
    images: Tensor
    """uint8 (B, H, W, 3) BGR"""
    truth: Truth


def collate(samples: list[Sample]) -> Batch:
    """B samples -> a batch."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))

    def owners(counts: list[int]) -> Tensor:
        return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    truth = Truth(
        torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
        torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
        owners([len(sample.boxes) for sample in samples]),
        torch.from_numpy(np.concatenate([sample.ignored for sample in samples])),
        owners([len(sample.ignored) for sample in samples]),
    )
    return Batch(images, truth)


class Loader:
    """Training batches of an epoch. Threads decide how fast they come, never what is in them."""

    def __init__(self, dataset: DataSet, config: Config, cache: FrameCache | None = None) -> None:
        self.dataset, self.config = dataset, config
        self.batch_size = min(config.train.batch_size, len(dataset.images))
        self.steps = len(dataset.images) // self.batch_size  # a last part batch is left out: batch norm needs full ones
        self.waited = 0.0
        """seconds that the loop has waited for batches since it last set this to 0"""
        self._cache = cache or FrameCache(config.data.memory_gb)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """`steps` batches in an order that only the seed and the epoch decide."""
        random = np.random.default_rng((self.config.train.seed, epoch))
        order = random.permutation(len(self.dataset.images))
        positions = [range(step * self.batch_size, (step + 1) * self.batch_size) for step in range(self.steps)]
        if self.config.data.workers == 0:
            for batch in positions:
                start = time.perf_counter()
                ready = collate([self._sample(epoch, position, int(order[position])) for position in batch])
                self.waited += time.perf_counter() - start
                yield ready
            return
        with ThreadPoolExecutor(self.config.data.workers, thread_name_prefix="render") as pool:
            queue: deque[list[Future[Sample]]] = deque()
            try:
                for batch in positions:
                    queue.append([pool.submit(self._sample, epoch, p, int(order[p])) for p in batch])
                    if len(queue) > BATCHES_AHEAD:
                        yield self._wait(queue.popleft())
                while queue:
                    yield self._wait(queue.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _wait(self, futures: list[Future[Sample]]) -> Batch:
        start = time.perf_counter()
        samples = [future.result() for future in futures]
        self.waited += time.perf_counter() - start
        return collate(samples)

    def _sample(self, epoch: int, position: int, index: int) -> Sample:
        image, spec, augment = self.dataset.images[index], self.config.model.input, self.config.augment
        plan = draw_plan(image.hw, spec, augment, seed=self.config.train.seed, epoch=epoch, position=position)
        frame = self._cache.get(image)
        return render(frame, image.boxes, image.labels, image.crowd, plan, spec, augment.keep_visible)
