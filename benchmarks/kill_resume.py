"""A training that is killed again and again, beside the same training left alone: do both end with the same bits?

python benchmarks/kill_resume.py [--kills 50] [--epochs 36]

SIGKILL comes from outside, at a random moment of a phase that was drawn before: in a step, while a checkpoint is
written, while the frame cache is built, in a validation. A table for people, one JSON line last.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from nanogfl.config import (
    AugmentConfig,
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    LossConfig,
    ModelConfig,
    NeckConfig,
    TrainConfig,
)
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache import store as frame_store
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.model.checkpoint import load_checkpoint, weights_digest
from nanogfl.recipe import load_config
from nanogfl.training import loop
from nanogfl.training.checkpointing import state
from nanogfl.training.checkpointing.run_dir import LAST, has_state
from nanogfl.training.step import TrainStep
from nanogfl_deploy.bench.machine import cpu_name

STEP, CHECKPOINT, CACHE, VALIDATION, OTHER = "step", "checkpoint write", "cache write", "validation", "elsewhere"
# How long a phase is waited into before the kill, at most: about as long as it takes on a small machine.
LONGEST_S = {STEP: 0.1, CHECKPOINT: 0.012, CACHE: 0.004, VALIDATION: 0.15}


class Killed(NamedTuple):
    phase: str
    lost_s: float
    """of training that is done again: since last.pt was written, or since the process made its first step"""


def recipe(data: Path, cache: Path, epochs: int) -> Config:
    """What has state: accumulators, averaged gradients, the optimizer, a running log, with every kind of mixing."""
    return Config(
        ModelConfig(
            InputSpec((96, 128)), "relu", BackboneConfig("0.5x"), NeckConfig(channels=32), HeadConfig(convs=1, kernel=3)
        ),
        DataConfig(str(data), cache_dir=str(cache)),
        AugmentConfig(mosaic=0.5, mixup=0.3, copy_paste=0.3),
        LossConfig(classification="eqfl"),
        TrainConfig(
            epochs=epochs,
            batch_size=8,
            accumulate=3,
            eval_every=3,
            save_every=0.005,
            device="cpu",
            precision="fp32",
            threads=1,
        ),
    )


def child(config: Path, run_dir: Path) -> None:
    """Trains, and tells its phases: a line when one begins, an empty one when it ends."""
    tell(TrainStep, "accumulate", STEP)
    tell(TrainStep, "update", STEP)
    tell(state, "save_checkpoint", CHECKPOINT)
    tell(frame_store._Build, "_commit", CACHE)
    tell(loop, "validate", VALIDATION)
    loop.train(load_config(config), run_dir, resume=has_state(run_dir))


def tell(owner: object, name: str, phase: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def telling(*arguments: Any, **keys: Any) -> Any:
        os.write(2, f"{phase}\n".encode())
        result = real(*arguments, **keys)
        os.write(2, b"\n")
        return result

    setattr(owner, name, telling)


def start(config: Path, run_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", str(config), str(run_dir)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1)


def kill_in(phase: str, config: Path, run_dir: Path, draw: random.Random) -> Killed | None:
    """None: the run came to its end first."""
    process = start(config, run_dir)
    assert process.stderr is not None
    wanted = draw.randint(1, {STEP: 6, CHECKPOINT: 4, CACHE: 1, VALIDATION: 1}[phase])
    now, begun = OTHER, float("inf")
    for line in process.stderr:
        now = line.strip() or OTHER
        if now == STEP:
            begun = min(begun, time.time())
        wanted -= now == phase
        if not wanted:
            time.sleep(draw.uniform(0, LONGEST_S[phase]))
            process.send_signal(signal.SIGKILL)
            break
    end = time.time()
    for line in process.stderr:  # what it began before the kill reached it
        now = line.strip() or OTHER
    if process.wait() == 0:
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the training failed with exit code {process.returncode}: run it alone to see why")
    last = run_dir / LAST
    saved = last.stat().st_mtime if last.exists() else 0.0
    return Killed(now, max(0.0, end - max(begun, saved)))


def digest(run_dir: Path) -> str:
    """SHA-256 over averaged and trained weights, optimizer and accumulators."""
    last = load_checkpoint(run_dir / LAST)
    assert last.training is not None
    tensors = {f"averaged.{name}": value for name, value in last.weights.items()}
    for part in ("detector", "equalizer"):
        tensors |= {f"{part}.{name}": value for name, value in last.training[part].items()}
    for number, moments in last.training["optimizer"]["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    return weights_digest(tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--child", nargs=2, type=Path, metavar=("CONFIG", "RUN_DIR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return

    draw = random.Random(arguments.seed)
    cache_kills = arguments.kills // 8
    phases = draw.choices((STEP, CHECKPOINT, VALIDATION), (4, 3, 2), k=arguments.kills - cache_kills)
    phases = [CACHE] * cache_kills + phases  # while there is something to decode
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_dataset(folder / "data", train=72, val=24, hw=(96, 128))
        config = recipe(folder / "data", folder / "cache", arguments.epochs)
        (folder / "killed.yaml").write_text(yaml.safe_dump(config.to_dict()), encoding="utf-8")
        alone = replace(config, data=replace(config.data, cache_dir=str(folder / "other-cache")))
        (folder / "alone.yaml").write_text(yaml.safe_dump(alone.to_dict()), encoding="utf-8")

        begun = time.perf_counter()
        kills: list[Killed] = []
        for phase in phases:
            killed = kill_in(phase, folder / "killed.yaml", folder / "killed", draw)
            if killed is None:
                break
            kills.append(killed)
        finish(folder / "killed.yaml", folder / "killed")
        killed_s, begun = time.perf_counter() - begun, time.perf_counter()
        finish(folder / "alone.yaml", folder / "alone")
        alone_s = time.perf_counter() - begun
        digests = [digest(folder / name) for name in ("killed", "alone")]

    by_phase = Counter(killed.phase for killed in kills)
    print(
        f"{cpu_name()}, 1 thread, torch {torch.__version__}: {config.train.epochs} epochs of 9 batches, eqfl, mosaic,"
    )
    print(f"accumulate 3, saved every {60 * config.train.save_every:g} s; killed {len(kills)} times")
    print(f"{'phase':18}{'kills':>6}{'mean s lost':>13}{'most':>7}")
    for phase in (STEP, CHECKPOINT, CACHE, VALIDATION, OTHER):
        lost = [killed.lost_s for killed in kills if killed.phase == phase]
        if lost:
            print(f"{phase:18}{len(lost):6}{sum(lost) / len(lost):13.2f}{max(lost):7.2f}")
    print(f"left alone {alone_s:.0f} s, killed {killed_s:.0f} s, starting {len(kills)} more processes included")
    print(f"sha256 killed {digests[0]}\nsha256 alone  {digests[1]}")
    print("equal to the bit" if digests[0] == digests[1] else "DIFFERENT")
    content = {
        "kills": len(kills),
        "by_phase": by_phase,
        "equal": digests[0] == digests[1],
        "sha256": digests,
        "lost_s": sum(killed.lost_s for killed in kills),
        "alone_s": alone_s,
        "killed_s": killed_s,
    }
    print(json.dumps(content))
    if digests[0] != digests[1]:
        raise SystemExit(1)


def finish(config: Path, run_dir: Path) -> None:
    process = start(config, run_dir)
    _, told = process.communicate()
    if process.returncode:
        raise SystemExit(f"the training failed with exit code {process.returncode}: {told[-2000:]}")


if __name__ == "__main__":
    main()
