"""What the name of a file says of its photograph and of its place in a series."""

from pathlib import Path

import pytest

from nanogfl.data.split.names import natural_order, read_name, relative_names


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("a/cat_1_jpg.rf.0c7b35624b94.jpg", "b/cat_1_jpg.rf.aB3dE5f7.jpg"),
        ("Cat_1_JPG.rf.0c7b.jpg", "cat_1_jpeg.rf.1d8e.png"),
        ("cat_1.jpg", "cat_1_flip.jpg"),
        ("cat_1.jpg", "cat_1.png"),
        ("cat_1-aug2.jpg", "cat_1_hflip.jpg"),
        ("P0001__1__0___0.png", "P0001__1.0__512___0.png"),
    ],
)
def test_versions_of_one_photograph(name, other):
    assert read_name(name).photograph == read_name(other).photograph


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("cat_1_jpg.rf.0c7b.jpg", "cat_2_jpg.rf.0c7b.jpg"),
        ("red/1.jpg", "blue/1.jpg"),
        ("cat (1).jpg", "cat (2).jpg"),
        ("car_rot.jpg", "car.jpg"),
        ("cam_2019_01_04_16.jpg", "cam_2019_01_04_17.jpg"),
    ],
)
def test_other_photographs(name, other):
    assert read_name(name).photograph != read_name(other).photograph


def test_a_number_is_a_place_in_a_series_and_some_series_are_videos():
    first, second = read_name("IMG_0009.jpg"), read_name("img_0010.jpg")
    assert (first.sequence, first.number, second.number) == (second.sequence, 9, 10)
    assert not first.is_frame
    assert read_name("cat.jpg").sequence == ""
    videos = {name: read_name(name).video for name in ("party_mp4-12_jpg.rf.ab.jpg", "party_mp4-3_jpg.rf.cd.jpg")}
    assert len(set(videos.values())) == 1
    assert "" not in videos.values()
    for name in ("train/images/frame_0012.jpg", "clip_000123.jpg", "IMG-frame12.jpg"):
        assert read_name(name).is_frame, name
    assert read_name("train/images/frame_0012.jpg").video == ""  # of a video, and it is unknown of which
    assert read_name("video1/0001.jpg").video != read_name("video2/0001.jpg").video
    assert not read_name("eclipse_12.jpg").is_frame


@pytest.mark.parametrize("name", ["", "9" * 5000 + ".jpg", "٣.jpg", "²", "a\udcff1.jpg", "../#\n1.jpg", ".rf.jpg"])
def test_any_name_can_be_read(name):
    assert read_name(name).number >= 0
    assert natural_order(name) == natural_order(name)


def test_names_do_not_depend_on_the_folder_of_the_data_set():
    here, there = ([Path(root, name) for name in ("a/1.jpg", "b/2.jpg")] for root in ("/data/x", "/home/me"))
    assert relative_names(here) == relative_names(there) == ["a/1.jpg", "b/2.jpg"]
    assert relative_names(here[:1]) == ["1.jpg"]
    assert relative_names([]) == []
    assert sorted(["i10", "i9", "i009"], key=natural_order)[-1] == "i10"
