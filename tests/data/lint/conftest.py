"""Annotated splits without files, and the findings of a check by their keys."""

from pathlib import Path

import numpy as np
import pytest

from nanogfl.data.dataset import DataSet, ImageRecord, Problem
from nanogfl.data.lint.finding import Finding, Split


def make_split(name, images, classes=("cat", "dog"), ids=None, hw=(60, 100), problems=()):
    """`images`: for each a list of (label, x1, y1, x2, y2) or, with "crowd" as sixth entry, of crowd regions."""
    records = []
    for number, objects in enumerate(images):
        boxes = np.array([entry[1:5] for entry in objects], dtype=np.float32).reshape(-1, 4)
        labels = np.array([entry[0] for entry in objects], dtype=np.int64)
        crowd = np.array([len(entry) > 5 for entry in objects], dtype=np.bool_)
        path = Path(f"/nowhere/{name}/{number}.jpg")
        records.append(ImageRecord(number, path, hw, boxes, labels, np.ones(len(labels), np.float32), crowd))
    ids = ids or tuple(range(1, len(classes) + 1))
    listed = tuple(Problem(*problem) for problem in problems)
    return Split(name, DataSet(f"{name}.json", tuple(classes), ids, tuple(records), listed))


@pytest.fixture
def split():
    return make_split


@pytest.fixture
def by_key():
    def collect(findings: list[Finding]) -> dict[str, Finding]:
        found = {finding.key: finding for finding in findings}
        assert len(found) == len(findings)
        return found

    return collect
