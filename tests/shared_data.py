"""Where the files lie that tests measure with and that are never copied into the project."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def shared(*parts: str) -> Path | None:
    """$NANOGFL_SHARED/PARTS, else ../shared/PARTS beside the repository; None where it does not exist."""
    own = os.environ.get("NANOGFL_SHARED")
    path = (Path(own) if own else ROOT.parent / "shared").joinpath(*parts)
    return path if path.exists() else None
