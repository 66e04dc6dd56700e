"""IoU and GIoU by hand."""

import math

import pytest
import torch

from nanogfl.model.boxes.iou import box_area, box_giou, box_iou


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize(
    ("a", "b", "iou", "giou"),
    [
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),  # hull 9, union 7
        ((0, 0, 4, 2), (0, 0, 4, 2), 1.0, 1.0),
        ((0, 0, 4, 2), (1, 0, 3, 2), 0.5, 0.5),  # inside: the hull is the union
        ((0, 0, 1, 1), (3, 0, 4, 1), 0.0, -0.5),  # disjoint: hull 4, union 2
        ((0, 0, 1, 1), (9, 9, 10, 10), 0.0, -0.98),  # disjoint in both directions: hull 100
        ((0, 0, 1, 1), (1, 0, 2, 1), 0.0, 0.0),  # touching
    ],
)
def test_iou_and_giou_by_hand(a, b, iou, giou):
    for first, second in ((a, b), (b, a)):
        assert box_iou(tensor(*first), tensor(*second)).item() == pytest.approx(iou, abs=1e-6)
        assert box_giou(tensor(*first), tensor(*second)).item() == pytest.approx(giou, abs=1e-6)


def test_boxes_of_no_size_give_finite_numbers():
    point, box = tensor(1, 1, 1, 1), tensor(0, 0, 2, 2)
    assert box_area(point).item() == 0
    for a, b in ((point, point), (point, box), (box, point)):
        assert box_iou(a, b).item() == 0
        assert math.isfinite(box_giou(a, b).item())


def test_the_gradient_of_giou_pulls_a_disjoint_box_to_its_truth():
    box = tensor(0, 0, 2, 2).requires_grad_()
    box_giou(box, tensor(5, 0, 7, 2)).backward()
    assert box.grad is not None
    assert box.grad[2] > 0  # GIoU rises as the right side moves right
    assert torch.isfinite(box.grad).all()


def test_one_box_broadcasts_against_many():
    many = torch.tensor([[[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6]]])
    assert box_iou(many, tensor(0, 0, 2, 2)).flatten().tolist() == pytest.approx([1, 1 / 7, 0])
