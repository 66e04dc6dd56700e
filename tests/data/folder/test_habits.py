"""Folders as people have them, each with its expected index or error."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nanogfl.data.folder.read_folder import Found, read_folder, summary
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.data.folder import coco_habits, other_habits, voc_habits, yolo_habits
from tests.data.folder.habits import Habit

HABITS = [*coco_habits.HABITS, *voc_habits.HABITS, *yolo_habits.HABITS, *other_habits.HABITS]


def write(root: Path, habit: Habit) -> Path:
    for name, content in habit.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def index_of(found: Found) -> dict[str, list[str]]:
    """split -> images, as in `Habit.expected`."""
    written = {}
    for part, dataset in found.splits.items():
        images = [(image.path.relative_to(found.root).as_posix(), len(image.boxes)) for image in dataset.images]
        written[part] = sorted(name if count == 1 else f"{name}*{count}" for name, count in images)
    return written


@pytest.mark.parametrize("habit", HABITS, ids=[habit.name for habit in HABITS])
def test_a_folder_is_read_or_refused_as_expected(habit, tmp_path):
    root = write(tmp_path / "some folder", habit)
    if isinstance(habit.expected, str):
        with pytest.raises(UserError) as error:
            read_folder(root, **habit.options)
        assert habit.expected in str(error.value)
        assert "\n" not in str(error.value)
        return
    found = read_folder(root, **habit.options)
    assert found.format == habit.format
    assert index_of(found) == {part: sorted(names) for part, names in habit.expected.items()}
    for dataset in found.splits.values():
        assert dataset.classes == habit.classes
        for image in dataset.images:
            assert image.hw == (60, 100)
            # one box each, but for the classes and boxes that a habit adds
            np.testing.assert_allclose(image.boxes[:1], np.array([[5, 7, 25, 17]])[: len(image.boxes)], atol=0.01)
    problems = [f"{where}: {reason}" for dataset in found.splits.values() for where, reason in dataset.problems]
    said = "\n".join([*found.remarks, *problems])
    assert habit.said in said
    assert len(summary(found).splitlines()) == 3


def test_habits_have_names_of_their_own():
    assert max(Counter(habit.name for habit in HABITS).values()) == 1


@pytest.mark.parametrize("habit", [habit for habit in HABITS if habit.format == "coco"], ids=lambda habit: habit.name)
def test_a_split_with_a_source_is_what_todays_readers_read(habit, tmp_path):
    found = read_folder(write(tmp_path / "set", habit), **habit.options)
    for part, source in found.sources.items():
        if source is not None:
            read = load_split(found.root / source.annotations, found.root / source.images)
            own = found.splits[part]
            assert [image.path for image in read.images] == [image.path for image in own.images]
            assert (read.classes, read.category_ids) == (own.classes, own.category_ids)
            for one, other in zip(read.images, own.images, strict=True):
                assert np.array_equal(one.boxes, other.boxes)
                assert np.array_equal(one.labels, other.labels)


def test_the_folder_may_be_read_from_within(tmp_path, monkeypatch):
    habit = next(habit for habit in HABITS if habit.name == "yolo: right data.yaml")
    monkeypatch.chdir(write(tmp_path / "set", habit))
    assert index_of(read_folder(".")) == {part: sorted(names) for part, names in habit.expected.items()}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_a_problem(tmp_path):
    habit = next(habit for habit in HABITS if habit.name == "yolo: right data.yaml")
    root = write(tmp_path / "set", habit)
    (root / "closed").mkdir(mode=0)
    found = read_folder(root)
    (root / "closed").chmod(0o700)
    assert any("cannot be read" in problem.reason for problem in found.splits["train"].problems)
