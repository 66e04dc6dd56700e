"""Fine-tuning's start: what fits is equal to the bit, exactly the rest is fresh, and the print says which."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.training.start.weights import fill, read_start
from tests.representations import matching_loss
from tests.thinned import thinned

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


# Other representations of box and quality --------------------------------------------------------------------


def start_with(tmp_path, theirs, ours, classes=OLD):
    """From a checkpoint of one head into another's. -> (its weights, before, after, Filled, what was printed)."""
    torch.manual_seed(5)
    weights = {name: value + 0.25 for name, value in build_detector(theirs, 3).state_dict().items()}
    source = Config(theirs, loss=matching_loss(theirs.head))
    save_checkpoint(tmp_path / "other.pt", Checkpoint(source, OLD, (1, 2, 3), weights))
    torch.manual_seed(11)
    detector = build_detector(ours, len(classes))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    config = Config(ours, loss=matching_loss(ours.head), train=TrainConfig(init_from=str(tmp_path / "other.pt")))
    filled = fill(detector, config, classes, read_start(config))
    return weights, before, detector.state_dict(), filled, "\n".join(filled.lines)


def with_box(box, quality="joint", **keys):
    return replace(MODEL, head=HeadConfig(1, box=box, quality=quality, **keys))


P = {"dirac": 1, "gaussian": 2, "general": 8, "general+dfl": 8}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    thinned(
        product(P, P), ("dirac", "dirac"), ("general", "general+dfl"), ("gaussian", "dirac"), ("general+dfl", "dirac")
    ),
)
def test_box_rows_are_kept_exactly_where_the_numbers_mean_the_same(tmp_path, theirs, ours):
    same = theirs == ours or {theirs, ours} == {"general", "general+dfl"}
    classes = ("horse", "dog", "cow")
    weights, before, after, filled, shown = start_with(tmp_path, with_box(theirs), with_box(ours), classes)
    for name in outputs(after):
        new, fresh, old = after[name], before[name], weights[name]
        assert len(new) == 3 + 4 * P[ours]
        assert torch.equal(new[[1, 2]], old[[1, 2]])
        assert torch.equal(new[0], fresh[0])
        assert torch.equal(new[3:], old[3:] if same else fresh[3:])
    kind = "distribution rows" if P[ours] == 8 else "box rows"
    assert f"cow; fresh: horse; {kind} {'kept' if same else 'fresh'}\n" in shown + "\n"
    assert not outputs(after) & filled.loaded


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        (with_box("general+dfl", bin_width=0.5), "another bin_width"),
        (with_box("general", reg_max=9), "another reg_max"),
        (with_box("gaussian"), "another box"),
    ],
)
def test_with_other_classes_the_reasons_are_the_representations_own(tmp_path, ours, reason):
    _, before, after, _, shown = start_with(tmp_path, with_box("general"), ours, ("a", "b", "c"))
    assert all(torch.equal(after[name], before[name]) for name in outputs(after))
    assert f"8 fresh, of other classes and {reason} (head.outputs" in shown
    assert "classes kept by name: none; fresh: a, b, c" in shown


def test_a_distribution_that_was_learned_otherwise_is_kept_whole(tmp_path):
    *_, after, filled, shown = start_with(tmp_path, with_box("general"), with_box("general+dfl"))
    assert outputs(after) <= filled.loaded
    assert "model.head.box general -> general+dfl" in shown


def test_another_loss_or_start_does_not_make_it_another_model(tmp_path):
    *_, shown = start_with(tmp_path, with_box("dirac", "none"), with_box("dirac"))
    assert shown.endswith("  another model than the file's: model.head.quality none -> joint")


def test_reg_max_says_nothing_of_a_box_without_distributions(tmp_path):
    *_, after, filled, _ = start_with(tmp_path, with_box("dirac"), with_box("dirac", reg_max=16))
    assert outputs(after) <= filled.loaded


@pytest.mark.parametrize(
    ("theirs", "ours"),
    thinned(
        product(("none", "centerness", "iou"), ("none", "joint", "centerness", "iou", "iou-guided")),
        *(("none", "iou"), ("iou", "none"), ("iou", "iou"), ("centerness", "iou")),
    ),
)
def test_the_quality_row_is_kept_where_it_is_the_same_quality(tmp_path, theirs, ours):
    weights, before, after, filled, shown = start_with(tmp_path, with_box("dirac", theirs), with_box("dirac", ours))
    own_row = ours in ("centerness", "iou")
    for name in outputs(after):
        new, fresh, old = after[name], before[name], weights[name]
        assert len(new) == 3 + 4 + own_row
        assert torch.equal(new[:7], old[:7])
        if own_row:
            assert torch.equal(new[7], old[7] if ours == theirs else fresh[7])
    assert (outputs(after) <= filled.loaded) == (not own_row or ours == theirs)
    assert ("quality row kept" in shown) == (own_row and ours == theirs)
    assert ("quality row fresh" in shown) == (own_row and ours != theirs)


def test_the_reasons_of_all_three_kinds_of_rows(tmp_path):
    pair = with_box("dirac", "iou"), with_box("gaussian", "centerness")
    *_, shown = start_with(tmp_path, *pair, ("a", "b"))
    assert "8 fresh, of other classes and another box and another quality (head.outputs" in shown


def with_towers(box="general+dfl", quality="none", **keys):
    return replace(MODEL, head=HeadConfig(1, kind="shared", box=box, quality=quality, **keys))


def test_a_shared_heads_quality_output_follows_its_quality(tmp_path):
    for theirs, reason in (("iou", ""), ("centerness", "of another quality"), ("none", "not in the file")):
        pair = with_towers(quality=theirs), with_towers(quality="iou")
        weights, before, after, filled, shown = start_with(tmp_path, *pair)
        for part in ("weight", "bias"):
            name = f"head.quality_output.{part}"
            assert torch.equal(after[name], before[name] if reason else weights[name])
            assert (name in filled.loaded) == (not reason)
        if reason:
            assert f"2 fresh, {reason} (head.quality_output.{{weight, bias}})" in shown
        assert f"distribution rows kept; quality row {'fresh' if reason else 'kept'}" in shown
        assert {"head.class_output.weight", "head.box_output.bias"} <= filled.loaded


def test_retinanets_class_rows_go_by_anchor_and_name(tmp_path):
    head, classes = with_towers("deltas", norm="none"), ("horse", "dog", "cat", "pig")
    weights, before, after, _, shown = start_with(tmp_path, head, head, classes)
    for part in ("weight", "bias"):
        new, fresh, old = (state[f"head.class_output.{part}"] for state in (after, before, weights))
        assert (len(new), len(old)) == (36, 27)
        for anchor in range(9):
            assert torch.equal(new[4 * anchor + 1], old[3 * anchor + 1])  # dog
            assert torch.equal(new[4 * anchor + 2], old[3 * anchor])  # cat
            for row in (0, 3):
                assert torch.equal(new[4 * anchor + row], fresh[4 * anchor + row])
        assert torch.equal(after[f"head.box_output.{part}"], weights[f"head.box_output.{part}"])
    assert "classes kept by name: dog, cat; fresh: horse, pig; box rows kept" in shown


def test_anchors_and_none_have_no_row_in_common(tmp_path):
    """P is 1 for a Dirac side and for a delta."""
    pair = with_towers("dirac"), with_towers("deltas")
    for theirs, ours in (pair, pair[::-1]):
        _, before, after, _, shown = start_with(tmp_path, theirs, ours)
        for part in ("class", "box"):
            assert torch.equal(after[f"head.{part}_output.weight"], before[f"head.{part}_output.weight"])
        assert "2 fresh, of other anchors (head.class_output.{weight, bias})" in shown
        assert "2 fresh, of another box (head.box_output.{weight, bias})" in shown
        assert "classes kept by name: none; fresh: cat, dog, cow; box rows fresh" in shown


def test_deltas_of_anchors_of_another_size_are_fresh(tmp_path):
    pair = with_towers("deltas"), with_towers("deltas", anchor_size=3.0)
    _, before, after, _, shown = start_with(tmp_path, *pair)
    assert torch.equal(after["head.box_output.weight"], before["head.box_output.weight"])
    assert "2 fresh, of another anchor_size (head.box_output.{weight, bias})" in shown
    assert "classes kept by name: cat, dog, cow; fresh: none; box rows fresh" in shown


@pytest.mark.parametrize("make", [with_box, with_towers], ids=["per_level", "shared"])
def test_the_layers_of_dgqp_are_kept_where_their_shape_fits(tmp_path, make):
    guided = make("general+dfl", "joint", dgqp=True, dgqp_hidden=16)
    layers = {f"head.dgqp.{layer}.{part}" for layer in ("hidden", "output") for part in ("weight", "bias")}
    weights, _, after, filled, _ = start_with(tmp_path, guided, guided, ("a", "b"))
    assert layers <= filled.loaded
    assert all(torch.equal(after[name], weights[name]) for name in layers)
    other = make("general", "joint", dgqp=True, dgqp_top=3, dgqp_hidden=16)
    _, before, after, filled, shown = start_with(tmp_path, guided, other)
    assert torch.equal(after["head.dgqp.hidden.weight"], before["head.dgqp.hidden.weight"])
    assert layers - filled.loaded == {"head.dgqp.hidden.weight"}
    assert "1 fresh, of another shape (head.dgqp.hidden.weight)" in shown
    *_, filled, shown = start_with(tmp_path, make("general+dfl", "joint"), guided)
    assert "4 fresh, not in the file (head.dgqp.hidden.{weight, bias}, head.dgqp.output.{weight, bias})" in shown
    *_, filled, shown = start_with(tmp_path, guided, make("general+dfl", "joint"))
    assert "4 tensors of the file have no place here (head.dgqp.hidden" in shown
