"""AdamW and its schedule."""

import math

import torch
from torch import nn

from nanogfl.config import TrainConfig

FLAT_UNTIL = 0.5  # share of all updates that flat_cosine holds the learning rate for (RTMDet, arXiv:2212.07784)


def build_optimizer(modules: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: norms and biases have one dimension. Frozen ones are left out."""
    trained = [p for p in modules.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def learning_rate(update: int, total_updates: int, config: TrainConfig) -> float:
    """Linear warm-up; with flat_cosine the peak up to half of all updates; then a cosine to final_lr * lr."""
    if update < config.warmup_steps:
        return config.lr * max(0.001, update / config.warmup_steps)
    start = float(config.warmup_steps)
    match config.schedule:
        case "cosine":
            pass
        case "flat_cosine":
            start = max(start, FLAT_UNTIL * total_updates)
    progress = min(1.0, max(0.0, (update - start) / max(1.0, total_updates - start)))
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress)))
