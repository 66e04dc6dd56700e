"""A depthwise convolution whose bf16 gradients are fast on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCK = 3


class DepthwiseConv2d(nn.Conv2d):
    """nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False) with faster gradients.

    In bf16 on a CPU torch 2.13 (oneDNN) computes two gradients by slow reference code: that of the input with stride 2,
    and that of weights larger than 3 x 3. `_Bf16Depthwise` computes these two another way; all else is torch's own.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride))."""
        in_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if x.device.type == "cpu" and in_bf16 and torch.is_grad_enabled():
            y: Tensor = _Bf16Depthwise.apply(  # type: ignore[no-untyped-call]
                x.bfloat16(), self.weight.bfloat16(), self.stride[0]
            )
            return y
        return super().forward(x)


class _Bf16Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[no-untyped-def]
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, weight.shape[-1] // 2
        needs_input, needs_weight, _ = ctx.needs_input_grad
        of_input = of_weight = None
        if needs_input and stride == 1:
            of_input = _input_gradient(grad, x, weight, stride, padding)
        elif needs_input:
            of_input = _input_gradient(grad.float(), x.float(), weight.float(), stride, padding).bfloat16()
        if needs_weight and weight.shape[-1] <= _BLOCK:
            of_weight = _weight_gradient(grad, x, weight, stride, padding)
        elif needs_weight:
            of_weight = _weight_gradient_by_blocks(grad, x, weight, stride, padding)
        return of_input, of_weight, None


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return _gradients(grad, x, weight, stride, padding, [True, False, False])[0]


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return _gradients(grad, x, weight, stride, padding, [False, True, False])[1]


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias; those that are not `wanted` are undefined."""
    places = [stride, stride], [padding, padding], [1, 1], False, [0, 0]
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, *places, len(weight), wanted
    )
    return result


def _weight_gradient_by_blocks(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of a k x k kernel, assembled from 3 x 3 blocks: each is the gradient of a 3 x 3 convolution of the
    padded input, shifted by the block's position."""
    kernel = weight.shape[-1]
    rows, columns = ((size - 1) * stride + _BLOCK for size in grad.shape[2:])
    padded = F.pad(x, (padding,) * 4)
    places = [min(place, kernel - _BLOCK) for place in range(0, kernel, _BLOCK)]
    result = torch.empty_like(weight)
    block = weight.new_empty(len(weight), 1, _BLOCK, _BLOCK)
    for top in places:
        for left in places:
            seen = padded[:, :, top : top + rows, left : left + columns].contiguous(memory_format=torch.channels_last)
            result[:, :, top : top + _BLOCK, left : left + _BLOCK] = _weight_gradient(grad, seen, block, stride, 0)
    return result
