"""The sentence for a folder in which no format is recognised."""

import re
from collections.abc import Iterable, Sequence

from nanogfl.data.folder.candidate import Candidate
from nanogfl.data.folder.survey import Survey
from nanogfl.data.readers.yolo import labels_folder
from nanogfl.errors import UserError
from nanogfl.io.printable import printable
from nanogfl.io.read_file import is_folder

_LAYOUT = (
    "the shortest layout that works: images/a.jpg with labels/a.txt (one line per box: class cx cy w h, as fractions of"
    " the image), or a.jpg with a.xml of LabelImg beside it"
)
_SUFFIXES = {
    ".zip": "an archive: unpack it",
    ".tar": "an archive: unpack it",
    ".gz": "an archive: unpack it",
    ".7z": "an archive: unpack it",
    ".rar": "an archive: unpack it",
    ".tfrecord": "a TFRecord is not read: export it as COCO, VOC or YOLO",
    ".record": "a TFRecord is not read: export it as COCO, VOC or YOLO",
    ".parquet": "a parquet table is not read: export it as COCO, VOC or YOLO",
    ".arrow": "an arrow table is not read: export it as COCO, VOC or YOLO",
    ".mat": "a MATLAB file is not read: export it as COCO, VOC or YOLO",
    ".manifest": "a SageMaker manifest is not read: convert it to COCO, VOC or YOLO",
    ".jsonl": "json lines are not read: convert them to COCO, VOC or YOLO",
    ".ndjson": "json lines are not read: convert them to COCO, VOC or YOLO",
    ".mp4": "a video: save its frames as images and annotate them",
    ".avi": "a video: save its frames as images and annotate them",
    ".heic": "pictures of phones that are not read: save them as JPEG",
}
_MOST = 8
"""suffixes that are counted in the sentence"""


def unknown_sentences(survey: Survey) -> list[str]:
    """What kinds of files with annotations or images are there that are not read."""
    found = {}
    for suffix, said in _SUFFIXES.items():
        if paths := survey.files(suffix):
            found[said] = f"{survey.relative(paths[0]).as_posix()}: {said}"
    return list(found.values())


def not_recognised(
    survey: Survey, candidates: Sequence[Candidate], unread: Sequence[str], formats: Iterable[str]
) -> UserError:
    """What was looked for, what is there, and what would work."""
    root = survey.root
    counts = survey.suffixes().most_common()
    there = ", ".join(f"{count} {suffix}" for suffix, count in counts[:_MOST]) or "no file"
    if len(counts) > _MOST:
        there += " and others"
    problems = [problem for candidate in candidates for problem in candidate.problems]
    absent = [name for candidate in candidates for name in candidate.absent]
    if absent:
        what = (
            f"{root} has annotations of {len(absent)} images, and none of them is there (the first: {absent[0][:200]};"
            f" found: {there}): copy the images into it, or give the folder above both"
        )
    elif not survey.images:
        what = f"{root} has no image (found: {there})" + _hints(unread)
        what += f": give the folder that holds images and annotations; {_LAYOUT}"
    else:
        what = f"{root} is not recognised as a data set: looked for {', '.join(formats)}; found {there}"
        what += _hints(unread, [f"{problem.where}: {problem.reason}" for problem in problems])
        what += _beside(survey) + f"; {_LAYOUT}"
    return UserError(printable(what))


def _hints(*several: Sequence[str]) -> str:
    shown = [hint for hints in several for hint in hints[:2]]
    return f" ({'; '.join(shown)})" if shown else ""


def _beside(survey: Survey) -> str:
    """A hint where labels lie outside of the folder, or where folders name classes."""
    labels = labels_folder(survey.root.absolute())
    if labels != survey.root.absolute() and is_folder(labels):
        return f"; labels are in {labels}: give the folder that holds both"
    folders = {image.parent for image in survey.images}
    if len(folders) > 2 and all(re.search("[^0-9]", folder.name) for folder in folders) and not survey.files(".txt"):
        return "; if the folders are classes of whole images, boxes are still needed"
    return ""
