"""The schedule by hand, the average by a loop, the decay's groups, the device's names."""

import math

import pytest
import torch

from nanogfl.config import BackboneConfig, ModelConfig, NeckConfig, TrainConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.detector import build_detector
from nanogfl.training.device import autocast, choose_device, choose_precision, require_compiler
from nanogfl.training.optim import AveragedDetector, build_optimizer, learning_rate

MODEL = ModelConfig(InputSpec((64, 96)), backbone=BackboneConfig("0.5x"), neck=NeckConfig(channels=8))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-5),  # a thousandth of lr
        (1, 1e-4),
        (50, 5e-3),
        (99, 9.9e-3),
        (100, 1e-2),  # the peak
        (600, 1e-2 * (0.1 + 0.9 / 2)),  # half way
        (350, 1e-2 * (0.1 + 0.9 * 0.5 * (1 + math.sqrt(0.5)))),
        (1100, 1e-3),
        (5000, 1e-3),
    ],
)
def test_the_learning_rate_at_key_steps(step, expected):
    config = TrainConfig(lr=1e-2, warmup_steps=100, final_lr=0.1)
    assert learning_rate(step, 1100, config) == pytest.approx(expected, rel=1e-9)


def test_the_learning_rate_without_warm_up_and_with_more_warm_up_than_steps():
    assert learning_rate(0, 10, TrainConfig(lr=1.0, warmup_steps=0)) == 1.0
    short = [learning_rate(step, 10, TrainConfig(lr=1.0, warmup_steps=100)) for step in range(10)]
    assert short[:3] == pytest.approx([0.001, 0.5, 1.0])  # a fifth of the updates


def test_it_rises_through_the_warm_up_and_falls_after_it():
    rates = [learning_rate(step, 300, TrainConfig(warmup_steps=40)) for step in range(301)]
    peak = rates.index(max(rates))
    assert peak == 40
    assert rates[:41] == sorted(rates[:41])
    assert rates[40:] == sorted(rates[40:], reverse=True)


@pytest.mark.parametrize(
    ("update", "expected"),
    [(0, 1e-5), (50, 5e-3), (100, 1e-2), (400, 1e-2), (500, 1e-2), (750, 1e-2 * (0.1 + 0.9 / 2)), (1000, 1e-3)],
)
def test_flat_cosine_holds_the_peak_up_to_half_of_all_updates(update, expected):
    config = TrainConfig(lr=1e-2, warmup_steps=100, final_lr=0.1, schedule="flat_cosine")
    assert learning_rate(update, 1000, config) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("epoch", "share", "expected"),
    [(0, 0.5, 1e-2), (7, 0.99, 1e-2), (8, 0, 1e-3), (10, 0.99, 1e-3), (11, 0, 1e-4), (11, 0.99, 1e-4)],
)
def test_steps_are_a_tenth_after_8_and_11_of_12_epochs(epoch, share, expected):
    config = TrainConfig(lr=1e-2, warmup_steps=500, epochs=12, schedule="step", milestones=(8, 11))
    each = 7330  # updates an epoch: COCO's 117,266 images by 16
    assert learning_rate(int((epoch + share) * each), 12 * each, config) == pytest.approx(expected, rel=1e-9)
    assert learning_rate(250, 12 * each, config) == pytest.approx(0.5e-2)
    assert learning_rate(0, 12 * each, config) == pytest.approx(1e-5)


def test_sgd_with_momentum_by_its_formula_on_both_groups():
    """v = m v + g + d w, w = w - lr v; no d on norms and biases. Published: .9, 1e-4."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.GroupNorm(1, 3))
    config = TrainConfig(optimizer="sgd", lr=0.1, momentum=0.8, weight_decay=0.05)
    optimizer = build_optimizer(module, config)
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    speed = {name: torch.zeros_like(p) for name, p in expected.items()}
    for update in range(4):
        rate = 0.1 / (update + 1)  # the loop sets it
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, p in module.named_parameters():
            p.grad = torch.randn_like(p)
            decay = 0.05 if p.ndim > 1 else 0.0
            speed[name] = 0.8 * speed[name] + p.grad.double() + decay * expected[name]
            expected[name] -= rate * speed[name]
        optimizer.step()
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach().double(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_first_step_that_is_left_out_leaves_nothing_behind(name):
    """In fp16 it usually is. torch's own momentum buffers would then hold whatever lay in memory."""
    torch.manual_seed(0)
    skipping, plain = (torch.nn.Conv2d(64, 64, 3) for _ in range(2))
    plain.load_state_dict(skipping.state_dict())
    config = TrainConfig(optimizer=name, weight_decay=0.0)
    first, second = build_optimizer(skipping, config), build_optimizer(plain, config)
    for p in skipping.parameters():
        p.grad = torch.full_like(p, torch.inf)
    first.found_inf = torch.ones(())
    first.step()
    assert all(torch.equal(a, b) for a, b in zip(skipping.parameters(), plain.parameters(), strict=True))
    first.found_inf = torch.zeros(())
    for a, b in zip(skipping.parameters(), plain.parameters(), strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    first.step()
    second.step()
    for a, b in zip(skipping.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for buffers in first.state.values() if name == "sgd" else ():
        assert torch.isfinite(buffers["momentum_buffer"]).all()
        assert buffers["momentum_buffer"].abs().max() < 10


def test_norms_and_biases_do_not_decay():
    detector = build_detector(MODEL, 2)
    groups = build_optimizer(detector, TrainConfig(weight_decay=0.07)).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(decay) == sum(len(g["params"]) for g in groups) == len(list(detector.parameters()))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert decay[id(module.weight)] == decay[id(module.bias)] == 0
        if isinstance(module, torch.nn.Conv2d):
            assert decay[id(module.weight)] == 0.07
            assert module.bias is None or decay[id(module.bias)] == 0


def test_the_average_equals_a_loop_in_float64():
    torch.manual_seed(0)
    detector = build_detector(MODEL, 1).train()
    averaged = AveragedDetector(detector, 0.9)
    expected = {n: v.double() for n, v in detector.state_dict().items()}
    for k in range(1, 121):
        with torch.no_grad():
            for name, value in detector.state_dict().items():
                if value.is_floating_point() and name not in ("mean", "std"):
                    value.add_(0.1 * torch.randn_like(value))
        averaged.update()
        decay = min(0.9, k / (k + 9))  # 10 %, 2/11, 3/12, ... reaches .9 at k = 81
        for name, value in detector.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value.double()
    found = averaged.detector.state_dict()
    for name, value in expected.items():
        if found[name].is_floating_point():
            torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=1e-5)
    assert averaged.updates == 120


def test_the_average_is_a_copy_in_eval_mode_that_nothing_differentiates():
    detector = build_detector(MODEL, 1).train()
    averaged = AveragedDetector(detector, 0.9)
    assert not averaged.detector.training
    assert detector.training
    assert not any(p.requires_grad for p in averaged.detector.parameters())
    assert all(p.requires_grad for p in detector.parameters())
    before = averaged.detector.head.outputs[0].weight.clone()
    with torch.no_grad():
        detector.head.outputs[0].weight.add_(1)
    assert torch.equal(averaged.detector.head.outputs[0].weight, before)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:99", "meta", "xpu", "cuda:-1"])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(UserError, match=r"train\.device") as raised:
        choose_device(name)
    assert "\n" not in str(raised.value)


def test_auto_finds_a_device():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_on_a_cpu(precision, dtype):
    a = torch.ones(2, 2)
    with autocast(torch.device("cpu"), choose_precision(torch.device("cpu"), precision)):
        assert (a @ a).dtype == dtype


def test_auto_is_bf16_where_the_processor_multiplies_it_and_fp32_elsewhere(monkeypatch):
    cpu = torch.device("cpu")
    abilities = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert choose_precision(cpu, "auto") == "bf16"
    abilities = {"avx512_f": True, "avx512_bf16": False, "bf16": False}
    assert choose_precision(cpu, "auto") == "fp32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision(cpu, "auto") == "fp32"
    assert choose_precision(torch.device("mps"), "auto") == "fp32"


def test_auto_on_cuda_is_fp16_where_the_card_has_no_bf16(monkeypatch):
    for supported, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported, **_: supported)
        assert choose_precision(torch.device("cuda"), "auto") == expected


def test_compiling_without_a_compiler_is_one_sentence(monkeypatch, tmp_path):
    cpu = torch.device("cpu")
    require_compiler(cpu, False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    require_compiler(cpu, False)
    with pytest.raises(UserError, match=r"needs a C\+\+ compiler on a CPU, and there is no g\+\+ or clang"):
        require_compiler(cpu, True)
    (tmp_path / "my-c++").write_text("")
    (tmp_path / "my-c++").chmod(0o755)
    monkeypatch.setenv("CXX", "my-c++")
    require_compiler(cpu, True)
    with pytest.raises(UserError, match="needs a CUDA GPU"):
        require_compiler(cpu, "cuda_graphs")


def test_fp16_off_a_gpu_is_one_sentence():
    with pytest.raises(UserError, match=r"fp16 is for GPUs.*use bf16, fp32 or auto"):
        choose_precision(torch.device("cpu"), "fp16")
