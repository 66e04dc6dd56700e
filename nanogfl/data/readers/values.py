"""Numbers and flags as annotation tools write them."""

from typing import TypeGuard

LARGEST_ID = (1 << 63) - 1
"""pycocotools and numpy use 64 bits"""
_LARGEST_SIDE = 1 << 20
"""pixels; OpenCV decodes no larger image"""
_FLAGS = {"0": False, "false": False, "1": True, "true": True}


def to_number(text: str) -> float | None:
    """None if the text is not a number. May be infinite or NaN."""
    try:
        return float(text)
    except ValueError:
        return None


def to_whole(value: object) -> int | None:
    """A whole number of at most 64 bits, also as a float (1.0, as pandas writes it). None for anything else."""
    if type(value) is int and -LARGEST_ID <= value <= LARGEST_ID:
        return value
    if not is_number(value) or not abs(value) <= LARGEST_ID:
        return None
    return int(value) if value == int(value) else None


def to_index(text: object) -> int | None:
    """A number from 0 in plain digits, as class numbers are written. None for anything else."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else None


def to_hw(height: object, width: object) -> tuple[int, int] | None:
    """An image's size; None if either side is not a positive whole number of pixels."""
    h, w = to_whole(height), to_whole(width)
    return (h, w) if h and w and 0 < h < _LARGEST_SIDE and 0 < w < _LARGEST_SIDE else None


def to_flag(value: object) -> bool | None:
    """0, 1, false or true, also as text. None for anything else."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number of JSON; true and false are not."""
    return type(value) in (int, float)
