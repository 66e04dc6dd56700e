"""An image's size from its file's first bytes, without decoding its pixels."""

import re
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from nanogfl.io.read_file import is_file
from nanogfl.io.tiff_header import TIFF, tiff_hw

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame (ITU-T T.81, table B.1): DHT, JPG and DAC lie between them"""
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG's markers without a length"""
_PROBE = cv2.imencode(".jpg", np.zeros((1, 2), dtype=np.uint8))[1].tobytes()
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
                hw, segments = _jpeg(file)
                return hw[::-1] if segments and _swaps_sides(segments) else hw
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
            return _jpeg(file)[0]
        if start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR":
            return struct.unpack_from(">II", start, 16)[::-1]
        if start[:2] == b"BM":
            return _bmp(start) or struct.unpack_from("<HH", start, 18)[::-1]
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _webp(start) or _webp_canvas(start)
        if start[:6] in (b"GIF87a", b"GIF89a"):
            return struct.unpack_from("<HH", start, 6)[::-1]
        if start[:4] in TIFF:
            return tiff_hw(content)
        if start[4:12] in (b"ftypavif", b"ftypavis"):
            return _avif(content)
        if found := _PNM.match(content):
            return int(found[2]), int(found[1])
    except (struct.error, IndexError, ValueError, OverflowError):  # it breaks off, or points beyond any file
        return None
    return None


def _jpeg(file: BinaryIO) -> tuple[tuple[int, int], bytes]:
    """Height and width as they are stored, and the segments that may say how to turn them.

    Raises IndexError or struct.error where the header breaks off.
    """
    hw: tuple[int, int] | None = None
    segments = b""
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
            raise IndexError
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", body[1:5])
            hw = height, width
        elif marker == 0xE1:  # EXIF, XMP
            segments += b"\xff\xe1" + struct.pack(">H", length) + body
    else:
        raise IndexError
    if hw is None or 0 in hw:
        raise IndexError
    return hw, segments


def _swaps_sides(segments: bytes) -> bool:
    """Whether OpenCV turns a JPEG with these segments by a quarter: it is asked with a picture of 2 x 1 pixels."""
    probe = _PROBE[:2] + segments + _PROBE[2:]
    frame = cv2.imdecode(np.frombuffer(probe, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    return frame is not None and frame.shape[0] > frame.shape[1]


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


def _avif(content: bytes) -> tuple[int, int] | None:
    """The largest of all that it says: of tiles, thumbnails and the whole."""
    claims: list[tuple[int, int]] = [struct.unpack(">II", found[1])[::-1] for found in _ISPE.finditer(content)]
    return max(claims, key=lambda hw: hw[0] * hw[1], default=None)
