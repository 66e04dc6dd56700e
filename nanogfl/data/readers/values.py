"""What annotations write as a number or a flag, in all the ways of their tools."""

from typing import TypeGuard

LARGEST_ID = (1 << 63) - 1
"""pycocotools and numpy count in 64 bits"""
_FLAGS = {"0": False, "false": False, "1": True, "true": True}


def to_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def to_whole(value: object) -> int | None:
    """A whole number of at most 64 bits; 1.0 is one, which pandas writes, and true is none."""
    if type(value) is int and -LARGEST_ID <= value <= LARGEST_ID:
        return value
    if not is_number(value) or not abs(value) <= LARGEST_ID:
        return None
    return int(value) if value == int(value) else None


def to_flag(value: object) -> bool | None:
    """0, 1, false or true, as text, too; None for anything else."""
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def is_number(value: object) -> TypeGuard[int | float]:
    """Of JSON's numbers; true is none."""
    return type(value) in (int, float)
