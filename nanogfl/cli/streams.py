"""stdout and stderr of a command: neither a closed pipe, a full disk nor an odd character ends its work."""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def protect_streams() -> None:
    """Makes sys.stdout and sys.stderr safe to print to.

    Characters that their encoding lacks are written as \\x.. or \\u..... If a stream can no longer be written to (its
    reader has ended, the disk is full, the terminal is gone), stderr says so once, and further output is dropped. A
    closed stream becomes the null device. Streams that were replaced, as by pytest, are left alone.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which the next file would get
            os.set_inheritable(null, True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _protected(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _protected(sys.stderr, 2)


def is_output_lost() -> bool:
    """Whether output was lost for another reason than that its reader ended."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Descriptor) and raw.lost


def _protected(stream: TextIO | None, number: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # None: it was closed
        return open(os.devnull, "w", encoding="utf-8")  # for as long as the process lives
    if sys.platform == "win32" and stream.isatty():  # a console takes every character, by calls of its own
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Descriptor(io.FileIO):
    """A file that becomes the null device when it can no longer be written to."""

    lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self.fileno() == 1:
                self.lost = error.errno not in (errno.EPIPE, errno.EINVAL)  # EINVAL: a closed pipe on Windows
                print(
                    f"nanogfl: output can no longer be written ({error.strerror}): going on without it",
                    file=sys.stderr,
                    flush=True,
                )
            return super().write(data)
