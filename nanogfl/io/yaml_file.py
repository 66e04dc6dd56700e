"""YAML files. A data.yaml is downloaded with its data set, and a few lines of aliases can stand for 10^9 values."""

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

from nanogfl.errors import UserError
from nanogfl.io.read_file import read_text

_MOST_BYTES = 1_000_000
"""per file: the 13,204 class names of V3Det, the longest list we know of, take less than 400,000"""
_MOST_VALUES = 100_000
"""per file, each alias counted as all the values that it stands for"""


def read_yaml(path: Path | str, what: str, advice: str, *, as_text: bool = False) -> Any:
    """The file's content: see `parse_yaml`. `what` and `advice` are those of `read_bounded`. Raises UserError."""
    return parse_yaml(read_text(path, what, _MOST_BYTES, advice), str(path), as_text=as_text)


def parse_yaml(text: str, origin: str, *, as_text: bool = False) -> Any:
    """Plain values only. `as_text`: every scalar stays as it is written, so that a class called 'no' stays 'no'.

    Raises UserError, which begins with `origin`, if the text is not YAML or stands for too many values.
    """
    try:
        return yaml.load(text, Loader=_TextLoader if as_text else _PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())  # two lines for a control character
        raise UserError(f"{origin} is not valid YAML{where}: {reason}") from None
    except RecursionError:
        raise UserError(f"{origin} is not valid YAML: it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a 13th month; an escaped character beyond Unicode
        raise UserError(f"{origin} is not valid YAML: {error}") from None


class _Bounded(Composer):
    """Counts values while they are read, before aliases are followed."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)  # type: ignore[call-arg]  # the loader's, which comes next in order
        self._values = 0
        self._values_of: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]  # the parser's
        before, anchor = self._values, event.anchor
        if not isinstance(event, yaml.AliasEvent):
            self._values += 1
        elif anchor in self.anchors:  # one that lies within what it stands for has no end, and no entry yet
            self._values += self._values_of.get(anchor, _MOST_VALUES)
        if self._values > _MOST_VALUES:
            problem = f"it holds more than {_MOST_VALUES:,} values, aliases written out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            self._values_of[anchor] = self._values - before
        return node


class _PlainLoader(_Bounded, yaml.SafeLoader):
    pass


class _TextLoader(_Bounded, yaml.BaseLoader):
    pass
