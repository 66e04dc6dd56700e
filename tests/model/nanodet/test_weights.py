"""NanoDet's files: every published variant, every layout, NanoDet's own numbers; and what is none of them."""

import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nanogfl.contract.detections import select, to_source
from nanogfl.contract.input_spec import Placement
from nanogfl.errors import UserError
from nanogfl.model.boxes.decode import decode_boxes
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import Detector, build_detector
from nanogfl.model.nanodet.weights import VARIANTS, NanoDetWeights, model_config, nanogfl_name, read_nanodet
from nanogfl.model.summary import count_complexity
from nanogfl.recipe import load_config
from tests import thinned as thin
from tests.nanodet_reference import FACTS, forward, random_tensors, shapes
from tests.shared_data import shared

ROOT = Path(__file__).parents[3]


def write(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def built(found: NanoDetWeights) -> Detector:
    detector = build_detector(found.model, found.class_count)
    detector.load_state_dict(found.weights)
    return detector.eval()


def raw_output(detector: Detector, normalised: Tensor) -> Tensor:
    """Behind the normalisation, as NanoDet lays it out: (B, N, C + 32), class logits first."""
    with torch.inference_mode():
        levels = detector.head(detector.neck(detector.backbone(normalised)))
    return torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2)


@pytest.fixture
def small() -> dict[str, Tensor]:
    """nanodet-m-0.5x of 5 classes: the quickest."""
    return random_tensors(shapes("nanodet-m-0.5x", 5))


def refused(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        read_nanodet(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    return str(raised.value)


# The networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", FACTS)
def test_the_facts_give_every_name_and_shape_of_the_key_file(variant):
    keys = json.loads(shared(f"weights/keys_{variant}.json").read_text())
    assert shapes(variant) == {name: tuple(shape) for name, shape in keys}


@pytest.mark.parametrize("variant", FACTS)
def test_every_tensor_of_a_key_file_is_taken_or_listed(variant, tmp_path):
    keys = json.loads(shared(f"weights/keys_{variant}.json").read_text())
    tensors = random_tensors({name: tuple(shape) for name, shape in keys})
    found = read_nanodet(write(tmp_path / "a.ckpt", {"state_dict": {f"model.{k}": v for k, v in tensors.items()}}))
    assert (found.variant, found.class_count, found.averaged) == (variant, 80, False)
    assert found.taken + sum(part.tensors for part in found.left_out) == len(keys)
    listed = {part.group: part.tensors for part in found.left_out}
    if "plus" in variant:
        assert listed == {"aux_fpn": 210, "aux_head": 32, "head.distribution_project": 1}
    else:
        assert listed == {"head.gfl_reg": 6, "head.distribution_project": 1}
    deployed = [(name, shape) for name, shape in keys if not name.startswith(("aux_", "head.gfl_reg", "head.distr"))]
    norms = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(int(np.prod(shape)) for name, shape in deployed if not name.endswith(norms))
    assert count_complexity(built(found)).parameters == parameters


@pytest.mark.parametrize(
    ("recipe", "parameters", "gmacs"),
    [
        ("nanodet-m_320", 950_036, 0.342),
        ("nanodet-m_416", 950_036, 0.578),
        ("nanodet-m-0.5x_320", 271_056, None),
        ("nanodet-m-1.5x_320", 2_065_392, None),
        ("nanodet-plus-m_320", 1_197_924, 0.4507),
        ("nanodet-plus-m_416", 1_197_924, 0.7621),
        ("nanodet-plus-m-1.5x_320", 2_477_792, 0.879),
        ("nanodet-plus-m-1.5x_416", 2_477_792, 1.4865),
    ],
)
def test_the_recipes_are_the_imported_networks_with_their_size_and_cost(recipe, parameters, gmacs):
    model = load_config(ROOT / "configs" / "nanodet" / f"{recipe}.yaml").model
    name, side = recipe.split("_")
    variant = next(variant for variant in VARIANTS if variant.name == name)
    assert model == model_config(variant, 7, (int(side), int(side)))
    size = count_complexity(build_detector(model, 80))
    assert size.parameters == parameters
    if gmacs is not None:
        assert size.macs / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("identity_norms", thin.each([False, True], 2))
@pytest.mark.parametrize("variant", FACTS)
def test_ours_answers_as_nanodets_arithmetic_does(variant, identity_norms, tmp_path):
    classes = 3
    tensors = random_tensors(shapes(variant, classes), identity_norms=identity_norms)
    found = read_nanodet(write(tmp_path / "a.pth", tensors), (64, 96))
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    expected = forward(tensors, variant, image)
    got = raw_output(built(found), image)
    assert got.shape == expected.shape
    scale = expected.abs().max().item()
    assert 0.1 < scale < 1e6
    assert (got - expected).abs().max().item() < 1e-4 * scale
    assert (found.variant, found.class_count, found.model.input.hw) == (variant, classes, (64, 96))


def test_points_and_resize_are_nanodets_and_nanodet_pluss(tmp_path, small):
    m = read_nanodet(write(tmp_path / "m.pth", small))
    plus = read_nanodet(write(tmp_path / "p.pth", random_tensors(shapes("nanodet-plus-m", 1, auxiliary=False))))
    assert (m.model.input.hw, m.model.input.resize) == ((320, 320), "letterbox")
    assert (plus.model.input.hw, plus.model.input.resize) == ((416, 416), "stretch")
    assert built(m).grid.points[[0, 1, -1]].tolist() == [[4, 4], [12, 4], [304, 304]]
    assert built(plus).grid.points[[0, 1, -1]].tolist() == [[0, 0], [8, 0], [384, 384]]
    assert sorted(set(built(m).grid.strides.tolist())) == [8, 16, 32]
    assert sorted(set(built(plus).grid.strides.tolist())) == [8, 16, 32, 64]
    assert m.model.input.pad_value == (104, 116, 124)


def test_no_two_tensors_share_a_name():
    for variant in FACTS:
        names = [name for name in shapes(variant) if not name.startswith(("aux_", "head.gfl_reg"))]
        assert len({nanogfl_name(name) for name in names}) == len(names)


# NanoDet's own run ------------------------------------------------------------------------------------------------

IDS = ("5001", "6818", "165518", "404484", "555705")


@pytest.fixture(scope="module")
def published() -> NanoDetWeights:
    return read_nanodet(shared("weights/nanodet-plus-m_416.ckpt"))


@pytest.fixture(scope="module")
def golden():
    return np.load(shared("weights/golden_nanodet-plus-m_416.npz"))


def test_the_published_detector_is_recognised(published):
    assert (published.variant, published.class_count, published.averaged) == ("nanodet-plus-m", 80, True)
    assert published.taken == 644
    assert [(part.group, part.tensors) for part in published.left_out] == [("head.distribution_project", 1)]


@pytest.mark.parametrize("image", thin.each(IDS, 3))
def test_raw_outputs_equal_nanodets(published, golden, image):
    expected = golden[f"{image}/raw_output"]
    got = raw_output(built(published), torch.from_numpy(golden[f"{image}/input"])).numpy()
    assert got.shape == expected.shape
    assert np.abs(expected).max() > 5
    assert np.abs(got - expected).max() < 1e-3


def test_the_references_arithmetic_is_nanodets(golden):
    state = torch.load(shared("weights/nanodet-plus-m_416.ckpt"), weights_only=True)["state_dict"]
    tensors = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    got = forward(tensors, "nanodet-plus-m", torch.from_numpy(golden["404484/input"])).numpy()
    assert np.abs(got - golden["404484/raw_output"]).max() < 1e-3


def pairwise_iou(a, b):
    """(A, 4), (B, 4) -> (A, B)"""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return overlap / np.maximum(areas[0][:, None] + areas[1][None] - overlap, 1e-9)


@pytest.mark.parametrize("origin", ["nanodets raw outputs", "our raw outputs"])
@pytest.mark.parametrize("image", thin.each(IDS, 3))
def test_detections_equal_nanodets_one_to_one(published, golden, image, origin):
    detector = built(published)
    raw = torch.from_numpy(golden[f"{image}/raw_output"])
    if origin == "our raw outputs":
        raw = raw_output(detector, torch.from_numpy(golden[f"{image}/input"]))
    boxes = decode_boxes(raw[..., 80:].reshape(1, -1, 4, 8), detector.grid)[0].numpy()
    scores = raw[0, :, :80].sigmoid().numpy()
    in_input = select(boxes, scores, None, published.model.selection, published.model.input.hw)
    warp = golden[f"{image}/warp_matrix"]
    np.testing.assert_allclose(warp, np.diag(np.diag(warp)), atol=1e-9)  # stretched: no shift
    width, height = golden[f"{image}/source_wh"].tolist()
    ours = to_source(in_input, Placement((height, width), warp[0, 0], warp[1, 1]))

    theirs, labels = golden[f"{image}/boxes_xyxy"], golden[f"{image}/labels"]
    assert len(ours) == len(theirs) > 50
    iou = pairwise_iou(ours.boxes, theirs) * (ours.labels[:, None] == labels[None])
    iou -= 10 * (np.abs(ours.scores[:, None] - golden[f"{image}/scores"][None]) > 1e-4)
    match = iou.argmax(axis=1)
    assert sorted(match.tolist()) == list(range(len(theirs)))  # one to one
    assert iou.max(axis=1).min() > 0.999
    ids = golden["cat_ids"][ours.labels]
    assert (ids == golden[f"{image}/category_ids"][match]).all()


# Layouts ----------------------------------------------------------------------------------------------------------


def same(found: NanoDetWeights, tensors: dict[str, Tensor]) -> bool:
    taken = {name: value for name, value in tensors.items() if nanogfl_name(name) in found.weights}
    assert len(taken) > 300
    return all(torch.equal(found.weights[nanogfl_name(name)], value) for name, value in taken.items())


@pytest.mark.parametrize(
    ("prefix", "wrapped"), [("", False), ("model.", True), ("module.", False), ("module.model.", True)]
)
def test_prefixes_and_wrapping_change_nothing(tmp_path, small, prefix, wrapped):
    state = {prefix + name: value for name, value in small.items()}
    found = read_nanodet(write(tmp_path / "a.ckpt", {"epoch": 3, "state_dict": state} if wrapped else state))
    assert same(found, small)
    assert not found.averaged


def test_averaged_weights_win(tmp_path, small):
    better = random_tensors(shapes("nanodet-m-0.5x", 5), seed=1)
    parts = [{f"avg_model.{k}": v for k, v in better.items()}, {f"model.{k}": v for k, v in small.items()}]
    for first, second in (parts, parts[::-1]):
        found = read_nanodet(write(tmp_path / "a.ckpt", {"state_dict": {**first, **second}}))
        assert found.averaged
        assert same(found, better)
        assert not same(found, small)
        assert found.taken == len(small) - 7
    assert read_nanodet(write(tmp_path / "b.ckpt", {"state_dict": parts[0]})).averaged


def test_halves_counters_and_the_old_file_format_are_read(tmp_path, small):
    light = {k: v.half() if v.is_floating_point() else v for k, v in small.items() if "num_batches" not in k}
    del light["head.distribution_project.project"]
    path = tmp_path / "old.pth"
    torch.save(light, path, _use_new_zipfile_serialization=False)
    found = read_nanodet(path)
    assert all(v.dtype == torch.float32 for v in found.weights.values() if v.is_floating_point())
    assert torch.equal(found.weights["head.outputs.2.bias"], small["head.gfl_cls.2.bias"].half().float())
    assert built(found).backbone.conv1[1].num_batches_tracked == 0


def test_another_number_of_bins_is_read_off_the_constants(tmp_path, small):
    for level in range(3):
        for part in ("weight", "bias"):
            name = f"head.gfl_cls.{level}.{part}"
            small[name] = torch.cat((small[name], small[name][:12]))
    small["head.distribution_project.project"] = torch.linspace(0, 10, 11)
    found = read_nanodet(write(tmp_path / "a.pth", small))
    assert (found.class_count, found.model.head.reg_max) == (5, 10)


def test_a_checkpoint_that_names_classes_of_lightning_is_read_without_lightning(tmp_path, small, monkeypatch):
    """Lightning before 1.5 wrote {"callbacks": {ModelCheckpoint: state}}: the class itself is the key."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name) if name != module.__name__ else module)
    content = {"state_dict": small, "callbacks": {module.ModelCheckpoint: {"best_model_score": torch.tensor(0.2)}}}
    path = write(tmp_path / "a.ckpt", content)
    monkeypatch.undo()
    assert "pytorch_lightning" not in sys.modules
    assert same(read_nanodet(path), small)
    assert "pytorch_lightning" not in sys.modules


# What is refused --------------------------------------------------------------------------------------------------


class ClaimsToBeLightning:
    """Its class pretends to live in pytorch_lightning, and its state asks for a call."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return sys.modules["pytorch_lightning.evil"].run, (str(self.target),)


def test_a_name_below_lightning_is_not_called(tmp_path, small, monkeypatch):
    trace = tmp_path / "executed"
    module = types.ModuleType("pytorch_lightning.evil")

    def run(target):
        os.mkdir(target)

    run.__module__, run.__qualname__ = module.__name__, "run"
    module.run = run
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = write(tmp_path / "evil.ckpt", {"state_dict": small, "x": ClaimsToBeLightning(trace)})
    refused(path)  # the name stands for an empty dictionary's class, which takes no text
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_one_sentence(tmp_path, small, share):
    path = write(tmp_path / "cut.ckpt", {"state_dict": small})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "is not a file of weights, or it is truncated: expected a .ckpt or .pth" in refused(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"state_dict": {}}, "holds no state_dict"),
        ({"state_dict": [1]}, "holds no state_dict"),
        ({}, "holds no state_dict"),
        ([torch.zeros(2)], "holds no state_dict"),
        (torch.zeros(3), "holds no state_dict"),
        ({"epoch": 3, "weights": torch.zeros(2)}, "holds more than tensors in its state_dict (epoch)"),
        ({1: torch.zeros(2)}, "holds no state_dict"),
        ({"layer1.0.conv1.weight": torch.zeros(4, 3, 3, 3)}, "does not have the tensors of ShuffleNetV2"),
        ({"model.backbone.stage2.0.branch1.2.weight": torch.tensor(1.0)}, "does not have the tensors of ShuffleNetV2"),
    ],
)
def test_a_file_of_something_else_is_one_sentence(tmp_path, content, sentence):
    assert sentence in refused(write(tmp_path / "other.pth", content))


def test_text_a_folder_and_nothing_are_one_sentence(tmp_path):
    (tmp_path / "a.ckpt").write_text("hello\n")
    assert "is not a file of weights" in refused(tmp_path / "a.ckpt")
    assert "does not exist" in refused(tmp_path / "none.ckpt")
    assert "does not exist" in refused(tmp_path)


def test_our_own_checkpoint_needs_no_import(tmp_path, small):
    from nanogfl.config import Config

    found = read_nanodet(write(tmp_path / "a.pth", small))
    names = tuple("abcde")
    save_checkpoint(tmp_path / "ours.pt", Checkpoint(Config(found.model), names, (1, 2, 3, 4, 5), found.weights))
    assert "is already a checkpoint of nanogfl" in refused(tmp_path / "ours.pt")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.update({"fpn.encoders.0.weight": torch.zeros(2)}), "fpn.encoders.0.weight is not part of"),
        (lambda t: t.update({"ema.x": torch.zeros(2), "ema.y": torch.zeros(2)}), "ema.x, ema.y are not part of"),
        (lambda t: t.update({"mean": torch.zeros(3)}), "mean is not part of"),
        (lambda t: t.update({"neck.laterals.0.weight": t["fpn.lateral_convs.0.conv.weight"]}), "is not part of"),
        (lambda t: t.pop("fpn.lateral_convs.1.conv.bias"), "there is nothing for neck.laterals.1.bias"),
        (lambda t: t.pop("head.gfl_cls.0.weight"), "head.gfl_cls.0.weight has 0 outputs"),
        (lambda t: t.update({"head.gfl_cls.0.weight": torch.zeros(20, 96, 1, 1)}), "has 20 outputs, expected 4 x 8"),
        (
            lambda t: t.update({"head.gfl_cls.2.bias": torch.zeros(112)}),
            "head.gfl_cls.2.bias has shape (112,), expected (37,)",
        ),
        (lambda t: t.update({"head.distribution_project.project": torch.ones(8)}), "must be 0, 1, .. n, got [1.0, 1.0"),
        (
            lambda t: t.update({"fpn.lateral_convs.0.conv.weight": torch.zeros(64, 48, 1, 1)}),
            "its backbone has 48 channels at stride 8, its neck (PAN) 64",
        ),
        (lambda t: t.update({"model.backbone.conv1.0.weight": torch.zeros(1)}), "holds the tensor backbone.conv1.0"),
    ],
)
def test_anything_missing_left_over_or_of_another_shape_is_named(tmp_path, small, change, sentence):
    change(small)
    assert sentence in refused(write(tmp_path / "a.pth", small))


def test_an_input_that_does_not_fit_is_one_sentence(tmp_path, small):
    with pytest.raises(UserError, match="is not supported: height and width must be multiples of 32"):
        read_nanodet(write(tmp_path / "a.pth", small), (320, 330))
