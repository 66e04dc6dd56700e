"""A tiny ablation: two rows on a few drawn pictures."""

from pathlib import Path

import pytest
import torch

from nanogfl.data.synthetic.dataset import draw_dataset

RECIPE = """
data: {root: DATA, workers: 0, cache: memory}
model:
  input: {hw: [64, 96]}
  backbone: {width: 0.5x}
  neck: {channels: 16, extra_level: false}
  head: {convs: 1, kernel: 3}
train: {batch_size: 4, warmup_steps: 3, device: cpu, threads: 1, precision: fp32}
"""
FILE = """
title: exponents
base: recipe.yaml
set: {loss: {box: 1.5}}
seeds: [0, 3]
budget: {epochs: 1}
paper: {title: GFL, source: table 1c}
rows:
  beta 0: {set: {loss.beta: 0}, paper: 37.6}
  "beta | 2*": {set: {loss: {beta: 2.5}}, paper: null}
"""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    draw_dataset(root / "set", train=9, val=3, hw=(64, 96))
    return root / "set"


@pytest.fixture
def file(tmp_path: Path, drawn: Path) -> Path:
    """The ablation's file, its recipe beside it."""
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("DATA", str(drawn)), encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path / "tiny.yaml"
