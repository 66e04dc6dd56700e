"""`train FOLDER`: a folder of annotated images becomes lists of images and a recipe in the run folder."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nanogfl.api.folder_choices import choose
from nanogfl.api.folder_story import LEFT_OUT, LISTS, STORY, TEST_LIST, Reading, Story, read_story, write_story
from nanogfl.config import Config, DataConfig, SplitConfig
from nanogfl.data.dataset import DataSet
from nanogfl.data.folder.read_folder import read_folder, summary
from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.validate import refuse_problems
from nanogfl.data.readers.write_coco import write_coco
from nanogfl.data.split.leaks import describe_leaks, leaks
from nanogfl.data.split.make import make_split
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.recipe import load_config
from nanogfl.training.checkpointing.run_dir import CONFIG, own_run_dir, write_config
from nanogfl.training.reports.progress import show_reading

Tell = Callable[[str], None]

_LEAST_TEST = 0.1
"""of the training images: a larger test part serves as the validation part, where there is none"""


@dataclass(frozen=True)
class Parts:
    """The data of a run."""

    train: DataSet
    val: DataSet
    splits: tuple[SplitConfig, SplitConfig] | None
    """how both are read from the folder itself; None: from lists in the run folder"""
    found: tuple[str, ...]
    """what was found and decided, for people"""
    test: DataSet | None = None
    """a part that the run does not use"""


def begin_run(
    folder: Path, run_dir: Path, reading: Reading, settings: Sequence[str], *, strict: bool, tell: Tell
) -> Config:
    """Reads the folder, splits it, chooses the settings, and writes lists, config.yaml and folder.json into the run
    folder. `settings`: key=value texts, which count more than what is chosen.

    If the run folder has lists of this folder (a run that was stopped before its first save), they are used again.
    Raises UserError; nothing is then written.
    """
    folder = Path(folder).absolute()
    before = None if reading.given() or strict else read_story(run_dir)
    if before is not None and Path(before.folder) == folder:
        parts = _stored_parts(before, folder, run_dir)
        tell(f"the lists of {run_dir} are used again; remove {run_dir / STORY} to have the folder read anew")
    else:
        before, parts = None, _read_parts(folder, reading, strict, tell)
    for line in parts.found:
        tell(line)
    config, choices, start = choose(parts.train, parts.val, settings)
    for line in start:
        tell(line)
    for choice in choices:
        tell(f"  {choice.key} {choice.shown()}: {choice.reason}")
    data = _data_of(config.data, folder, run_dir, parts.splits)
    config = replace(config, data=data)
    both = (("train", parts.train), ("val", parts.val))
    problems = (*parts.train.problems, *parts.val.problems)
    left_out = tuple(f"{name}: {part.problem_summary()}" for name, part in both if part.problems)
    with own_run_dir(run_dir):
        if before is None:  # what another folder left; the story first, which vouches for the lists
            for name in (STORY, *LISTS, TEST_LIST, LEFT_OUT):
                (run_dir / name).unlink(missing_ok=True)
        if before is None and parts.splits is None:
            for name, part in zip(LISTS, (parts.train, parts.val), strict=True):
                write_coco(part, folder, run_dir / name)
        if before is None and parts.test is not None:
            write_coco(parts.test, folder, run_dir / TEST_LIST)
        if problems and before is None:
            with atomic_path(run_dir / LEFT_OUT) as temporary:
                text = "".join(f"{where}: {reason}\n" for where, reason in problems)
                temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        write_config(run_dir, config)
        own = before.left_out if before is not None else left_out
        lists = (data.train.annotations, data.val.annotations)
        write_story(run_dir, Story(str(folder), lists, parts.found, own, tuple(choices), tuple(start)))
    return config


def go_on_with_run(folder: Path, run_dir: Path, reading: Reading, settings: Sequence[str], *, tell: Tell) -> Config:
    """The config of a run that is resumed: as it is stored, with its lists, and `settings` over it.

    A folder that was moved is found at its new place. Raises UserError for another folder, and where the run was not
    started from one.
    """
    folder = Path(folder).absolute()
    if reading.given():
        raise UserError(f"--resume goes on with the stored lists of images: leave {' and '.join(reading.given())} out")
    story = read_story(run_dir)
    if story is None:
        raise UserError(
            f"{run_dir} holds a run that was not started from a folder: resume it with its recipe, nanogfl train"
            f" {run_dir / CONFIG} --run-dir {run_dir} --resume"
        )
    if not _same(folder, Path(story.folder)):
        if Path(story.folder).is_dir():
            raise UserError(
                f"{run_dir} was started from {story.folder}, not from {folder}: name that folder, or another --run-dir"
            )
        tell(f"the folder was {story.folder}; its images are now read from {folder}")
        story = replace(story, folder=str(folder))
    config = load_config(run_dir / CONFIG, tuple(settings))
    splits = None if Path(config.data.train.annotations).is_absolute() else (config.data.train, config.data.val)
    data = _data_of(config.data, folder, run_dir, splits)
    write_story(run_dir, replace(story, lists=(data.train.annotations, data.val.annotations)))
    return replace(config, data=data)


def _read_parts(folder: Path, reading: Reading, strict: bool, tell: Tell) -> Parts:
    found = read_folder(folder, format=reading.format, classes=reading.classes, train=reading.train, val=reading.val)
    if strict:
        for part in found.splits.values():
            refuse_problems(folder, part.problems)
    lines = [*summary(found).split("\n"), *found.remarks]
    train, val, test = (found.splits.get(part) for part in ("train", "val", "test"))
    assert train is not None
    sources = found.sources["train"], found.sources.get("val")
    if val is None and test is not None and len(test.images) >= _LEAST_TEST * len(train.images):
        val, test, sources = test, None, (sources[0], found.sources["test"])
        lines.append("there is no val part: test is used for validation")
    elif test is not None:
        lines.append(
            f"the test part is not used: nanogfl eval MODEL --data RUN/{TEST_LIST} --images"
            f" {shlex.quote(str(folder))} measures it"
        )
    if val is None:
        tell(f"{folder}: reading {len(train.images)} images, to make a validation part")
        split = make_split(train, track=show_reading)
        train, val = _chosen(train, split.train), replace(_chosen(train, split.val), problems=())
        return Parts(train, val, None, (*lines, *split.remarks), test)
    lines += describe_leaks(leaks(train, val, track=show_reading), val)
    federated = train.federated is not None or val.federated is not None
    if federated and sources[0] is not None and sources[1] is not None:
        return Parts(train, val, (sources[0], sources[1]), tuple(lines), test)
    return Parts(train, val, None, tuple(lines), test)


def _stored_parts(story: Story, folder: Path, run_dir: Path) -> Parts:
    config = load_config(run_dir / CONFIG)
    parts = config.data.train, config.data.val
    train, val = (load_split(folder / part.annotations, folder / part.images) for part in parts)
    in_folder = not Path(parts[0].annotations).is_absolute()
    return Parts(train, val, parts if in_folder else None, story.found)


def _chosen(dataset: DataSet, ids: Sequence[int]) -> DataSet:
    wanted = set(ids)
    return replace(dataset, images=tuple(image for image in dataset.images if image.id in wanted))


def _data_of(
    data: DataConfig, folder: Path, run_dir: Path, splits: tuple[SplitConfig, SplitConfig] | None
) -> DataConfig:
    """The data section: the folder, and lists with absolute paths, which work from any current folder."""
    train, val = splits or (SplitConfig(str((run_dir / name).absolute()), ".") for name in LISTS)
    return replace(data, root=str(folder), train=train, val=val)


def _same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:  # one of them is not there
        return False
