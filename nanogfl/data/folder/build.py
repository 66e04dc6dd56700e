"""From the images of a split and their annotations to a data set, by the checks of the readers."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from nanogfl.config import SplitConfig
from nanogfl.data.dataset import DataSet, Problem
from nanogfl.data.folder.candidate import Candidate, CocoImage, Item
from nanogfl.data.folder.coco_files import combine_names
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.classes import Classes
from nanogfl.data.readers.coco import index_coco
from nanogfl.data.readers.image_sizes import image_sizes
from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.validate import finish, refuse_fractions
from nanogfl.data.readers.values import to_whole
from nanogfl.data.readers.voc import Usable, collect_named
from nanogfl.data.readers.voc_xml import VocAnnotation
from nanogfl.data.readers.yolo import collect_labelled
from nanogfl.data.readers.yolo_yaml import DataYaml
from nanogfl.errors import UserError


def choose_names(
    candidate: Candidate, items: Sequence[Item], given: Sequence[str] | None, remarks: list[str]
) -> dict[int, str]:
    """Category id -> name of all splits' classes. Raises UserError if there are none, or if none of those given is."""
    if candidate.format == "coco":
        combine_names(candidate, {item.source for item in items})
    names = candidate.names
    if candidate.format not in ("coco", "yolo"):
        reads = [item.read for item in items if isinstance(item.read, VocAnnotation)]
        names = dict(enumerate(sorted({thing.name for read in reads for thing in read.objects if thing.name}), start=1))
    if given is None:
        return names
    if candidate.format == "yolo":  # numbers, whose names are given
        if candidate.names and len(given) < len(names):
            left = ", ".join(f"{number} {name}" for number, name in names.items() if number >= len(given))
            raise UserError(
                f"--classes gives {len(given)} names, and the labels also have the classes {left}: name all"
            )
        return dict(enumerate(given))
    if not set(given) & set(names.values()):
        raise UserError(
            f"--classes gives {', '.join(given[:10])}, and the classes here are {', '.join(list(names.values())[:10])}:"
            " give some of these"
        )
    left_out = [name for name in names.values() if name not in given]
    if left_out:
        remarks.append(f"boxes of other classes are left out, because --classes is given: {', '.join(left_out[:10])}")
    return dict(enumerate(given, start=1))


def build(
    survey: Survey, candidate: Candidate, items: Sequence[Item], names: Mapping[int, str]
) -> tuple[DataSet, SplitConfig | None]:
    """The data set of one split, and how `load_split` reads it from the folder as it is, if it can."""
    ids = tuple(sorted(names))
    classes = Classes(tuple(names[i] for i in ids), ids, {number: label for label, number in enumerate(ids)})
    if candidate.format == "coco":
        return _coco(survey, candidate, items, classes)
    problems: list[Problem] = []
    if candidate.format == "yolo":
        described = DataYaml(survey.root, dict(names), candidate.keypoints, {}, survey.root)
        pairs = [(item.image, item.source if item.source != item.image else None) for item in items]
        records = collect_labelled(pairs, survey.root, described, classes.label_of, problems, lenient=True)
    else:
        usable = [
            Usable(number, _where(item), _in_pixels(item.read, hw) if hw else item.read, item.image)
            for number, (item, hw) in enumerate(zip(items, _sizes(survey, candidate, items), strict=True), start=1)
            if isinstance(item.read, VocAnnotation)
        ]
        label_of: dict[str, int | None] = {name: label for label, name in enumerate(classes.names)}
        records = collect_named(usable, survey.root, label_of, candidate.layout, problems)
        refuse_fractions(survey.root, records)
    dataset = finish(survey.root, survey.root, classes, records, problems, listed=len(items), strict=False)
    return dataset, None


def _where(item: Item) -> str:
    single = item.source.stem == item.image.stem
    return item.source.name if single else f"{item.source.name}, {item.image.name}"


def _sizes(survey: Survey, candidate: Candidate, items: Sequence[Item]) -> list[tuple[int, int] | None]:
    """The sizes of images whose boxes are fractions."""
    if not candidate.fractions:
        return [None] * len(items)
    sizes = image_sizes([item.image for item in items], survey.root)
    return [None if isinstance(hw, str) else hw for hw in sizes]


def _in_pixels(read: VocAnnotation, hw: tuple[int, int]) -> VocAnnotation:
    height, width = hw

    def scaled(box: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return box and (box[0] * width, box[1] * height, box[2] * width, box[3] * height)

    return read._replace(objects=tuple(thing._replace(box=scaled(thing.box)) for thing in read.objects))


def _coco(
    survey: Survey, candidate: Candidate, items: Sequence[Item], classes: Classes
) -> tuple[DataSet, SplitConfig | None]:
    if source := _as_it_is(survey, candidate, items, classes):
        dataset = load_split(survey.root / source.annotations, survey.root / source.images)
        return dataset, source
    number_of = {name: number for number, name in zip(classes.ids, classes.names, strict=True)}
    ids = [to_whole(item.read.entry.get("id")) for item in items if isinstance(item.read, CocoImage)]
    if None in ids or len(set(ids)) < len(ids):
        ids = list(range(1, len(items) + 1))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in zip(ids, items, strict=True):
        assert isinstance(item.read, CocoImage)
        images.append({**item.read.entry, "id": number, "file_name": survey.relative(item.image).as_posix()})
        annotations += [
            {**thing, "image_id": number, "category_id": number_of[name]}
            for name, thing in item.read.annotations
            if name in number_of
        ]
    categories = [{"id": i, "name": name} for i, name in zip(classes.ids, classes.names, strict=True)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    sources = {item.source for item in items}
    file = next(iter(sources)) if len(sources) == 1 else survey.root
    return index_coco(content, file, survey.root, strict=False, classes=classes), None


def _as_it_is(survey: Survey, candidate: Candidate, items: Sequence[Item], classes: Classes) -> SplitConfig | None:
    """The split's json and image folder, if the split is the whole json, unchanged, with names below one folder."""
    sources = {item.source for item in items}
    if (
        len(sources) != 1
        or sources & candidate.changed
        or dict(zip(classes.ids, classes.names, strict=True)) != dict(candidate.names)
    ):
        return None
    (file,) = sources
    if len(items) != sum(item.source == file for item in candidate.items):
        return None
    folders: set[PurePath] | None = None
    for item in items:
        assert isinstance(item.read, CocoImage)
        path, possible = survey.relative(item.image), set()
        for key in ("file_name", "coco_url"):
            parts = PurePath(str(item.read.entry.get(key, ""))).parts
            for count in (len(parts),) if key == "file_name" else (2, 1):
                if parts and path.parts[-count:] == parts[-count:]:
                    possible.add(PurePath(*path.parts[:-count]))
        folders = possible if folders is None else folders & possible
        if not folders:
            return None
    folder = max(folders or (), key=lambda path: len(path.parts))
    return SplitConfig(survey.relative(file).as_posix(), folder.as_posix())
