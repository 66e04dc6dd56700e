"""Every kind of image file has a defined outcome; the pixels are looked at."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl.io.images import read_frame

QUADRANTS = {
    "top left": (20, 30, 200),
    "top right": (20, 200, 30),
    "bottom left": (200, 30, 20),
    "bottom right": (9,) * 3,
}


def quadrants(height=48, width=80):
    """Four plain fields, in BGR as QUADRANTS has them: compression leaves their middles alone."""
    picture = np.empty((height, width, 3), np.uint8)
    for name, colour in QUADRANTS.items():
        rows = slice(None, height // 2) if "top" in name else slice(height // 2, None)
        columns = slice(None, width // 2) if "left" in name else slice(width // 2, None)
        picture[rows, columns] = colour
    return picture


def middles(frame):
    height, width = frame.shape[:2]
    return {
        f"{row} {column}": tuple(int(v) for v in frame[y, x])
        for row, y in (("top", height // 4), ("bottom", 3 * height // 4))
        for column, x in (("left", width // 4), ("right", 3 * width // 4))
    }


def assert_colours(frame, expected, within=0):
    assert frame.dtype == np.uint8
    assert frame.shape[2:] == (3,)
    found = middles(frame)
    for where, colour in expected.items():
        assert np.abs(np.subtract(found[where], colour)).max() <= within, (where, found[where], colour)


def encoded(suffix, picture, *options):
    good, content = cv2.imencode(suffix, picture, list(options))
    assert good
    return content.tobytes()


def png(width, height, depth, colour_type, rows, *extra):
    """A PNG by hand: `rows` without their filter bytes, `extra` chunks before them."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*e) for e in extra) + body + chunk(b"IEND", b"")


@pytest.fixture
def read(tmp_path):
    def read(content, name="image.jpg"):
        (tmp_path / name).write_bytes(content)
        return read_frame(tmp_path / name)

    return read


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_a_colour_file_of_each_listed_kind_keeps_its_colours(read, suffix):
    assert_colours(read(encoded(suffix, quadrants()), "image" + suffix), QUADRANTS, within=4)


def test_the_content_decides_and_not_the_suffix(read):
    assert_colours(read(encoded(".png", quadrants()), "image.jpg"), QUADRANTS)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_grey_file_becomes_three_equal_channels(read, suffix):
    grey = np.full((6, 9), 90, np.uint8)
    grey[:, 4:] = 201
    frame = read(encoded(suffix, grey))
    assert np.abs(frame.astype(int) - grey[:, :, None]).max() <= 2
    assert (frame[..., 0] == frame[..., 2]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(read, channels):
    picture = np.array([[0, 255, 256, 30000, 65280, 65535]], np.uint16)[:, :, None].repeat(channels, 2)
    frame = read(encoded(".png", picture))
    assert np.abs(frame.astype(float) - picture / 257).max() < 1  # the nearest or the next of 256 levels


def test_alpha_is_dropped_and_not_blended(read):
    picture = np.dstack([quadrants(), np.full((48, 80), 128, np.uint8)])
    picture[:24, :40, 3] = 0
    assert_colours(read(encoded(".png", picture)), QUADRANTS)


def test_a_palette_is_looked_up(read):
    colours = list(QUADRANTS.values())  # BGR; a palette is RGB
    palette = b"".join(bytes(reversed(colour)) for colour in colours)
    rows = [bytes([0] * 40 + [1] * 40)] * 24 + [bytes([2] * 40 + [3] * 40)] * 24
    assert_colours(read(png(80, 48, 8, 3, rows, (b"PLTE", palette))), QUADRANTS)


def test_cmyk_becomes_the_colours_that_it_stands_for(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    picture = pil.fromarray(quadrants()[:, :, ::-1].copy()).convert("CMYK")
    picture.save(tmp_path / "cmyk.jpg", quality=95, subsampling=0)
    with pil.open(tmp_path / "cmyk.jpg") as written:
        assert written.mode == "CMYK"
    assert_colours(read_frame(tmp_path / "cmyk.jpg"), QUADRANTS, within=6)


def with_orientation(jpeg, orientation):
    """The JPEG with an EXIF block that holds only its orientation."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda p: p), (3, lambda p: p[::-1, ::-1]), (6, lambda p: np.rot90(p, -1)), (8, lambda p: np.rot90(p))],
)
def test_an_exif_rotation_is_applied(read, orientation, turn):
    frame = read(with_orientation(encoded(".jpg", quadrants()), orientation))
    upright = turn(quadrants())
    assert frame.shape == upright.shape
    assert_colours(frame, middles(upright), within=4)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(read, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    content = encoded(suffix, noise)
    assert read(content).shape == (60, 90, 3)
    with pytest.raises(UserError, match=r"image\.jpg .*remove it"):
        read(content[: int(share * len(content))])


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_whose_end_was_lost_to_zeros_is_refused(read, progressive):
    content = encoded(".jpg", quadrants(200, 300), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    cut = len(content) * 2 // 3
    with pytest.raises(UserError, match="truncated JPEG"):
        read(content[:cut] + bytes(len(content) - cut))


def test_bytes_behind_the_end_of_a_jpeg_are_harmless(read):
    content = encoded(".jpg", quadrants())
    assert np.array_equal(read(content + b"\0\0 trailing"), read(content))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"GIF", "3 bytes"),
        (b"\xff\xd8\xff\xd9", "JPEG"),
        (b"\xff\xd8\xff\xe0\0\x04..\xff\xc1\0\x11\x0c\0\x20\0\x30", "12 bits"),
        (np.random.default_rng(1).bytes(5000), "5,000 bytes"),
        (b"<html>not found</html>", "web page"),
        (b"\n<!DOCTYPE HTML PUBLIC>", "web page"),
        (b'<?xml version="1.0"?><svg></svg>', "SVG"),
        (b"<svg xmlns=...", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s31--ab.jpg\n", "git-annex"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video"),
        (b"RIFF\xff\0\0\0AVI LIST", "video"),
        (b"PK\x03\x04....", "ZIP"),
        (b'{"error": "not found"}', "text"),
    ],
)
def test_other_files_are_refused_and_named_by_their_first_bytes(read, content, named):
    with pytest.raises(UserError, match=rf"image\.jpg is not an image .*{named}") as refusal:
        read(content)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_float_pixels_are_named_and_not_called_damaged(read, kind):
    content = encoded(".tiff", np.arange(48).reshape(6, 8).astype(kind))
    with pytest.raises(UserError, match=rf"{np.dtype(kind)}.*8 bits") as refusal:
        read(content)
    assert "damaged" not in str(refusal.value)


def test_a_header_that_claims_too_many_pixels_is_refused(read):
    with pytest.raises(UserError, match=r"claims more pixels .*200000000"):
        read(png(100_000, 100_000, 8, 2, [b"\0\0\0"]))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png does not exist"):
        read_frame(tmp_path / "none.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="does not exist"):
        read_frame(tmp_path / "file" / "below.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png cannot be read"):
        read_frame(tmp_path / "folder.png")
