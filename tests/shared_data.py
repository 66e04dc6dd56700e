"""Where the data lies that is shared by all and never copied into the project."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("NANOGFL_SHARED") or Path(__file__).parents[1] / "../shared")


def shared(path: str) -> Path:
    """A file or folder of it; the test is skipped where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"{path} is not in {SHARED} (the environment's NANOGFL_SHARED names another place)")
    return found
