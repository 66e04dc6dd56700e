"""NanoDet without any of our layers: its tensors' shapes from a few facts, its forward pass by their names.

Written from the description of RangiLyu/nanodet's networks; key files and golden outputs check it where they are.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# width of the backbone's features, neck, channels of the neck, kernel of the head, levels
FACTS = {
    "nanodet-m-0.5x": ((48, 96, 192), "pan", 96, 3, 3),
    "nanodet-m": ((116, 232, 464), "pan", 96, 3, 3),
    "nanodet-m-1.5x": ((176, 352, 704), "pan", 128, 3, 3),
    "nanodet-plus-m": ((116, 232, 464), "ghost_pan", 96, 5, 4),
    "nanodet-plus-m-1.5x": ((176, 352, 704), "ghost_pan", 128, 5, 4),
}
REPEATS = (4, 8, 4)


def shapes(variant: str, classes: int = 80, auxiliary: bool = True) -> dict[str, tuple[int, ...]]:
    """Every tensor of NanoDet's own module, without "model."."""
    features, neck, width, kernel, levels = FACTS[variant]
    out: dict[str, tuple[int, ...]] = {}

    def conv(name: str, outputs: int, inputs: int, size: int, bias: bool = False) -> None:
        out[f"{name}.weight"] = (outputs, inputs, size, size)
        if bias:
            out[f"{name}.bias"] = (outputs,)

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            out[f"{name}.{part}"] = (channels,)
        out[f"{name}.num_batches_tracked"] = ()

    def separable(name: str, size: int) -> None:
        conv(f"{name}.depthwise", width, 1, size)
        conv(f"{name}.pointwise", width, width, 1)
        norm(f"{name}.dwnorm", width)
        norm(f"{name}.pwnorm", width)

    def branch(name: str, inputs: int, half: int, first: bool) -> None:
        if first:
            conv(f"{name}.branch1.0", inputs, 1, 3)
            norm(f"{name}.branch1.1", inputs)
            conv(f"{name}.branch1.2", half, inputs, 1)
            norm(f"{name}.branch1.3", half)
        conv(f"{name}.branch2.0", half, inputs if first else half, 1)
        norm(f"{name}.branch2.1", half)
        conv(f"{name}.branch2.3", half, 1, 3)
        norm(f"{name}.branch2.4", half)
        conv(f"{name}.branch2.5", half, half, 1)
        norm(f"{name}.branch2.6", half)

    def ghost_pan(name: str) -> None:
        for level, inputs in enumerate(features):
            conv(f"{name}.reduce_layers.{level}.conv", width, inputs, 1)
            norm(f"{name}.reduce_layers.{level}.bn", width)
        for way in ("top_down", "bottom_up"):
            for index in range(2):
                block = f"{name}.{way}_blocks.{index}.blocks.0"
                for ghost, inputs in (("ghost1", 2 * width), ("ghost2", width)):
                    conv(f"{block}.{ghost}.primary_conv.0", width // 2, inputs, 1)
                    norm(f"{block}.{ghost}.primary_conv.1", width // 2)
                    conv(f"{block}.{ghost}.cheap_operation.0", width // 2, 1, 3)
                    norm(f"{block}.{ghost}.cheap_operation.1", width // 2)
                conv(f"{block}.shortcut.0", 2 * width, 1, 5)
                norm(f"{block}.shortcut.1", 2 * width)
                conv(f"{block}.shortcut.2", width, 2 * width, 1)
                norm(f"{block}.shortcut.3", width)
        for part in ("downsamples.0", "downsamples.1", "extra_lvl_in_conv.0", "extra_lvl_out_conv.0"):
            separable(f"{name}.{part}", 5)

    conv("backbone.conv1.0", 24, 3, 3)
    norm("backbone.conv1.1", 24)
    inputs = 24
    for stage, (outputs, repeats) in enumerate(zip(features, REPEATS, strict=True), start=2):
        for unit in range(repeats):
            branch(f"backbone.stage{stage}.{unit}", inputs, outputs // 2, unit == 0)
        inputs = outputs
    if neck == "pan":
        for level, inputs in enumerate(features):
            conv(f"fpn.lateral_convs.{level}.conv", width, inputs, 1, bias=True)
    else:
        ghost_pan("fpn")
    out["head.distribution_project.project"] = (8,)
    for level in range(levels):
        for index in range(2):
            separable(f"head.cls_convs.{level}.{index}", kernel)
        conv(f"head.gfl_cls.{level}", classes + 32, width, 1, bias=True)
        if neck == "pan":
            conv(f"head.gfl_reg.{level}", 32, width, 1, bias=True)
    if auxiliary and neck == "ghost_pan":
        ghost_pan("aux_fpn")
        for tower in ("cls_convs", "reg_convs"):
            for index in range(4):
                conv(f"aux_head.{tower}.{index}.conv", 2 * width, 2 * width, 3)
                out[f"aux_head.{tower}.{index}.gn.weight"] = out[f"aux_head.{tower}.{index}.gn.bias"] = (2 * width,)
        conv("aux_head.gfl_cls", classes, 2 * width, 3, bias=True)
        conv("aux_head.gfl_reg", 32, 2 * width, 3, bias=True)
        out |= {f"aux_head.scales.{level}.scale": () for level in range(4)}
    return out


def random_tensors(
    wanted: dict[str, tuple[int, ...]], seed: int = 0, identity_norms: bool = False
) -> dict[str, Tensor]:
    """Weights that keep the activations' size; statistics that are not the fresh ones, or norms that do nothing."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith(".project"):
            value = torch.linspace(0, 7, 8)
        elif len(shape) == 4:
            value = torch.randn(shape, generator=generator) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif identity_norms:
            value = torch.ones(shape) if name.endswith(("running_var", ".weight")) else torch.zeros(shape)
        elif name.endswith(("running_var", ".weight", "scale")):
            value = torch.rand(shape, generator=generator) + 0.5
        else:
            value = torch.randn(shape, generator=generator) * 0.2
        out[name] = value
    return out


def forward(tensors: dict[str, Tensor], variant: str, x: Tensor) -> Tensor:
    """Normalised (B, 3, H, W) -> NanoDet's raw output (B, N, C + 32)."""
    _, neck, _, _, levels = FACTS[variant]

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        scale, shift, mean, var = (
            tensors[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    def unit(x: Tensor, name: str, first: bool) -> Tensor:
        if first:
            left = norm(conv(x, f"{name}.branch1.0", 2), f"{name}.branch1.1")
            left = act(norm(conv(left, f"{name}.branch1.2"), f"{name}.branch1.3"))
            right = x
        else:
            left, right = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
        right = act(norm(conv(right, f"{name}.branch2.0"), f"{name}.branch2.1"))
        right = norm(conv(right, f"{name}.branch2.3", 2 if first else 1), f"{name}.branch2.4")
        right = act(norm(conv(right, f"{name}.branch2.5"), f"{name}.branch2.6"))
        return torch.stack((left, right), dim=2).flatten(1, 2)

    def separable(x: Tensor, name: str, stride: int = 1) -> Tensor:
        x = act(norm(conv(x, f"{name}.depthwise", stride), f"{name}.dwnorm"))
        return act(norm(conv(x, f"{name}.pointwise"), f"{name}.pwnorm"))

    def ghost_block(x: Tensor, name: str) -> Tensor:
        out = x
        for ghost, function in (("ghost1", act), ("ghost2", lambda y: y)):
            first = function(norm(conv(out, f"{name}.{ghost}.primary_conv.0"), f"{name}.{ghost}.primary_conv.1"))
            cheap = function(
                norm(conv(first, f"{name}.{ghost}.cheap_operation.0"), f"{name}.{ghost}.cheap_operation.1")
            )
            out = torch.cat((first, cheap), dim=1)
        short = norm(conv(x, f"{name}.shortcut.0"), f"{name}.shortcut.1")
        return out + norm(conv(short, f"{name}.shortcut.2"), f"{name}.shortcut.3")

    def resized(x: Tensor, scale: float) -> Tensor:
        return F.interpolate(x, scale_factor=scale, mode="bilinear")

    x = F.max_pool2d(act(norm(conv(x, "backbone.conv1.0", 2), "backbone.conv1.1")), 3, 2, 1)
    features = []
    for stage, repeats in enumerate(REPEATS, start=2):
        for index in range(repeats):
            x = unit(x, f"backbone.stage{stage}.{index}", index == 0)
        features.append(x)
    if neck == "pan":
        low, middle, high = (conv(f, f"fpn.lateral_convs.{i}.conv") for i, f in enumerate(features))
        middle = middle + resized(high, 2)
        low = low + resized(middle, 2)
        middle = middle + resized(low, 0.5)
        high = high + resized(middle, 0.5)
        mixed = [low, middle, high]
    else:
        low, middle, high = (
            act(norm(conv(f, f"fpn.reduce_layers.{i}.conv"), f"fpn.reduce_layers.{i}.bn"))
            for i, f in enumerate(features)
        )
        inner = ghost_block(torch.cat((resized(high, 2), middle), 1), "fpn.top_down_blocks.0.blocks.0")
        out8 = ghost_block(torch.cat((resized(inner, 2), low), 1), "fpn.top_down_blocks.1.blocks.0")
        down = separable(out8, "fpn.downsamples.0", 2)
        out16 = ghost_block(torch.cat((down, inner), 1), "fpn.bottom_up_blocks.0.blocks.0")
        down = separable(out16, "fpn.downsamples.1", 2)
        out32 = ghost_block(torch.cat((down, high), 1), "fpn.bottom_up_blocks.1.blocks.0")
        out64 = separable(high, "fpn.extra_lvl_in_conv.0", 2) + separable(out32, "fpn.extra_lvl_out_conv.0", 2)
        mixed = [out8, out16, out32, out64]
    rows = []
    for level in range(levels):
        y = mixed[level]
        for index in range(2):
            y = separable(y, f"head.cls_convs.{level}.{index}")
        rows.append(conv(y, f"head.gfl_cls.{level}").flatten(2))
    return torch.cat(rows, dim=2).transpose(1, 2)
