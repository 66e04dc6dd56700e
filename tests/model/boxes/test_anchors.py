"""Anchors against loops and published numbers; deltas by hand, there and back, and as an ONNX graph."""

import math

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from nanogfl.model.boxes.anchors import ANCHORS_PER_POINT, make_anchors
from nanogfl.model.boxes.decode import make_grid
from nanogfl.model.boxes.deltas import decode_deltas, encode_deltas

PYRAMID = (8, 16, 32, 64, 128)  # P3 to P7


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("size", [4.0, 2.5])
@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize(
    ("hw", "strides"), [((64, 96), (8, 16, 32)), ((45, 31), (8, 16)), ((7, 100), (5, 12, 50)), ((33, 20), (128,))]
)
def test_anchors_equal_the_loops_on_inputs_that_are_not_square(hw, strides, offset, size):
    points, sizes, owners, counts = [], [], [], []
    for stride in strides:
        before = len(points)
        for row in range(-(-hw[0] // stride)):
            for column in range(-(-hw[1] // stride)):
                for ratio in (1 / 2, 1, 2):
                    for third in (0, 1, 2):
                        area = (size * stride * 2 ** (third / 3)) ** 2
                        width = math.sqrt(area / ratio)
                        points.append([(column + offset) * stride, (row + offset) * stride])
                        sizes.append([width, area / width])
                        owners.append(stride)
        counts.append(len(points) - before)
    anchors = make_anchors(hw, strides, offset, size)
    assert anchors.points.tolist() == points
    assert anchors.strides.tolist() == owners
    assert anchors.level_sizes == tuple(counts)
    np.testing.assert_allclose(anchors.sizes.numpy(), sizes, rtol=2e-7)
    assert {t.dtype for t in anchors[:3]} == {torch.float32}
    assert all(t.is_contiguous() for t in anchors[:3])


def test_every_point_of_the_grid_has_nine_anchors():
    hw, strides = (90, 130), (8, 16, 32, 64)
    grid, anchors = make_grid(hw, strides, 0.5), make_anchors(hw, strides, 0.5)
    assert ANCHORS_PER_POINT == 9
    for k in range(9):
        assert torch.equal(anchors.points[k::9], grid.points)
        assert torch.equal(anchors.strides[k::9], grid.strides)
    assert anchors.level_sizes == tuple(9 * n for n in grid.level_sizes)


def test_areas_are_the_papers_from_32_to_512_squared_and_the_sides_end_at_813():
    """arXiv:1708.02002, sec. 4: areas 32^2 on P3 to 512^2 on P7, with the scales a range of 32 to 813 pixels."""
    anchors = make_anchors((256, 384), PYRAMID, 0.5)
    levels = anchors.sizes.split(anchors.level_sizes)
    for level, base in zip(levels, (32, 64, 128, 256, 512), strict=True):
        areas = level.double().prod(dim=1).view(-1, 3, 3)  # points, ratios, scales
        for scale, factor in enumerate((1, 2 ** (2 / 3), 2 ** (4 / 3))):
            assert areas[..., scale].flatten().tolist() == pytest.approx([base**2 * factor] * (len(level) // 3))
    sides = anchors.sizes.double().prod(dim=1).sqrt()
    assert sides.min().item() == pytest.approx(32)
    assert round(sides.max().item()) == 813


def test_an_image_of_600_pixels_has_about_100_thousand_anchors():
    """Sec. 4.1 of the paper; 600 x 800 is an image of 4 : 3 whose short side is 600."""
    total = sum(make_anchors((600, 800), PYRAMID, 0.0).level_sizes)
    assert 9e4 < total < 1.1e5


def test_the_nine_of_p3_are_those_that_mmdetection_publishes_in_this_order():
    """Half sides x y, from the test of its RetinaNet head: all scales of the first ratio, then of the next."""
    half = make_anchors((8, 8), (8,), 0.0).sizes / 2
    published = [
        *([22.6274, 11.3137], [28.5088, 14.2544], [35.9188, 17.9594]),
        *([16.0, 16.0], [20.1587, 20.1587], [25.3984, 25.3984]),
        *([11.3137, 22.6274], [14.2544, 28.5088], [17.9594, 35.9188]),
    ]
    np.testing.assert_allclose(half.numpy(), published, atol=1e-4)


@pytest.mark.parametrize(
    ("deltas", "box"),
    [
        ((0, 0, 0, 0), (80, 45, 120, 55)),  # the anchor itself
        ((0.5, 0, 0, 0), (100, 45, 140, 55)),  # half a width to the right
        ((0, -2, 0, 0), (80, 25, 120, 35)),  # two heights up
        ((0, 0, math.log(2), 0), (60, 45, 140, 55)),  # twice as wide
        ((0, 0, 0, math.log(0.2)), (80, 49, 120, 51)),  # a fifth as high
        ((-0.25, 1, math.log(0.5), math.log(3)), (80, 45, 100, 75)),
    ],
)
def test_deltas_by_hand_on_an_anchor_of_40_by_10(deltas, box):
    centre, size = tensor(100, 50), tensor(40, 10)
    assert decode_deltas(tensor(*deltas), centre, size).tolist() == pytest.approx(box, abs=1e-5)
    assert encode_deltas(tensor(*box), centre, size).tolist() == pytest.approx(deltas, abs=1e-6)


def test_no_side_grows_beyond_62_and_a_half_anchors():
    centre, size = tensor(0, 0), tensor(40, 10)
    limit = [-1250, -312.5, 1250, 312.5]
    at_limit = math.log(62.5)
    for log in (at_limit, at_limit + 1e-3, 5, 1e4, math.inf):
        box = decode_deltas(tensor(0, 0, log, log), centre, size)
        assert box.tolist() == pytest.approx(limit, rel=1e-6)
    below = decode_deltas(tensor(0, 0, at_limit - 0.01, -1e4), centre, size).tolist()
    assert below == pytest.approx([-1250 * math.exp(-0.01), 0, 1250 * math.exp(-0.01), 0], rel=1e-5)
    shift = decode_deltas(tensor(100, -100, 0, 0), centre, size).tolist()
    assert shift == [3980, -1005, 4020, -995]  # the centre has no limit


@pytest.mark.parametrize("hw", [(96, 160), (300, 100)])
def test_what_is_encoded_decodes_to_itself_and_back(hw):
    anchors = make_anchors(hw, PYRAMID, 0.5)
    boxes = torch.rand(2, len(anchors.points), 4) * 60
    boxes[..., 2:] += boxes[..., :2] + 1
    there = encode_deltas(boxes, anchors.points, anchors.sizes)
    torch.testing.assert_close(decode_deltas(there, anchors.points, anchors.sizes), boxes, rtol=0, atol=1e-3)
    deltas = torch.randn(2, len(anchors.points), 4).clamp(-4, 4)  # within the limit
    boxes = decode_deltas(deltas, anchors.points, anchors.sizes)
    torch.testing.assert_close(encode_deltas(boxes, anchors.points, anchors.sizes), deltas, rtol=1e-3, atol=1e-3)


def test_half_precision_deltas_are_decoded_in_float32():
    deltas = torch.randn(50, 4).bfloat16()
    centres, sizes = torch.rand(50, 2) * 1000, torch.rand(50, 2) * 100 + 1
    boxes = decode_deltas(deltas, centres, sizes)
    assert boxes.dtype == torch.float32
    assert torch.equal(boxes, decode_deltas(deltas.float(), centres, sizes))


def test_every_delta_has_a_gradient_and_those_above_the_limit_none():
    deltas = tensor(0.1, 0.2, 0.3, 10).requires_grad_()
    decode_deltas(deltas, tensor(100, 50), tensor(40, 10))[2:].sum().backward()
    assert deltas.grad is not None
    assert deltas.grad.tolist() == pytest.approx([40, 10, 20 * math.exp(0.3), 0])


class Decode(nn.Module):
    def forward(self, deltas: Tensor, centres: Tensor, sizes: Tensor) -> Tensor:
        return decode_deltas(deltas, centres, sizes)


ELEMENTWISE = {"Exp", "Mul", "Add", "Sub", "Min", "Clip", "Split", "Slice", "Concat", "Constant"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:# The axis name")  # torch's
def test_the_decode_traces_into_elementwise_operators_of_free_shapes():
    batch, count = torch.export.Dim("batch", min=1), torch.export.Dim("anchors", min=1)
    program = torch.onnx.export(
        Decode().eval(),
        (torch.zeros(2, 5, 4), torch.zeros(5, 2), torch.ones(5, 2)),
        input_names=["deltas", "centres", "sizes"],
        output_names=["boxes"],
        opset_version=18,
        dynamo=True,
        dynamic_shapes=({0: batch, 1: count}, {0: count}, {0: count}),
        verbose=False,
    )
    assert program is not None
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert operators <= ELEMENTWISE, operators
    assert {"Exp", "Concat"} <= operators
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(program.model_proto.SerializeToString(), options, ["CPUExecutionProvider"])
    for batch_size, hw in ((1, (64, 96)), (3, (40, 72)), (1, (8, 8))):
        anchors = make_anchors(hw, (8, 16), 0.5)
        deltas = torch.randn(batch_size, len(anchors.points), 4) * 3  # some above the limit
        arrays = (deltas.numpy(), anchors.points.numpy(), anchors.sizes.numpy())
        (found,) = session.run(["boxes"], dict(zip(("deltas", "centres", "sizes"), arrays, strict=True)))
        expected = decode_deltas(deltas, anchors.points, anchors.sizes).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
