"""Sizes at the network's input, and classes in a long tail."""

from dataclasses import replace

import numpy as np
import pytest

from nanogfl.config import Config, DataConfig, LossConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.lint.histograms import histograms
from nanogfl.data.lint.sizes import check_sizes, sides_at_input
from nanogfl.data.lint.tail import check_tail, suggest_threshold
from nanogfl.data.order import EpochOrder

STRETCH, LETTERBOX = InputSpec((160, 320)), InputSpec((160, 320), "letterbox")


def test_sides_are_scaled_as_the_recipe_resizes(split):
    images = [[(0, 10, 10, 30, 40), (1, 0, 0, 50, 50, "crowd")], [], [(1, 0, 0, 60, 6)]]
    train = split("train", images, hw=(40, 160))
    assert sides_at_input(train, STRETCH).tolist() == [[40, 120], [120, 24]]  # x 2, y 4
    assert sides_at_input(train, LETTERBOX).tolist() == [[40, 60], [120, 12]]  # both 2


def test_large_objects_are_no_finding_and_a_set_without_any_neither(split):
    assert check_sizes(split("train", [[(0, 0, 0, 50, 50)]]), STRETCH, 8.0) == []
    assert check_sizes(split("train", [[(0, 0, 0, 1, 1, "crowd")], []]), STRETCH, 8.0) == []


@pytest.mark.parametrize(("small", "severity"), [(1, "note"), (2, "warning")])
def test_objects_narrower_than_the_finest_stride_are_counted(split, by_key, small, severity):
    images = [[(0, 0, 0, 80, 80)] * (60 - small) + [(1, 0, 0, 3.9, 80)] * small]
    findings = by_key(check_sizes(split("train", images, hw=(160, 160)), STRETCH, 8.0))
    assert list(findings) == ["below-stride"]  # 7.8 x 80 px: narrow, not tiny
    assert (findings["below-stride"].severity, findings["below-stride"].count) == (severity, small)
    assert "7.8 x 80.0 px" in findings["below-stride"].examples[0].text
    assert f"{small / 60:.1%}" in findings["below-stride"].advice
    assert check_sizes(split("train", images, hw=(160, 160)), STRETCH, 7.8) == []


def test_mostly_tiny_objects_suggest_a_larger_input_where_the_images_hold_it(split, by_key):
    tiny, large = (0, 0, 0, 24, 24), (0, 0, 0, 200, 200)
    train = split("train", [[tiny, tiny, large]], hw=(640, 1280))  # a quarter: 6 x 6 px
    finding = by_key(check_sizes(train, STRETCH, 4.0))["tiny-objects"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert "67%" in finding.advice
    assert "model.input.hw to [640, 1280] (16.0 times" in finding.advice
    half = split("train", [[tiny, tiny, large]], hw=(320, 640))  # 12 x 12 px: 24 are enough
    assert "[320, 640] (4.0 times" in by_key(check_sizes(half, STRETCH, 4.0))["tiny-objects"].advice
    whole = split("train", [[(0, 0, 0, 8, 8)]], hw=(160, 320))
    assert "no more pixels" in by_key(check_sizes(whole, STRETCH, 4.0))["tiny-objects"].advice
    assert check_sizes(split("train", [[tiny, large, large]], hw=(640, 1280)), STRETCH, 4.0) == []


def test_histograms_count_every_object_once(split):
    images = [[(0, 0, 0, 10, 10), (0, 0, 0, 90, 0.2)], [], [(1, 0, 0, 10, 40), (1, 0, 0, 5, 5, "crowd")]]
    counted = histograms(split("train", images, hw=(160, 320)), STRETCH)
    assert sum(counted["size"]["counts"]) == sum(counted["aspect"]["counts"]) == 3
    assert counted["objects_per_image"] == [1, 1, 1]
    edges = np.array(counted["aspect"]["edges"])
    assert counted["aspect"]["counts"][np.searchsorted(edges, 0.25, side="right") - 1] == 1
    assert counted["aspect"]["counts"][-1] == 1  # 450 : 1 lies beyond the last edge


# The tail -------------------------------------------------------------------------------------------------------


def tailed(split, counts):
    """Images that hold a class each, `counts` of every class."""
    images = [[(label, 0, 0, 50, 50)] for label, count in enumerate(counts) for _ in range(count)]
    return split("train", images, tuple(f"class {letter}" for letter in "abcdefgh"[: len(counts)]))


@pytest.mark.parametrize(
    "counts",
    [
        (300, 11),  # nothing is rare
        (190, 10),  # 1 : 19
        (5, 3),
        (300, 0),  # an unused class is another finding
        (300,),
    ],
)
def test_classes_that_are_not_far_apart_or_not_rare_are_no_tail(split, counts):
    assert check_tail(tailed(split, counts), Config(), rare=10) == []


def test_a_long_tail_names_the_rarest_first_and_what_repeating_would_do(split, by_key):
    train = tailed(split, (200, 40, 10, 2, 0))
    finding = by_key(check_tail(train, Config(), rare=10))["long-tail"]
    assert (finding.severity, finding.count) == ("warning", 2)
    assert finding.what.endswith("(1 : 100)")
    assert [example.text for example in finding.examples] == [
        "'class d' in 2 of 252 images",
        "'class c' in 10 of 252 images",
    ]
    order = EpochOrder(train.dataset, seed=0, repeat_threshold=0.05)  # the median's share, .099, is above the most
    assert f"data.repeat_threshold=0.05 shows the rarest {np.sqrt(0.05 * 252 / 2):.1f} times" in finding.advice
    assert f"({order.length} instead of 252 images)" in finding.advice
    assert "eqfl" in finding.advice


def test_a_recipe_that_repeats_rare_classes_has_nothing_to_do(split, by_key):
    config = Config(data=DataConfig(repeat_threshold=0.01))
    finding = by_key(check_tail(tailed(split, (200, 2)), config, rare=10))["long-tail"]
    assert finding.severity == "note"
    assert "0.01" in finding.advice
    equalized = replace(Config(), loss=LossConfig(classification="eqfl"))
    assert "eqfl" not in check_tail(tailed(split, (200, 2)), equalized, rare=10)[0].advice


def test_the_suggested_threshold_is_round_and_within_its_limits():
    assert [suggest_threshold(share) for share in (0.0002, 0.0234, 0.5)] == [0.001, 0.02, 0.05]
