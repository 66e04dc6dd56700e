"""One xml file of Pascal VOC, which may be hostile."""

import codecs
import math
import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from nanogfl.data.readers.values import to_flag, to_hw, to_number
from nanogfl.errors import UserError
from nanogfl.io.read_file import read_bounded

_MOST_BYTES = 8_000_000
"""per xml file: one object takes about 300"""
_DECLARATION = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"'][^>]*\?>")
_MULTI_BYTE = frozenset(
    {"gbk", "gb2312", "gb18030", "big5", "big5hkscs", "cp950", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949"}
)
"""encodings that the parser does not know, in which no part of a longer character is < or &"""


class VocObject(NamedTuple):
    name: str
    box: tuple[float, ...] | None
    """x y width height; None if these are not four numbers"""
    written: str
    difficult: bool | None
    """None if it is not a flag"""
    turn: object = None
    """rotation in degrees; None for an upright box"""


class VocAnnotation(NamedTuple):
    filename: str
    hw: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_xml(path: Path) -> VocAnnotation | str:
    """The file's annotation, or the reason why it cannot be used."""
    try:
        return voc_annotation(xml_root(read_bounded(path, "annotation", _MOST_BYTES)))
    except UserError as error:
        return f"unusable xml: {error}"


def xml_root(content: bytes) -> ElementTree.Element:
    """Raises UserError. No entity is ever resolved: a file that declares one, or a document type, is refused before it
    is parsed, also in UTF-16 and UTF-32 (all other encodings that the parser takes write ASCII as ASCII)."""
    content = _in_utf_8(content)
    if re.search(rb"<!(DOCTYPE|ENTITY)", content.replace(b"\0", b"")):
        raise UserError("it declares a DOCTYPE or an ENTITY, which annotations do not need: remove the declaration")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"not well-formed: {error}") from None


def voc_annotation(root: ElementTree.Element) -> VocAnnotation:
    """Raises UserError for an xml of another kind."""
    if root.tag != "annotation":
        raise UserError(f"<annotation> expected, got <{root.tag[:80]}>")
    one_based = re.search(r"VOC ?20\d\d", _text(root, "source/database")) is not None
    hw = to_hw(*(to_number(_text(root, f"size/{side}")) for side in ("height", "width")))  # 0 x 0 from some tools
    objects = tuple(_object(node, one_based) for node in root.findall("object"))
    return VocAnnotation(_text(root, "filename"), hw, objects)


def _in_utf_8(content: bytes) -> bytes:
    """A file in a declared encoding that the parser lacks, as UTF-8 without the declaration; others unchanged."""
    declared = _DECLARATION.match(content)
    if declared is None:
        return content
    name = declared[1].decode()
    try:
        if codecs.lookup(name).name not in _MULTI_BYTE:
            return content
        return content[declared.end() :].decode(name).encode()
    except LookupError:  # the parser says so
        return content
    except UnicodeDecodeError as error:
        raise UserError(
            f"it is not in {name}, as it declares: byte {declared.end() + error.start} is no part of it"
        ) from None


def _object(node: ElementTree.Element, one_based: bool) -> VocObject:
    name = " ".join(_text(node, "name").split())
    difficult = to_flag(_text(node, "difficult") or "0")
    if node.find("bndbox") is None and node.find("robndbox") is not None:
        return _turned_object(node, name, difficult)
    sides = ("xmin", "ymin", "xmax", "ymax")
    numbers, shown = _numbers(node, [f"bndbox/{side}" for side in sides])
    if numbers is None:
        return VocObject(name, None, shown, difficult)
    x1, y1, x2, y2 = numbers
    x1, y1 = x1 - one_based, y1 - one_based
    return VocObject(name, (x1, y1, x2 - x1, y2 - y1), shown, difficult, _rotation(node))


def _turned_object(node: ElementTree.Element, name: str, difficult: bool | None) -> VocObject:
    """roLabelImg's <robndbox>: its angle is in radians."""
    numbers, shown = _numbers(node, [f"robndbox/{part}" for part in ("cx", "cy", "w", "h", "angle")])
    if numbers is None:
        return VocObject(name, None, f"<robndbox> {shown}", difficult)
    cx, cy, w, h, angle = numbers
    turn = math.degrees(angle) if abs(angle) <= 2 * math.pi else f"{angle:g} radians"  # larger: perhaps degrees
    return VocObject(name, (cx - w / 2, cy - h / 2, w, h), f"<robndbox> {shown}", difficult, turn)


def _numbers(node: ElementTree.Element, paths: list[str]) -> tuple[list[float] | None, str]:
    """The numbers, None if one is not a number; and the text as it is written."""
    written = [" ".join(_text(node, path).split())[:40] for path in paths]
    numbers = [number for text in written if (number := to_number(text)) is not None]
    shown = f"({', '.join(text or 'nothing' for text in written)})"
    return (numbers if len(numbers) == len(paths) else None), shown


def _rotation(node: ElementTree.Element) -> str | None:
    """CVAT's attribute, in degrees."""
    for attribute in node.findall("attributes/attribute"):
        if _text(attribute, "name") == "rotation":
            return _text(attribute, "value")
    return None


def _text(node: ElementTree.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()
