"""A small detector whose scores are high enough to select from, and pictures to show it."""

import hashlib

import numpy as np
import onnx
import pytest
import torch

from nanogfl.config import BackboneConfig, Config, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import Detector, build_detector
from nanogfl_deploy.runtime import Detector as DeviceDetector
from nanogfl_export import export
from nanogfl_export.export import export_checkpoint
from nanogfl_export.graph import modules
from tests.lively import enliven

HW = (96, 160)  # H != W


def small_config(neck: str = "ghost_pan") -> Config:
    spec = InputSpec(HW)
    return Config(model=ModelConfig(spec, backbone=BackboneConfig("0.5x"), neck=NeckConfig(neck, 16, neck != "pan")))


def enlivened(model: ModelConfig) -> Detector:
    """Three classes; the same weights for the same model, so that it is traced once."""
    torch.manual_seed(7)
    return enliven(build_detector(model, 3))


def lively_detector(config: Config, class_count: int) -> Detector:
    """Random weights that answer differently to different pictures, with scores on both sides of the limit."""
    torch.manual_seed(7)
    detector = build_detector(config.model, class_count)
    frames = np.stack([draw_image(5, index, HW).image for index in range(8)])
    detector.train()
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # so that 20 rounds are enough for logits that depend on the picture
    for _ in range(20):  # batch norm's statistics
        detector(torch.from_numpy(frames))
    for output in detector.head.outputs:
        torch.nn.init.normal_(output.weight, std=0.4)
        torch.nn.init.constant_(output.bias[:class_count], -2.0)
    return detector.eval()


@pytest.fixture(scope="session", autouse=True)
def _traced_once():
    """Tracing takes nine tenths of an export's time: the same weights and the same code are traced once per run."""
    made: dict[tuple, onnx.ModelProto] = {}

    def remembered(make, key_of):
        def trace(*arguments):
            key = (make.__name__, *key_of(*arguments))
            if key not in made:
                made[key] = make(*arguments)
            copy = onnx.ModelProto()
            copy.CopyFrom(made[key])
            return copy

        return trace

    def of_network(detector, batch):
        digest = hashlib.sha256()
        for name, value in (*detector.named_parameters(), *detector.named_buffers()):
            digest.update(name.encode() + value.detach().numpy().tobytes())
        return repr(detector), detector.hw, detector.grid.head, digest.hexdigest(), type(detector).normalise, batch

    def of_decode(head):  # a test may put another function in a module's place
        return head, modules.decode_boxes, modules.decode_spread, modules.bin_probabilities

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "trace_network", remembered(export.trace_network, of_network))
        patch.setattr(export, "trace_row_decode", remembered(export.trace_row_decode, of_decode))
        yield


@pytest.fixture(scope="session")
def frames():
    """Name and picture, of several sizes. (On a plain colour all of a random detector's scores would tie.)"""
    sizes = [(120, 200), (96, 160), (200, 90)]
    return [(f"drawn {n}", draw_image(5, n, sizes[n % 3]).image) for n in range(6)]


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "small.pt"
    config = small_config()
    weights = lively_detector(config, 3).state_dict()
    save_checkpoint(path, Checkpoint(config, ("a", "b", "c"), (2, 5, 9), weights, {"ap": None}))
    return path


@pytest.fixture(scope="session")
def exported(checkpoint_path, frames, tmp_path_factory):
    """The default export of the small checkpoint. Tests only read it."""
    return run_export(checkpoint_path, tmp_path_factory.mktemp("export") / "small.onnx", frames)


def run_export(checkpoint, output, frames, **options):
    """An export compared on `frames`, opened by the device's own detector."""
    return export_checkpoint(
        checkpoint, output, frames=frames, frames_origin="drawn pictures", open_device=DeviceDetector, **options
    )
