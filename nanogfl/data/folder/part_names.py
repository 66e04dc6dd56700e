"""The parts of a data set, train, val and test, as people name their folders and files."""

import re
from collections.abc import Sequence

PARTS = ("train", "val", "test")
_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset(
    {"images", "image", "imgs", "img", "pictures", "pics", "photos", "frames", "jpegimages", "labels", "label"}
    | {"annotations", "annotation", "annos", "anns", "ann", "boxes", "bbox", "instances", "default"}
    | {"xml", "xmls", "txt", "json", "csv", "data", "dataset", "split", "splits", "part", "coco", "voc", "yolo"}
)
"""words that may stand beside it in a folder's name; test_rig is the name of a thing"""


def part_of_file(stem: str) -> str | None:
    """instances_train2017 -> train. None for a name that holds no such word, or words of several parts."""
    found = {_WORDS[word] for word in _words(stem) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def part_of_folders(folders: Sequence[str]) -> str | None:
    """The innermost folder that is called by a part: data, train2017, images -> train."""
    for folder in reversed(folders):
        words = _words(folder)
        if all(word in _WORDS or word in _FILLERS for word in words) and (part := part_of_file(folder)):
            return part
    return None


def _words(name: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+", name.casefold())
    return [word.removesuffix("set") if word.removesuffix("set") in _WORDS else word for word in words]
