"""What of an image file is not in its frame is said, and nothing is said of images that are read whole."""

import struct
from io import BytesIO

import cv2
import numpy as np
import pytest

from nanogfl.io.image_notes import FIRST_OF_SEVERAL, LITTLE_RANGE, TRANSPARENT
from nanogfl.io.images import decode_picture

COUNTS = np.random.default_rng(0).integers(0, 65536, (60, 90)).astype(np.uint16)
COLOURS = (np.random.default_rng(1).integers(0, 256, (60, 90, 3))).astype(np.uint8)


def kinds(content):
    return [note.partition(":")[0] for note in decode_picture(content).notes]


def encoded(suffix, picture):
    return cv2.imencode(suffix, picture)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize(
    ("counts", "share"),
    [(COUNTS >> 4, "6.2%"), (COUNTS >> 2, "25.0%"), (7300 + COUNTS % 151, "0.2%"), (65535 - COUNTS % 4090, "6.2%")],
)
def test_sixteen_bits_with_little_range_are_noted(suffix, counts, share):
    (note,) = decode_picture(encoded(suffix, counts.astype(np.uint16))).notes
    assert note.startswith(f"{LITTLE_RANGE}: ")
    assert share in note.replace("24.9%", "25.0%")


def test_hot_pixels_do_not_hide_a_little_range():
    counts = COUNTS >> 4
    counts[10, 10] = 65535
    assert kinds(encoded(".png", counts)) == [LITTLE_RANGE]


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_sixteen_bits_are_measured_without_their_alpha(channels):
    picture = np.dstack([COUNTS >> 4] * 3 + [np.full_like(COUNTS, 65535)])[:, :, :channels]
    assert kinds(encoded(".png", picture)) == [LITTLE_RANGE]


def test_little_contrast_in_the_upper_bits_is_not_noted():
    assert kinds(encoded(".png", 30000 + COUNTS // 8)) == []


def test_a_small_object_on_a_flat_ground_uses_the_range():
    counts = np.full((200, 300), 3000, np.uint16)
    counts[50:60, 50:60] = 60000
    assert kinds(encoded(".png", counts)) == []


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(suffix, COUNTS) for suffix in (".png", ".tiff", ".pgm")),
        *(encoded(suffix, COLOURS) for suffix in (".png", ".tiff", ".webp", ".bmp", ".jpg", ".gif", ".avif")),
        *(encoded(suffix, COLOURS // 20) for suffix in (".png", ".tiff", ".jpg")),  # dark, but of 8 bits
        *(encoded(s, np.dstack([COLOURS, np.full((60, 90), 255, np.uint8)])) for s in (".png", ".tiff", ".webp")),
        encoded(".png", np.full((60, 90), 9000, np.uint16)),  # nothing is there to stretch
        encoded(".png", np.full((1, 1), 9000, np.uint16)),
    ],
)
def test_images_that_are_read_completely_have_no_note(content):
    assert kinds(content) == []


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp", ".avif"])
def test_transparent_pixels_are_noted(suffix):
    alpha = np.full((60, 90), 255, np.uint8)
    alpha[:9] = 0
    assert kinds(encoded(suffix, np.dstack([COLOURS, alpha]))) == [TRANSPARENT]


def test_transparency_in_grey_and_palettes_is_noted():
    pil = pytest.importorskip("PIL.Image")
    for mode, more in (("LA", {}), ("P", {"transparency": 0})):
        picture = pil.fromarray(COLOURS).convert(mode)
        if mode == "LA":
            picture.putalpha(90)
        file = BytesIO()
        picture.save(file, "PNG", **more)
        assert kinds(file.getvalue()) == [TRANSPARENT], mode


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "AVIF"])
def test_pages_and_animations_are_noted_and_the_first_is_read(kind):
    pil = pytest.importorskip("PIL.Image")
    first, second = (pil.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (90, 200))
    file = BytesIO()
    first.save(file, kind, save_all=True, append_images=[second])
    picture = decode_picture(file.getvalue())
    assert np.abs(picture.frame.astype(int) - 90).max() < 4
    assert kinds(file.getvalue()) == [FIRST_OF_SEVERAL]


def test_a_thumbnail_is_not_a_page_and_a_damaged_end_is_ignored():
    plain = encoded(".tiff", COLOURS)
    (start,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, start)
    link = start + 2 + 12 * count
    for reduced, noted in ((1, []), (0, [FIRST_OF_SEVERAL])):
        behind = struct.pack("<HHHIII", 1, 0x00FE, 4, 1, reduced, 0)
        content = plain[:link] + struct.pack("<I", len(plain)) + plain[link + 4 :] + behind
        assert kinds(content) == noted
    assert kinds(plain[:link] + struct.pack("<I", 2**32 - 1) + plain[link + 4 :]) == []
