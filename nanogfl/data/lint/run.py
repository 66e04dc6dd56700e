"""The checks together: of the annotations, of the image files, and the short form before a training."""

from collections.abc import Sequence

from nanogfl.config import Config
from nanogfl.data.cache.ahead import Track
from nanogfl.data.dataset import DataSet
from nanogfl.data.lint.annotations import check_boxes, check_crowds, check_empty, check_problems, check_sizes
from nanogfl.data.lint.classes import check_classes, check_tail
from nanogfl.data.lint.effect import by_effect
from nanogfl.data.lint.files import check_copies, check_files, check_listed
from nanogfl.data.lint.finding import Finding, Split, by_severity
from nanogfl.data.lint.images import look_at_images
from nanogfl.data.lint.leaks import check_leaks


def check_annotations(train: Split, val: Split, config: Config, *, finest_stride: float) -> list[Finding]:
    """What the annotations show; opens no image. Of few boxes or images: as notes (`by_effect`)."""
    splits = (train, val)
    findings = [
        *check_classes(train, val),
        *check_problems(splits),
        *check_boxes(splits),
        *check_crowds(splits),
        *check_empty(splits, config.data.min_labelled),
        *check_sizes(train, config.model.input, finest_stride),
        *check_tail(train, config),
    ]
    return by_effect(findings, train, val)


def check_images(train: Split, val: Split, track: Track = lambda results, _: results) -> list[Finding]:
    """What the image files show; decodes each once."""
    splits = (train, val)
    paths = [image.path for split in splits for image in split.dataset.images]
    looks = look_at_images(paths, track)
    cut = len(train.dataset.images)
    parts = looks.part(slice(None, cut)), looks.part(slice(cut, None))
    findings = [*check_files(splits, parts), *check_leaks(train, val, parts), *check_copies(splits, parts)]
    return by_effect(findings, train, val)


def advise_before_training(train: DataSet, val: DataSet, config: Config, *, finest_stride: float) -> Sequence[str]:
    """Lines about what to correct or decide before hours of training, from the annotations alone.

    Left out: what the readers listed, which the run says itself, and what is only good to know.
    """
    splits = Split("train", train), Split("val", val)
    listed = {finding.key for finding in check_problems(splits)}
    findings = [*check_annotations(*splits, config, finest_stride=finest_stride), *check_listed(*splits)]
    findings += check_leaks(*splits)
    lines = [
        f"  {finding.severity}: {finding.count} {finding.what} ({finding.examples[0]}): {finding.advice}"
        for finding in by_severity(findings)
        if finding.severity != "note" and finding.key not in listed
    ]
    return [*lines, "  see them all, the image files included: nanogfl data check CONFIG"] if lines else []
