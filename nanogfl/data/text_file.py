"""Reading small text files of a user: bounded, UTF-8 with or without a byte order mark, any line ends."""

from pathlib import Path

from nanogfl.contract.errors import UserError

_MOST_BYTES = 64_000_000
"""of a list of names: a million of them take some 20"""


def read_bounded(path: Path, what: str, most: int) -> bytes:
    """Raises UserError for a missing file, one that cannot be read, and one of more than `most` bytes."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise UserError(f"{what} {path} does not exist: check data.root and the split's annotations") from None
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UserError(f"{what} {path} has more than {most:,} bytes: it is no such file")
    return content


def read_text(path: Path, what: str, most: int = _MOST_BYTES) -> str:
    """Raises UserError as `read_bounded` does, and for what is not text."""
    content = read_bounded(path, what, most)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} {path} is not text in UTF-8 (byte {error.start} is no part of it)") from None
    if "\0" in text:
        raise UserError(f"{what} {path} is a binary file: text is expected")
    return text


def read_lines(path: Path, what: str, most: int = _MOST_BYTES) -> list[str]:
    return read_text(path, what, most).splitlines()
