"""The folder for files that several runs share."""

import os
from pathlib import Path

from nanogfl.errors import UserError


def cache_folder(kind: str, otherwise: str = "") -> Path:
    """$NANOGFL_CACHE/<kind>, else $XDG_CACHE_HOME/nanogfl/<kind>, else ~/.cache/nanogfl/<kind>.

    Raises UserError if the user has no home folder, as under `docker run --user`; the sentence ends with `otherwise`.
    """
    if own := os.environ.get("NANOGFL_CACHE"):
        return Path(own) / kind
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "nanogfl" / kind
    try:
        home = Path.home()
    except RuntimeError:
        raise UserError(
            "this user has no home folder (no HOME, and no entry in passwd) in which files could be kept: set"
            f" NANOGFL_CACHE to a folder that can be written to{otherwise}"
        ) from None
    return home / ".cache" / "nanogfl" / kind


def expand_user(path: str, what: str) -> Path:
    """Replaces ~ and ~name by home folders. Raises UserError, which begins with `what`, if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{what} {path} cannot be found: this user has no home folder; write the path out") from None
