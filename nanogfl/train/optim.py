"""AdamW and its schedule."""

import math

import torch
from torch import nn

from nanogfl.config import TrainConfig


def build_optimizer(detector: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Weight decay on matrices and kernels only: norms and biases have one dimension. Frozen ones are left out."""
    trained = [p for p in detector.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def learning_rate(step: int, total_steps: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to final_lr * lr at the last step."""
    if step < config.warmup_steps:
        return config.lr * max(0.001, step / config.warmup_steps)
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
