"""`train`: a recipe, or a folder of annotated images, becomes a run folder."""

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from nanogfl.api.tell import teller
from nanogfl.errors import Interrupted, UserError, require
from nanogfl.io.read_file import is_folder

if TYPE_CHECKING:
    from nanogfl.api.folder_story import Reading
    from nanogfl.config import Config
    from nanogfl.training.callbacks import Callback, Outcome


_NEEDED = ("torch", "matplotlib", "rich", "pydantic", "yaml", "pycocotools", "pooch", "filelock")

Resume = bool | Literal["auto"]


def train(
    recipe: "Path | str | Config",
    run_dir: Path | str | None = None,
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    resume: Resume = False,
    callbacks: "Sequence[Callback]" = (),
    verbose: bool = False,
    started: float | None = None,
    data_format: str | None = None,
    classes: Sequence[str] | None = None,
    train_part: Path | str | None = None,
    val_part: Path | str | None = None,
) -> "Outcome":
    """Trains a recipe, or a detector for a folder of annotated images, into a run folder.

        run = train("bccd", overrides={"data.root": "datasets/bccd", "train.epochs": 20})
        print(run.best, run.best_ap)

        run = train("photos", overrides={"train.minutes": 15})
        print(run.onnx, run.report.ap, run.page)

    A folder is read as its owner left it, and divided into training and validation images where it is not. Input size,
    batch, epochs and start follow from its images. At the end best.pt is exported, the .onnx is evaluated, and page.md
    shows the figures, the best and the worst detections, and every choice.

    Args:
        recipe: the path of a YAML, the name of a recipe that comes with nanogfl, a `Config`, or a folder.
        run_dir: the folder that gets best.pt, last.pt, log.jsonl, curves.png and validation.png; by default the first
            free one of runs/NAME, runs/NAME-2, ...
        overrides: keys of the recipe and their values, or "key=value" texts as for `--set`. The last one wins. They
            count more than what follows from a folder's images.
        resume: go on from the folder's last.pt; "auto" also starts where there is none.
        callbacks: `Callback`s that are told of each epoch, evaluation and checkpoint.
        verbose: show progress and results as `nanogfl train` does.
        started: the `time.perf_counter()` from which train.minutes count; by default they count from this call.
        data_format: of a folder: coco, cvat, voc, labelme, createml, yolo or csv; by default it is found out.
        classes: of a folder: the names of YOLO's class numbers, or the classes to use.
        train_part, val_part: of a folder: a folder in it, a list of images or an annotation file that is this part.

    Returns the outcome: `best` and `last` (paths), `best_ap`, `best_epoch`, `report` (of the last evaluation). For a
    folder also `onnx` (None where the packages for the export are missing) and `page`, and `report` is the .onnx's.

    Raises UserError, for a folder also where the export is refused; best.pt and the page are then there. Raises
    Interrupted (a KeyboardInterrupt) when a signal ended the run with its state saved. Under torchrun each process
    trains its share of every batch; `nanogfl train --devices` starts the processes itself.
    """
    require("train", *_NEEDED)
    from nanogfl.api.folder_story import Reading

    started = time.perf_counter() if started is None else started
    reading = Reading(data_format, classes, train_part, val_part)
    run = resolve(recipe, run_dir, overrides=overrides, resume=resume, reading=reading, verbose=verbose)
    return train_resolved(run, resume=resume, callbacks=callbacks, verbose=verbose, started=started)


class Run(NamedTuple):
    """A training that can begin."""

    config: "Config"
    folder: Path


def resolve(
    recipe: "Path | str | Config",
    run_dir: Path | str | None,
    *,
    overrides: Mapping[str, object] | Sequence[str],
    resume: Resume,
    reading: "Reading",
    strict: bool = False,
    verbose: bool,
) -> Run:
    """The config and the run folder for what `train` is given. A folder of images is read, and its lists are written
    into the run folder. Raises UserError."""
    from nanogfl.config import Config
    from nanogfl.recipe import find_shipped, load_config, recipe_name

    own = None if run_dir is None else Path(run_dir)
    if not isinstance(recipe, Config) and is_folder(Path(recipe)):
        if (shipped := find_shipped(Path(recipe))) is not None:
            raise UserError(
                f"{recipe} is a folder here and a recipe that comes with nanogfl: give {Path(recipe).absolute()} for"
                f" the folder, or {shipped} for the recipe"
            )
        return _of_folder(Path(recipe), own, as_settings(overrides), resume, reading, strict, teller(verbose))
    if given := reading.given():
        raise UserError(
            f"{' and '.join(given)} say how to read a folder of images, and {recipe} is none: leave that out"
        )
    if isinstance(recipe, Config):
        if overrides:
            raise UserError("overrides are for a recipe by its path or name: change the Config itself")
        name, config = "config", recipe
    else:
        name, config = recipe_name(recipe), load_config(recipe, as_settings(overrides))
    return Run(config, own or default_run_dir(name, bool(resume)))


def _of_folder(
    folder: Path,
    run_dir: Path | None,
    settings: tuple[str, ...],
    resume: Resume,
    reading: "Reading",
    strict: bool,
    tell: Callable[[str], None],
) -> Run:
    from nanogfl.api.ending import export_complaint
    from nanogfl.api.folder import begin_run, go_on_with_run
    from nanogfl.training.checkpointing.run_dir import has_state, require_state
    from nanogfl.training.distributed.launch import place_from_environment

    if place_from_environment() is not None:
        raise UserError(
            f"{folder} is a folder, which one process reads: give nanogfl train --devices N, or run the recipe that it"
            " writes, RUN/config.yaml, by torchrun"
        )
    if (complaint := export_complaint()) is not None:
        tell(f"there will be no best.onnx: {complaint}")
    run = run_dir or default_run_dir(folder.absolute().name or "folder", bool(resume))
    if resume is True or (resume == "auto" and has_state(run)):
        require_state(run, True)
        return Run(go_on_with_run(folder, run, reading, settings, tell=tell), run)
    require_state(run, False)
    return Run(begin_run(folder, run, reading, settings, strict=strict, tell=tell), run)


def train_resolved(
    run: Run, *, resume: Resume, callbacks: "Sequence[Callback]" = (), verbose: bool, started: float
) -> "Outcome":
    """Trains, and ends a run of a folder by its export and its page, in rank 0 alone. Raises as `train` does."""
    from nanogfl.api.folder_story import story_of
    from nanogfl.training.distributed.launch import place_from_environment
    from nanogfl.training.loop import train as run_training

    config, folder = run
    story = story_of(folder, config)
    reserve = 0.0
    if story is not None and config.train.minutes:
        from nanogfl.api.ending import ending_seconds

        reserve = ending_seconds(config)
    outcome = run_training(
        config,
        folder,
        resume=resume,
        callbacks=callbacks,
        silent=not verbose,
        started=started,
        reserve=reserve,
    )
    place = place_from_environment()
    if story is None or (place is not None and place.rank > 0):
        return outcome
    from nanogfl.api.ending import finish_run
    from nanogfl.training.checkpointing.run_dir import go_on_command

    try:
        return finish_run(outcome, story, config.data, verbose=verbose)
    except KeyboardInterrupt as stopped:
        number = stopped.exit_code - 128 if isinstance(stopped, Interrupted) else signal.SIGINT
        raise Interrupted(
            f"stopped after the training: {outcome.best} is kept; make the .onnx and the page with:"
            f" {go_on_command(folder)}",
            number,
        ) from None


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
