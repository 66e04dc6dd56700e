"""What a federated data set says beyond its boxes (LVIS, arXiv:1908.03195)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Federated:
    """A class is verified in an image that holds it or lists it as negative; of other classes an image says nothing."""

    negative: Mapping[int, frozenset[int]]
    """image id -> labels that were looked for and are not there"""
    not_exhaustive: Mapping[int, frozenset[int]]
    """image id -> labels of which there may be more objects than boxes"""
    frequency: tuple[str, ...]
    """(C,) rare, common or frequent: as the file says, not as anything counts"""
