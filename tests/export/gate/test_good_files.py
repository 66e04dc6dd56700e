"""No faithful file is refused: every family of detectors, letterboxed and stretched, on pictures of many sizes."""

from itertools import cycle

import pytest

from nanogfl.config import BackboneConfig, Config, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec, place
from nanogfl.contract.preprocess import preprocess
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.predictor import Predictor
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint
from tests.export.conftest import enlivened
from tests.representations import DGQP, PER_LEVEL, RETINA, matching_loss

SMALL = BackboneConfig("0.5x"), NeckConfig(channels=16)
HEADS = {
    "plain": (PER_LEVEL["general+dfl, joint"], *SMALL),
    "retina": (RETINA, BackboneConfig(kind="resnet18"), NeckConfig("fpn", 16, extra_level=False, p6_from="c5")),
    "dgqp": (DGQP["general+dfl, DGQP"], *SMALL),
    "ghost pan": (PER_LEVEL["general+dfl, joint"], SMALL[0], NeckConfig("ghost_pan", 16, True)),
    "gaussian": (PER_LEVEL["gaussian, iou"], *SMALL),
    "dirac": (PER_LEVEL["dirac, none"], *SMALL),
    "centerness": (PER_LEVEL["general+dfl, centerness"], *SMALL),
    "general": (PER_LEVEL["general, joint"], *SMALL),
    "dgqp, general": (DGQP["general, DGQP"], *SMALL),
    "1.0x": (PER_LEVEL["general+dfl, joint"], BackboneConfig("1.0x"), NeckConfig(channels=32)),
}
ALWAYS = {("retina", "stretch"), ("dgqp", "letterbox")}  # which test_representations.py has traced
SIZES = [(120, 200), (200, 90), (96, 160), (60, 240), (300, 100)]
CASES = [
    pytest.param(name, resize, id=f"{name}, {resize}", marks=() if (name, resize) in ALWAYS else pytest.mark.exhaustive)
    for name in HEADS
    for resize in ("letterbox", "stretch")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "resize"), CASES)
def test_a_faithful_file_passes(name, resize, tmp_path, request):
    head, backbone, neck = HEADS[name]
    model = ModelConfig(InputSpec((96, 160), resize), backbone=backbone, neck=neck, head=head)
    config = Config(model=model, loss=matching_loss(head))
    detector = enlivened(model)
    path = tmp_path / "some.pt"
    save_checkpoint(path, Checkpoint(config, ("a", "b", "c"), (1, 2, 3), detector.state_dict()))
    count = 200 if request.config.getoption("--exhaustive") else 12
    sizes = cycle(SIZES)
    frames = [(f"drawn {n}", draw_image(3, n, next(sizes)).image) for n in range(count)]
    exported = export_checkpoint(
        path, tmp_path / "some.onnx", frames=frames, frames_origin="drawn", open_device=Detector
    )
    assert exported.parity.detections > count
    if resize == "letterbox":
        assert _empty_in_the_frame(Predictor(detector, model, ("a", "b", "c")), frames)


def _empty_in_the_frame(predictor, frames):
    """The detections that lie wholly in the padding, of which the test is: there are some."""
    total = 0
    for _, frame in frames:
        placement = place(frame.shape[:2], predictor.config.input)
        found = predictor.select(predictor.raw(preprocess(frame, predictor.config.input)[0]))
        boxes = placement.boxes_to_source(found.boxes)
        empty = int((boxes[:, 2:] <= boxes[:, :2]).any(axis=1).sum())
        assert len(predictor(frame)) == len(found) - empty
        total += empty
    return total
