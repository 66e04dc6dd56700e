"""What a run says before it starts: its data and detector, settings without effect, settings it cannot follow."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nanogfl.config import Config
from nanogfl.data.dataset import DataSet
from nanogfl.data.lint.run import advise_before_training
from nanogfl.data.loader import Loader
from nanogfl.evaluation.coco_ap import NO_OBJECTS
from nanogfl.loss.reach import measure_reach
from nanogfl.model.detector import Detector
from nanogfl.model.summary import count_complexity
from nanogfl.training.checkpointing.resume_rules import values
from nanogfl.training.datasets import Data, list_problems, plain_truths
from nanogfl.training.optim import warmup_updates
from nanogfl.training.reports.progress import Progress


def _teaches_sides(config: Config) -> bool:
    return config.train.teacher is not None and config.distill.side > 0


_USED: tuple[tuple[str, str, Callable[[Config], bool]], ...] = (
    ("model.backbone.weights_sha256", "model.backbone.weights", lambda c: c.model.backbone.weights is not None),
    ("model.backbone.weights_order", "model.backbone.weights", lambda c: c.model.backbone.weights is not None),
    ("model.head.reg_max", "a model.head.box with distributions", lambda c: c.model.head.bins > 0),
    ("model.head.dgqp_top", "model.head.dgqp", lambda c: c.model.head.dgqp),
    ("model.head.dgqp_hidden", "model.head.dgqp", lambda c: c.model.head.dgqp),
    ("data.cache_dir", "data.cache memmap", lambda c: c.data.cache == "memmap"),
    ("data.cache_zoom", "a data.cache", lambda c: c.data.cache != "off"),
    ("data.memory_gb", "data.cache memory or device", lambda c: c.data.cache in ("memory", "device")),
    ("augment.mosaic_scale", "augment.mosaic", lambda c: c.augment.mosaic > 0),
    (
        "augment.plain_end",
        "augment.mosaic, mixup or copy_paste",
        lambda c: c.augment.mosaic + c.augment.mixup + c.augment.copy_paste > 0,
    ),
    ("loss.side", "model.head.box general+dfl or gaussian", lambda c: c.model.head.box in ("general+dfl", "gaussian")),
    ("loss.quality", "model.head.quality centerness or iou", lambda c: c.model.head.has_quality_branch),
    ("loss.smooth_l1_beta", "model.head.box deltas", lambda c: c.model.head.box == "deltas"),
    ("loss.beta", "loss.classification qfl", lambda c: c.loss.classification == "qfl"),
    ("loss.alpha", "loss.classification fl or efl", lambda c: c.loss.classification in ("fl", "efl")),
    ("loss.gamma", "loss.classification fl, efl or eqfl", lambda c: c.loss.classification != "qfl"),
    ("loss.efl_scale", "loss.classification efl or eqfl", lambda c: c.loss.equalized),
    ("loss.atss_candidates", "loss.assigner atss", lambda c: c.loss.assigner == "atss"),
    ("loss.atss_anchor", "loss.assigner atss", lambda c: c.loss.assigner == "atss"),
    ("loss.dsla_candidates", "loss.assigner dsla", lambda c: c.loss.assigner == "dsla"),
    ("loss.dsla_iou_weight", "loss.assigner dsla", lambda c: c.loss.assigner == "dsla"),
    ("loss.tal_candidates", "loss.assigner tal", lambda c: c.loss.assigner == "tal"),
    ("loss.tal_alpha", "loss.assigner tal", lambda c: c.loss.assigner == "tal"),
    ("loss.tal_beta", "loss.assigner tal", lambda c: c.loss.assigner == "tal"),
    ("loss.assist_channels", "loss.assist", lambda c: c.loss.assist),
    ("loss.assist_detach_epochs", "loss.assist", lambda c: c.loss.assist),
    ("distill.cls", "train.teacher", lambda c: c.train.teacher is not None),
    ("distill.side", "train.teacher", lambda c: c.train.teacher is not None),
    ("distill.side_points", "train.teacher and distill.side", _teaches_sides),
    ("distill.temperature", "train.teacher and distill.side", _teaches_sides),
    ("distill.feature", "train.teacher", lambda c: c.train.teacher is not None),
    ("train.momentum", "train.optimizer sgd", lambda c: c.train.optimizer == "sgd"),
    ("train.final_lr", "train.schedule cosine or flat_cosine", lambda c: c.train.schedule != "step"),
)
"""key, the setting it belongs to, whether that setting is in use"""


def introduce(
    config: Config,
    run_dir: Path,
    data: Data,
    loader: Loader,
    detector: Detector,
    lines: Sequence[str],
    progress: Progress,
) -> None:
    """Says all of it. `lines`: how the run starts, shown before the remarks."""
    list_problems(run_dir, progress, data.train, data.val)
    progress.say(f"frames: {data.train_frames.summary}")
    progress.say(f"detector: {count_complexity(detector)}")
    for line in (*lines, *remarks(config, data, loader)):
        progress.say(line)
    finest = float(detector.grid.strides.min())
    for line in advise_before_training(data.train, data.val, config, finest_stride=finest):
        progress.say(line)
    if config.model.head.bins:
        truths = plain_truths(data.train, config.model.input)
        progress.say(str(measure_reach(detector.grid, truths, config.loss)))


def idle_settings(config: Config) -> list[str]:
    """Keys that differ from their defaults but have no effect in this config."""
    given, defaults = values(config), values(Config())
    return [
        f"{key} {given[key]} (it belongs to {owner})"
        for key, owner, used in _USED
        if given[key] != defaults[key] and not used(config)
    ]


def has_objects(dataset: DataSet) -> bool:
    """Whether there is at least one object, so that an AP can be measured."""
    return any((~image.crowd).any() for image in dataset.images)


def remarks(config: Config, data: Data, loader: Loader) -> Iterator[str]:
    train, steps = config.train, loader.steps
    if idle := idle_settings(config):
        yield f"without effect here: {', '.join(idle)}"
    if loader.batch_size < train.batch_size:
        yield (
            f"train.batch_size {train.batch_size}: an epoch shows {loader.batch_size} images, so that a batch has"
            f" {loader.batch_size}"
        )
    if not has_objects(data.val):
        yield f"there will be no AP: {NO_OBJECTS}; best.pt will be the newest evaluated epoch"
    if train.minutes:
        return  # epochs and updates are not planned yet
    if train.accumulate > steps:
        yield f"train.accumulate {train.accumulate}: an epoch has {steps} batches, which make one update together"
    total = train.epochs * -(-steps // train.accumulate)
    if (warmup := warmup_updates(total, train)) < train.warmup_steps:
        yield (
            f"train.warmup_steps {train.warmup_steps} is more than a fifth of this run's {total} updates: the warm-up"
            f" takes {warmup}"
        )
    evaluations = -(-train.epochs // train.eval_every)
    if train.patience and (train.patience >= evaluations or not has_objects(data.val)):
        yield f"train.patience {train.patience} cannot end this run: it has {evaluations} evaluations by AP at most"
