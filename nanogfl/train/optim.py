"""The optimizer and its schedule."""

import math

import torch
from torch import nn

from nanogfl.config import TrainConfig

STEP_FACTOR = 0.1  # of the learning rate at every milestone
FLAT_UNTIL = 0.5  # share of all updates that flat_cosine holds the learning rate for (RTMDet, arXiv:2212.07784)


def build_optimizer(modules: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Weight decay on matrices and kernels only: norms and biases have one dimension. Frozen ones are left out."""
    trained = [p for p in modules.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    # Both are fused: these kernels leave everything as it is after a step that was not finite (TrainStep.update).
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr, fused=True)
        case "sgd":
            sgd = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
            # A first step that is left out, usual in fp16, would leave torch's own buffers as memory was: the gradient
            # added to zeros is what torch starts from otherwise.
            for parameter in trained if config.momentum else ():
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def learning_rate(update: int, total_updates: int, config: TrainConfig) -> float:
    """Linear warm-up; with flat_cosine the peak up to half of all updates; then a cosine to final_lr * lr. With step a
    tenth from every milestone, an epoch, on."""
    if update < config.warmup_steps:
        return config.lr * max(0.001, update / config.warmup_steps)
    start = float(config.warmup_steps)
    match config.schedule:
        case "cosine":
            pass
        case "flat_cosine":
            start = max(start, FLAT_UNTIL * total_updates)
        case "step":
            passed = sum(update * config.epochs >= milestone * total_updates for milestone in config.milestones)
            return config.lr * STEP_FACTOR**passed
    progress = min(1.0, max(0.0, (update - start) / max(1.0, total_updates - start)))
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))
