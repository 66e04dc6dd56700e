"""One xml file of Pascal VOC, read without trust."""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nanogfl.contract.errors import UserError
from nanogfl.contract.read_file import read_bounded
from nanogfl.data.checks import to_number

_MOST_BYTES = 8_000_000
"""of an xml file: one object takes some 300"""


class VocObject(NamedTuple):
    name: str
    box: tuple[float, ...] | None
    """x y width height; None where it is not four numbers"""
    written: str
    difficult: bool


class VocAnnotation(NamedTuple):
    filename: str
    hw: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_xml(path: Path) -> VocAnnotation | str:
    """What the file holds, or why it cannot be used."""
    try:
        return _parse(read_bounded(path, "annotation", _MOST_BYTES))
    except UserError as error:
        return f"unusable xml: {error}"


def _parse(content: bytes) -> VocAnnotation:
    """Raises UserError. No entity is ever resolved: a file that declares some, or a document type, is refused before
    it is parsed, in UTF-16 and UTF-32 as well (the parser takes no other encoding that writes ASCII differently)."""
    if re.search(rb"<!(DOCTYPE|ENTITY)", content.replace(b"\0", b"")):
        raise UserError("it declares a DOCTYPE or an ENTITY, which annotations do not need: remove the declaration")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"not well-formed: {error}") from None
    if root.tag != "annotation":
        raise UserError(f"<annotation> expected, got <{root.tag[:80]}>")
    one_based = re.search(r"VOC ?20\d\d", _text(root, "source/database")) is not None
    hw = _size(root)
    return VocAnnotation(
        _text(root, "filename"), hw, tuple(_object(node, one_based) for node in root.findall("object"))
    )


def _object(node: ElementTree.Element, one_based: bool) -> VocObject:
    name = " ".join(_text(node, "name").split())
    difficult = _text(node, "difficult").lower() in ("1", "true")
    written = [" ".join(_text(node, f"bndbox/{side}").split())[:40] for side in ("xmin", "ymin", "xmax", "ymax")]
    numbers = [to_number(text) for text in written]
    shown = f"({', '.join(text or 'nothing' for text in written)})"
    if None in numbers:
        return VocObject(name, None, shown, difficult)
    x1, y1, x2, y2 = (float(number) - one_based * first for number, first in zip(numbers, (1, 1, 0, 0), strict=True))  # type: ignore[arg-type]
    return VocObject(name, (x1, y1, x2 - x1, y2 - y1), shown, difficult)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Height and width, or None where they are missing or 0, which tools write that did not open the image."""
    sides = [to_number(_text(root, f"size/{side}")) for side in ("height", "width")]
    whole = [int(side) for side in sides if side is not None and 0 < side < 1 << 20 and side.is_integer()]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _text(node: ElementTree.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()
