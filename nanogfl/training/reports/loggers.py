"""TensorBoard, MLflow and Weights & Biases as callbacks: train.loggers names them, and only those are imported.

Each gets the config once, and the numbers of every epoch's log entry. A run that is resumed goes on in the same
experiment, whose ids are kept in the run folder (loggers.json).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from nanogfl.errors import Interrupted, UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.training.callbacks import Begun, Callback, Outcome
from nanogfl.training.checkpointing.resume_rules import values

IDS = "loggers.json"
_PARAMETERS_AT_ONCE = 100  # MLflow's limit for one request


def build_loggers(names: Sequence[str]) -> list[Callback]:
    """Raises UserError where a logger's package is not installed."""
    return [_LOGGERS[name]() for name in names]


def figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log's entry but the epoch; lists (gamma) and an AP that is None are left out."""
    numbers = {key: value for key, value in entry.items() if isinstance(value, int | float) and key != "epoch"}
    return {key: float(value) for key, value in numbers.items()}


class TensorBoard(Callback):
    """Writes event files into RUN_DIR/tensorboard."""

    def __init__(self) -> None:
        _import("tensorboard", "tensorboard")
        self._writer_class = import_module("torch.utils.tensorboard").SummaryWriter

    def training_started(self, begun: Begun) -> None:
        # Of a resumed run: what a killed process wrote of later epochs is hidden.
        folder, purge = str(begun.run_dir / "tensorboard"), begun.epochs_done + 1 if begun.resumed else None
        with _named("tensorboard", OSError):
            self._writer = self._writer_class(folder, purge_step=purge)
            if not begun.resumed:
                lines = (
                    f"    {key}: {value}" for key, value in values(begun.config).items()
                )  # indented: Markdown code
                self._writer.add_text("config", "\n".join(lines))

    def epoch_ended(self, entry: Mapping[str, Any]) -> None:
        with _named("tensorboard", OSError):
            for key, value in figures(entry).items():
                self._writer.add_scalar(key, value, entry["epoch"])
            self._writer.flush()

    def training_ended(self, outcome: Outcome | None, error: BaseException | None) -> None:
        with _named("tensorboard", OSError):
            self._writer.close()


class MLflow(Callback):
    """Logs to the server and experiment of MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME, or to the active run."""

    def __init__(self) -> None:
        self._mlflow = _import("mlflow", "mlflow")

    def training_started(self, begun: Begun) -> None:
        with self._named():
            self._own = self._mlflow.active_run() is None
            if self._own:
                known = _known_id(begun, "mlflow")
                run = self._mlflow.start_run(run_id=known, run_name=None if known else begun.run_dir.name)
                _keep_id(begun.run_dir, "mlflow", run.info.run_id)
                if known:
                    return  # its parameters are there and cannot change
            parameters = list(values(begun.config).items())
            for first in range(0, len(parameters), _PARAMETERS_AT_ONCE):
                self._mlflow.log_params(dict(parameters[first : first + _PARAMETERS_AT_ONCE]))

    def epoch_ended(self, entry: Mapping[str, Any]) -> None:
        with self._named():
            self._mlflow.log_metrics(figures(entry), step=entry["epoch"])

    def training_ended(self, outcome: Outcome | None, error: BaseException | None) -> None:
        if self._own:
            stopped = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with self._named():
                self._mlflow.end_run(status="FINISHED" if error is None else stopped)

    def _named(self) -> Any:
        return _named("mlflow", self._mlflow.exceptions.MlflowException)


class Wandb(Callback):
    """Logs to the project of WANDB_PROJECT; its files go to RUN_DIR/wandb."""

    def __init__(self) -> None:
        self._wandb = _import("wandb", "wandb")

    def training_started(self, begun: Begun) -> None:
        known = _known_id(begun, "wandb")
        with self._named():
            self._run = self._wandb.init(
                dir=str(begun.run_dir), name=begun.run_dir.name, id=known, resume="allow", config=values(begun.config)
            )
        _keep_id(begun.run_dir, "wandb", self._run.id)

    def epoch_ended(self, entry: Mapping[str, Any]) -> None:
        with self._named():
            self._run.log(figures(entry), step=entry["epoch"])

    def training_ended(self, outcome: Outcome | None, error: BaseException | None) -> None:
        with self._named():
            self._run.finish(exit_code=_exit_code(error))

    def _named(self) -> Any:
        return _named("wandb", self._wandb.errors.Error)


_LOGGERS: dict[str, Callable[[], Callback]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": Wandb}


def _import(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise UserError(
            f"train.loggers {name} needs the package '{package}', which is not installed: pip install {package}, or"
            " leave it out of train.loggers"
        ) from None


@contextmanager
def _named(name: str, errors: type[Exception]) -> Iterator[None]:
    """The library's own errors as one sentence."""
    try:
        yield
    except errors as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"train.loggers {name} failed ({first}): mend that, or leave it out of train.loggers, and go on from what"
            " was saved last with --resume"
        ) from error


def _exit_code(error: BaseException | None) -> int:
    return error.exit_code if isinstance(error, Interrupted) else int(error is not None)


def _known_id(begun: Begun, name: str) -> str | None:
    """Of the experiment that a resumed run began."""
    ids = _ids(begun.run_dir) if begun.resumed else {}
    return ids.get(name)


def _keep_id(run_dir: Path, name: str, value: str) -> None:
    with atomic_path(run_dir / IDS) as temporary:
        temporary.write_text(json.dumps(_ids(run_dir) | {name: value}), encoding="utf-8")


def _ids(run_dir: Path) -> dict[str, str]:
    try:
        ids = json.loads((run_dir / IDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none was kept, or it is damaged: a new experiment
        return {}
    return {str(name): str(value) for name, value in ids.items()} if isinstance(ids, dict) else {}
