"""Class names that mean the same."""

from nanogfl.model.nanodet.coco_classes import COCO_CLASSES
from nanogfl.training.distill.names import matching_classes

VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]


def test_all_classes_of_voc_are_in_coco():
    pairs = matching_classes(VOC, COCO_CLASSES)
    assert [ours for ours, _ in pairs] == list(range(20))
    named = {VOC[ours]: COCO_CLASSES[theirs] for ours, theirs in pairs}
    assert named["dog"] == "dog"
    assert named["diningtable"] == "dining table"
    assert named["aeroplane"] == "airplane"
    assert named["tvmonitor"] == "tv"
    assert len(set(named.values())) == 20


def test_the_same_name_wins_over_a_similar_one():
    assert matching_classes(["Dog", "hot-dog"], ["dog", "Dog", "hot_dog"]) == [(0, 1), (1, 2)]


def test_nothing_meets_by_blanks_or_punctuation_alone():
    assert matching_classes(["?", "cat"], ["!", "dog"]) == []
    assert matching_classes([], ["dog"]) == []
