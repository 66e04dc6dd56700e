"""The bf16 gradients of the depthwise convolution, beside float64's, and that nothing else changed."""

import pytest
import torch
from torch import nn

from nanogfl.model.depthwise import DepthwiseConv2d, _Bf16Depthwise
from nanogfl.training.device import choose_precision

# A CPU that has no bf16 rounds on the way, too: .0162 was seen with AVX2.
BOUND = 0.01 if choose_precision(torch.device("cpu"), "auto") == "bf16" else 0.02


def in_float64(layer: nn.Conv2d, x: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """Output and both gradients from the same rounded numbers."""
    exact = x.double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double().requires_grad_()
    y = nn.functional.conv2d(exact, weight, None, layer.stride, layer.padding, groups=layer.groups)
    y.backward(grad.double())
    return [y.detach(), exact.grad, weight.grad]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("hw", [(12, 20), (9, 14)])
def test_output_and_gradients_equal_float64s_to_the_rounding_of_bf16(kernel, stride, hw):
    torch.manual_seed(kernel + stride)
    layer = DepthwiseConv2d(10, kernel, stride)
    x = torch.randn(3, 10, *hw).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert "Bf16Depthwise" in type(y.grad_fn).__name__
    grad = torch.randn(y.shape).bfloat16()
    y.backward(grad)
    expected = in_float64(layer, x.detach(), grad)
    for found, exact in zip((y.detach(), x.grad, layer.weight.grad), expected, strict=True):
        error = (found.double() - exact).abs().max() / exact.abs().max()
        assert error < BOUND, error


def test_a_picture_smaller_than_the_kernel():
    layer = DepthwiseConv2d(4, 5, 2)
    x = torch.randn(2, 4, 2, 3).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    grad = torch.randn(y.shape).bfloat16()
    y.backward(grad)
    for found, exact in zip((x.grad, layer.weight.grad), in_float64(layer, x.detach(), grad)[1:], strict=True):
        assert (found.double() - exact).abs().max() < 0.02 * exact.abs().max()


def test_only_what_is_needed_is_computed():
    layer = DepthwiseConv2d(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 4, 8, 8)).sum().backward()  # a picture needs no gradient
    assert layer.weight.grad is not None
    layer.weight.requires_grad_(False)  # a frozen part
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("training", [True, False])
def test_in_fp32_and_without_gradients_it_is_the_plain_convolution(training, monkeypatch):
    monkeypatch.setattr(_Bf16Depthwise, "apply", None)
    layer = DepthwiseConv2d(6, 5, 2)
    plain = nn.Conv2d(6, 6, 5, 2, 2, groups=6, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 6, 10, 14)
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=not training):
        assert torch.equal(layer(x), plain(x))
