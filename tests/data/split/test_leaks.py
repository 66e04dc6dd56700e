"""What two given parts share, and what they do not."""

import numpy as np

from nanogfl.data.split.leaks import describe_leaks, leaks
from nanogfl.data.split.links import Why
from tests.data.split.photographs import altered, data_set, film, texture, write


def shared(folder, train, val, **settings):
    """{val's name: (train's name, why)}"""
    write(folder, {f"train/{name}": frame for name, frame in train.items()})
    write(folder, {f"val/{name}": frame for name, frame in val.items()})
    found = leaks(data_set(folder / "train", train), data_set(folder / "val", val), **settings)
    return {leak.val.path.name: (leak.train.path.name, leak.why) for leak in found}


def test_each_kind_of_leak_is_named_once_with_the_surest_reason(tmp_path):
    random = np.random.default_rng(0)
    frames = film(9, 8)
    photo = texture(3)
    train = {
        "a.jpg": texture(0),
        "b.jpg": texture(1),
        "c_jpg.rf.11.jpg": altered(texture(2), random),
        "frame_01.jpg": frames[0],
        "frame_05.jpg": frames[4],
        "mine_mp4-1.jpg": texture(50),
        "p.jpg": photo,
    }
    val = {
        "x.jpg": texture(0),
        "y.jpg": altered(texture(1), random),
        "c_jpg.rf.22.jpg": altered(texture(2), random),
        "frame_03.jpg": frames[2],
        "mine_mp4-9.jpg": texture(51),
        "other.jpg": texture(60),
    }
    assert shared(tmp_path, train, val) == {
        "x.jpg": ("a.jpg", Why.COPY),
        "y.jpg": ("b.jpg", Why.NEAR),
        "c_jpg.rf.22.jpg": ("c_jpg.rf.11.jpg", Why.NAME),
        "frame_03.jpg": ("frame_01.jpg", Why.SERIES),
        "mine_mp4-9.jpg": ("mine_mp4-1.jpg", Why.VIDEO),
    }


def test_equal_numbers_in_both_parts_are_no_leak(tmp_path):
    train = {f"IMG_{number}.jpg": texture(number) for number in range(12)}
    val = {f"IMG_{number}.jpg": texture(100 + number) for number in range(12)}
    exported = {f"{number}_jpg.rf.1{number}.jpg": texture(200 + number) for number in range(6)}
    again = {f"{number}_jpg.rf.2{number}.jpg": texture(300 + number) for number in range(6)}
    assert shared(tmp_path, train | exported, val | again) == {}


def test_names_alone_are_compared_without_opening_a_file(tmp_path):
    train = data_set(tmp_path, ["a_jpg.rf.1.jpg", "b.jpg"])
    val = data_set(tmp_path, ["a_jpg.rf.2.jpg", "c.jpg"])
    found = leaks(train, val, names_only=True)
    assert [(leak.val.path.name, leak.why) for leak in found] == [("a_jpg.rf.2.jpg", Why.NAME)]
    assert "a_jpg.rf.1.jpg" in str(found[0])
    (remark,) = describe_leaks(found, val)
    assert remark.startswith("1 of 2 ")
    assert describe_leaks([], val) == ()
