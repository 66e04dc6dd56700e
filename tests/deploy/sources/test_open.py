"""Sources: what comes, in which order, and what is said when nothing comes."""

import os

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl.io.image_notes import LITTLE_RANGE
from nanogfl_deploy.sinks.pictures import open_saver
from nanogfl_deploy.sources.open import Pictures, Video, open_source


def test_a_folder_comes_sorted_and_what_cannot_be_read_is_listed(picture_folder):
    with open_source(str(picture_folder)) as source:
        found = [(name, int(frame[0, 0, 0])) for name, frame in source]
    assert found == [("a.png", 200), ("b.png", 80)]
    assert len(source.skipped) == 1
    assert "broken.jpg is not an image" in source.skipped[0]
    assert (source.name, source.frame_rate, source.live) == ("pictures", None, False)


def test_what_is_not_read_of_images_is_noted_once_for_each_kind_with_its_count(picture_folder):
    counts = np.random.default_rng(0).integers(0, 4096, (40, 60)).astype(np.uint16)
    for name in ("c.png", "d.png"):
        cv2.imwrite(str(picture_folder / name), counts)
    with open_source(str(picture_folder)) as source:
        assert len(list(source)) == 4
    ((kind, (count, first)),) = source.noted.items()
    assert (kind, count) == (LITTLE_RANGE, 2)
    assert "c.png" in first


def test_strict_makes_an_unreadable_image_fatal(picture_folder):
    with (
        pytest.raises(UserError, match=r"broken\.jpg is not an image"),
        open_source(str(picture_folder), True) as source,
    ):
        list(source)


def test_a_folder_of_unreadable_images_is_an_error(tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(UserError, match="none of the 1 images"), open_source(str(tmp_path)) as source:
        list(source)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no images"):
        open_source(str(tmp_path))


def test_one_image_is_a_source_of_one(picture_folder):
    with open_source(str(picture_folder / "a.png")) as source:
        assert isinstance(source, Pictures)
        assert [name for name, _ in source] == ["a.png"]


def test_one_unreadable_image_is_an_error_even_when_not_strict(picture_folder):
    with pytest.raises(UserError, match="is not an image"), open_source(str(picture_folder / "broken.jpg")) as source:
        list(source)


def test_a_video_yields_every_frame_in_order(video_path):
    with open_source(str(video_path)) as source:
        assert isinstance(source, Video)
        assert source.frame_rate == pytest.approx(20)
        names, means = zip(*[(name, frame.mean()) for name, frame in source], strict=True)
    assert (names[0], names[-1]) == ("clip.mp4#000000", "clip.mp4#000011")
    assert np.allclose(means, np.arange(12) * 20, atol=6)  # mp4 is lossy


@pytest.mark.parametrize("content", [b"", b"a text", b"\x00\x00\x00\x18ftypmp42" + b"junk" * 99])
def test_a_file_that_is_no_video_is_one_sentence(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"film\.mp4 is no video"):
        open_source(str(path))


def test_a_source_that_does_not_exist_says_what_could_be_named():
    with pytest.raises(UserError, match="nowhere does not exist: name an image, a folder"):
        open_source("nowhere")


def test_a_pipe_and_a_link_to_nothing_are_not_said_to_be_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    for name in ("pipe.jpg", "link.jpg"):
        with pytest.raises(UserError, match="pipe, a socket or a link"):
            open_source(str(tmp_path / name))


@pytest.mark.parametrize(("text", "words"), [("x/*.jpg", "pattern"), ("v4l2src ! appsink", "GStreamer")])
def test_what_is_not_supported_says_what_is(text, words):
    with pytest.raises(UserError, match=words):
        open_source(text)


def test_a_folder_without_images_says_what_it_has(tmp_path, video_path):
    folder = tmp_path / "trip"
    (folder / "day1").mkdir(parents=True)
    (folder / "clip.mp4").write_bytes(video_path.read_bytes())
    (folder / "photo.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no images.*1 folder \(day1\).*1 video \(clip\.mp4\).*photo\.heic"):
        open_source(str(folder))


def test_a_folder_with_images_lists_what_of_it_is_not_read(picture_folder):
    (picture_folder / "more").mkdir()
    with open_source(str(picture_folder)) as source:
        assert len(list(source)) == 2
    assert any("1 folder (more)" in reason for reason in source.skipped)


def test_a_folder_that_links_to_itself_can_be_read_and_saved_from(picture_folder, tmp_path):
    (picture_folder / "loop").symlink_to(picture_folder / "loop")
    (picture_folder / "loop.png").symlink_to("loop.png")
    (picture_folder / "self").symlink_to(picture_folder)
    with open_source(str(picture_folder)) as source:
        open_saver(tmp_path / "out", source)
        assert [name for name, _ in source] == ["a.png", "b.png"]
    assert any("loop.png" in reason for reason in source.skipped)
