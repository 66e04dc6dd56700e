"""Reading untrusted files: regular files only, up to a size."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from nanogfl.errors import UserError

_MOST_BYTES = 64_000_000
"""for a list of names: a million names take about 20"""
_CHUNK = 1 << 20
_DATA_SET = "check data.root and the split's annotations"


def is_file(path: Path) -> bool:
    """Whether it is a regular file. False for devices and pipes, and for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, in a closed folder; with a NUL
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_bounded(path: Path | str, what: str, most: int, advice: str = _DATA_SET) -> bytes:
    """The file's bytes.

    Raises UserError if the file is missing (with the advice), cannot be read, is not a regular file, or has more than
    `most` bytes. The sentence begins with `what`: "config", "annotations"."""
    try:
        if not stat.S_ISREG(mode := os.stat(path).st_mode):  # opening a pipe would wait for its writer
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise UserError(f"{what} {path} cannot be read: it is {kind}, a file is expected")
        with open(path, "rb") as file:
            content = _read(file, most)
    except (FileNotFoundError, NotADirectoryError):
        does = "do" if what.endswith("s") else "does"
        raise UserError(f"{what} {path} {does} not exist: {advice}") from None
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read ({error.strerror}): check the path and permissions") from None
    except ValueError:
        raise UserError(f"{what} {str(path)!r} cannot be read: no file can have this name") from None
    except MemoryError:
        raise UserError(f"{what} {path} cannot be read: there is not enough memory; free some") from None
    if content is None:
        raise UserError(f"{what} {path} has more than {most:,} bytes, which no such file has: check the path")
    return content


def _read(file: BinaryIO, most: int) -> bytes | None:
    """The whole file; None if it has more than `most` bytes. Takes memory for its content, not for `most`."""
    size = os.fstat(file.fileno()).st_size
    if size > most:
        return None
    parts = [file.read(size)]
    left = most - len(parts[0])
    while chunk := file.read(_CHUNK):  # it grows, or states no size (/proc)
        parts.append(chunk)
        left -= len(chunk)
        if left < 0:
            return None
    return b"".join(parts)


def read_text(path: Path | str, what: str, most: int = _MOST_BYTES, advice: str = _DATA_SET) -> str:
    """UTF-8 text, with or without a byte order mark. Raises UserError as `read_bounded` does, and for binary files."""
    content = read_bounded(path, what, most, advice)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is no part of it"
        raise UserError(f"{what} {path} is not text in UTF-8 ({where}) and cannot be read: save it as such") from None
    if "\0" in text:
        raise UserError(f"{what} {path} is a binary file and cannot be read: text is expected")
    return text


def read_lines(path: Path, what: str, most: int = _MOST_BYTES, advice: str = _DATA_SET) -> list[str]:
    """The lines of `read_text`, whatever their ends. Raises UserError."""
    return read_text(path, what, most, advice).splitlines()
