"""The page at the end of a run: page.md with pictures of the best and the worst detections."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.api.folder_story import LEFT_OUT, Story
from nanogfl.contract.detections import Detections
from nanogfl.contract.shown_score import SHOWN_SCORE
from nanogfl.data.cache.frames import read_checked
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.draw.boxes import draw_detections, tile
from nanogfl.evaluation.coco_ap import NO_OBJECTS, Report
from nanogfl.evaluation.image_quality import image_quality
from nanogfl.io.atomic import atomic_path
from nanogfl.io.printable import printable

PAGE, BEST_PICTURE, WORST_PICTURE = "page.md", "page_best.png", "page_worst.png"
_SHOWN = 4
"""images per picture"""
_SIDE = 560
"""pixels of a picture's longer side"""
_TITLE = 24
"""pixels of the strip above a picture, so that its title hides nothing"""
_MOST_CLASSES = 100
"""rows of the table"""


@dataclass(frozen=True)
class Measured:
    """What the run's detector does on its validation images."""

    model: Path
    dataset: DataSet
    detections: Sequence[Detections]
    """one entry per image, in source pixels"""
    report: Report
    verified: bool
    """the model is an .onnx that agrees with PyTorch"""
    verdict: tuple[str, ...]
    """of the export: sentences"""


def write_page(run_dir: Path, story: Story, measured: Measured) -> Path:
    """Writes page.md, page_best.png and page_worst.png into the run folder. Returns the page.

    Raises UserError where they cannot be written, and for an image that has changed since it was detected in.
    """
    pictures = {}
    best, worst = best_and_worst(measured.dataset.images, measured.detections)
    for name, rows in ((BEST_PICTURE, best), (WORST_PICTURE, worst)):
        (run_dir / name).unlink(missing_ok=True)
        if rows:
            with atomic_path(run_dir / name) as temporary:
                temporary.write_bytes(cv2.imencode(".png", _sheet(measured, rows))[1].tobytes())
            pictures[name] = len(rows)
    text = "\n\n".join(_parts(run_dir, story, measured, pictures)) + "\n"
    with atomic_path(run_dir / PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return run_dir / PAGE


def best_and_worst(images: Sequence[ImageRecord], detections: Sequence[Detections]) -> tuple[list[int], list[int]]:
    """Numbers of images, best first and worst first, by `image_quality` of what is shown. No image is in both.

    Of equal images the one with more objects comes first.
    """
    rated = []
    for number, (image, found) in enumerate(zip(images, detections, strict=True)):
        quality = image_quality(image, found.above(SHOWN_SCORE))
        if quality is not None:
            rated.append((quality, int((~image.crowd).sum()), number))
    count = min(_SHOWN, len(rated) // 2) or len(rated)
    best = sorted(rated, key=lambda each: (-each[0], -each[1], each[2]))[:count]
    worst = sorted(rated, key=lambda each: (each[0], -each[1], each[2]))[:count]
    return [each[2] for each in best], [each[2] for each in worst if each not in best]


def _sheet(measured: Measured, rows: Sequence[int]) -> NDArray[np.uint8]:
    """A row per image: its objects on the left, the detections on the right. uint8 (h, w, 3) BGR."""
    pictures, titles = [], []
    classes = measured.dataset.classes
    for row in rows:
        image = measured.dataset.images[row]
        found = measured.detections[row].above(SHOWN_SCORE)
        objects = ~image.crowd
        truth = Detections(image.boxes[objects], np.ones(int(objects.sum()), np.float32), image.labels[objects])
        frame = read_checked(image)
        scale = min(1.0, _SIDE / max(image.hw))
        size = max(1, round(image.hw[1] * scale)), max(1, round(image.hw[0] * scale))
        shown = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
        factors = np.array([size[0] / image.hw[1], size[1] / image.hw[0]] * 2, dtype=np.float32)
        for part, with_scores in ((truth, False), (found, True)):
            scaled = Detections(part.boxes * factors, part.scores, part.labels)
            drawn = draw_detections(shown, scaled, classes, show_scores=with_scores)
            pictures.append(np.vstack([np.zeros((_TITLE, size[0], 3), np.uint8), drawn]))
        quality = image_quality(image, found)
        titles += [f"{len(truth)} in {image.path.name}", f"{len(found)} found, quality {quality or 0:.2f}"]
    return tile(pictures, columns=2, titles=titles)


def _parts(run_dir: Path, story: Story, measured: Measured, pictures: dict[str, int]) -> Iterator[str]:
    report = measured.report
    yield f"# {_text(run_dir.resolve().name)}: a detector of {_classes(report)}"
    yield _verdict(measured)
    yield "## Next"
    yield "```sh\n" + "\n".join(map(printable, next_commands(run_dir, story, measured))) + "\n```"
    yield "## Average precision per class"
    yield "\n".join(_table(("class", "objects", "AP", "AP50"), _class_rows(report)))
    if len(report.classes) > _MOST_CLASSES:
        yield f"These are {_MOST_CLASSES} of {len(report.classes)} classes; `nanogfl eval` shows all."
    for name, title in ((BEST_PICTURE, "best"), (WORST_PICTURE, "worst")):
        if name in pictures:
            yield f"## The {title} detections"
            yield f"![objects and detections of the {title} images]({quote(name)})"
    yield (
        f"On the left the annotated objects, on the right the detections with a score of at least {SHOWN_SCORE}. The"
        " quality of an image is the sum of the IoU of its right detections, divided by their number and half of the"
        " number of wrong detections and missed objects."
    )
    if (run_dir / "curves.png").is_file():
        yield "## Training"
        yield "![losses and AP over the epochs](curves.png)"
    yield "## Data"
    yield _list([f"folder: {story.folder}", *story.found])
    if story.left_out:
        yield f"Left out or corrected while reading, one by one in `{LEFT_OUT}`:"
        yield _list(story.left_out)
    else:
        yield "Nothing else was left out or corrected."
    yield "## Choices"
    yield _list(story.start)
    yield "\n".join(_table(("setting", "value", "reason"), ((c.key, c.shown(), c.reason) for c in story.choices)))
    yield "All settings are in `config.yaml`; `--set KEY=VALUE` changes one."
    yield "## Export"
    yield _list(measured.verdict)


def _classes(report: Report) -> str:
    return f"{len(report.classes)} class{'es' * (len(report.classes) != 1)}"


def _verdict(measured: Measured) -> str:
    report, model = measured.report, measured.model.name
    if report.ap is None:
        figures = f"no AP: {NO_OBJECTS}"
    else:
        figures = f"**AP {report.ap:.3f}**, AP50 {_show(report.ap50)}, AP75 {_show(report.ap75)}"
    state = "verified against PyTorch" if measured.verified else "**there is no verified .onnx**, see Export"
    return f"{figures} on {report.images} validation images, measured with `{model}` ({state})."


def next_commands(run_dir: Path, story: Story, measured: Measured) -> tuple[str, str, str]:
    """What to do with the detector: three commands."""
    model, best = shlex.quote(str(measured.model)), shlex.quote(str(run_dir / "best.pt"))
    return (
        f"nanogfl detect {model} PHOTO_OR_FOLDER_OR_VIDEO",
        f"nanogfl label MORE_PHOTOS --model {model} -o PROPOSALS  # labels to correct, least certain first",
        f"nanogfl train {shlex.quote(story.folder)} --init-from {best}  # again, with more data or more time",
    )


def _class_rows(report: Report) -> Iterator[tuple[str, str, str, str]]:
    for entry in report.classes[:_MOST_CLASSES]:
        yield entry.name, str(entry.objects), _show(entry.ap), _show(entry.ap50)
    yield "all", str(sum(entry.objects for entry in report.classes)), _show(report.ap), _show(report.ap50)


def _show(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield f"| {' | '.join(map(_text, row))} |"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _text(text: str) -> str:
    """Text from elsewhere as plain text in Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#!~])", r"\\\1", " ".join(printable(text).split()))
