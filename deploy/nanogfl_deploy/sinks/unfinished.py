"""Ending an `atomic_path` that is kept open over many calls."""

from contextlib import ExitStack


class _Dropped(Exception):  # noqa: N818
    """Tells the block that its file is not wanted."""


def drop(until_named: ExitStack) -> None:
    """Removes the temporary file; what had the name before stays."""
    dropped = _Dropped()
    until_named.__exit__(_Dropped, dropped, None)
