"""A training in a process that torchrun started: python restarted_run.py CONFIG RUN_DIR NUMBER.

In its first life rank 1 kills itself before its NUMBER-th update, as a machine's memory killer would.
"""

import os
import sys
from pathlib import Path

from nanogfl.recipe import load_config
from nanogfl.training.loop import train
from nanogfl.training.step import TrainStep
from tests.training.checkpointing.dying_run import die_at, nothing

if __name__ == "__main__":
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1" and int(sys.argv[3]):
        die_at(TrainStep, "update", int(sys.argv[3]), nothing)
    train(load_config(sys.argv[1]), Path(sys.argv[2]), resume="auto")
