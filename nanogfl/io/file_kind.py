"""The kind of a file, from its first bytes: an image that can be read, or what it is instead."""

import re

_LEADS = (
    (0, b"version https://git-lfs", "a pointer of git LFS and not the image itself: git lfs pull"),
    (0, b"/annex/objects/", "a pointer of git-annex and not the image itself: git annex get"),
    (0, b"%PDF", "a PDF: save its pages as images"),
    (0, b"PK\x03\x04", "a ZIP archive: unpack it"),
    (0, b"\x1f\x8b", "a gzip archive: unpack it"),
    (0, b"8BPS", "a Photoshop file: save it as JPEG or PNG"),
    (0, b"\xff\x0a", "a JPEG XL: save it as JPEG or PNG"),
    (4, b"JXL ", "a JPEG XL: save it as JPEG or PNG"),
    (4, b"jP  ", "a JPEG 2000: save it as JPEG or PNG"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000: save it as JPEG or PNG"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR: save it as 8-bit PNG"),
    (0, b"#?RADIANCE", "a Radiance HDR: save it as 8-bit PNG"),
    (0, b"\x93NUMPY", "a NumPy array: save it as 8-bit PNG"),
    (128, b"DICM", "a DICOM file: save its pictures as 8-bit PNG"),
    (8, b"AVI ", "a video (AVI): save its frames as images"),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM): save its frames as images"),
)
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""the first bytes of a TIFF or BigTIFF, in either byte order"""
_HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_IMAGES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    *((0, lead, "TIFF") for lead in TIFF),
    (4, b"ftypavi", "AVIF"),
)
_PNM = re.compile(rb"P[1-6][\s#]")
_FRAME_OF_12_BITS = re.compile(rb"\xff[\xc0-\xc2]\0.\x0c", re.DOTALL)
"""a JPEG's frame header: marker, length, bits per sample"""


def is_image(content: bytes) -> bool:
    """Whether the first bytes are those of a format that is read; OpenCV decodes others, some of them wrongly."""
    return any(content[at : at + len(lead)] == lead for at, lead, _ in _IMAGES) or bool(_PNM.match(content))


def file_kind(content: bytes) -> str:
    """What a file is that cannot be decoded, and what to do: 'a PDF: save its pages as images'."""
    size = f"({len(content):,} bytes)"
    if not content:
        return "empty (0 bytes): copy it again, or remove it"
    if not content.strip(b"\0"):
        return f"nothing but zeros {size}, as a full disk or an interrupted copy leaves it: copy it again"
    for at, lead, kind in _LEADS:
        if content[at : at + len(lead)] == lead:
            return kind
    if content[:2] == b"\xff\xd8" and _FRAME_OF_12_BITS.search(content):
        return "a JPEG of 12 bits: save all images as 8 bits, all stretched in the same way"
    if content[4:8] == b"ftyp":
        if content[8:12] in _HEIF:
            return "a HEIC picture, as phones save them: save it as JPEG"
        if not content[8:12].startswith(b"avi"):
            return "a video (MP4 or QuickTime): save its frames as images"
    for at, lead, kind in _IMAGES:
        if content[at : at + len(lead)] == lead:
            return f"a damaged or truncated {kind} {size}: replace or remove it"
    text = content[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return f"a web page (HTML) {size}, as a server sends it for a missing image: download it again"
    if text.startswith((b"<?xml", b"<svg", b"<!--", b"<!doctype svg")):
        kind = "an SVG drawing: save it as PNG" if b"<svg" in content[:10_000].lower() else "XML: replace or remove it"
        return kind
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in content[:1000]):
        return f"text {size} and no image: replace or remove it"
    return f"{size[1:-1]} of an unknown kind: replace or remove it"
