"""Batches: what is in them is decided by seed, epoch and position alone."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nanogfl.config import Config, DataConfig, ModelConfig, TrainConfig
from nanogfl.contract.errors import UserError
from nanogfl.contract.preprocess import InputSpec
from nanogfl.data.batch import BATCHES_AHEAD, Batch, Loader, collate
from nanogfl.data.coco import DataSet, ImageRecord
from nanogfl.data.render import Sample

HW = (64, 96)


def sample(boxes: int, ignored: int, value: int) -> Sample:
    return Sample(
        np.full((*HW, 3), value, np.uint8),
        np.arange(boxes * 4, dtype=np.float32).reshape(-1, 4) + value,
        np.arange(boxes, dtype=np.int64),
        np.arange(ignored * 4, dtype=np.float32).reshape(-1, 4) - value,
    )


def test_the_flat_truth_knows_each_objects_image_with_an_empty_one_between():
    batch = collate([sample(2, 0, 10), sample(0, 1, 20), sample(3, 2, 30)])
    assert batch.images.shape == (3, *HW, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert batch.truth.image.tolist() == [0, 0, 2, 2, 2]
    assert batch.truth.labels.tolist() == [0, 1, 0, 1, 2]
    assert batch.truth.boxes[:, 0].tolist() == [10, 14, 30, 34, 38]
    assert batch.truth.ignored_image.tolist() == [1, 2, 2]
    assert batch.truth.ignored[:, 0].tolist() == [-20, -30, -26]


def test_a_batch_without_objects_has_empty_lists_of_the_right_types():
    truth = collate([sample(0, 0, 1), sample(0, 0, 2)]).truth
    assert [tuple(t.shape) for t in truth] == [(0, 4), (0,), (0,), (0, 4), (0,)]
    assert truth.boxes.dtype == truth.ignored.dtype == torch.float32
    assert truth.labels.dtype == truth.image.dtype == truth.ignored_image.dtype == torch.int64
    assert [tuple(t.shape) for t in truth.to(torch.device("cpu"))] == [tuple(t.shape) for t in truth]


@pytest.fixture
def dataset(tmp_path: Path) -> DataSet:
    records = []
    for number in range(11):
        numbers = np.random.default_rng(number)
        hw = (50 + number, 80 - number)
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), numbers.integers(0, 256, (*hw, 3), dtype=np.uint8))
        count = number % 4  # some have no object
        corner = numbers.uniform(0, 30, (count, 2))
        boxes = np.concatenate([corner, corner + 15], axis=1).astype(np.float32)
        labels, crowd = np.arange(count), np.arange(count) == 2
        records.append(ImageRecord(number, path, hw, boxes, labels, np.full(count, 225, np.float32), crowd))
    return DataSet("test", ("a", "b", "c"), (1, 2, 3), tuple(records), ())


def config(workers: int = 0, batch_size: int = 2, seed: int = 0) -> Config:
    return Config(
        ModelConfig(InputSpec(HW)), DataConfig(workers=workers), train=TrainConfig(batch_size=batch_size, seed=seed)
    )


def equal(a: list[Batch], b: list[Batch]) -> bool:
    flat_a, flat_b = ([t for batch in batches for t in (batch.images, *batch.truth)] for batches in (a, b))
    return len(flat_a) == len(flat_b) and all(torch.equal(x, y) for x, y in zip(flat_a, flat_b, strict=True))


def test_threads_change_nothing_in_the_batches(dataset):
    alone = list(Loader(dataset, config(0)).epoch(3))
    assert len(alone) == 5 > BATCHES_AHEAD  # 11 images by 2; the last part batch is left out
    assert sum(len(batch.truth.boxes) for batch in alone) > 5
    for workers in (1, 3):
        assert equal(list(Loader(dataset, config(workers)).epoch(3)), alone)


def test_epochs_do_not_depend_on_those_before_and_differ_from_each_other(dataset):
    loader = Loader(dataset, config())
    epochs = [list(loader.epoch(number)) for number in range(3)]
    assert equal(list(Loader(dataset, config()).epoch(2)), epochs[2])
    assert not equal(epochs[0], epochs[1])
    assert not equal(list(Loader(dataset, config(seed=1)).epoch(0)), epochs[0])


def test_an_epoch_shows_every_image_once(dataset):
    loader = Loader(dataset, config(batch_size=1))
    seen = []
    loader._sample = lambda epoch, position, index: (seen.append((position, index)), sample(0, 0, 1))[1]
    assert len(list(loader.epoch(0))) == 11
    assert sorted(index for _, index in seen) == list(range(11))
    assert [position for position, _ in seen] == list(range(11))
    first, seen[:] = [index for _, index in seen], []
    list(loader.epoch(1))
    assert [index for _, index in seen] != first


def test_a_batch_larger_than_the_data_set_is_the_data_set(dataset):
    loader = Loader(dataset, config(batch_size=64))
    assert (loader.batch_size, loader.steps) == (11, 1)


def test_an_unreadable_image_ends_the_epoch_with_its_name_in_threads_too(dataset):
    dataset.images[4].path.write_text("no picture")
    for workers in (0, 3):
        with pytest.raises(UserError, match=r"4\.png is not an image"):
            list(Loader(dataset, config(workers)).epoch(0))


def test_leaving_an_epoch_early_leaves_no_thread_behind(dataset):
    before = threading.active_count()
    batches = Loader(dataset, config(3)).epoch(0)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_crowd_regions_arrive_as_ignored_ones(dataset):
    record = dataset.images[3]  # three boxes, the last a crowd
    alone = replace(dataset, images=(record,))
    still = replace(
        config(batch_size=1), augment=replace(Config().augment, scale=(1, 1), stretch=0, translate=0, flip=0)
    )
    (batch,) = Loader(alone, still).epoch(0)
    factors = np.array([HW[1] / record.hw[1], HW[0] / record.hw[0]] * 2)
    np.testing.assert_allclose(batch.truth.boxes.numpy(), record.boxes[:2] * factors, rtol=1e-5)
    np.testing.assert_allclose(batch.truth.ignored.numpy(), record.boxes[2:] * factors, rtol=1e-5)
