"""Videos that are damaged, cut off, uneven or lists of other files: what is not read is said."""

import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.errors import UserError
from nanogfl_deploy.sources.open import open_source
from nanogfl_deploy.sources.video import Video

TAPE = Path("tape.avi")


class Tape:
    """A video of made-up reads: False cannot be read. `count` is what its header says, `times` the frames' seconds."""

    def __init__(self, reads, count, rate=10.0, times=None):
        self.reads, self.count, self.rate, self.times = list(reads), count, rate, times
        self.at = 0

    def read(self):
        good = self.at < len(self.reads) and self.reads[self.at]
        self.at += 1
        return good, np.full((4, 6, 3), self.at, np.uint8) if good else None

    def get(self, prop):
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000 * (self.times[self.at - 1] if self.times else (self.at - 1) / self.rate)
        return {cv2.CAP_PROP_FRAME_COUNT: self.count, cv2.CAP_PROP_FPS: self.rate}[prop]

    def release(self):
        pass


def played(reads, count, **options):
    video = Video(TAPE, Tape(reads, count, **options))
    return [int(name[-6:]) for name, _ in video], video


def moving_picture(path, code, count=24):
    """Frames that do not compress, so that each has bytes enough to damage."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (160, 120))
    for index in range(count):
        writer.write(np.random.default_rng(index).integers(60, 160, (120, 160, 3), dtype=np.uint8))
    writer.release()
    return path


def test_frames_after_a_broken_one_are_read_and_keep_their_numbers(tmp_path):
    path = moving_picture(tmp_path / "broken.avi", "MJPG")
    data, at, frame = bytearray(path.read_bytes()), -1, 0
    while (at := data.find(b"00dc", at + 1)) >= 0:
        (size,) = struct.unpack_from("<I", data, at + 4)
        if size > 200:  # in the index the same four letters stand before small numbers
            if frame in (8, 9):
                data[at + 8 : at + 8 + size] = bytes(size)
            frame += 1
    path.write_bytes(data)
    with open_source(str(path)) as source:
        names = [name for name, _ in source]
    assert names == [f"broken.avi#{index:06d}" for index in range(24) if index not in (8, 9)]
    assert source.problem is None
    (reason,) = source.skipped
    assert "2 frames" in reason
    assert "number 8" in reason
    with pytest.raises(UserError, match="2 frames"), open_source(str(path), strict=True) as source:
        list(source)


def test_noise_in_the_middle_of_an_mp4_costs_few_frames(tmp_path):
    path = moving_picture(tmp_path / "noise.mp4", "mp4v", 40)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = np.random.default_rng(1).bytes(1500)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        assert len(list(source)) > 30


def test_a_video_that_was_cut_off_says_how_much_is_missing(tmp_path):
    path = moving_picture(tmp_path / "cut.avi", "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(str(path)) as source:
        count = len(list(source))
    assert 5 < count < 20
    assert f"{count} frames" in source.problem
    assert "24" in source.problem
    with pytest.raises(UserError, match="24"), open_source(str(path), strict=True) as source:
        list(source)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_whole_video_has_nothing_to_say(tmp_path, suffix):
    path = moving_picture(tmp_path / f"whole{suffix}", "MJPG" if suffix == ".avi" else "mp4v")
    with open_source(str(path), strict=True) as source:
        assert len(list(source)) == 24
        assert (source.skipped, source.problem, source.uneven) == ([], None, False)


@pytest.mark.parametrize("count", [0, -1, -1.8e17, float("nan")])
def test_a_video_without_a_count_is_read_past_broken_frames_and_has_an_end(count):
    numbers, video = played([True, False, False, True, True], count)
    assert numbers == [0, 3, 4]
    assert "2 frames" in video.skipped[0]
    assert video.problem is None


def test_a_header_that_lies_has_an_end():
    started = time.monotonic()
    numbers, video = played([True] * 3, 1e9)
    assert (numbers, "1000000000" in video.problem) == ([0, 1, 2], True)
    assert time.monotonic() - started < 5


def test_a_header_that_says_too_little_costs_no_frame():
    numbers, video = played([True] * 7, 3)
    assert (numbers, video.problem) == (list(range(7)), None)


def test_a_header_that_says_too_little_hides_no_broken_frame():
    numbers, video = played([True, True, True, False, True], 2)
    assert numbers == [0, 1, 2, 4]
    assert "number 3" in video.skipped[0]


def test_a_first_frame_that_is_broken_does_not_make_it_no_video():
    numbers, video = played([False, True, True], 3)
    assert (numbers, "1 frame of" in video.skipped[0]) == ([1, 2], True)


def test_a_video_without_frames_is_refused():
    with pytest.raises(UserError, match="has no frames"):
        played([], 5)


def test_frames_have_their_own_times_and_an_uneven_pace_is_noticed():
    even = [0, 0.1, 0.2, 0.3]
    slow = [5, 5.1, 6.1, 7.1]
    times = []
    video = Video(TAPE, Tape([True] * 4, 4, times=slow))
    for _ in video:
        times.append(video.seconds)
    assert times == pytest.approx([0, 0.1, 1.1, 2.1])
    assert video.uneven
    assert not played([True] * 4, 4, times=even)[1].uneven


@pytest.mark.parametrize(("told", "known"), [(0.000001, None), (1e9, None), (float("nan"), None), (0.5, 0.5)])
def test_a_frame_rate_is_believable_or_none(told, known):
    assert played([True], 1, rate=told, times=[0])[1].frame_rate == known


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile whole.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nwhole.mp4\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path, text):
    moving_picture(tmp_path / "whole.mp4", "mp4v", 3)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(UserError, match=r"list\.mp4 is no video"):
        open_source(str(tmp_path / "list.mp4"))


def test_a_video_that_was_stopped_yields_no_further_frame_and_no_problem():
    video = Video(TAPE, Tape([True] * 9, 20))
    for count, _ in enumerate(video):
        if count == 2:
            video.stop()
    assert (count, video.problem) == (2, None)


def test_an_mp4_that_was_trimmed_by_its_edit_list_does_not_end_early(tmp_path):
    path = moving_picture(tmp_path / "trimmed.mp4", "mp4v", 60)
    data = bytearray(path.read_bytes())
    (media_scale,) = struct.unpack_from(">I", data, data.find(b"mdhd") + 16)
    movie, edit = data.find(b"mvhd"), data.find(b"elst")
    (scale,) = struct.unpack_from(">I", data, movie + 16)
    struct.pack_into(">I", data, movie + 20, 35 * scale // 10)  # 35 frames at 10 a second
    struct.pack_into(">Ii", data, edit + 12, 35 * scale // 10, 25 * media_scale // 10)  # from frame 25 on
    path.write_bytes(data)
    with open_source(str(path), strict=True) as source:
        assert len(list(source)) == 35
    assert (source.problem, source.skipped) == (None, [])


def test_an_mp4_that_lost_its_end_ends_early(tmp_path):
    path = moving_picture(tmp_path / "lost.mp4", "mp4v", 60)
    data = bytearray(path.read_bytes())
    start, end = data.find(b"mdat"), data.find(b"moov")
    data[(start + end) // 2 : end - 4] = bytes(end - 4 - (start + end) // 2)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        count = len(list(source))
    assert 0 < count < 60
    assert source.problem or f"{60 - count} frames" in source.skipped[0]
