"""The made validation part: no photograph on both sides, the same for the same files, each class by its share."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from nanogfl.data.split.fingerprints import Fingerprints
from nanogfl.data.split.leaks import leaks
from nanogfl.data.split.make import default_share, make_split
from nanogfl.errors import UserError
from tests.data.split.photographs import altered, data_set, film, part, texture, write


def unseen(data, **settings):
    """A split by names and classes alone: the files need not exist."""
    return make_split(data, prints=Fingerprints.nothing(len(data.images)), **settings)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of every kind of copies, and the photograph or scene of each file."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    pictures, scene_of = {}, {}

    def add(name, scene, frame):
        pictures[name], scene_of[name] = frame, scene

    for number in range(20):
        frame = texture(number)
        for _ in range(3):
            add(f"p{number}_jpg.rf.{random.integers(2**60):016x}.jpg", f"photo {number}", altered(frame, random))
    for number in range(40):
        add(f"IMG_{number:04d}.jpg", f"single {number}", texture(100 + number))
    for number, kind in enumerate(("mirrored", "turned")):
        frame = texture(100 + number)
        frame = frame[:, ::-1] if kind == "mirrored" else np.rot90(frame)
        add(f"{kind}.jpg", f"single {number}", frame)
    add("again.jpg", "single 7", "IMG_0007.jpg")
    for number in range(3):
        for place, frame in enumerate(film(200 + number, 8)):
            add(f"film{number}_mp4-{place}.jpg", f"film {number}", frame)
    for number in range(4):
        for place, frame in enumerate(film(300 + number, 10)):
            add(f"frame_{10 * number + place:04d}.jpg", f"scene {number}", frame)
    write(folder, pictures)
    return folder, scene_of


def test_no_photograph_and_no_scene_is_on_both_sides(many):
    folder, scene_of = many
    names = sorted(scene_of)
    data = data_set(folder, names)
    split = make_split(data)
    assert sorted((*split.train, *split.val)) == list(range(len(names)))
    sides = [{scene_of[names[number]] for number in ids} for ids in (split.train, split.val)]
    assert sides[0] & sides[1] == set()
    assert leaks(part(data, split.train), part(data, split.val)) == []
    assert 0.15 < len(split.val) / len(names) < 0.25
    # different photographs are not glued: consecutive numbers alone say nothing
    assert sum(scene.startswith("single") for scene in sides[1]) >= 3
    assert "together" in split.remarks[1]


def test_order_ids_and_place_of_the_files_do_not_matter(many, tmp_path, monkeypatch):
    folder, scene_of = many
    names = sorted(scene_of)
    first = make_split(data_set(folder, names))
    shutil.copytree(folder, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    mixed = [names[number] for number in np.random.default_rng(1).permutation(len(names))]
    other = make_split(data_set(Path("elsewhere"), mixed))
    assert {names[number] for number in first.val} == {mixed[number] for number in other.val}


def test_each_class_has_its_share_and_rare_ones_are_on_both_sides():
    random = np.random.default_rng(0)
    labels = [np.flatnonzero(random.random(5) < [0.6, 0.3, 0.1, 0.03, 0.01]) for _ in range(400)]
    labels[7], labels[8] = np.array([5]), np.array([5, 0])  # a class of two images
    labels[9] = np.array([6])  # and one of a single image
    data = data_set(Path("x"), [f"{number}.jpg" for number in range(400)], labels, "abcdefg")
    split = unseen(data)
    total, val = np.zeros(8), np.zeros(8)
    for image in data.images:
        held = image.labels if len(image.labels) else [7]  # 7: without objects
        total[held] += 1
        val[held] += image.id in split.val
    assert np.abs(val - 0.2 * total)[[0, 1, 2, 3, 7]].max() <= 3
    assert 1 <= val[4] < total[4]
    assert (val[5], val[6]) == (1, 0)
    assert split.remarks[-1] == "no image for validation: g"


@pytest.mark.parametrize("seed", range(3))
def test_no_class_of_several_groups_is_missing_on_a_side(seed):
    random = np.random.default_rng(seed)
    photographs = random.integers(0, 60, 150)
    names = [f"{photo}_jpg.rf.{number:x}.jpg" for number, photo in enumerate(photographs)]
    one_of = random.integers(0, 12, 60)
    labels = [[one_of[photo]] for photo in photographs]
    data = data_set(Path("x"), names, labels, "abcdefghijkl")
    split = unseen(data)
    val = set(split.val)
    assert {photographs[number] for number in val}.isdisjoint(photographs[number] for number in split.train)
    for label in range(12):
        groups = {photo for photo in photographs if one_of[photo] == label}
        sides = {int(number in val) for number, photo in enumerate(photographs) if one_of[photo] == label}
        assert sides == ({0, 1} if len(groups) > 1 else {0} if groups else set())


@pytest.mark.parametrize("kind", ["one class", "a class each", "no objects"])
def test_tiny_sets_get_two_sides(kind):
    for count in range(2, 11):
        labels = [{"one class": [0], "a class each": [number], "no objects": []}[kind] for number in range(count)]
        data = data_set(Path("x"), [f"{number}.jpg" for number in range(count)], labels, "abcdefghij")
        split = unseen(data)
        assert sorted((*split.train, *split.val)) == list(range(count))
        assert 1 <= len(split.val) <= max(1, count // 4), count


@pytest.mark.parametrize("names", [["a_jpg.rf.1.jpg", "a_jpg.rf.2.jpg"], [f"my_mp4-{n}.jpg" for n in range(40)]])
def test_a_single_group_is_cut_and_the_remarks_say_so(names):
    split = unseen(data_set(Path("x"), names))
    assert 1 <= len(split.val) <= len(names) / 2
    assert any("cut" in remark for remark in split.remarks)
    # in pieces of the film, not frame by frame
    ends = sum((number in split.val) != (number + 1 in split.val) for number in range(len(names) - 1))
    assert ends <= 4


def test_a_class_that_was_filmed_once_is_on_both_sides(tmp_path):
    pictures = {f"{kind}_mp4-{place}.jpg": frame for kind in "cd" for place, frame in enumerate(film(ord(kind), 30))}
    names = [*pictures, *(f"IMG_{number}.jpg" for number in range(60))]
    write(tmp_path, pictures | {f"IMG_{number}.jpg": texture(number) for number in range(60)})
    data = data_set(tmp_path, names, [["cd".index(name[0])] if name[1] == "_" else [2] for name in names], "cde")
    split = make_split(data)
    for label in range(3):
        count = sum(label in data.images[number].labels for number in split.val)
        assert 0.1 <= count / (30, 30, 60)[label] <= 0.3
    assert any("cut" in remark for remark in split.remarks)


def test_two_long_films_do_not_leave_half_of_the_images_to_validation():
    names = [f"{kind}_mp4-{place}.jpg" for kind in "cdef" for place in range(50)]
    labels = [[0 if name[0] in "cd" else 1] for name in names]
    split = unseen(data_set(Path("x"), names, labels))
    assert 30 <= len(split.val) <= 50
    assert {labels[number][0] for number in split.val} == {0, 1}


def test_copies_of_a_rare_photograph_are_never_cut():
    names = [*(f"a_jpg.rf.{number}.jpg" for number in range(20)), *(f"IMG_{number}.jpg" for number in range(80))]
    split = unseen(data_set(Path("x"), names, [[0]] * 20 + [[1]] * 80))
    assert min(split.val) >= 20
    assert not any("cut" in remark for remark in split.remarks)


def test_unreadable_images_are_compared_by_name(tmp_path):
    write(tmp_path, {f"{number}.jpg": texture(number) for number in range(4)})
    for name in ("a_jpg.rf.1.jpg", "a_jpg.rf.2.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    names = [*(f"{number}.jpg" for number in range(4)), "a_jpg.rf.1.jpg", "a_jpg.rf.2.jpg", "missing.jpg"]
    split = make_split(data_set(tmp_path, names))
    assert (4 in split.val) == (5 in split.val)
    assert any(remark.startswith("3 images cannot be read") for remark in split.remarks)


def test_plain_images_are_alike_only_if_they_are_equal(tmp_path):
    names = [f"{number}.png" for number in range(10)]
    write(tmp_path, {name: np.full((40, 40, 3), 10 * number, np.uint8) for number, name in enumerate(names)})
    assert len(make_split(data_set(tmp_path, names)).remarks) == 1
    write(tmp_path, {f"copy{name}": name for name in names})
    copied = [*names, *(f"copy{name}" for name in names)]
    split = make_split(data_set(tmp_path, copied))
    assert len(split.val) == 4
    assert {number % 10 for number in split.val}.isdisjoint(number % 10 for number in split.train)


@pytest.mark.parametrize("share", [0, -1, 0.51, float("nan")])
def test_a_share_out_of_bounds_and_a_single_image_are_refused(share):
    data = data_set(Path("x"), ["1.jpg", "2.jpg"])
    with pytest.raises(UserError, match="share"):
        unseen(data, share=share)
    with pytest.raises(UserError, match="only 1"):
        unseen(part(data, [0]))


def test_the_share_can_be_set_and_falls_with_the_number_of_images():
    data = data_set(Path("x"), [f"{number}.jpg" for number in range(100)])
    assert [len(unseen(data, share=share).val) for share in (0.01, 0.1, 0.5)] == [1, 10, 50]
    shares = [default_share(count) for count in (10, 5000, 10_000, 10**6)]
    assert shares == [0.2, 0.2, 0.1, 0.02]
