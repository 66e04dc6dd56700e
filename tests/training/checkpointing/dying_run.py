"""A training in a process of its own that kills itself: python dying_run.py CONFIG RUN_DIR [MOMENT:NUMBER].

It goes on with the run where one is saved. The moment's NUMBER-th time (1 is the first one of the process) ends the
process with SIGKILL: the hooks stand here and replace what the product calls, so the product knows nothing of them.
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from nanogfl.data.cache import store as frame_store
from nanogfl.model.predictor import Predictor
from nanogfl.recipe import load_config
from nanogfl.training.checkpointing.run_dir import has_state
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(owner: object, name: str, number: int, instead: Callable[..., None]) -> None:
    """The `number`-th call of owner.name runs `instead` (with the real function first) and then dies."""
    real, calls = getattr(owner, name), 0

    def counting(*arguments, **keys):
        nonlocal calls
        calls += 1
        if calls == number:
            instead(real, *arguments, **keys)
            die()
        return real(*arguments, **keys)

    setattr(owner, name, counting)


def nothing(*_, **__) -> None:
    pass


def all_of_it(real, *arguments, **keys) -> None:
    real(*arguments, **keys)


def half_a_checkpoint(real, content, file) -> None:
    whole = io.BytesIO()
    real(content, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()


def half_a_picture(real, build, slot, pixels) -> None:
    build.files.slots.seek(slot * build.slot.nbytes)
    build.files.slots.write(pixels.tobytes()[: build.slot.nbytes // 2])


MOMENTS = {
    "before update": (TrainStep, "update", nothing),
    "after update": (TrainStep, "update", all_of_it),
    "between batches": (TrainStep, "accumulate", all_of_it),
    "in checkpoint": (torch, "save", half_a_checkpoint),
    "before sync": (os, "fsync", nothing),
    "before rename": (os, "replace", nothing),
    "after rename": (os, "replace", all_of_it),
    "in cache": (frame_store._Build, "_write", half_a_picture),
    "in validation": (Predictor, "raw_batch", all_of_it),
}


def main() -> None:
    config, run_dir = load_config(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        moment, number = sys.argv[3].split(":")
        owner, name, instead = MOMENTS[moment]
        die_at(owner, name, int(number), instead)
    train(config, run_dir, resume=has_state(run_dir))


if __name__ == "__main__":
    main()
