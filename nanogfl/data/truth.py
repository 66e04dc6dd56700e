"""The objects of a batch: as arrays while it is made, as tensors for the losses."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Truth(NamedTuple):
    """The G objects of a batch in one list, and its Q ignored regions in another; both may be 0.

    An empty box (0, 0, 0, 0) is no object: it pads the lists to a length that compiled code has seen before.
    """

    boxes: Tensor
    """(G, 4) x1 y1 x2 y2 in network-input pixels"""
    labels: Tensor
    """(G,) class index"""
    image: Tensor
    """(G,) position in the batch"""
    ignored: Tensor
    """(Q, 4) regions that are neither object nor background"""
    ignored_image: Tensor
    """(Q,) position in the batch"""

    def to(self, device: torch.device) -> "Truth":
        return Truth(*(tensor.to(device, non_blocking=True) for tensor in self))


class FlatTruth(NamedTuple):
    """`Truth` as arrays."""

    boxes: NDArray[np.float32]
    """(G, 4) x1 y1 x2 y2 in network-input pixels"""
    labels: NDArray[np.int64]
    """(G,)"""
    image: NDArray[np.int64]
    """(G,) position in the batch, rising"""
    ignored: NDArray[np.float32]
    """(Q, 4) regions that are neither object nor background"""
    ignored_image: NDArray[np.int64]
    """(Q,) rising"""


def make_truth(flat: FlatTruth, *, pad: bool) -> Truth:
    """`pad`: both lists are padded to a power of two, at least 64, so that few lengths occur."""

    def filled(array: np.ndarray) -> Tensor:
        length = max(64, 1 << (len(array) - 1).bit_length()) if pad else len(array)
        whole = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
        whole[: len(array)] = array
        return torch.from_numpy(whole)

    return Truth(
        filled(flat.boxes),
        filled(flat.labels),
        filled(flat.image),
        filled(flat.ignored),
        filled(flat.ignored_image),
    )
