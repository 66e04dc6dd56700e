"""`train`: a recipe becomes a run folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nanogfl.errors import UserError, require

if TYPE_CHECKING:
    from nanogfl.config import Config
    from nanogfl.training.callbacks import Callback, Outcome


def train(
    recipe: "Path | str | Config",
    run_dir: Path | str | None = None,
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    resume: bool | Literal["auto"] = False,
    callbacks: "Sequence[Callback]" = (),
    verbose: bool = False,
    started: float | None = None,
    reserve: float = 0.0,
) -> "Outcome":
    """Trains a recipe into a run folder.

        run = train("bccd", overrides={"data.root": "datasets/bccd", "train.epochs": 20})
        print(run.best, run.best_ap)

    Args:
        recipe: the path of a YAML, the name of a recipe that comes with nanogfl, or a `Config`.
        run_dir: the folder that gets best.pt, last.pt, log.jsonl, curves.png and validation.png; by default the first
            free one of runs/NAME, runs/NAME-2, ...
        overrides: keys of the recipe and their values, or "key=value" texts as for `--set`. The last one wins.
        resume: go on from the folder's last.pt; "auto" also starts where there is none.
        callbacks: `Callback`s that are told of each epoch, evaluation and checkpoint.
        verbose: show progress and results as `nanogfl train` does.
        started: the `time.perf_counter()` from which train.minutes count; by default they count from this call.
        reserve: seconds of train.minutes to leave for what follows the training, such as an export.

    Returns the outcome: `best` and `last` (paths), `best_ap`, `best_epoch`, `report` (of the last evaluation).

    Raises UserError, and Interrupted (a KeyboardInterrupt) when a signal ended the run with its state saved. Under
    torchrun each process trains its share of every batch; `nanogfl train --devices` starts the processes itself.
    """
    require("train", "torch", "matplotlib", "rich", "pydantic", "yaml", "pycocotools", "pooch", "filelock")
    from nanogfl.config import Config
    from nanogfl.recipe import load_config, recipe_name
    from nanogfl.training.loop import train as run_training

    if isinstance(recipe, Config):
        if overrides:
            raise UserError("overrides are for a recipe by its path or name: change the Config itself")
        name, config = "config", recipe
    else:
        name, config = recipe_name(recipe), load_config(recipe, as_settings(overrides))
    folder = default_run_dir(name, bool(resume)) if run_dir is None else Path(run_dir)
    return run_training(
        config, folder, resume=resume, callbacks=callbacks, silent=not verbose, started=started, reserve=reserve
    )


def as_settings(overrides: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """Overrides as `key=value` texts, the values in JSON, which is YAML. Raises UserError for a value that has none."""
    if not isinstance(overrides, Mapping):
        return tuple(overrides)
    try:
        return tuple(
            f"{key}={json.dumps(value, ensure_ascii=False, default=_text)}" for key, value in overrides.items()
        )
    except TypeError as error:
        raise UserError(f"overrides must hold plain values (numbers, texts, lists, true or false): {error}") from None


def _text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"got {type(value).__name__}")


def default_run_dir(name: str, resume: bool) -> Path:
    """The first free one of runs/NAME, runs/NAME-2, ...; to resume the last one that holds a run."""
    from nanogfl.training.checkpointing.run_dir import has_state

    candidates = [Path("runs") / name, *(Path("runs") / f"{name}-{number}" for number in range(2, 10_000))]
    if resume:
        used = [folder for folder in candidates if has_state(folder)]
        return used[-1] if used else candidates[0]
    return next(folder for folder in candidates if not folder.exists())
