"""Bounds in the types of a dataclass, such as `epochs: Annotated[int, Ge(1)]`.

pydantic enforces them where a file is read, `Bounded` where a dataclass is constructed in Python, without pydantic.
"""

import operator
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

_KINDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
    "multiple_of": (lambda value, bound: value % bound == 0, "a multiple of"),
}
"""by the names that annotated_types and pydantic share"""


class Bounded:
    """Base of a dataclass. Constructing one raises ValueError where a number is outside the bounds in its type."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # an unknown key in a file is an error
    _bounds: ClassVar[list[tuple[str, str, Any]]] = []
    """(field, kind, bound)"""

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        found = ((name, part) for name, hint in hints.items() for part in _metadata(hint))
        cls._bounds = [
            (name, kind, getattr(part, kind)) for name, part in found for kind in _KINDS if hasattr(part, kind)
        ]

    def __post_init__(self) -> None:
        for name, kind, bound in self._bounds:
            value = getattr(self, name)
            if value is not None and not _KINDS[kind][0](value, bound):  # NaN is outside, too
                raise ValueError(f"{name} {requirement({kind: bound})}, got {value}")


def requirement(bounds: dict[str, Any]) -> str | None:
    """{"ge": 1.0} -> "must be at least 1"; None where no entry is a bound."""
    for kind, (_, words) in _KINDS.items():
        if kind in bounds:
            return f"must be {words} {bounds[kind]}".removesuffix(".0")
    return None


def _metadata(hint: Any) -> Iterator[Any]:
    """Of the number itself: what is annotated within a list or a dictionary is bounded by pydantic alone."""
    if get_origin(hint) in (Annotated, Union, UnionType):
        yield from getattr(hint, "__metadata__", ())
        for inner in get_args(hint):
            yield from _metadata(inner)
