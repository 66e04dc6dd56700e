"""A data set as flat arrays: augmentation of a whole batch is array arithmetic on them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec, place
from nanogfl.data.dataset import DataSet

LEAST_PASTED = 0.025
"""share of the image's sides; smaller objects are a few pixels of the network's input, and are not pasted"""


@dataclass(frozen=True)
class DataIndex:
    """n images and their G objects; image i has rows start[i] : start[i + 1]."""

    hw: NDArray[np.int64]
    """(n, 2) as annotated"""
    boxes: NDArray[np.float32]
    """(G, 4) x1 y1 x2 y2 in annotated pixels"""
    labels: NDArray[np.int64]
    """(G,)"""
    crowd: NDArray[np.bool_]
    """(G,)"""
    start: NDArray[np.int64]
    """(n + 1,)"""
    pasteable: NDArray[np.int64]
    """(K,) rising rows of the objects that may be pasted into other images: not crowd, not tiny"""
    pasteable_images: NDArray[np.int64]
    """(k,) rising images that have pasteable objects"""
    pasteable_start: NDArray[np.int64]
    """(k + 1,) those of pasteable_images[j] are pasteable[pasteable_start[j] : pasteable_start[j + 1]]"""
    _scales: dict[InputSpec, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(dataset: DataSet) -> "DataIndex":
        images = dataset.images
        hw = np.array([image.hw for image in images], dtype=np.int64).reshape(-1, 2)
        start = np.concatenate([[0], np.cumsum([len(image.boxes) for image in images])]).astype(np.int64)
        boxes = np.concatenate([image.boxes for image in images])
        crowd = np.concatenate([image.crowd for image in images])
        image_of = np.repeat(np.arange(len(images)), np.diff(start))
        large = (boxes[:, 2:] - boxes[:, :2] >= LEAST_PASTED * hw[image_of][:, ::-1]).all(axis=1)
        pasteable = np.flatnonzero(large & ~crowd)
        pasteable_images, counts = np.unique(image_of[pasteable], return_counts=True)
        return DataIndex(
            hw,
            boxes,
            np.concatenate([image.labels for image in images]),
            crowd,
            start,
            pasteable,
            pasteable_images,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.hw)

    def scales(self, spec: InputSpec) -> NDArray[np.float64]:
        """(n, 2) scale_x, scale_y of `contract.input_spec.place`; computed once per spec."""
        if spec not in self._scales:
            shapes, shape_of = np.unique(self.hw, axis=0, return_inverse=True)
            placed = [place((int(h), int(w)), spec) for h, w in shapes]
            each = np.array([[p.scale_x, p.scale_y] for p in placed], dtype=np.float64).reshape(-1, 2)
            self._scales[spec] = each[shape_of.reshape(-1)]
        return self._scales[spec]

    def object_sides(self, spec: InputSpec) -> NDArray[np.float64]:
        """(O, 2) widths and heights of the objects, without crowd regions, in pixels at the network's input."""
        objects = ~self.crowd
        boxes = self.boxes[objects].astype(np.float64)
        image_of = np.repeat(np.arange(len(self)), np.diff(self.start))
        return np.asarray((boxes[:, 2:] - boxes[:, :2]) * self.scales(spec)[image_of[objects]])
