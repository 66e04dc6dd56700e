"""Long parametrisations: a few cases by default, all of them with `pytest --exhaustive`."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def thinned(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """For `parametrize`: every case, all but `kept` marked as exhaustive. A case of several values is a tuple."""
    cases = list(cases)
    assert all(case in cases for case in kept)
    exhaustive = pytest.mark.exhaustive
    return [
        case if case in kept else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=exhaustive)
        for case in cases
    ]


def seeds(default: int, whole: int) -> list[Any]:
    """Values of a parameter `seeds`: the first `default` seeds, and the `whole` of them."""
    every = pytest.param(range(whole), id=f"{whole} seeds", marks=pytest.mark.exhaustive)
    return [pytest.param(range(default), id=f"{default} seeds"), every]


def each(values: Sequence[Any], step: int) -> list[Any]:
    """All values of a parameter, of which every `step`-th runs by default."""
    return [
        value
        if n % step == 0
        else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.exhaustive)
        for n, value in enumerate(values)
    ]
