"""The run folder: one process at a time, and what it needs to go on."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path, remove_unfinished, sync_folder
from nanogfl.train.checkpointing.lock import locked

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
CONFIG, LOG = "config.yaml", "log.jsonl"
CURVES, PICTURE, GAMMA = "curves.png", "validation.png", "gamma.png"


def has_state(run_dir: Path) -> bool:
    """It holds a run that `resume` goes on with."""
    return (run_dir / LAST).exists() or (run_dir / PREVIOUS).exists()


def require_state(run_dir: Path, resume: bool) -> None:
    """Raises UserError where there is no run to resume, or one that a new run would overwrite."""
    if resume and not has_state(run_dir):
        raise UserError(
            f"checkpoint {run_dir / LAST} does not exist: nothing was saved there yet, start it without --resume"
        )
    if not resume and has_state(run_dir):
        raise UserError(
            f"{run_dir} already holds a run: give --resume to go on with it, or another --run-dir, or remove it"
        )


def go_on_command(run_dir: Path) -> str:
    """The folder's config.yaml has every override in it."""
    run = shlex.quote(str(run_dir))
    return f"nanogfl train {shlex.quote(str(run_dir / CONFIG))} --run-dir {run} --resume"


@contextmanager
def going_on_after_errors(run_dir: Path) -> Iterator[None]:
    """Around what writes to the folder: its UserErrors (a full disk) then say how to go on, too."""
    try:
        yield
    except UserError as error:
        how = (
            f"then go on from what was saved last with: {go_on_command(run_dir)}"
            if has_state(run_dir)
            else "then start again, for nothing was saved yet"
        )
        raise UserError(f"{error}; mend that (free some space on a full disk), {how}") from error


@contextmanager
def own_run_dir(run_dir: Path) -> Iterator[None]:
    """Makes the folder, keeps other processes from training into it, and clears what a killed one left half-written.

    Raises UserError where another one does, and where the folder cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run folder {run_dir} cannot be made ({error.strerror}): choose another --run-dir") from None
    sync_folder(run_dir.parent)
    with locked(run_dir):
        for name in (LAST, BEST, CONFIG, LOG, CURVES, PICTURE, GAMMA):
            remove_unfinished(run_dir / name)
        yield


def write_config(run_dir: Path, config: Config) -> None:
    with atomic_path(run_dir / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
