"""Near copies are found among many pictures, and different pictures are no pair."""

import cv2
import numpy as np
import pytest

from nanogfl.data.split.fingerprints import MOST_BITS, Fingerprints, likeness, near_images, read_fingerprints
from nanogfl.data.synthetic.dataset import draw_image, image_hw
from tests.data.split.photographs import data_set, texture


def of(frames):
    prints = Fingerprints.nothing(len(frames))
    for row, frame in enumerate(frames):
        prints.set(row, bytes([row]), np.ascontiguousarray(frame))
    return prints


def altered(frame, random):
    """Rescaled, a little brighter, and encoded again."""
    scale = random.uniform(0.6, 1.4)
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    changed = cv2.convertScaleAbs(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), alpha=1.03, beta=6)
    content = cv2.imencode(".jpg", changed, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def frames():
    return [draw_image(3, number, image_hw(number, (120, 160))).image for number in range(100)]


@pytest.mark.parametrize("turn", ["as it is", "mirrored", "upside down", "turned"])
def test_altered_copies_are_found_and_distinct_ones_are_no_pairs(frames, turn):
    prints = of(frames)
    for row in range(100):
        others, _ = near_images(prints, row, prints, np.arange(row + 1, 100) > 0)
        assert len(others) == 0
    random = np.random.default_rng(0)
    chosen = random.permutation(100)[:60]
    turned = {"as it is": lambda f: f, "mirrored": np.fliplr, "upside down": np.flipud, "turned": np.rot90}[turn]
    copies = of([turned(altered(frames[number], random)) for number in chosen])
    found = [near_images(copies, row, prints)[0] for row in range(60)]
    assert all(number in near for near, number in zip(found, chosen, strict=True) if len(near))
    assert sum(len(near) > 0 for near in found) >= 55


def test_near_rows_are_those_of_brute_force_and_the_likest_comes_first():
    random = np.random.default_rng(2)
    base = random.integers(0, 256, (1, 256), dtype=np.uint8)
    key = random.integers(0, 2**63, dtype=np.uint64)
    differing = [0, 3, MOST_BITS, MOST_BITS + 1]
    hashes = np.full((4, 8), ~key)
    hashes[:, 0] = [int(key) ^ ((1 << bits) - 1) << 7 for bits in differing]
    noise = np.array([10, 5, 0, 0])[:, None] * random.normal(size=(4, 256))
    others = Fingerprints([b"x"] * 4, hashes, (base + noise).clip(0, 255).astype(np.uint8))
    one = Fingerprints([b"y"], np.full((1, 8), key), base)
    near, bits = near_images(one, 0, others)
    assert (near.tolist(), bits.tolist()) == ([2, 1, 0], [8, 3, 0])
    near, _ = near_images(one, 0, others, np.array([True, False, True]))  # the last three rows, without the second
    assert near.tolist() == [1]
    unlike = Fingerprints([b"x"] * 4, hashes, 255 - others.thumbnails)
    assert len(near_images(one, 0, unlike)[0]) == 0  # equal hashes alone are not enough
    plain = Fingerprints([b"y"], one.hashes, np.full_like(base, 90))
    assert len(near_images(plain, 0, others)[0]) == 0
    assert len(near_images(one, 0, others[:0])[0]) == 0


def test_small_and_reduced_pictures_have_the_same_prints(tmp_path):
    frame = cv2.resize(texture(5), (1024, 768), interpolation=cv2.INTER_CUBIC)
    names = ["large.jpg", "small.png", "grey.png"]
    cv2.imwrite(str(tmp_path / names[0]), frame)
    cv2.imwrite(str(tmp_path / names[1]), cv2.resize(frame, (40, 30), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(tmp_path / names[2]), cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257)
    prints = read_fingerprints(data_set(tmp_path, [*names, "missing.jpg"]).images)
    assert [digest == b"" for digest in prints.digests] == [False] * 3 + [True]
    for other in (1, 2):
        assert np.bitwise_count(prints.hashes[0, 0] ^ prints.hashes[other, 0]) <= 3
        assert likeness(prints, [0], [other], turned=False) > 0.99
    assert likeness(prints, [0], [3], turned=True) == 0
