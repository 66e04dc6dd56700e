"""Trains every row with every seed on the same budget, in a fixed order, so that it can be killed and continued."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nanogfl.ablate.report import Result, metric_name, write_table
from nanogfl.ablate.spec import Ablation, folder_name
from nanogfl.config import Config
from nanogfl.data.class_counts import count_in_file
from nanogfl.data.dataset import DataSet
from nanogfl.data.order import EpochOrder
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import Report
from nanogfl.evaluation.frequency import frequency_figures
from nanogfl.io.atomic import atomic_path
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.recipe import config_from_dict, differences, validated
from nanogfl.training.checkpointing.run_dir import LAST, PREVIOUS, has_state
from nanogfl.training.checkpointing.saved import read_saved
from nanogfl.training.distill.teacher import pair, read_teacher
from nanogfl.training.loop import train
from nanogfl.training.start.choose import AUTO

RESULT = "result.json"


@dataclass(frozen=True)
class Run:
    """One row with one seed."""

    row: str
    seed: int
    config: Config
    folder: Path

    def __str__(self) -> str:
        return f"{self.row}, seed {self.seed}"

    def result(self) -> Result | None:
        """None where it is not finished. Raises UserError where the result is damaged or was another config's."""
        path = self.folder / RESULT
        try:
            result: Result = validated(Result, json.loads(path.read_text(encoding="utf-8")), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): repair that, or start over with --fresh"
            ) from None
        except (ValueError, UserError):
            raise UserError(f"{path} is not a result of an ablation: remove it, or start over with --fresh") from None
        self.require_same(config_from_dict(result.config, str(path)))
        return result

    def require_same(self, before: Config) -> None:
        """Raises UserError where the folder's earlier config differs from that of the run."""
        now = self.config
        if now.train.init_from == AUTO:  # a run keeps what that came to
            now = replace(now, train=replace(now.train, init_from=before.train.init_from))
        if changed := differences(before, now):
            raise UserError(
                f"{self.folder} was trained with another config or budget ({'; '.join(changed)}): go back to it, start"
                " over with --fresh, or give another --out"
            )


def run_ablation(ablation: Ablation, out: Path, *, fresh: bool, say: Callable[[str], None]) -> None:
    """Trains the unfinished runs below `out` (`fresh`: all), and writes ablation.md, .json and .png there after each.

    Rows, data and earlier runs are checked before the first run starts; raises UserError. A run that fails is skipped,
    and named in the UserError at the end.
    """
    runs = list(_runs(ablation, out, _load_data(ablation)))
    for run in runs if fresh else ():
        for name in (RESULT, LAST, PREVIOUS):  # the files by which a run is recognised and resumed
            (run.folder / name).unlink(missing_ok=True)
    results = [result for run in runs if (result := run.result()) is not None]
    finished = {(result.row, result.seed) for result in results}
    for run in runs:
        if (run.row, run.seed) not in finished and has_state(run.folder):
            run.require_same(read_saved(run.folder).checkpoint.config)

    table, failures = write_table(ablation, out, results), []
    for number, run in enumerate(runs, 1):
        where = f"[{number}/{len(runs)}] {run}"
        if (run.row, run.seed) in finished:
            say(f"{where}: finished already")
            continue
        resume = has_state(run.folder)
        say(f"{where}: {'going on' if resume else 'training'}, {run.config.train.epochs} epochs, {run.folder}")
        try:
            results.append(result := _train(run, resume))
        except UserError as error:  # the other rows are worth having
            say(f"{where}: failed: {error}")
            failures.append(f"{run}: {error}")
            continue
        table = write_table(ablation, out, results)
        value = result.figures.get(ablation.metric)
        shown = "n/a" if value is None else f"{100 * value:.1f} %"
        say(f"{where}: {metric_name(ablation.metric)} {shown}, {result.seconds / 60:.1f} minutes")
    for line in (ablation.title, *table):
        say(line)
    say(f"table: {out / 'ablation.md'}, ablation.json, ablation.png")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed, the first one ({failures[0]}); the table is written without"
            " them, and the same command trains them again"
        )


def _runs(ablation: Ablation, out: Path, training: dict[str, DataSet]) -> Iterator[Run]:
    """Seed by seed, so that a killed ablation has whole seeds first."""
    for seed in ablation.seeds:
        for row in ablation.rows:
            epochs = ablation.budget.epochs or _epochs_of_steps(ablation, row, training[row])
            yield Run(row, seed, ablation.config(row, seed, epochs), out / folder_name(row) / f"seed{seed}")


def _train(run: Run, resume: bool) -> Result:
    outcome = train(run.config, run.folder, resume=resume)
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = sum(entry["seconds"] + entry.get("eval_seconds", 0.0) for entry in log)
    figures = _figures(outcome.report, run)
    result = Result(run.row, run.seed, figures, len(log), seconds, run.config.to_dict())
    with atomic_path(run.folder / RESULT) as temporary:
        temporary.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return result


def _figures(report: Report, run: Run) -> dict[str, float | None]:
    """Every metric, so that a table of another one needs no training."""
    checkpoint, data = load_checkpoint(run.folder / LAST), run.config.data
    annotations, images = (Path(data.root) / part for part in (data.train.annotations, data.train.images))
    counts = count_in_file(annotations, checkpoint.classes, checkpoint.category_ids, images).counts
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    return {**{name: getattr(report, name) for name in names}, **frequency_figures(report, counts.tolist())}


def _load_data(ablation: Ablation) -> dict[str, DataSet]:
    """Row -> its training set. Raises UserError where a row has no data, a detector that cannot be built, or a teacher
    that cannot teach it."""
    read: dict[tuple[str, str], DataSet] = {}
    training = {}
    for row in ablation.rows:
        config = ablation.config(row, ablation.seeds[0], epochs=1)
        root = Path(config.data.root)
        for split in (config.data.val, config.data.train):
            key = (str(root / split.annotations), str(root / split.images))
            if key not in read:
                read[key] = load_split(*key, strict=config.data.strict)
            training[row] = read[key]
        try:
            detector = build_detector(config.model, len(training[row].classes))
        except ValueError as error:
            raise UserError(f"row '{row}' has a model that cannot be built: {error}") from None
        try:
            if (teacher := read_teacher(config)) is not None:
                pair(teacher, detector, training[row].classes, config)
        except UserError as error:
            raise UserError(f"row '{row}': {error}") from None
    return training


def _epochs_of_steps(ablation: Ablation, row: str, training: DataSet) -> int:
    """The budget in updates as whole epochs of this row, rounded up."""
    config = ablation.config(row, ablation.seeds[0], epochs=1)
    length = EpochOrder(training, seed=0, repeat_threshold=config.data.repeat_threshold).length
    whole = length // min(config.train.batch_size, length)  # as in the loader, which leaves out partial batches
    batches = config.train.epoch_batches or whole
    assert ablation.budget.steps is not None
    return math.ceil(ablation.budget.steps / math.ceil(batches / config.train.accumulate))
