"""Where files are kept that runs share."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """$NANOGFL_CACHE/<kind>, else $XDG_CACHE_HOME/nanogfl/<kind>, else ~/.cache/nanogfl/<kind>."""
    if own := os.environ.get("NANOGFL_CACHE"):
        return Path(own) / kind
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "nanogfl" / kind
