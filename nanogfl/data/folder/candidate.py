"""What one format's files in a folder say: images with their annotations, before they are divided into splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nanogfl.data.dataset import Problem
from nanogfl.data.folder.part_names import part_of_file, part_of_folders
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.voc_xml import VocAnnotation


class CocoImage(NamedTuple):
    """An image of a COCO json."""

    entry: Mapping[str, Any]
    annotations: tuple[tuple[str, dict[str, Any]], ...]
    """the name of its category, and the annotation with a bbox"""


class Item(NamedTuple):
    image: Path
    source: Path
    """the annotation file; of an image without any, the image itself"""
    part: str | None
    """train, val or test, if the annotation file says so; see `part_of_source`"""
    read: VocAnnotation | CocoImage | None = None
    """None: the label file `source` is read later (YOLO), or there is none"""


@dataclass
class Candidate:
    format: str
    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """names of annotated images that are not in the folder"""
    renamed: dict[str, str] = field(default_factory=dict)
    """names of annotated images -> the different names of their files"""
    names: dict[int, str] = field(default_factory=dict)
    """category id -> name where the files number their classes; empty: the names of all objects, sorted"""
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """split -> folders or lists of images, as a data.yaml writes them"""
    fractions: bool = False
    """boxes are fractions of the image"""
    layout: str = ""
    """how a box is written, for `problems`"""
    keypoints: int | None = None
    """YOLO's kpt_shape: see `find_layout`"""
    names_of: dict[Path, dict[int, str]] = field(default_factory=dict)
    """COCO: category id -> name of each file, without headings"""
    headings: dict[Path, set[str]] = field(default_factory=dict)
    """COCO: names of categories that are only headings"""
    changed: set[Path] = field(default_factory=set)
    """COCO: files whose content was mended, so that `load_split` does not read them as they are"""

    def annotated(self) -> int:
        """Images with an annotation."""
        return len({item.image for item in self.items if item.source != item.image})

    def add(self, survey: Survey, name: str, source: Path, read: VocAnnotation | CocoImage, part: str | None) -> None:
        """Adds the image that `source` calls `name`, if it is there."""
        image = survey.find(name, source.parent, part)
        if image is None:
            self.absent.append(name)
            self.problems.append(Problem(name[:200], "image is missing: no such file in the folder"))
        else:
            self.items.append(Item(image, source, part, read))
            there = survey.relative(image).as_posix()
            if not f"/{there}".endswith(f"/{name}"):
                self.renamed[name] = there


def part_of_source(survey: Survey, file: Path) -> str | None:
    """The split of a file that annotates many images: by its name (train.json), or by its folder."""
    return part_of_file(file.stem) or part_of_folders(survey.relative(file).parent.parts)


def without_doubles(items: Sequence[Item], problems: list[Problem]) -> list[Item]:
    """Each image once per split. Of several annotation files of one image, one that states a split counts, then COCO's
    'instances', then the one with most images."""
    sizes: dict[Path, int] = defaultdict(int)
    for item in items:
        sizes[item.source] += 1

    def rank(item: Item) -> tuple[bool, bool, int]:
        return item.part is not None, "instances" in item.source.name, sizes[item.source]

    of_image: dict[Path, list[Item]] = defaultdict(list)
    for item in items:
        of_image[item.image].append(item)
    kept: list[Item] = []
    for image, several in of_image.items():
        best: dict[str | None, Item] = {}
        for item in sorted(several, key=rank, reverse=True):
            if item.part in best or (item.part is None and best):
                used = next(iter(best.values())) if item.part is None else best[item.part]
                reason = f"annotated twice: {used.source.name} is used, {item.source.name} is not"
                problems.append(Problem(image.name, reason))
            else:
                best[item.part] = item
        kept += best.values()
    return sorted(kept, key=lambda item: item.image)
