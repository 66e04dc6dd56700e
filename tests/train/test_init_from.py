"""Fine-tuning's start: what fits is equal to the bit, exactly the rest is fresh, and the print says which."""

import math
from dataclasses import replace

import pytest
import torch

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig, TrainConfig
from nanogfl.contract.errors import UserError
from nanogfl.contract.preprocess import InputSpec
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.train.start import fill, read_start

MODEL = ModelConfig(
    InputSpec((64, 96)), backbone=BackboneConfig("0.5x"), neck=NeckConfig(channels=64), head=HeadConfig(convs=1)
)
OLD = ("cat", "dog", "cow")
BINS = 4 * 8  # 4 (reg_max + 1) rows of distributions


@pytest.fixture
def source(tmp_path):
    """A checkpoint of three classes whose every tensor is unlike a fresh one's. -> (path, weights)."""
    torch.manual_seed(5)
    weights = build_detector(MODEL, 3).state_dict()
    for name, value in weights.items():
        if value.is_floating_point() and name not in ("mean", "std"):
            value.add_(torch.rand_like(value) + 0.1)
        elif not value.is_floating_point():
            value.fill_(77)
    save_checkpoint(tmp_path / "old.pt", Checkpoint(Config(MODEL), OLD, (1, 2, 3), weights))
    return str(tmp_path / "old.pt"), weights


def start(path, model, classes):
    """-> (the detector's state before, after, Filled); the detector's seed is its own."""
    config = Config(model, train=TrainConfig(init_from=path))
    read = read_start(config)
    torch.manual_seed(11)
    detector = build_detector(model, len(classes))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    rng = torch.get_rng_state()
    filled = fill(detector, config, classes, read)
    assert torch.equal(torch.get_rng_state(), rng)
    return before, detector.state_dict(), filled


def outputs(state):
    return {name for name in state if name.startswith("head.outputs.")}


def test_the_same_classes_keep_every_tensor_to_the_bit(source):
    path, weights = source
    before, after, filled = start(path, MODEL, OLD)
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert not torch.equal(after["head.outputs.0.weight"], before["head.outputs.0.weight"])
    assert filled.loaded == weights.keys() - {"mean", "std"}
    shown = "\n".join(filled.lines)
    assert "classes kept by name: cat, dog, cow; fresh: none; distribution rows kept" in shown
    assert "head.outputs: 8 of 8 tensors kept" in shown


def test_another_number_of_classes_has_fresh_class_rows_and_nothing_else(source):
    path, weights = source
    classes = ("horse", "dog", "sheep", "pig", "cat")
    before, after, filled = start(path, MODEL, classes)
    for name, value in after.items():
        if name not in outputs(after) | {"mean", "std"}:
            assert torch.equal(value, weights[name]), name
    assert len(outputs(after)) == 8  # four levels
    for name in outputs(after):
        new, fresh, old = after[name], before[name], weights[name]
        assert len(new) == 5 + BINS
        assert torch.equal(new[5:], old[3:])  # distributions
        assert torch.equal(new[1], old[1])  # dog
        assert torch.equal(new[4], old[0])  # cat
        assert torch.equal(new[[0, 2, 3]], fresh[[0, 2, 3]])
        if name.endswith("bias"):
            assert new[[0, 2, 3]].tolist() == pytest.approx([-math.log(99)] * 3)
            assert new[0] == pytest.approx(-4.595, abs=1e-3)
    assert filled.loaded == after.keys() - outputs(after) - {"mean", "std"}
    shown = "\n".join(filled.lines)
    assert "classes kept by name: dog, cat; fresh: horse, sheep, pig; distribution rows kept" in shown
    assert "head.outputs: 0 of 8 tensors kept; 8 kept in part (head.outputs.0.{weight, bias}, head.outputs.1.{" in shown
    assert "old.pt" in shown
    assert "3 classes" in shown


def test_as_many_classes_of_other_names_are_fresh_although_the_shape_fits(source):
    path, weights = source
    before, after, filled = start(path, MODEL, ("cow", "ant", "bee"))
    bias, fresh, old = (state["head.outputs.2.bias"] for state in (after, before, weights))
    assert bias[0] == old[2]
    assert torch.equal(bias[1:3], fresh[1:3])
    assert torch.equal(bias[3:], old[3:])
    assert "head.outputs.2.bias" not in filled.loaded


def test_a_shape_that_fits_by_accident_is_not_mistaken_for_the_same_outputs(source):
    path, weights = source
    assert 3 + 4 * 8 == 7 + 4 * 7
    model = replace(MODEL, head=replace(MODEL.head, reg_max=6))
    before, after, filled = start(path, model, ("dog", "b", "c", "d", "e", "f", "g"))
    for name in outputs(after):
        assert after[name].shape == weights[name].shape
        assert torch.equal(after[name][0], weights[name][1])
        assert torch.equal(after[name][1:], before[name][1:])
    assert "model.head.reg_max 7 -> 6" in "\n".join(filled.lines)
    _, after, filled = start(path, model, tuple("abcdefg"))
    assert "8 fresh, of other classes and another reg_max" in "\n".join(filled.lines)


def test_another_width_keeps_what_fits_and_names_what_does_not(source):
    path, weights = source
    model = replace(MODEL, backbone=BackboneConfig("1.0x"))
    before, after, filled = start(path, model, OLD)
    misfits = {name for name, value in after.items() if weights[name].shape != value.shape}
    assert filled.loaded == after.keys() - misfits - {"mean", "std"}
    shown = "\n".join(filled.lines)
    for name, value in after.items():
        if name in misfits:
            assert torch.equal(value, before[name]), name
            assert name.rpartition(".")[0] + "." in shown
        else:
            assert torch.equal(value, weights[name]), name
    assert {name for name in misfits if name.startswith("neck")} == {f"neck.reduce.{i}.0.weight" for i in range(3)}
    assert "3 fresh, of another shape (neck.reduce.0.0.weight, neck.reduce.1.0.weight, neck.reduce.2.0.weight)" in shown
    assert "model.backbone.width 0.5x -> 1.0x" in shown


def test_no_class_is_called_kept_where_the_outputs_do_not_fit(source):
    path, _ = source
    before, after, filled = start(path, replace(MODEL, neck=replace(MODEL.neck, channels=48)), OLD)
    assert not outputs(after) & filled.loaded
    assert all(torch.equal(after[name], before[name]) for name in outputs(after))  # biases fit, but not without kernels
    assert "classes kept by name: none; fresh: cat, dog, cow; distribution rows fresh" in "\n".join(filled.lines)


def test_every_printed_count_adds_up(source):
    path, _ = source
    _, after, filled = start(path, replace(MODEL, backbone=BackboneConfig("1.0x")), OLD)
    rows = [line.split(": ", 1)[1].split(" of ", 1) for line in filled.lines if "tensors kept" in line]
    assert sum(int(kept) for kept, _ in rows) == len(filled.loaded)
    assert sum(int(rest.split()[0]) for _, rest in rows) == len(after) - 2


def test_tensors_without_a_place_are_named(source):
    path, _ = source
    _, _, filled = start(path, replace(MODEL, neck=replace(MODEL.neck, extra_level=False)), OLD)
    shown = "\n".join(filled.lines)
    assert "of the file have no place here" in shown
    assert "head.outputs.3.{weight, bias}" in shown


def test_the_normalisation_is_the_configs_and_a_difference_is_said(source):
    path, _ = source
    model = replace(MODEL, input=replace(MODEL.input, mean=(1.0, 2.0, 3.0)))
    _, after, filled = start(path, model, OLD)
    assert after["mean"].flatten().tolist() == [1, 2, 3]
    assert "model.input.mean" in "\n".join(filled.lines)


def test_a_quite_different_model_is_one_sentence(source):
    path, _ = source
    with pytest.raises(UserError) as raised:
        start(path, replace(MODEL, backbone=BackboneConfig("1.0x"), neck=NeckConfig(channels=96)), OLD)
    assert "\n" not in str(raised.value)
    assert "% of this detector's parameters" in str(raised.value)
    assert "model.backbone.width 0.5x -> 1.0x, model.neck.channels 64 -> 96" in str(raised.value)


def test_files_that_are_no_checkpoint_and_two_starts_at_once_are_one_sentence(source, tmp_path):
    (tmp_path / "note.pt").write_text("hello")
    for path, message in (("none.pt", "does not exist"), (str(tmp_path / "note.pt"), "not a nanogfl checkpoint")):
        with pytest.raises(UserError, match=message):
            read_start(Config(MODEL, train=TrainConfig(init_from=path)))
    both = replace(MODEL, backbone=BackboneConfig("0.5x", weights="trunk.pth"))
    with pytest.raises(UserError, match="set one of them to none"):
        read_start(Config(both, train=TrainConfig(init_from=source[0])))


def test_without_a_start_nothing_is_loaded_or_said():
    filled = fill(build_detector(MODEL, 1), Config(MODEL), ("a",), read_start(Config(MODEL)))
    assert (filled.loaded, filled.lines) == (frozenset(), [])


SHARED = replace(MODEL, head=HeadConfig(1, kind="shared"))


def start_shared(tmp_path, model, classes):
    torch.manual_seed(5)
    weights = {name: value + 0.25 for name, value in build_detector(SHARED, 3).state_dict().items()}
    save_checkpoint(tmp_path / "shared.pt", Checkpoint(Config(SHARED), OLD, (1, 2, 3), weights))
    return weights, *start(str(tmp_path / "shared.pt"), model, classes)


def test_a_shared_heads_class_rows_follow_their_names_and_its_box_stays_whole(tmp_path):
    weights, before, after, filled = start_shared(tmp_path, SHARED, ("horse", "dog", "cat", "pig"))
    for part in ("weight", "bias"):
        new, fresh, old = (state[f"head.class_output.{part}"] for state in (after, before, weights))
        assert torch.equal(new[[1, 2]], old[[1, 0]])
        assert torch.equal(new[[0, 3]], fresh[[0, 3]])
        assert torch.equal(after[f"head.box_output.{part}"], weights[f"head.box_output.{part}"])
    assert torch.equal(after["head.scales"], weights["head.scales"])
    assert {"head.box_output.weight", "head.scales"} <= filled.loaded
    assert "head.class_output.weight" not in filled.loaded
    shown = "\n".join(filled.lines)
    assert "distribution rows kept" in shown
    assert "head.outputs: 3 of 5 tensors kept; 2 kept in part (head.class_output.{weight, bias})" in shown


def test_a_shared_head_of_another_reg_max_keeps_its_classes_whole(tmp_path):
    model = replace(SHARED, head=replace(SHARED.head, reg_max=9))
    weights, before, after, filled = start_shared(tmp_path, model, OLD)
    assert torch.equal(after["head.class_output.weight"], weights["head.class_output.weight"])
    assert "head.class_output.weight" in filled.loaded
    assert torch.equal(after["head.box_output.bias"], before["head.box_output.bias"])
    shown = "\n".join(filled.lines)
    assert "2 fresh, of another reg_max (head.box_output.{weight, bias})" in shown
    assert "distribution rows fresh" in shown


def test_a_shared_head_of_other_classes_says_so(tmp_path):
    _, before, after, filled = start_shared(tmp_path, SHARED, ("a", "b", "c"))
    assert torch.equal(after["head.class_output.weight"], before["head.class_output.weight"])
    assert "2 fresh, of other classes (head.class_output.{weight, bias})" in "\n".join(filled.lines)
