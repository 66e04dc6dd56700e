"""Batches: what is in them is decided by seed, epoch and position alone."""

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nanogfl.config import AugmentConfig, Config, DataConfig, ModelConfig, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache.frames import open_frames
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.loader import Batch, Loader
from nanogfl.data.truth import FlatTruth, make_truth
from nanogfl.errors import UserError

HW = (64, 96)


def flat(*counts: tuple[int, int]) -> FlatTruth:
    """Of each picture so many objects and ignored regions."""

    def column(kind: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
        owners = np.repeat(np.arange(len(counts)), [count[kind] for count in counts])
        return np.arange(len(owners) * 4, dtype=np.float32).reshape(-1, 4) + offset, owners

    (boxes, image), (ignored, ignored_image) = column(0, 10), column(1, -20)
    return FlatTruth(boxes, np.arange(len(boxes)) % 3, image, ignored, ignored_image)


@pytest.mark.parametrize("pad", [False, True])
def test_the_flat_truth_is_kept_and_padding_adds_empty_boxes_only(pad):
    made = flat((2, 0), (0, 1), (3, 2))
    truth = make_truth(made, pad=pad)
    for found, expected in zip(truth, made, strict=True):
        assert len(found) == (64 if pad else len(expected))
        assert found[: len(expected)].tolist() == expected.tolist()
        assert not found[len(expected) :].any()
    assert truth.boxes.dtype == truth.ignored.dtype == torch.float32
    assert truth.labels.dtype == truth.image.dtype == truth.ignored_image.dtype == torch.int64


def test_padded_lists_have_few_lengths():
    lengths = [len(make_truth(flat((count, 0)), pad=True).boxes) for count in (0, 1, 64, 65, 128, 129, 1000)]
    assert lengths == [64, 64, 64, 128, 128, 256, 1024]


def test_a_batch_without_objects_has_empty_lists_of_the_right_types():
    truth = make_truth(flat((0, 0), (0, 0)), pad=False)
    assert [tuple(t.shape) for t in truth] == [(0, 4), (0,), (0,), (0, 4), (0,)]
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


def config(workers: int = 0, batch_size: int = 2, seed: int = 0, cache: str = "memory", **augment) -> Config:
    return Config(
        ModelConfig(InputSpec(HW)),
        DataConfig(workers=workers, cache=cache),
        AugmentConfig(**augment),
        train=TrainConfig(batch_size=batch_size, seed=seed),
    )


def load(dataset: DataSet, settings: Config, **more) -> Loader:
    zoom = settings.data.cache_zoom
    dataset, frames = open_frames(dataset, settings.model.input, settings.data, zoom=zoom)
    return Loader(dataset, settings, frames, **more)


def equal(a: list[Batch], b: list[Batch]) -> bool:
    flat_a, flat_b = (
        [t for batch in batches for t in (batch.images, batch.colour, *batch.truth)] for batches in (a, b)
    )
    return len(flat_a) == len(flat_b) and all(torch.equal(x, y) for x, y in zip(flat_a, flat_b, strict=True))


def test_threads_change_nothing_in_the_batches(dataset):
    alone = list(load(dataset, config(0)).epoch(3))
    assert len(alone) == 5  # 11 images by 2; the last part batch is left out
    assert sum(len(batch.truth.boxes) for batch in alone) > 5
    for workers in (1, 3):
        assert equal(list(load(dataset, config(workers)).epoch(3)), alone)


def test_epochs_do_not_depend_on_those_before_and_differ_from_each_other(dataset):
    loader = load(dataset, config())
    epochs = [list(loader.epoch(number)) for number in range(3)]
    assert equal(list(load(dataset, config()).epoch(2)), epochs[2])
    assert not equal(epochs[0], epochs[1])
    assert not equal(list(load(dataset, config(seed=1)).epoch(0)), epochs[0])


BUSY = {"mosaic": 0.7, "mixup": 0.5, "copy_paste": 0.5, "rotate": 10.0, "plain_end": 0.0}


def test_pictures_do_not_depend_on_the_batch_size(dataset):
    """Nor, for that reason, would the number of processes: a picture is that of its position in the epoch."""
    one = list(load(dataset, config(batch_size=1, **BUSY)).epoch(1))
    three = list(load(dataset, config(batch_size=3, **BUSY)).epoch(1))
    assert len(one) == 11
    for position in range(9):
        batch, b = three[position // 3], position % 3
        assert torch.equal(batch.images[b], one[position].images[0])
        assert torch.equal(batch.colour[b], one[position].colour[0])
        assert torch.equal(batch.truth.boxes[batch.truth.image == b], one[position].truth.boxes)
    assert sum(len(batch.truth.boxes) for batch in three) > 10


def test_a_stream_is_its_epochs_in_order_and_any_batch_can_be_made_again(dataset):
    for workers in (0, 2):
        loader = load(dataset, config(workers, **BUSY))
        apart = [batch for number in range(2, 5) for batch in loader.epoch(number)]
        assert equal(list(loader.stream(2, 5)), apart)
        assert equal([loader.batch(3, 4)], apart[9:10])


@pytest.mark.parametrize("cache", ["memmap", "off", "device"])
def test_the_cache_changes_neither_truth_nor_pixels(dataset, cache):
    expected = list(load(dataset, config(**BUSY)).epoch(0))
    found = list(load(dataset, config(2, cache=cache, **BUSY)).epoch(0))
    for a, b in zip(found, expected, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.truth, b.truth, strict=True))
        difference = (a.images.int() - b.images.int()).abs().float()
        if cache != "off":  # there pictures are warped from the source in one step instead of two, and these are noise
            assert difference.mean() < (0.5 if cache == "device" else 1e-9)


@pytest.mark.parametrize(("batches", "epochs"), [(1, 11), (3, 11), (8, 11)])
def test_epochs_of_a_given_length_go_through_the_set_again_and_again(dataset, batches, epochs):
    settings = config()
    loader = load(dataset, replace(settings, train=replace(settings.train, epoch_batches=batches)))
    assert loader.steps == batches
    shown = [int(index) for batch in loader.stream(0, epochs) for index in batch.indices]
    passes = len(shown) // 11
    assert [sorted(shown[11 * n : 11 * n + 11]) for n in range(passes)] == [list(range(11))] * passes
    assert shown[:11] != shown[11:22]
    assert equal([loader.batch(2, 0)], list(loader.stream(2, 3))[:1])


def test_an_epoch_shows_every_image_once(dataset):
    loader = load(dataset, config(batch_size=1))
    first, second = ([int(batch.indices[0]) for batch in loader.epoch(number)] for number in range(2))
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_the_last_epochs_are_plain(dataset):
    mosaic = load(dataset, config(mosaic=1.0, plain_end=0.15, batch_size=11))  # of the default hundred epochs
    plain = load(dataset, config(batch_size=11))
    assert equal(list(mosaic.epoch(85)), list(plain.epoch(85)))
    assert not equal(list(mosaic.epoch(84)), list(plain.epoch(84)))


def test_a_batch_larger_than_the_data_set_is_the_data_set(dataset):
    loader = load(dataset, config(batch_size=64))
    assert (loader.batch_size, loader.steps) == (11, 1)


def test_without_a_cache_an_image_damaged_later_ends_the_epoch_with_its_name(dataset):
    for workers in (0, 3):
        content = dataset.images[4].path.read_bytes()
        loader = load(dataset, config(workers, cache="off"))
        dataset.images[4].path.write_text("no picture")
        with pytest.raises(UserError, match=r"4\.png is not an image"):
            list(loader.epoch(0))
        dataset.images[4].path.write_bytes(content)


def test_leaving_an_epoch_early_leaves_no_thread_behind(dataset):
    before = threading.active_count()
    batches = load(dataset, config(3)).epoch(0)
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
    (batch,) = load(alone, still).epoch(0)
    factors = np.array([HW[1] / record.hw[1], HW[0] / record.hw[0]] * 2)
    np.testing.assert_allclose(batch.truth.boxes.numpy(), record.boxes[:2] * factors, rtol=1e-5)
    np.testing.assert_allclose(batch.truth.ignored.numpy(), record.boxes[2:] * factors, rtol=1e-5)
