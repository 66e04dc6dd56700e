"""An image's size from its file's first bytes, without decoding its pixels."""

import re
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from nanogfl.contract.read_file import is_file

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame (ITU-T T.81, table B.1): DHT, JPG and DAC lie between them"""
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG's markers without a length"""
_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 0x0100, 0x0101
_TIFF_KINDS = ("", "B", "", "H", "I")
"""by the number of the kind, those that a size may have; in BigTIFF, too"""
_PNM = re.compile(rb"P[1-6](?:\s|#[^\r\n]*)+(\d{1,9})(?:\s|#[^\r\n]*)+(\d{1,9})")
_ISPE = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
"""AVIF's property of an item: its width and height"""


def header_hw(path: Path) -> tuple[int, int] | None:
    """Height and width of the frame that `read_frame` delivers, which an EXIF rotation has turned.

    None for what only decoding can tell: other formats than JPEG, PNG, BMP and WEBP, PNG and WEBP with EXIF,
    animations, a header that breaks off, what is no regular file. Raises OSError.
    """
    if not is_file(path):  # opening a pipe would wait for its writer
        return None
    with path.open("rb") as file:
        start = file.read(32)
        try:
            if start[:3] == b"\xff\xd8\xff":
                return _jpeg(file)
            if start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR":
                return _png(file)
            if start[:2] == b"BM":
                return _bmp(start)
            if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
                return _webp(start)
        except (struct.error, IndexError):  # it breaks off
            return None
    return None


def claimed_hw(content: bytes) -> tuple[int, int] | None:
    """Height and width that an image file claims, as they are stored or turned: what a decoder will take memory for.

    None for a header that breaks off, and for other formats than JPEG, PNG, BMP, WEBP, TIFF, GIF, AVIF and PNM.
    """
    file = BytesIO(content)
    start = content[:32]
    try:
        if start[:3] == b"\xff\xd8\xff":
            return _jpeg(file)
        if start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR":
            return struct.unpack_from(">II", start, 16)[::-1]
        if start[:2] == b"BM":
            return _bmp(start) or struct.unpack_from("<HH", start, 18)[::-1]
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _webp(start) or _webp_canvas(start)
        if start[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack_from("<HH", start, 6)[::-1]
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(content)
        if start[4:12] in (b"ftypavif", b"ftypavis"):
            return _avif(content)
        if found := _PNM.match(content):
            return int(found[2]), int(found[1])
    except (struct.error, IndexError, ValueError, OverflowError):  # it breaks off, or points beyond any file
        return None
    return None


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    hw: tuple[int, int] | None = None
    orientation: int | None = None
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":  # libjpeg passes over what lies between two markers
            continue
        while byte == b"\xff":  # fill bytes
            byte = file.read(1)
        marker = byte[0]
        if marker == 0 or marker in _ALONE:
            continue
        if marker in (0xD9, 0xDA):  # the pixels begin, or nothing does
            break
        (length,) = struct.unpack(">H", file.read(2))
        body = file.read(length - 2) if length > 2 else b""
        if len(body) != max(length - 2, 0):
            return None
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", body[1:5])
            hw = height, width
        elif marker == 0xE1 and orientation is None and body[:6] == b"Exif\0\0":
            orientation = _orientation(body[6:])
    else:
        return None
    if hw is None or 0 in hw:
        return None
    return (hw[1], hw[0]) if orientation in (5, 6, 7, 8) else hw


def _orientation(tiff: bytes) -> int:
    """EXIF's tag 0x0112 in the first directory; 1, upright, without it."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    mark, offset = struct.unpack_from(f"{order}HI", tiff, 2)
    if mark != 42 or offset + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, offset)
    for entry in range(offset + 2, min(offset + 2 + 12 * count, len(tiff) - 11), 12):
        tag, value = struct.unpack_from(f"{order}H6xH", tiff, entry)
        if tag == _ORIENTATION:
            return int(value)
    return 1


def _png(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(16)
    width, height = struct.unpack(">II", file.read(8))
    file.seek(33)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"eXIf", b"acTL"):
            return None
        if kind == b"IEND":
            return height, width
        file.seek(length + 4, 1)
    return None


def _bmp(start: bytes) -> tuple[int, int] | None:
    (size,) = struct.unpack_from("<I", start, 14)
    if size < 36:  # OS/2's older header
        return None
    width, height = struct.unpack_from("<ii", start, 18)
    return (abs(height), width) if width > 0 and height else None  # a negative height: top row first


def _webp(start: bytes) -> tuple[int, int] | None:
    match start[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", start, 26)
            return height & 0x3FFF, width & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", start, 21)
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        case b"VP8X" if len(start) >= 30 and not start[20] & 0b1010:  # neither EXIF nor an animation
            width, height = (int.from_bytes(start[at : at + 3], "little") + 1 for at in (24, 27))
            return height, width
    return None


def _webp_canvas(start: bytes) -> tuple[int, int] | None:
    """With EXIF or an animation, too."""
    if start[12:16] != b"VP8X" or len(start) < 30:
        return None
    return int.from_bytes(start[27:30], "little") + 1, int.from_bytes(start[24:27], "little") + 1


def _tiff(content: bytes) -> tuple[int, int] | None:
    """Of the first directory, which is what OpenCV reads; of a tag that is there twice the larger."""
    order = "<" if content[:2] == b"II" else ">"
    big = b"+" in content[2:4]
    (first,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", content, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", content, first)
    entry, head, at = (20, 8, 12) if big else (12, 2, 8)
    sides = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    for place in range(first + head, first + head + min(count, len(content) // entry) * entry, entry):
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag in sides:
            (value,) = struct.unpack_from(f"{order}{_TIFF_KINDS[kind]}", content, place + at)
            sides[tag] = max(sides[tag], value)
    return (sides[_TIFF_HEIGHT], sides[_TIFF_WIDTH]) if all(sides.values()) else None


def _avif(content: bytes) -> tuple[int, int] | None:
    """The largest of all that it says: of tiles, thumbnails and the whole."""
    claims: list[tuple[int, int]] = [struct.unpack(">II", found[1])[::-1] for found in _ISPE.finditer(content)]
    return max(claims, key=lambda hw: hw[0] * hw[1], default=None)
