"""Real data sets as strangers left them, copied to another place under another name."""

import json
import os
import shutil

import pytest

from nanogfl.data.folder.read_folder import read_folder
from tests.shared_data import shared

pytestmark = pytest.mark.slow  # images are copied

COUNTS = {
    "domain/microcontroller-voc": ("voc", 4, {"train": (142, 170), "test": (7, 7)}),
    "domain/fruit-voc": ("voc", 3, {"train": (240, 465), "test": (60, 117)}),
    "domain/tomato-yolo": ("yolo", 1, {"train": (252, 3667), "val": (17, 261)}),
    "domain/rice-pest-yolo": ("yolo", 7, {"train": (530, 780)}),
    "domain/medicine-yolo": ("yolo", 1, {"train": (140, 137), "val": (40, 40), "test": (20, 20)}),
    # val beside valid holds copies of the five images of valid, which data.yaml names
    "domain/bolts-yoloseg": ("yolo", 1, {"train": (51, 1200), "val": (5, 120), "test": (2, 48)}),
    "bccd": ("coco", 3, {"train": (292, 3941), "val": (72, 945)}),
    "cards6": ("coco", 6, {"train": (296, 527), "val": (67, 143)}),
    "coco_mini": ("coco", 80, {"train": (90, 803), "val": (66, 560)}),
}
"""format, classes, and images and boxes of each split"""


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_readme(name, tmp_path):
    root = tmp_path / "bought data #2"
    shutil.copytree(shared(f"data/{name}"), root, copy_function=_linked_if_image)
    kind, classes, counts = COUNTS[name]
    found = read_folder(root)
    assert found.format == kind
    assert {
        part: (len(dataset.images), sum(len(image.boxes) for image in dataset.images))
        for part, dataset in found.splits.items()
    } == counts
    assert all(len(dataset.classes) == classes and not dataset.problems for dataset in found.splits.values())


def test_voc_with_lists(tmp_path):
    """The annotations of bccd_voc with the images of bccd. Two boxes without size are left out."""
    shutil.copytree(shared("data/bccd_voc"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "JPEGImages").mkdir()
    for image in shared("data/bccd").glob("*/*.jpg"):
        (tmp_path / "JPEGImages" / image.name).symlink_to(image.resolve())
    found = read_folder(tmp_path)
    lists = {path.stem: set(path.read_text().split()) for path in (tmp_path / "ImageSets/Main").glob("*.txt")}
    assert found.format == "voc"
    stems = {part: {image.path.stem for image in dataset.images} for part, dataset in found.splits.items()}
    assert stems == {part: lists[part] for part in ("train", "val", "test")}
    assert sum(len(image.boxes) for dataset in found.splits.values() for image in dataset.images) == 3941 + 945
    assert sum("empty box" in problem.reason for dataset in found.splits.values() for problem in dataset.problems) == 2


def test_lvis_keeps_what_is_federated(tmp_path):
    content = _json("data/lvis_sample/lvis_val_100.json")
    (tmp_path / "labels.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    for image in content["images"]:
        (tmp_path / "images" / image["coco_url"].rpartition("/")[2]).write_bytes(b"")  # sizes are stated
    found = read_folder(tmp_path)
    assert found.splits["train"].federated is not None
    assert len(found.splits["train"].images) == 100
    assert len(found.splits["train"].classes) == 1230
    assert found.sources["train"] is not None


def _linked_if_image(source: str, target: str) -> None:
    (os.symlink if source.endswith(".jpg") else shutil.copy)(source, target)


def _json(path: str) -> dict:
    return json.loads(shared(path).read_text())
