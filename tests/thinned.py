"""Parametrisations of which some cases run by default, and all with --exhaustive."""

from collections.abc import Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], always: Iterable[Any]) -> list[Any]:
    """The cases, those that are not in `always` marked as exhaustive. A case is a value or a tuple of values."""
    kept = list(always)
    every = list(cases)
    assert all(case in every for case in kept)
    return [
        case
        if case in kept
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.exhaustive)
        for case in every
    ]
