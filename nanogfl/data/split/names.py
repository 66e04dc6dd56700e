"""What the name of an image file says: which photograph it is a copy of, and its place in a sequence."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nanogfl.io.printable import shortened

_ROBOFLOW = re.compile(r"\.rf\.[0-9a-z]+$")
"""of the stem: Roboflow writes each version of NAME.jpg as NAME_jpg.rf.HASH.jpg"""
_SUFFIX = re.compile(r"_(?:jpe?g|png|bmp|webp|tiff?)$")
_COPY = re.compile(
    r"[_-](?:aug(?:mented)?|[hv]?flip(?:ped)?|mirror(?:ed)?|rot(?:ated?)?[_-]?(?:90|180|270))[_-]?\d*$"
    r"|__\d+(?:\.\d+)?__-?\d+___-?\d+$"
)
"""augmented copies of NAME, as scripts name them, and its tiles, as DOTA's do (NAME__1__0___512)"""
_NUMBER = re.compile(r"(\d{1,18})(\D*)$")
_FRAME = re.compile(r"(?<![a-z])(?:frames?|frm|clip|videos?|vid|seq(?:uence)?|scene|mp4|mov|avi|mkv|webm)(?![a-z])")
"""words that say that the numbers behind them count the frames of a video"""
_GENERAL = re.compile(
    r"(?<![a-z])(?:images?|imgs?|train(?:ing)?|valid?(?:ation)?|test(?:ing)?|data(?:set)?|jpegimages)(?![a-z])"
)
"""names of folders that say nothing of what is in them"""


class Named(NamedTuple):
    """What a file's name says. All parts are lower case, so that they can be compared."""

    photograph: str
    """equal for the copies of one photograph"""
    exported: bool
    """whether `photograph` is the name of an original in Roboflow, whatever the folder"""
    sequence: str
    """equal for the members of one sequence, such as img-#; empty without a number"""
    number: int
    """the place in the sequence"""
    is_frame: bool
    """whether the name says that the sequence is a video"""
    video: str
    """the video's own name, as in party_mp4-0012; empty where there is none, as in frame_0012"""


def read_name(name: str) -> Named:
    """`name`: relative to the data set's folder, with /."""
    folder, _, file = name.casefold().rpartition("/")
    whole = os.path.splitext(file)[0]
    exported = _ROBOFLOW.search(whole) is not None
    stem = _SUFFIX.sub("", _ROBOFLOW.sub("", whole)) if exported else whole
    stem = _COPY.sub("", stem)
    photograph = stem if exported else f"{folder}/{stem}"
    found = _NUMBER.search(stem)
    if not found:
        return Named(photograph, exported, "", 0, False, "")
    sequence = f"{folder}/{stem[: found.start()]}#{found[2]}"
    is_frame = _FRAME.search(sequence) is not None
    own = re.sub(r"[\W_]+", "", _GENERAL.sub("", _FRAME.sub("", sequence))) if is_frame else ""
    return Named(photograph, exported, sequence, int(found[1]), is_frame, sequence if own else "")


def relative_names(paths: Sequence[Path]) -> list[str]:
    """Each path relative to the folder that all of them share, with /: the same wherever that folder lies."""
    whole = [os.path.abspath(path) for path in paths]
    try:
        root = os.path.commonpath([os.path.dirname(path) for path in whole])
    except ValueError:  # none, or on several drives
        names = [path.name for path in paths]
    else:
        names = [os.path.relpath(path, root).replace(os.sep, "/") for path in whole]
    return [unicodedata.normalize("NFC", name) for name in names]


def natural_order(name: str) -> list[str | tuple[int, str]]:
    """A key for sorting: img2 comes before img10."""
    parts = re.split(r"(\d+)", name)
    return [(len(number := part.lstrip("0")), number) if place % 2 else part for place, part in enumerate(parts)]


def short_name(name: str) -> str:
    """The file's name without folders, in at most 60 characters: for sentences."""
    return shortened(name.rpartition("/")[2], 60)
