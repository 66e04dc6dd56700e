"""Frames: the pixels are preprocess's whatever the cache; what is unreadable is listed; memory has a limit."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.config import DataConfig
from nanogfl.data.cache import frames as cache
from nanogfl.data.cache.frames import open_frames, without_unreadable
from nanogfl.errors import UserError
from nanogfl.io.image_notes import LITTLE_RANGE
from tests.data.image_sets import LETTERBOX, SPEC, assert_holds, data_set, image_files, record, texture, write_image

CACHED = ["memmap", "memory", "device"]


@pytest.fixture
def config(tmp_path):
    return lambda kind, **more: DataConfig(cache=kind, cache_dir=str(tmp_path / "cache"), **more)


@pytest.fixture
def mixed(tmp_path):
    """Wide, high, tiny and large images, so that a letterbox pads below, right, and not at all."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    sizes = [(50, 70), (90, 20), (3, 300), (64, 96), (1, 1), (200, 300)]
    for number, hw in enumerate(sizes):
        write_image(folder / f"{number}.png", number, hw)
    images = [record(folder / f"{number}.png", number, hw) for number, hw in enumerate(sizes)]
    return data_set([image.path for image in images]).__class__("mixed.json", ("a",), (1,), tuple(images), ())


@pytest.mark.parametrize("spec", [SPEC, LETTERBOX], ids=["stretch", "letterbox"])
@pytest.mark.parametrize("kind", CACHED)
def test_a_slot_is_what_preprocess_makes_of_the_file(mixed, config, kind, spec):
    kept, frames = open_frames(mixed, spec, config(kind))
    assert kept.images == mixed.images
    assert_holds(frames, kept, spec)
    if spec is LETTERBOX:
        assert frames.content_hw.tolist() == [[64, 90], [64, 14], [1, 96], [64, 96], [64, 64], [64, 96]]


@pytest.mark.parametrize("kind", CACHED)
def test_zoom_makes_the_slot_larger_and_not_a_multiple_of_32(mixed, config, kind):
    _, frames = open_frames(mixed, SPEC, config(kind), zoom=1.3)
    assert frames.slots.shape[1:] == (83, 125, 3)
    for index, image in enumerate(mixed.images):
        assert np.array_equal(frames.get(index), cv2.resize(texture(index, image.hw), (125, 83)))
    _, frames = open_frames(mixed, LETTERBOX, config(kind), zoom=1.3)
    assert frames.content_hw[1].tolist() == [83, 18]
    assert np.array_equal(frames.get(1), cv2.resize(texture(1, (90, 20)), (18, 83)))


def test_without_a_cache_the_whole_source_frame_is_read_each_time(mixed, config, tmp_path):
    kept, frames = open_frames(mixed, SPEC, config("off"))
    assert frames.slots is None
    for index, image in enumerate(kept.images):
        assert np.array_equal(frames.get(index), texture(index, image.hw))
        assert frames.content_hw[index].tolist() == list(image.hw)
    assert not (tmp_path / "cache").exists()
    kept.images[0].path.unlink()
    with pytest.raises(UserError, match="does not exist"):
        frames.get(0)


@pytest.mark.parametrize("kind", CACHED)
def test_what_get_gives_cannot_be_written_to(mixed, config, kind):
    frames = open_frames(mixed, SPEC, config(kind))[1]
    with pytest.raises(ValueError, match="read-only"):
        frames.get(0)[:] = 0


@pytest.fixture
def spoilt(tmp_path):
    """Eight files of which the second, fourth, fifth and seventh cannot be used, each in its own way."""
    paths = image_files(tmp_path / "spoilt", 8)
    paths[1].write_bytes(b"no image")
    paths[3].unlink()
    paths[4].write_bytes(b"")
    write_image(paths[6], 6, hw=(70, 50))
    return data_set(paths)


REASONS = [
    ("001.png", "not an image"),
    ("003.png", "does not exist"),
    ("004.png", "(0 bytes"),
    ("006.png", "is 50 x 70 but annotated as 70 x 50"),
]


@pytest.mark.parametrize("kind", [*CACHED, "off"])
def test_unreadable_images_are_left_out_and_listed_and_the_others_stay_in_place(spoilt, config, kind):
    for _ in range(2):  # found, then remembered
        kept, frames = open_frames(spoilt, SPEC, config(kind))
        assert [image.id for image in kept.images] == [0, 2, 5, 7]
        for problem, (name, text) in zip(kept.problems, REASONS, strict=True):
            assert problem.where == name
            assert problem.reason.startswith(f"unreadable image: {'' if 'exist' not in text else 'image '}")
            assert text in problem.reason
            assert name in problem.reason
        assert len(frames.slot_of) == len(frames.content_hw) == 4
        for position, seed in enumerate((0, 2, 5, 7)):
            expected = texture(seed, (50, 70))
            expected = expected if kind == "off" else cv2.resize(expected, (96, 64))
            assert np.array_equal(frames.get(position), expected)


@pytest.mark.parametrize("kind", [*CACHED, "off"])
def test_strict_refuses_the_first_and_a_set_without_a_readable_image_is_refused(spoilt, config, kind):
    with pytest.raises(UserError, match=r"set\.json: .*001\.png is not an image .*4 of 8 images are unreadable"):
        open_frames(spoilt, SPEC, config(kind, strict=True))
    nothing = data_set([spoilt.images[1].path, spoilt.images[4].path])
    with pytest.raises(UserError, match="2 of 2 images are unreadable"):
        open_frames(nothing, SPEC, config(kind))


def test_the_check_without_frames_leaves_out_the_same_images(spoilt, config):
    assert without_unreadable(spoilt, strict=False) == open_frames(spoilt, SPEC, config("off"))[0]
    with pytest.raises(UserError, match="4 of 8"):
        without_unreadable(spoilt, strict=True)


@pytest.mark.parametrize("kind", [*CACHED, "off"])
def test_progress_sees_every_image_once(spoilt, config, kind):
    seen = []

    def track(results, count):
        assert count == 8
        for result in results:
            seen.append(result)
            yield result

    open_frames(spoilt, SPEC, config(kind), track=track)
    # the wrong size is no matter of reading
    assert [result is None for result in seen] == [True, False, True, False, False, True, True, True]


@pytest.mark.parametrize("kind", ["memory", "device"])
def test_more_than_memory_gb_is_refused_before_anything_is_read(tmp_path, config, kind, monkeypatch):
    dataset = data_set(image_files(tmp_path / "images", 3))
    needed = 3 * 64 * 96 * 3
    open_frames(dataset, SPEC, config(kind, memory_gb=needed / 1e9))
    open_frames(dataset, SPEC, config(kind, memory_gb=2 * needed / 1e9), in_use=needed)
    monkeypatch.setattr(cache, "read_picture", lambda path: pytest.fail("read"))
    for limit, in_use in ((needed - 1, 0), (2 * needed - 1, needed)):
        with pytest.raises(UserError) as refused:
            open_frames(dataset, SPEC, config(kind, memory_gb=limit / 1e9), in_use=in_use)
        for named in (f"{needed:,} bytes", "data.memory_gb", "data.cache to memmap", "data.cache_zoom"):
            assert named in str(refused.value)


def test_the_summary_counts(tmp_path, config):
    paths = image_files(tmp_path / "images", 5)
    paths[4].write_bytes(paths[0].read_bytes())
    frames = open_frames(data_set(paths[:2]), SPEC, config("memmap"))[1]
    assert frames.summary.startswith("2 decoded, 0 reused, 0 MB in ")
    frames = open_frames(data_set(paths), SPEC, config("memmap"))[1]
    assert (frames.decoded, frames.nbytes) == (2, 4 * 64 * 96 * 3)  # two known, one a copy of the first
    assert frames.summary.startswith("2 decoded, 3 reused")
    for kind in ("memory", "off"):
        assert "5" in open_frames(data_set(paths), SPEC, config(kind))[1].summary


def test_the_users_cache_folder_is_used_when_none_is_named(tmp_path, monkeypatch):
    images = data_set(image_files(tmp_path / "images", 1))
    for name in ("of the user", "moved"):  # a cache that is moved begins anew, and the old one stays
        monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / name))
        assert open_frames(images, SPEC, DataConfig(cache="memmap"))[1].decoded == 1
        assert len(list((tmp_path / name / "frames").glob("96x64-*"))) == 1
    assert len(list((tmp_path / "of the user" / "frames").glob("96x64-*"))) == 1


def test_without_a_home_the_cache_in_memory_is_offered_and_works(tmp_path, monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("NANOGFL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    images = data_set(image_files(tmp_path / "images", 2))
    with pytest.raises(UserError, match=r"NANOGFL_CACHE.*data.cache to memory"):
        open_frames(images, SPEC, DataConfig(cache="memmap"))
    with pytest.raises(UserError, match=r"data\.cache_dir ~nobody77/x"):
        open_frames(images, SPEC, DataConfig(cache="memmap", cache_dir="~nobody77/x"))
    assert len(open_frames(images, SPEC, DataConfig(cache="memory"))[0].images) == 2


@pytest.mark.parametrize("kind", [*CACHED, "off"])
def test_what_is_not_read_of_an_image_is_listed_and_the_image_is_kept(config, tmp_path, kind):
    counts = np.random.default_rng(0).integers(0, 4096, (50, 70)).astype(np.uint16)
    paths = image_files(tmp_path / "images", 3)
    cv2.imwrite(str(paths[1]), counts)
    dataset = data_set(paths)
    for kept in (open_frames(dataset, SPEC, config(kind))[0], without_unreadable(dataset, strict=True)):
        assert len(kept.images) == 3
        (problem,) = kept.problems
        assert problem.where == paths[1].name
        assert problem.reason.startswith(LITTLE_RANGE)
