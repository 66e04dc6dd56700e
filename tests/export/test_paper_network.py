"""ResNet, pyramid and shared head as .onnx: the rewrites are exact on them, the gate lets them through."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import Detector, build_detector
from nanogfl_deploy.runtime import Detector as DeviceDetector
from nanogfl_export import export
from nanogfl_export.rewrite.sequence import rewrite_network

HW = (96, 160)


def config(activation="leaky_relu", kind="resnet18") -> Config:
    return Config(
        ModelConfig(
            InputSpec(HW),
            activation,
            BackboneConfig(kind=kind),
            NeckConfig("fpn", 64, extra_level=False),
            HeadConfig(2, kind="shared", reg_max=8),
        )
    )


def lively(settings: Config, classes: int) -> Detector:
    """Random weights with nothing left that could be folded away: scales, group norms and statistics of all sorts."""
    torch.manual_seed(7)
    detector = build_detector(settings.model, classes)
    frames = torch.from_numpy(np.stack([draw_image(5, index, detector.hw).image for index in range(4)]))
    detector.train()
    with torch.no_grad():
        for _ in range(6):
            detector(frames)
        for module in detector.head.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        detector.head.scales.copy_(torch.tensor([0.5, 0.8, 1.1, 1.5, 2.0]))
        detector.head.class_output.weight.normal_(std=0.15)
        detector.head.class_output.bias.fill_(-2.0)
        detector.head.box_output.weight.normal_(std=0.05)
    return detector.eval()


def answers(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        ("leaky_relu", "resnet18"),
        pytest.param("relu", "resnet18", marks=pytest.mark.exhaustive),
        pytest.param("relu", "resnet50", marks=pytest.mark.exhaustive),
    ],
)
def test_the_rewrites_are_exact(activation, kind):
    detector = lively(config(activation, kind), 3)
    traced = export.trace_network(detector, 1)
    kinds = {node.op_type for node in traced.graph.node}
    assert {"InstanceNormalization", "Resize"} <= kinds or {"GroupNormalization", "Resize"} <= kinds
    image = draw_image(5, 9, HW).image[None]
    rewritten = answers(rewrite_network(traced), image)
    with torch.no_grad():
        by_torch = [output.numpy() for output in detector(torch.from_numpy(image))[:2]]
    for plain, fast, expected in zip(answers(traced, image), rewritten, by_torch, strict=True):
        assert expected.std() > 0.1
        np.testing.assert_allclose(fast, plain, atol=1e-5 * abs(plain).max())
        np.testing.assert_allclose(fast, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"output_format": "raw", "batch": None}, marks=pytest.mark.exhaustive),
        pytest.param({"rewrite": False}, marks=pytest.mark.exhaustive),
    ],
)
def test_the_gate_lets_it_through(tmp_path, options):
    settings = config()
    path = tmp_path / "paper.pt"
    save_checkpoint(path, Checkpoint(settings, ("a", "b", "c"), (2, 5, 9), lively(settings, 3).state_dict()))
    frames = [(f"drawn {n}", draw_image(5, n, size).image) for n, size in enumerate([(120, 200), (96, 160), (200, 90)])]
    exported = export.export_checkpoint(
        path, tmp_path / "paper.onnx", frames=frames, frames_origin="drawn", open_device=DeviceDetector, **options
    )
    assert exported.parity.detections > 50
    assert exported.parity.box_px < 0.05
    assert DeviceDetector(exported.path)(frames[2][1]).boxes.shape[0] > 10


@pytest.mark.slow
def test_the_graphs_rows_of_p6_and_p7_are_their_cells_row_by_row():
    """Sides of 160 have 3 cells of stride 64 and 2 of 128."""
    detector = lively(config(), 3)
    traced = export.trace_network(detector, 1)
    image = draw_image(5, 9, HW).image[None]
    cls, dist = answers(rewrite_network(traced), image)
    sizes = detector.grid.level_sizes
    assert sizes[-2:] == (6, 2)
    with torch.no_grad():
        levels = detector.head(detector.neck(detector.backbone(detector.normalise(torch.from_numpy(image)))))
    for level, last in ((levels[4], slice(sum(sizes[:4]), None)), (levels[3], slice(sum(sizes[:3]), sum(sizes[:4])))):
        rows = level[0].flatten(1).T.numpy()  # row by row
        np.testing.assert_allclose(cls[0, last], rows[:, :3], atol=1e-4)
        np.testing.assert_allclose(dist[0, last].reshape(len(rows), -1), rows[:, 3:], atol=1e-4)
