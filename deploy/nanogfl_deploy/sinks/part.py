"""A file that is written over many calls, and has its name only once it is complete."""

from contextlib import ExitStack
from pathlib import Path

from nanogfl.io.atomic import atomic_path


class Part:
    """A temporary file beside `target`, at `path`. Raises UserError where it cannot be made."""

    def __init__(self, target: Path) -> None:
        self._until_named = ExitStack()
        self.path = self._until_named.enter_context(atomic_path(target, recording=True))

    def finish(self) -> None:
        """Gives the file its name. Raises UserError where that fails."""
        self._until_named.close()

    def drop(self) -> None:
        """Removes the temporary file; a file that had the name before stays."""
        self._until_named.__exit__(_Dropped, _Dropped(), None)


class _Dropped(Exception):  # noqa: N818
    """Tells `atomic_path` that its file is not wanted."""
