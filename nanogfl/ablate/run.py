"""Training every row with every seed on the same budget, in order, so that it can be killed and go on."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanogfl.ablate.plot import save_plot
from nanogfl.ablate.result import RESULT, Result, digest, read_result, require_same, write_result
from nanogfl.ablate.spec import Ablation, Row
from nanogfl.ablate.table import Line, format_table, markdown, metric_name, tabulate, to_dict
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
from nanogfl.training.checkpointing.run_dir import LAST, PREVIOUS, has_state
from nanogfl.training.checkpointing.saved import read_saved
from nanogfl.training.loop import train


@dataclass(frozen=True)
class Run:
    row: Row
    seed: int
    config: Config
    folder: Path

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}"


def run_ablation(ablation: Ablation, out: Path, *, fresh: bool, say: Callable[[str], None]) -> list[Line]:
    """Trains what is not finished below `out`, and writes ablation.md, .json and .png there after every run.

    Every row, its data and every earlier run are checked before the first one starts; raises UserError. A run that
    fails is skipped, and named in the UserError at the end.
    """
    data_sets = _require_data(ablation)
    runs = list(_runs(ablation, out, data_sets))
    if fresh:
        for run in runs:
            for name in (RESULT, LAST, PREVIOUS):  # the files that a run is recognised and resumed by
                (run.folder / name).unlink(missing_ok=True)
    results = [result for run in runs if (result := read_result(run.folder, run.config)) is not None]
    finished = {(result.row, result.seed) for result in results}
    for run in runs:
        if (run.row.name, run.seed) not in finished and has_state(run.folder):
            require_same(read_saved(run.folder).checkpoint.config, run.config, run.folder)

    lines, failures = write_table(ablation, out, results), []
    for number, run in enumerate(runs, 1):
        where = f"[{number}/{len(runs)}] {run}"
        if (run.row.name, run.seed) in finished:
            say(f"{where}: finished already")
            continue
        resume = has_state(run.folder)
        say(f"{where}: {'going on' if resume else 'training'}, {run.config.train.epochs} epochs, {run.folder}")
        try:
            result = _train(run, resume)
        except UserError as error:  # the other rows are worth having
            say(f"{where}: failed: {error}")
            failures.append(f"{run}: {error}")
            continue
        results.append(result)
        lines = write_table(ablation, out, results)
        value = result.figures.get(ablation.metric)
        shown = "n/a" if value is None else f"{100 * value:.1f} %"
        say(f"{where}: {metric_name(ablation.metric)} {shown}, {result.seconds / 60:.1f} minutes")
    for line in format_table(ablation, lines).split("\n"):
        say(line)
    say(f"table: {out / 'ablation.md'}, ablation.json, ablation.png")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(runs)} runs failed, the first one ({failures[0]}); the table is written without"
            " them, and the same command trains them again"
        )
    return lines


def write_table(ablation: Ablation, out: Path, results: list[Result]) -> list[Line]:
    lines = tabulate(ablation, results)
    save_plot(out / "ablation.png", ablation, lines)
    with atomic_path(out / "ablation.json") as temporary:
        temporary.write_text(json.dumps(to_dict(ablation, lines), indent=1) + "\n", encoding="utf-8")
    with atomic_path(out / "ablation.md") as temporary:
        temporary.write_text(markdown(ablation, lines, "ablation.png"), encoding="utf-8")
    return lines


def _runs(ablation: Ablation, out: Path, data_sets: dict[str, DataSet]) -> Iterator[Run]:
    """Seed by seed, so that an ablation that was killed has whole seeds first."""
    for seed in ablation.seeds:
        for row in ablation.rows:
            epochs = ablation.epochs or _epochs_of_steps(ablation, row, data_sets[row.name])
            yield Run(row, seed, ablation.config(row, seed, epochs), out / row.slug / f"seed{seed}")


def _train(run: Run, resume: bool) -> Result:
    outcome = train(run.config, run.folder, resume=resume)
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = sum(entry["seconds"] + entry.get("eval_seconds", 0.0) for entry in log)
    figures = _figures(outcome.report, run)
    result = Result(run.row.name, run.seed, digest(run.config), figures, len(log), seconds, run.config.to_dict())
    write_result(run.folder, result)
    return result


def _figures(report: Report, run: Run) -> dict[str, float | None]:
    """Every metric: a table of another one needs no training."""
    checkpoint, data = load_checkpoint(run.folder / LAST), run.config.data
    annotations, images = (Path(data.root) / part for part in (data.train.annotations, data.train.images))
    counts = count_in_file(annotations, checkpoint.classes, checkpoint.category_ids, images).counts
    sizes = {name: getattr(report, f"ap_{name}") for name in ("small", "medium", "large")}
    return {
        "ap": report.ap,
        "ap50": report.ap50,
        "ap75": report.ap75,
        **{f"ap_{name}": value for name, value in sizes.items()},
        **frequency_figures(report, counts.tolist()),
    }


def _require_data(ablation: Ablation) -> dict[str, DataSet]:
    """row name -> its training set; both sets of every row are there, and its detector can be built."""
    read: dict[tuple[str, str], DataSet] = {}
    training = {}
    for row in ablation.rows:
        config = ablation.config(row, ablation.seeds[0], epochs=1)
        root = Path(config.data.root)
        for split in (config.data.val, config.data.train):
            key = (str(root / split.annotations), str(root / split.images))
            if key not in read:
                read[key] = load_split(*key, strict=config.data.strict)
            training[row.name] = read[key]
        try:
            build_detector(config.model, len(training[row.name].classes))
        except (UserError, ValueError) as error:
            raise UserError(f"row '{row.name}' has a model that cannot be built: {error}") from None
    return training


def _epochs_of_steps(ablation: Ablation, row: Row, training: DataSet) -> int:
    """The budget in updates as whole epochs of this row, rounded up."""
    config = ablation.config(row, ablation.seeds[0], epochs=1)
    length = EpochOrder(training, seed=0, repeat_threshold=config.data.repeat_threshold).length
    batches = length // min(config.train.batch_size, length)  # as the loader counts: part batches are left out
    assert ablation.steps is not None
    return math.ceil(ablation.steps / math.ceil(batches / config.train.accumulate))
