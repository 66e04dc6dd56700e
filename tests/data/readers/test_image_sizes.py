"""Sizes from headers equal those of the decoded pictures, and are read once."""

import json
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.data.readers import image_sizes as module
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.io.cache_folder import cache_folder
from nanogfl.io.image_header import header_hw
from nanogfl.io.images import decode_picture, read_frame
from tests.data.voc_set import draw_image
from tests.shared_data import shared

H, W = 6, 10
PIXELS = np.full((H, W, 3), 90, np.uint8)


def encoded(suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, PIXELS, list(flags))[1].tobytes()


def tiff(orientation: int, order: str = "<", before: int = 0) -> bytes:
    """EXIF's bytes: `before` other entries, then the orientation."""
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 6) * before
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIH", 42, 8, before + 1) + other + entry + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes, late: bytes = b"") -> bytes:
    plain = encoded(".jpg")
    scan = plain.index(b"\xff\xda")
    return plain[:2] + b"".join(segments) + plain[2:scan] + late + plain[scan:]


def exif(*arguments: object) -> bytes:
    return segment(0xE1, b"Exif\0\0" + tiff(*arguments))  # type: ignore[arg-type]


def png(kind: bytes, body: bytes) -> bytes:
    plain = encoded(".png")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return plain[:-12] + chunk + plain[-12:]


def webp(exif_body: bytes | None) -> bytes:
    flags = 0 if exif_body is None else 8
    size = (W - 1).to_bytes(3, "little") + (H - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, flags) + size + encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80)[12:]
    if exif_body is not None:
        body += b"EXIF" + struct.pack("<I", len(exif_body)) + exif_body + b"\0" * (len(exif_body) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_metadata(suffix: str, orientation: int) -> bytes:
    metadata = [np.frombuffer(tiff(orientation), np.uint8)]
    return cv2.imencodeWithMetadata(suffix, PIXELS, [cv2.IMAGE_METADATA_EXIF], metadata)[1].tobytes()


XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
FROM_HEADER = {
    "jpeg": encoded(".jpg"),
    "progressive jpeg": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "png": encoded(".png"),
    "png with a text": png(b"tEXt", b"a\0b"),
    "bmp": encoded(".bmp"),
    "bmp, top row first": encoded(".bmp")[:22] + struct.pack("<i", -H) + encoded(".bmp")[26:],
    "lossless webp": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "lossy webp": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
    "extended webp": webp(None),
    **{f"jpeg turned {o}{order}": jpeg(exif(o, order)) for o in range(10) for order in "<>"},
    "orientation after others": jpeg(exif(6, "<", 3)),
    "the first of two turns": jpeg(exif(6), exif(1)),
    "upright, then turned": jpeg(exif(1), exif(6)),
    "turned after xmp": jpeg(XMP, exif(6)),
    "turned after the frame": jpeg(late=exif(8)),
    "exif that breaks off": jpeg(segment(0xE1, b"Exif\0\0II")),
    "exif without entries": jpeg(segment(0xE1, b"Exif\0\0" + tiff(6)[:12])),
    "exif of no order": jpeg(segment(0xE1, b"Exif\0\0XX" + tiff(6)[2:])),
}
DECODED = {
    "tiff": encoded(".tiff"),
    "exif of two segments": jpeg(exif(6, "<", 3000), exif(1, "<", 3000)),
    **{f"png turned {o}": png(b"eXIf", tiff(o)) for o in range(1, 9)},
    **{f"webp turned {o}": webp(tiff(o)) for o in range(1, 9)},
    **{f"{suffix} turned {o}": with_metadata(suffix, o) for suffix in (".jpg", ".avif") for o in range(1, 9)},
}
quiet = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged EXIF; image_sizes silences them


@quiet
@pytest.mark.parametrize("name", FROM_HEADER)
def test_a_header_gives_the_size_of_the_decoded_picture(tmp_path, name):
    path = tmp_path / "x.jpg"  # the content decides
    path.write_bytes(FROM_HEADER[name])
    assert header_hw(path) == cv2.imread(str(path)).shape[:2]


def test_every_orientation_in_every_format_has_the_size_of_the_decoded_picture(tmp_path):
    paths = []
    for name, content in {**FROM_HEADER, **DECODED}.items():
        paths.append(tmp_path / f"{name.replace('<', 'l')}.png")
        paths[-1].write_bytes(content)
    sizes = image_sizes(paths, tmp_path)
    for path, size in zip(paths, sizes, strict=True):
        assert size == cv2.imread(str(path)).shape[:2] == read_frame(path).shape[:2], path.name
    assert {(6, 10), (10, 6)} == set(sizes)


@quiet
@pytest.mark.parametrize("name", ["jpeg", "png", "bmp", "lossless webp", "lossy webp", "jpeg turned 6<"])
def test_a_truncated_header_gives_no_size_or_the_right_one(tmp_path, name):
    content = FROM_HEADER[name]
    path = tmp_path / "x"
    right = decode_picture(content).frame.shape[:2]
    for length in range(0, len(content), 1 + len(content) // 100):
        path.write_bytes(content[:length])
        assert header_hw(path) in (None, right)


def test_without_pillow_sizes_are_those_of_decoded_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.jpg").write_bytes(FROM_HEADER["jpeg turned 6<"])
    assert header_hw(tmp_path / "a.jpg") is None
    assert image_sizes([tmp_path / "a.jpg"], tmp_path) == [(W, H)]


def test_pillows_warnings_of_large_and_damaged_images_do_not_reach_the_user(tmp_path):
    (tmp_path / "large.bmp").write_bytes(
        encoded(".bmp")[:18] + struct.pack("<ii", 12_000, 9_000) + encoded(".bmp")[26:]
    )
    (tmp_path / "odd.jpg").write_bytes(FROM_HEADER["exif without entries"])
    assert image_sizes([tmp_path / "large.bmp", tmp_path / "odd.jpg"], tmp_path) == [(9_000, 12_000), (H, W)]


def test_real_images_have_the_sizes_of_their_frames():
    folder = shared("data/coco_mini/val")
    paths = sorted(folder.iterdir())[:30]
    assert [header_hw(path) for path in paths] == [read_frame(path).shape[:2] for path in paths]


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """The paths whose headers are read."""
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    read: list[str] = []

    def count(path: Path) -> tuple[int, int] | None:
        read.append(path.name)
        return header_hw(path)

    monkeypatch.setattr(module, "header_hw", count)
    return read


def test_a_second_start_reads_no_header(tmp_path, counted):
    paths = [tmp_path / f"images/{name}.png" for name in "abc"]
    for width, path in enumerate(paths, start=20):
        draw_image(path, width, 9)
    assert image_sizes(paths, tmp_path / "images") == [(9, 20), (9, 21), (9, 22)]
    assert sorted(counted) == ["a.png", "b.png", "c.png"]
    counted.clear()
    assert image_sizes(paths[::-1], tmp_path / "images") == [(9, 22), (9, 21), (9, 20)]
    assert counted == []


def test_only_new_and_changed_files_are_read_again(tmp_path, counted):
    folder = tmp_path / "images"
    paths = [folder / f"{name}.png" for name in "abcd"]
    for path in paths[:3]:
        draw_image(path, 20, 9)
    image_sizes(paths[:3], folder)
    counted.clear()
    os.utime(paths[0], ns=(1, 1))
    stat = paths[1].stat()
    draw_image(paths[1], 200, 90)  # another size on disk at the same time
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    draw_image(paths[3], 7, 5)
    paths[2].unlink()
    assert image_sizes([paths[0], paths[1], paths[3]], folder) == [(9, 20), (90, 200), (5, 7)]
    assert sorted(counted) == ["a.png", "b.png", "d.png"]
    (index,) = cache_folder("sizes").iterdir()
    assert sorted(json.loads(index.read_text())) == ["a.png", "b.png", "d.png"]


def test_two_splits_of_a_folder_and_two_folders_do_not_disturb_one_another(tmp_path, counted):
    for folder, width in (("one", 20), ("two", 30)):
        for name in "ab":
            draw_image(tmp_path / folder / f"{name}.png", width, 9)
    ones, twos = ([tmp_path / folder / f"{name}.png" for name in "ab"] for folder in ("one", "two"))
    for _ in range(2):
        assert image_sizes(ones[:1], tmp_path / "one") == [(9, 20)]
        assert image_sizes(ones[1:], tmp_path / "one") == [(9, 20)]
        assert image_sizes(twos, tmp_path / "two") == [(9, 30)] * 2
    assert len(counted) == 4


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a.png": 3}',
        b'{"a.png": [SIZE, TIME, true, 20]}',
        b'{"a.png": [SIZE, TIME, 0, 20]}',
    ],
)
def test_a_damaged_index_is_rebuilt(tmp_path, counted, damage):
    path = tmp_path / "images/a.png"
    draw_image(path, 20, 9)
    image_sizes([path], path.parent)
    (index,) = cache_folder("sizes").iterdir()
    whole, stat = index.read_bytes(), path.stat()
    index.write_bytes(damage.replace(b"SIZE", b"%d" % stat.st_size).replace(b"TIME", b"%d" % stat.st_mtime_ns))
    assert image_sizes([path], path.parent) == [(9, 20)]
    assert index.read_bytes() == whole
    assert len(counted) == 2


def test_unreadable_images_have_a_reason_and_are_read_again(tmp_path, counted):
    draw_image(tmp_path / "a.png", 20, 9)
    (tmp_path / "b.png").write_bytes(b"no image")
    paths = [tmp_path / name for name in ("a.png", "b.png", "none.png")]
    good, bad, missing = image_sizes(paths, tmp_path)
    assert good == (9, 20)
    assert "b.png is not an image" in bad
    assert "none.png does not exist" in missing
    draw_image(tmp_path / "b.png", 7, 5)
    assert image_sizes(paths[:2], tmp_path) == [(9, 20), (5, 7)]


def no_home(monkeypatch, tmp_path):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NANOGFL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)


def a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "file"))


@pytest.mark.parametrize("spoil", [no_home, a_file])
def test_without_a_cache_folder_sizes_are_read_with_one_warning(tmp_path, monkeypatch, capfd, spoil):
    draw_image(tmp_path / "a.png", 20, 9)
    spoil(monkeypatch, tmp_path)
    module._say_not_kept.cache_clear()
    for _ in range(2):
        assert image_sizes([tmp_path / "a.png"], tmp_path) == [(9, 20)]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "NANOGFL_CACHE" in said[0]
