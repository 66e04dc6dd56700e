"""YAML of anybody's, read without trust: recipes, ablations and data.yaml all come through here."""

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

from nanogfl.errors import UserError
from nanogfl.io.read_file import read_text

_MOST_BYTES = 1_000_000
"""of a file: the 13,204 class names of V3Det, the longest list that we know of, take less than 400,000"""
_MOST_NODES = 100_000
"""values, with each alias counted as all that it stands for: nine lines of aliases can stand for 10^9"""
_DEEPEST = 32
"""levels: a recipe has 4"""
_LONGEST = 10_000
"""characters of one value: reading a number takes time with the square of its digits"""


def read_yaml(path: Path | str, what: str, advice: str, *, as_text: bool = False) -> Any:
    """The file's content; `what` and `advice` are those of `read_bounded`. Raises UserError."""
    return parse_yaml(read_text(path, what, _MOST_BYTES, advice), str(path), as_text=as_text)


def parse_yaml(text: str, origin: str, *, as_text: bool = False) -> Any:
    """Plain values only: whatever has a tag is refused. `as_text`: every scalar as it is written, so that a class
    called 'no' stays 'no', and whatever its tag. `origin` begins the sentence of the UserError."""
    try:
        return yaml.load(text, Loader=_TextLoader if as_text else _PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())  # of a control character: two lines
        raise UserError(f"{origin} is not valid YAML{where}: {reason}") from None
    except (ValueError, OverflowError) as error:  # a 13th month; an escaped character beyond Unicode
        raise UserError(f"{origin} is not valid YAML: {error}") from None


class _Bounded(Composer):
    """Refuses while it reads, before anything is built of it."""

    _refuses_tags = True

    def __init__(self, stream: str) -> None:
        super().__init__(stream)  # type: ignore[call-arg]  # the loader's, which comes next in order
        self._nodes = self._depth = 0
        self._size_of: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]  # the parser's
        if isinstance(event, yaml.AliasEvent):
            anchor = event.anchor or ""
            if anchor in self.anchors and anchor not in self._size_of:
                self._refuse(f"alias *{anchor} lies within what it stands for", event)
            self._count(self._size_of.get(anchor, 0), event)
            return super().compose_node(parent, index)
        if self._refuses_tags and event.tag not in (None, "!"):
            self._refuse("a tag (such as !!int) is not expected: write the plain value", event)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST:
            self._refuse(f"a value has more than {_LONGEST:,} characters", event)
        if self._depth == _DEEPEST:
            self._refuse(f"it is nested more than {_DEEPEST} levels deep", event)
        before = self._nodes
        self._count(1, event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._size_of[event.anchor] = self._nodes - before
        return node

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self._nodes += nodes
        if self._nodes > _MOST_NODES:
            self._refuse(f"it holds more than {_MOST_NODES:,} values, aliases written out", event)

    def _refuse(self, reason: str, event: yaml.Event) -> None:
        raise yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)  # type: ignore[arg-type]


class _PlainLoader(_Bounded, yaml.SafeLoader):
    pass


class _TextLoader(_Bounded, yaml.BaseLoader):
    _refuses_tags = False  # it does not look at them
