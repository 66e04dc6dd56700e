"""The tail that decodes only chosen points, the tail that decodes all, and numpy's `select`: the same detections."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nanogfl.config import HeadConfig
from nanogfl.contract.detections import Selection, select, sides_at
from nanogfl.model.boxes.decode import bin_probabilities, decode_boxes, decode_spread, make_grid
from nanogfl_export.graph.assemble import selection_models
from nanogfl_export.graph.join import join
from nanogfl_export.graph.points import (
    RAW_PREFIX,
    Parts,
    all_points_model,
    chosen_points_model,
    rows_of_all_points_model,
)
from nanogfl_export.graph.trace import trace_row_decode
from nanogfl_export.rewrite.sequence import rewrite_decode

HEAD = HeadConfig()
OUTPUTS = ["boxes", "scores", "labels", "spread", "distributions", "points"]
CASES = [  # classes, (H, W), selection
    (80, (160, 256), Selection()),
    (3, (64, 96), Selection(iou=0.45, candidates=50, keep=20)),
    (1, (96, 64), Selection(score=0.3)),
    (2, (32, 64), Selection(score=0.0)),  # fewer pairs than rows; all that is above nothing counts
]


@pytest.fixture(scope="module")
def row_decode():
    return trace_row_decode(HEAD)


class Tail:
    """logits in, the file's outputs out; `single`: one picture at a time."""

    def __init__(self, model, single):
        onnx.checker.check_model(model, full_check=True)
        assert {value.name for value in model.graph.input} == {"cls_logits", "box_pred"}
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.single = single

    def __call__(self, cls_logits, dist_logits):
        batches = [slice(i, i + 1) for i in range(len(cls_logits))] if self.single else [slice(None)]
        outputs = [
            self.session.run(OUTPUTS, {"cls_logits": cls_logits[part], "box_pred": dist_logits[part]})
            for part in batches
        ]
        return {name: np.concatenate(values) for name, values in zip(OUTPUTS, zip(*outputs, strict=True), strict=True)}


def tails(row_decode, classes, hw, selection):
    """Those that decode chosen points (rewritten), of one picture and of any number; the one that decodes all."""
    grid = make_grid(hw, (8, 16, 32), 0.5)
    for chosen, single in ((True, True), (True, False), (False, False)):
        decode = rewrite_decode(row_decode) if chosen else row_decode
        parts = Parts(onnx.ModelProto(), decode, grid, hw, classes)
        rows = chosen_points_model if chosen else rows_of_all_points_model
        first = [] if chosen else [all_points_model(parts, RAW_PREFIX)]
        models = selection_models(parts, selection, rows, from_logits=chosen, single=single, distributions=True)
        yield Tail(join([*first, *models], OUTPUTS), single)


def expected_detections(cls_logits, dist_logits, hw, selection):
    """By PyTorch's decode of all points and numpy's selection; in network-input pixels, a picture each."""
    grid = make_grid(hw, (8, 16, 32), 0.5)
    logits, distributions = torch.from_numpy(cls_logits), torch.from_numpy(dist_logits)
    boxes, spread = decode_boxes(distributions, grid).numpy(), decode_spread(distributions, grid).numpy()
    places = torch.cat((grid.points, grid.strides[:, None]), dim=1).numpy()
    scores, sides = logits.sigmoid().numpy(), bin_probabilities(distributions).numpy()
    return [
        (select(boxes[i], scores[i], spread[i], selection, hw, sides_at(sides[i], places)), places)
        for i in range(len(cls_logits))
    ]


def random_logits(random, classes, hw, kind):
    """cls_logits (N, C) and dist_logits (N, 4, R + 1) of a picture."""
    points = sum((hw[0] // stride) * (hw[1] // stride) for stride in (8, 16, 32))
    cls_logits = random.normal(0, 1.5, (points, classes))
    dist_logits = random.normal(0, 2, (points, 4, HEAD.bins))
    match kind:
        case "none":
            cls_logits -= 100
        case "few":
            cls_logits -= 9 if classes > 3 else 5
        case "ties":  # equal scores at many points
            cls_logits = np.round(cls_logits * 2) / 2
        case "equal boxes":  # no suppression, or all of it, by boxes that are alike but for their place
            dist_logits[:] = dist_logits[:1]
            cls_logits = np.round(cls_logits)
    return cls_logits.astype(np.float32), dist_logits.astype(np.float32)


@pytest.mark.parametrize(("classes", "hw", "selection"), CASES, ids=str)
def test_three_ways_to_the_same_detections(row_decode, classes, hw, selection):
    all_tails = list(tails(row_decode, classes, hw, selection))
    random = np.random.default_rng(classes)
    counts = set()
    for kinds in [("many", "none", "few"), ("ties", "none", "many"), ("equal boxes", "ties", "few"), ("none",)] * 3:
        pictures = [random_logits(random, classes, hw, kind) for kind in kinds]
        cls_logits, dist_logits = map(np.stack, zip(*pictures, strict=True))
        expected = expected_detections(cls_logits, dist_logits, hw, selection)
        for tail in all_tails:
            outputs = tail(cls_logits, dist_logits)
            for picture, (found, places) in enumerate(expected):
                rows, count = {name: value[picture] for name, value in outputs.items()}, len(found)
                counts.add(count)
                np.testing.assert_array_equal(rows["labels"][:count], found.labels)
                # ulp of the sigmoid (1), of some hundred pixels (1e-5) and of a root of a sum of squares
                np.testing.assert_allclose(rows["scores"][:count], found.scores, rtol=0, atol=1e-6)
                np.testing.assert_allclose(rows["boxes"][:count], found.boxes, rtol=0, atol=2e-4)
                np.testing.assert_allclose(rows["spread"][:count], found.spread, rtol=0, atol=2e-4)
                shown = rows["distributions"][:count]
                np.testing.assert_allclose(shown, found.sides.probabilities, rtol=0, atol=1e-6)
                np.testing.assert_allclose(shown.sum(axis=-1), 1, rtol=0, atol=1e-5)
                np.testing.assert_array_equal(rows["points"][:count][:, [0, 1, 0, 1]], found.sides.origin)
                assert {tuple(row) for row in rows["points"][:count]} <= {tuple(row) for row in places}
                assert (rows["labels"][count:] == -1).all()
                for name in ("boxes", "scores", "spread", "distributions", "points"):
                    assert len(rows[name]) == selection.keep
                    assert not rows[name][count:].any()
    assert selection.score == 0 or 0 in counts
    assert max(counts) == selection.keep or max(counts) > 20
    assert len(counts) > 3


def test_a_score_at_the_limit_is_no_detection(row_decode):
    """A logit of zero is a score of exactly one half; the next larger one is a detection."""
    hw, selection = (32, 64), Selection(score=0.5)
    random = np.random.default_rng(0)
    _, dist_logits = random_logits(random, 2, hw, "many")
    cls_logits = np.full((len(dist_logits), 2), -3, np.float32)
    cls_logits[5] = 0
    for tail in tails(row_decode, 2, hw, selection):
        outputs = tail(cls_logits[None], dist_logits[None])
        assert not outputs["scores"].any()
        assert (outputs["labels"] == -1).all()
    cls_logits[7, 1] = 1e-3
    for tail in tails(row_decode, 2, hw, selection):
        outputs = tail(cls_logits[None], dist_logits[None])
        assert (outputs["scores"] > 0).sum() == 1
        assert outputs["labels"][0, 0] == 1


def test_a_picture_is_selected_alike_alone_and_beside_others(row_decode):
    """As many candidates are taken along as the fullest picture of the batch has."""
    hw, selection = (64, 96), Selection()
    random = np.random.default_rng(1)
    pictures = [random_logits(random, 3, hw, kind) for kind in ("few", "none", "many")]
    cls_logits, dist_logits = map(np.stack, zip(*pictures, strict=True))
    for tail in tails(row_decode, 3, hw, selection):
        together = tail(cls_logits, dist_logits)
        for picture in range(3):
            alone = tail(cls_logits[picture : picture + 1], dist_logits[picture : picture + 1])
            for name in OUTPUTS:
                np.testing.assert_allclose(together[name][picture], alone[name][0], rtol=0, atol=1e-4)
