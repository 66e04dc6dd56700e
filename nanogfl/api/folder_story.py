"""What a run that was started from a folder was made of: RUN/data/folder.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.read_file import is_file, read_text

STORY = "data/folder.json"
LISTS = ("data/train.json", "data/val.json")
"""in COCO's format, image names relative to the folder"""
TEST_LIST = "data/test.json"
"""likewise, of a test part that is not used"""
LEFT_OUT = "data/left_out.txt"


class Choice(NamedTuple):
    """A setting that was chosen, or given by the user."""

    key: str
    value: Any
    reason: str

    def shown(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


@dataclass(frozen=True)
class Reading:
    """What the user says about a folder; None: it is found out. See `read_folder`."""

    format: str | None = None
    classes: Sequence[str] | None = None
    train: Path | str | None = None
    val: Path | str | None = None

    def given(self) -> list[str]:
        """The options that are not None."""
        return [f"--{name}" for name, value in vars(self).items() if value is not None]


@dataclass(frozen=True)
class Story:
    folder: str
    lists: tuple[str, str]
    """data.train.annotations and data.val.annotations of the run"""
    found: tuple[str, ...]
    """how the folder was read and split"""
    left_out: tuple[str, ...]
    """what was left out of the data or corrected, counted by kind"""
    choices: tuple[Choice, ...]
    start: tuple[str, ...]
    """what the weights start from"""


def write_story(run_dir: Path, story: Story) -> None:
    """Raises UserError where it cannot be written."""
    with atomic_path(run_dir / STORY) as temporary:
        temporary.write_text(json.dumps(asdict(story), indent=1) + "\n", encoding="utf-8")


def read_story(run_dir: Path) -> Story | None:
    """None where the run was not started from a folder. Raises UserError for a file that is not ours."""
    if not is_file(run_dir / STORY):
        return None
    try:
        content = json.loads(read_text(run_dir / STORY, "folder.json"))
        first, second = map(str, content["lists"])
        return Story(
            str(content["folder"]),
            (first, second),
            _lines(content["found"]),
            _lines(content["left_out"]),
            tuple(Choice(str(key), value, str(reason)) for key, value, reason in content["choices"]),
            _lines(content["start"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{run_dir / STORY} is damaged: name another --run-dir") from None


def story_of(run_dir: Path, config: Config) -> Story | None:
    """The story of the run that `config` describes: None where its data are others."""
    story = read_story(run_dir)
    same = story is not None and story.lists == (config.data.train.annotations, config.data.val.annotations)
    return story if same else None


def _lines(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value))
