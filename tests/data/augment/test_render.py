"""Pixels of planned pictures: OpenCV and the device paint the same, and boxes go where their pixels go."""

from itertools import product

import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nanogfl.config import AugmentConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.contract.preprocess import preprocess
from nanogfl.data.arrays import DataIndex
from nanogfl.data.augment.boxes import move_truth
from nanogfl.data.augment.colour import apply_colour
from nanogfl.data.augment.plan import Plans
from nanogfl.data.augment.render_cv2 import render_into
from nanogfl.data.augment.render_torch import render_batch
from nanogfl.data.readers.read import load_split as load_coco
from nanogfl.io.images import read_frame
from tests.data.flat import index_of, plans_of, record, smooth_picture, still
from tests.shared_data import shared
from tests.thinned import thinned

SPEC = InputSpec((96, 160))
KINDS = {
    "still": {},
    "plain": {"scale": (0.6, 1.4), "stretch": 0.2, "translate": 0.2, "flip": 0.5, "flip_vertical": 0.5},
    "rotate": {"rotate": 180.0},
    "shear": {"shear": 30.0},
    "perspective": {"perspective": 0.6},
    "mosaic": {"mosaic": 1.0, "flip": 0.5},
    "mixup": {"mixup": 1.0, "scale": (0.6, 1.4)},
    "copy_paste": {"copy_paste": 1.0, "flip": 0.5},
    "everything": {
        **{"scale": (0.4, 2.0), "stretch": 0.2, "translate": 0.3, "flip": 0.5, "rotate": 30.0, "shear": 10.0},
        **{"perspective": 0.3, "mosaic": 0.5, "mixup": 0.5, "copy_paste": 0.5},
    },
}


def by_cv2(frames, plans: Plans, index: DataIndex, spec: InputSpec) -> np.ndarray:
    out = np.full((len(plans.mix), *spec.hw, 3), 77, np.uint8)  # what was there before must not show
    for b, picture in enumerate(out):
        render_into(picture, plans, b, frames.__getitem__, index.hw, spec)
    return out


def by_device(frames, plans: Plans, index: DataIndex, spec: InputSpec) -> np.ndarray:
    """From slots larger than the frames, in another order, filled with what must never be seen."""
    hw = np.array([frame.shape[:2] for frame in frames])
    slots = np.full((len(frames) + 1, *(hw.max(axis=0) + 3), 3), 250, np.uint8)
    slot_of = np.arange(len(frames))[::-1] + 1
    for frame, slot in zip(frames, slot_of, strict=True):
        slots[slot, : frame.shape[0], : frame.shape[1]] = frame
    return render_batch(torch.from_numpy(slots), slot_of, hw, plans, index.hw, spec).numpy()


RENDERERS = [by_cv2, by_device]


def content(frame: np.ndarray, spec: InputSpec) -> np.ndarray:
    """As a cache keeps it: of the input's size, without padding."""
    image, placement = preprocess(frame, spec)
    return image[: round(frame.shape[0] * placement.scale_y), : round(frame.shape[1] * placement.scale_x)]


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("hw", [(70, 90), (200, 150), (96, 160), (333, 401)])
def test_without_augmentation_the_picture_is_what_the_device_sees(resize, hw, render):
    spec, index = InputSpec((96, 160), resize), index_of(record(0, hw))
    plans = plans_of(index, spec, still(), 1)
    frame = smooth_picture(hw)
    expected, placement = preprocess(frame, spec)
    # from the cached frame exactly
    np.testing.assert_array_equal(render([content(frame, spec)], plans, index, spec)[0], expected)
    # from the source, up to the warp's rounding and its blending of the outermost pixels with the padding
    difference = np.abs(render([frame], plans, index, spec)[0].astype(int) - expected.astype(int))
    height, width = round(hw[0] * placement.scale_y), round(hw[1] * placement.scale_x)
    border = 2 * int(np.ceil(max(placement.scale_x, placement.scale_y)))
    inner = difference[border : height - border, border : width - border]
    assert inner.mean() < 0.5
    assert inner.max() <= 12
    assert not difference[height + border :].any()
    assert not difference[:, width + border :].any()


@pytest.mark.parametrize("render", RENDERERS)
def test_what_no_image_covers_is_the_mean(render):
    spec, index = InputSpec((96, 160), mean=(10.0, 20.0, 30.4)), index_of(record(0, (70, 90)))
    for augment in (
        still(scale=(0.5, 0.5)),
        still(scale=(0.5, 0.5), rotate=1.0),
        still(scale=(0.5, 0.5), perspective=0.1),
    ):
        image = render([np.full((70, 90, 3), 200, np.uint8)], plans_of(index, spec, augment, 1), index, spec)[0]
        for corner in (image[2, 2], image[-2, -2], image[2, -2], image[-2, 2]):
            assert corner.tolist() == [10, 20, 30]
        assert image[48, 80].tolist() == [200, 200, 200]


def agreement(frames, plans, index, spec) -> tuple[float, int]:
    """Mean and largest absolute difference in grey levels of the two renderers."""
    pictures = by_cv2(frames, plans, index, spec).astype(int)
    assert pictures.std() > 10
    difference = np.abs(pictures - by_device(frames, plans, index, spec))
    return float(difference.mean()), int(difference.max())


@pytest.mark.parametrize(
    ("kind", "resize"),
    thinned(
        product(KINDS, ["stretch", "letterbox"]),
        *((kind, "letterbox") for kind in ("still", "perspective", "mixup", "everything")),
        ("everything", "stretch"),
    ),
)
def test_device_and_cv2_agree_on_smooth_pictures(kind, resize, record_property):
    spec = InputSpec((96, 160), resize)
    sizes = [(70, 90), (200, 150), (96, 160), (133, 401)]
    index = index_of(*(record(n, hw, [[10, 10, 60, 50], [30, 20, 80, 60]]) for n, hw in enumerate(sizes)))
    frames = [content(smooth_picture(hw, n), spec) for n, hw in enumerate(sizes)]
    mean, largest = agreement(frames, plans_of(index, spec, still(**KINDS[kind]), 24), index, spec)
    record_property("difference", (mean, largest))
    assert mean < 0.05
    assert largest <= 2


@pytest.mark.parametrize(
    ("name", "kind"), thinned(product(["bccd", "coco_mini"], ["plain", "everything"]), ("coco_mini", "everything"))
)
def test_device_and_cv2_agree_on_photographs(name, kind, record_property):
    dataset = load_coco(shared(f"data/{name}/val.json"), shared(f"data/{name}/val"))
    images, spec = dataset.images[:8], InputSpec((224, 320), "letterbox")
    index = index_of(*images)
    frames = [content(read_frame(image.path), spec) for image in images]
    mean, largest = agreement(frames, plans_of(index, spec, still(**KINDS[kind]), 16), index, spec)
    record_property("difference", (mean, largest))
    print(f"{name}, {kind}: mean {mean:.4f}, largest {largest}")
    assert mean < 0.05
    assert largest <= 2


def mark(hw, x: float, y: float) -> np.ndarray:
    """A black picture with a soft light spot centred on x, y in continuous coordinates."""
    rows, columns = np.arange(hw[0])[:, None] + 0.5 - y, np.arange(hw[1]) + 0.5 - x
    spot = 255 * np.exp(-(rows**2 + columns**2) / (2 * 2.5**2))
    return np.repeat(np.rint(spot)[..., None], 3, axis=2).astype(np.uint8)


def centroid(picture: np.ndarray) -> np.ndarray:
    """x, y in continuous coordinates; NaN where nothing is"""
    light = picture[..., 0].astype(float)
    if light.sum() < 1000:
        return np.full(2, np.nan)
    return np.array(
        [(light.sum(axis=axis) * (np.arange(light.shape[1 - axis]) + 0.5)).sum() / light.sum() for axis in (0, 1)]
    )


@pytest.mark.parametrize(
    ("kind", "resize", "render"),
    thinned(
        product(
            ["still", "plain", "rotate", "shear", "perspective", "mosaic", "everything"],
            ["stretch", "letterbox"],
            RENDERERS,
        ),
        *((kind, "letterbox", by_cv2) for kind in ("plain", "rotate", "shear", "perspective", "mosaic")),
        *((kind, "stretch", by_device) for kind in ("perspective", "mosaic", "everything")),
    ),
)
def test_boxes_follow_their_pixels(kind, resize, render):
    """Spots painted on an object's four corners are found again: their hull is the box of `move_truth`."""
    spec = InputSpec((192, 320), resize, mean=(0.0, 0.0, 0.0))
    settings = {**KINDS[kind], "mixup": 0.0, "copy_paste": 0.0}
    numbers = np.random.default_rng(3)
    records, corners = [], []
    for n in range(6):
        hw = tuple(int(side) for side in numbers.integers(150, 300, 2))
        x1, y1 = numbers.uniform(20, 0.4 * np.array(hw[::-1]))
        x2, y2 = numbers.uniform([x1 + 30, y1 + 30], np.array(hw[::-1]) - 20)
        records.append(record(n, hw, [[x1, y1, x2, y2]]))
        corners.append([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    index = index_of(*records)
    plans = plans_of(index, spec, still(**settings), 12)
    pictures = [
        render(
            [content(mark(r.hw, *four[corner]), spec) for r, four in zip(records, corners, strict=True)],
            plans,
            index,
            spec,
        )
        for corner in range(4)
    ]
    checked = 0
    for b, layer in np.argwhere(plans.index >= 0):
        alone = Plans(*(part[b : b + 1].copy() for part in plans))
        alone.index[:, [n for n in range(plans.index.shape[1]) if n != layer]] = -1
        x1, y1, x2, y2 = plans.window[b, layer]
        found = np.array([centroid(four[b, y1:y2, x1:x2]) for four in pictures])
        # a spot that the window's edge cuts is not where its centre seems to be
        if not (np.isfinite(found).all() and (found > 12).all() and (found < np.array([x2 - x1, y2 - y1]) - 12).all()):
            continue
        found += [x1, y1]
        truth = move_truth(index, alone, 0.25)
        expected = np.concatenate([found.min(axis=0), found.max(axis=0)])
        np.testing.assert_allclose(truth.boxes, [expected], atol=0.5)
        checked += 1
    assert checked >= 5


@pytest.mark.parametrize("render", RENDERERS)
def test_a_pasted_object_lies_exactly_in_its_window_above_the_picture(render):
    spec = InputSpec((96, 160))
    index = index_of(record(0, (96, 160)), record(1, (80, 100), [[20, 30, 60, 50]]))
    light = np.zeros((80, 100, 3), np.uint8)
    light[28:52, 18:62] = 255  # wider than the object: no darkness bleeds into its border
    frames = [np.full((96, 160, 3), 50, np.uint8), light]
    plans = plans_of(index, spec, still(copy_paste=1.0, scale=(0.7, 1.3), flip=0.5), 16)
    pictures = render(frames, plans, index, spec)
    for b in range(0, 16, 2):  # those of the first image
        expected = np.zeros(spec.hw, bool)
        for layer in np.flatnonzero(plans.only[b] >= 0):
            x1, y1, x2, y2 = plans.window[b, layer]
            expected[y1:y2, x1:x2] = True
        assert expected.any()
        assert (pictures[b, expected] == 255).all()
    truth = move_truth(index, plans, 0.25)
    assert len(truth.boxes) > 16
    assert (truth.boxes == np.rint(truth.boxes)).mean() > 0.5


@pytest.mark.parametrize("render", RENDERERS)
def test_mixup_blends_by_its_weight(render):
    index = index_of(record(0, (96, 160)), record(1, (96, 160)))
    frames = [np.full((96, 160, 3), 40, np.uint8), np.full((96, 160, 3), 240, np.uint8)]
    plans = plans_of(index, SPEC, still(mixup=0.5), 64)
    pictures = render(frames, plans, index, SPEC)
    values = np.array([40.0, 240.0])
    for b, picture in enumerate(pictures):
        weight = plans.mix[b]
        expected = values[plans.index[b, 0]] * (1 - weight) + weight * values[plans.index[b, -1]]
        assert np.abs(picture - expected).max() <= 0.51
    assert 16 < (plans.mix > 0).sum() < 48


def mosaic_plans(centre: tuple[int, int]) -> Plans:
    x, y = centre
    windows = np.array([[[0, 0, x, y], [x, 0, 160, y], [0, y, x, 96], [x, y, 160, 96], [0, 0, 160, 96]]], np.int32)
    matrices = np.tile(np.eye(3), (1, 5, 1, 1))
    return Plans(
        np.array([[0, 1, 2, 3, -1]]),
        matrices,
        windows,
        np.full((1, 5), -1),
        np.zeros(1, np.float32),
        np.eye(3, 4)[None],
    )


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("centre", [(1, 1), (159, 95), (1, 95), (80, 48)])
def test_windows_of_extreme_mosaics_show_their_own_image_to_the_last_pixel(centre, render):
    index = index_of(*(record(n, (96, 160)) for n in range(4)))
    frames = [np.full((96, 160, 3), 60 * (n + 1), np.uint8) for n in range(4)]
    picture = render(frames, mosaic_plans(centre), index, SPEC)[0]
    x, y = centre
    expected = np.zeros(SPEC.hw, np.uint8)
    expected[:y, :x], expected[:y, x:], expected[y:, :x], expected[y:, x:] = 60, 120, 180, 240
    np.testing.assert_array_equal(picture, np.repeat(expected[..., None], 3, axis=2))


def test_a_picture_rendered_by_the_device_does_not_depend_on_the_batch_around_it():
    index = index_of(*(record(n, (96, 160), [[10, 10, 60, 60]]) for n in range(3)))
    frames = [smooth_picture((96, 160), n) for n in range(3)]
    plans = plans_of(index, SPEC, still(**KINDS["everything"]), 9)
    whole = by_device(frames, plans, index, SPEC)
    for b in range(9):
        alone = by_device(frames, Plans(*(part[b : b + 1] for part in plans)), index, SPEC)
        np.testing.assert_array_equal(alone[0], whole[b])


class Watch(TorchDispatchMode):
    """Lists the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def test_the_device_is_never_asked_and_gets_as_much_to_do_for_two_pictures_as_for_ten():
    index = index_of(*(record(n, (96, 160), [[10, 10, 60, 60]]) for n in range(3)))
    slots = torch.zeros((3, 96, 160, 3), dtype=torch.uint8)
    counts = []
    for count in (2, 10):
        plans = plans_of(index, SPEC, still(**{**KINDS["everything"], "mosaic": 1, "mixup": 1, "copy_paste": 1}), count)
        plans.only[:, 4:7], plans.index[:, 4:7] = 0, 1  # every layer is there
        with Watch() as watch:
            render_batch(slots, np.arange(3), np.full((3, 2), [96, 160]), plans, index.hw, SPEC)
        assert not {"nonzero", "_local_scalar_dense", "masked_select", "item", "unique", "equal"} & set(watch.names)
        counts.append(len(watch.names))
    assert counts[0] == counts[1] < 450


def test_frames_may_be_read_only_parts_of_a_mapped_file(tmp_path):
    picture = smooth_picture((96, 160), 1)
    mapped = np.memmap(tmp_path / "slots.u8", np.uint8, "w+", shape=(2, 100, 170, 3))
    mapped[1, :96, :160] = picture
    mapped.flush()
    frame = np.memmap(tmp_path / "slots.u8", np.uint8, "r", shape=(2, 100, 170, 3))[1, :96, :160]
    index = index_of(record(0, (96, 160)))
    for augment in (still(), still(rotate=10.0), still(perspective=0.2)):
        plans = plans_of(index, SPEC, augment, 1)
        np.testing.assert_array_equal(by_cv2([frame], plans, index, SPEC), by_cv2([picture], plans, index, SPEC))


def test_frames_of_another_size_than_annotated_show_the_same_place():
    frame = smooth_picture((96, 160), 4)
    index = index_of(record(0, (96, 160)))
    plans = plans_of(index, SPEC, still(rotate=20.0, scale=(0.7, 0.9), perspective=0.2), 8)
    large = cv2.resize(frame, (320, 192), interpolation=cv2.INTER_CUBIC)
    for render in RENDERERS:
        small, twice = (render([f], plans, index, SPEC).astype(int) for f in (frame, large))
        assert np.abs(small - twice).mean() < 2
        shifted = np.abs(small[:, :, 1:] - twice[:, :, :-1]).mean()
        assert np.abs(small - twice).mean() < 0.5 * shifted


def test_colour_is_the_plans_affine_clipped_and_not_rounded():
    images = torch.from_numpy(np.stack([smooth_picture((32, 64), n) for n in range(12)]))
    index = index_of(record(0, (32, 64)))
    colour = plans_of(index, SPEC, AugmentConfig(brightness=0.8, contrast=0.9, saturation=0.9), 12).colour
    found = apply_colour(images, torch.from_numpy(colour)).numpy()
    assert (found.shape, found.dtype) == ((12, 32, 64, 3), np.float32)
    clipped = []
    for b in range(12):
        plain = images[b].numpy().astype(np.float64) @ colour[b, :, :3].T.astype(np.float64) + colour[b, :, 3]
        np.testing.assert_allclose(found[b], plain.clip(0, 255), atol=1e-3)
        clipped.append(((plain < 0) | (plain > 255)).mean())
    assert 0.02 < np.mean(clipped) < 0.9
    into = torch.full((12, 32, 64, 3), -1.0)
    assert apply_colour(images, torch.from_numpy(colour), into) is into
    np.testing.assert_array_equal(into, found)


def test_colour_compiles_to_one_graph_with_the_same_result():
    images = torch.from_numpy(np.stack([smooth_picture((32, 64), n) for n in range(2)]))
    colour = torch.tensor(np.random.default_rng(0).normal(0.3, 0.3, (2, 3, 4)), dtype=torch.float32)
    compiled = torch.compile(apply_colour, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images, colour), apply_colour(images, colour), atol=1e-3, rtol=0)
