"""stdout and stderr of a command: whatever becomes of them, the work is done, and no character of a name ends it."""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def protect_streams() -> None:
    """sys.stdout and sys.stderr can be printed to from here on, whatever they are.

    Characters that their encoding lacks are written as \\x.. or \\u..... Where one can no longer be written to (its
    reader has ended, the disk is full, the terminal is gone), that is said once on stderr, and what follows goes
    nowhere. One that was closed is the null device. Streams that somebody has put in their place are left alone.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: else the next file would get it
            os.set_inheritable(null, True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _protected(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _protected(sys.stderr, 2)


def is_output_lost() -> bool:
    """Something printed could not be written, and not because its reader wanted no more of it."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Descriptor) and raw.lost


def _protected(stream: TextIO | None, number: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # None: it was closed
        return open(os.devnull, "w", encoding="utf-8")  # for as long as the process lives
    if sys.platform == "win32" and stream.isatty():  # a console, which takes every character, but by calls of its own
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Descriptor(io.FileIO):
    """One that becomes the null device when it can no longer be written to."""

    lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() == 1:
                self.lost = error.errno not in (errno.EPIPE, errno.EINVAL)  # the latter is Windows' word for it
                print(
                    f"nanogfl: what is printed can no longer be written ({error.strerror}): going on without it",
                    file=sys.stderr,
                    flush=True,
                )
            return super().write(data)
