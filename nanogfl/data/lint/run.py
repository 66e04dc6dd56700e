"""The checks together: of the annotations alone, of the image files, and the short form before a training."""

from collections.abc import Sequence

from nanogfl.config import Config
from nanogfl.data.cache.ahead import Track
from nanogfl.data.dataset import DataSet
from nanogfl.data.lint.boxes import check_boxes, check_problems
from nanogfl.data.lint.categories import check_categories
from nanogfl.data.lint.files import check_copies, check_files, check_listed
from nanogfl.data.lint.finding import Finding, Split, by_severity
from nanogfl.data.lint.images import look_at_images
from nanogfl.data.lint.objects import check_objects
from nanogfl.data.lint.sizes import check_sizes
from nanogfl.data.lint.tail import check_tail


def check_annotations(train: Split, val: Split, config: Config, *, finest_stride: float, rare: int) -> list[Finding]:
    """What the annotations show; no image is opened. Classes in at most `rare` training images are rare."""
    return [
        *check_categories(train, val),
        *check_problems((train, val)),
        *check_boxes((train, val)),
        *check_objects((train, val), config.data.min_labelled),
        *check_sizes(train, config.model.input, finest_stride),
        *check_tail(train, config, rare),
    ]


def check_images(train: Split, val: Split, track: Track = lambda results, _: results) -> list[Finding]:
    """What the image files show; each is decoded once."""
    splits = (train, val)
    paths = [image.path for split in splits for image in split.dataset.images]
    looks = look_at_images(paths, track)
    cut = len(train.dataset.images)
    parts = looks.part(slice(None, cut)), looks.part(slice(cut, None))
    return [*check_files(splits, parts), *check_copies(train, val, *parts)]


def advise_before_training(
    train: DataSet, val: DataSet, config: Config, *, finest_stride: float, rare: int
) -> Sequence[str]:
    """Lines about what a user should mend or decide before hours of training, from the annotations alone.

    Not among them: what the readers left out, which the run lists itself, and what is only good to know.
    """
    splits = Split("train", train), Split("val", val)
    listed = {finding.key for finding in check_problems(splits)}
    findings = [
        finding
        for finding in by_severity(
            [*check_annotations(*splits, config, finest_stride=finest_stride, rare=rare), *check_listed(*splits)]
        )
        if finding.severity != "note" and finding.key not in listed
    ]
    lines = [
        f"  {finding.severity}: {finding.count} {finding.what} ({finding.examples[0]}): {finding.advice}"
        for finding in findings
    ]
    return [*lines, "  see them all, the image files included: nanogfl data check CONFIG"] if lines else []
