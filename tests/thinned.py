"""Long parametrisations: a few cases by default, all of them with `pytest --exhaustive`."""

from collections.abc import Iterable
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
