import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nanogfl.contract.detections import Selection, select
from nanogfl.model.boxes.decode import Grid
from nanogfl_export.graph.assemble import selection_models
from nanogfl_export.graph.join import join
from nanogfl_export.graph.points import Parts, rows_of_all_points_model

CASES = [  # points, classes, (H, W), selection
    (2125, 80, (320, 320), Selection()),
    (700, 3, (160, 224), Selection()),
    (90, 1, (64, 96), Selection()),
    (400, 5, (96, 64), Selection(score=0.2, iou=0.45, candidates=64, keep=20)),
    (12, 2, (32, 32), Selection()),  # fewer pairs than rows
]


def random_raw(random, points, classes, hw):
    """Boxes, scores and spread of one picture: of many kinds, ties included."""
    height, width = hw
    centre = random.random((points, 2)) * (width, height)
    size = random.random((points, 2)) * random.choice([8, 40, 200])
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
    scores = random.random((points, classes)) ** random.choice([1, 4, 60, 30_000])  # hundreds of objects, or few
    match random.integers(5):
        case 0:  # equal scores, and overlaps that lie exactly at the limit; empty boxes
            boxes, scores = np.round(boxes / 8) * 8, np.round(scores, 1)
        case 1:
            scores = np.round(scores, 2)
        case 2:  # nothing to be found
            scores = scores * 0.05
        case 3:  # the same box many times
            boxes = boxes[random.integers(0, 5, points)]
    return boxes.astype(np.float32), scores.astype(np.float32), random.random((points, 4)).astype(np.float32)


@pytest.mark.parametrize("single", [False, True], ids=["any batch", "one picture"])
@pytest.mark.parametrize(("points", "classes", "hw", "selection"), CASES)
def test_graph_and_numpy_select_the_same_rows(points, classes, hw, selection, single):
    grid = Grid(torch.zeros(points, 2), torch.ones(points), (points,))
    parts = Parts(onnx.ModelProto(), onnx.ModelProto(), grid, hw, classes)
    models = selection_models(parts, selection, rows_of_all_points_model, from_logits=False, single=single)
    model = join(models, ["boxes", "scores", "labels", "spread"])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    random = np.random.default_rng(points)
    found_counts = set()
    batch = 1 if single else 2
    for _ in range(80 // batch):  # 80 pictures a case: 400 in all, of each kind of graph
        images = [random_raw(random, points, classes, hw) for _ in range(batch)]
        names = ("raw_boxes", "raw_scores", "raw_spread")
        raw = {name: np.stack([image[part] for image in images]) for part, name in enumerate(names)}
        boxes, scores, labels, spread = session.run(["boxes", "scores", "labels", "spread"], raw)
        assert boxes.shape == (batch, selection.keep, 4)
        assert labels.dtype == np.int64
        for image in range(batch):
            expected = select(*images[image], selection, hw)
            count = len(expected)
            found_counts.add(count)
            np.testing.assert_array_equal(boxes[image, :count], expected.boxes)
            np.testing.assert_array_equal(scores[image, :count], expected.scores)
            np.testing.assert_array_equal(labels[image, :count], expected.labels)
            np.testing.assert_array_equal(spread[image, :count], expected.spread)
            assert (scores[image, count:] == 0).all()
            assert (labels[image, count:] == -1).all()
            assert not boxes[image, count:].any()
            assert not spread[image, count:].any()
    assert 0 in found_counts
    assert len(found_counts) > 3  # the cases are of many kinds indeed
