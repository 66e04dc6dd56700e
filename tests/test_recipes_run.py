"""Every recipe that ships loads and builds. Made small, it trains for two steps and passes the export's gate.

By default one recipe of each family trains, with the smallest backbone of its kind; tests/export shows that these kinds
of networks pass the gate. With --exhaustive every recipe does both, with its own backbone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nanogfl.config import Config
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.loader import Loader
from nanogfl.data.synthetic.dataset import draw_dataset, draw_image
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.recipe import load_config
from nanogfl.training.datasets import load_data
from nanogfl.training.start.freeze import FrozenParts
from nanogfl.training.step import build_step
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint
from tests.lively import enliven

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = {
    str(path.relative_to(CONFIGS)): path
    for path in sorted(CONFIGS.rglob("*.yaml"))
    if path.parent.name != "ablations"  # tests/ablate loads and builds their rows
}
FAMILIES = (
    "quickstart.yaml",
    "nanogfl-s.yaml",
    "nanodet/nanodet-m_320.yaml",
    "nanodet/nanodet-plus-m_320.yaml",
    "papers/retinanet_r101.yaml",
    "papers/atss_r50.yaml",
    "papers/gfl_r50.yaml",
    "papers/gfl_v2_r50.yaml",
)
SMALL = (96, 160)  # H != W; a pyramid's last level has a row of two points


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    draw_dataset(folder, train=8, val=4, seed=0)
    return folder


def small(path: Path, drawn: Path, whole: bool) -> Config:
    config = load_config(path, (f"data.root={drawn}", "data.cache=memory", "data.workers=0"))
    data = replace(config.data, train=replace(config.data.train, annotations="train.json", images="train"))
    data = replace(data, val=replace(data.val, annotations="val.json", images="val"))
    model = replace(config.model, input=replace(config.model.input, hw=SMALL))
    if not whole and model.neck.kind == "fpn":
        model = replace(model, backbone=replace(model.backbone, kind="resnet18", weights=None, weights_sha256=None))
    # the statistics of a backbone that nobody has trained do not fit it, and 100 layers of them overflow
    freeze = tuple(part for part in config.train.freeze if part != "backbone.statistics")
    train = replace(
        config.train, freeze=freeze, batch_size=4, precision="fp32", device="cpu", threads=1, init_from=None
    )
    return replace(config, data=data, model=model, train=train)


@pytest.mark.parametrize("name", RECIPES)
def test_it_loads_and_builds(name):
    config = load_config(RECIPES[name])
    with torch.device("meta"):
        detector = build_detector(config.model, 80)
        assert isinstance(config.model.input, InputSpec)
        found = detector.eval()(torch.zeros(1, *config.model.input.hw, 3, dtype=torch.uint8))
    assert found.cls_logits.shape == (1, sum(detector.grid.level_sizes), 80)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.exhaustive) for name in RECIPES]
)
def test_two_steps_and_the_gate(name, drawn, tmp_path, request):
    whole = request.config.getoption("exhaustive")
    config = small(RECIPES[name], drawn, whole)
    torch.manual_seed(0)
    data = load_data(config)
    detector = build_detector(config.model, len(data.train.classes))
    frozen = FrozenParts(detector, config.train.freeze)
    step = build_step(config, detector, torch.device("cpu"))
    frozen.train_mode(*step.modules())
    before = {name: value.detach().clone() for name, value in detector.named_parameters()}
    loader = Loader(data.train, config, data.train_frames)
    for number in range(2):
        step.accumulate(loader.batch(0, number), number, detach_guide=False, share=1.0)
        step.update(number)
    sums, bad = step.read()
    assert bad is None
    assert sums[0] > 0
    for parameter_name, value in detector.named_parameters():
        assert torch.equal(value, before[parameter_name]) != value.requires_grad, parameter_name

    if not whole:
        return
    path = tmp_path / "two_steps.pt"
    facts = Checkpoint(config, data.train.classes, data.train.category_ids, enliven(detector).state_dict(), {})
    save_checkpoint(path, facts)
    frames = [(f"drawn {n}", np.asarray(draw_image(5, n, (120, 200)).image)) for n in range(3)]
    exported = export_checkpoint(
        path, tmp_path / "two_steps.onnx", frames=frames, frames_origin="drawn", open_device=Detector
    )
    assert exported.parity.matched > 20
    assert exported.card.has_spread == config.model.head.has_spread


def test_a_family_is_not_forgotten():
    assert set(FAMILIES) <= set(RECIPES)
    kinds = {(c.head.kind, c.head.box, c.head.quality, c.head.dgqp, c.neck.kind) for c in map(_model, RECIPES)}
    assert kinds == {(c.head.kind, c.head.box, c.head.quality, c.head.dgqp, c.neck.kind) for c in map(_model, FAMILIES)}


def _model(name: str):
    return load_config(RECIPES[name]).model
