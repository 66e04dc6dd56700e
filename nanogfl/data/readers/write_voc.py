"""Writes an image's objects as an xml file of Pascal VOC."""

from collections.abc import Sequence
from xml.etree import ElementTree

from nanogfl.data.dataset import ImageRecord


def voc_xml(image: ImageRecord, name: str, classes: Sequence[str]) -> bytes:
    """The annotation of the image, whose <filename> is `name`.

    Corners are written as annotation tools do: x1 y1 x2 y2 in pixels from 0, with three decimals. A crowd region is a
    difficult object.
    """
    height, width = image.hw
    root = ElementTree.Element("annotation")
    _add(root, "filename", name)
    size = _add(root, "size")
    for side, pixels in (("width", width), ("height", height), ("depth", 3)):
        _add(size, side, str(pixels))
    for box, label, crowd in zip(image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), strict=True):
        thing = _add(root, "object")
        _add(thing, "name", classes[label])
        _add(thing, "pose", "Unspecified")
        _add(thing, "truncated", "0")
        _add(thing, "difficult", str(int(crowd)))
        corners = _add(thing, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _add(corners, side, f"{value:.3f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8")) + b"\n"


def _add(parent: ElementTree.Element, tag: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = text
    return child
