"""What --resume may change: one rule per key of the config."""

from typing import Any, Literal

from nanogfl.config import Config
from nanogfl.recipe import config_from_dict

Rule = Literal["free", "fixed", "within an epoch", "start", "planned"]

_RULES: dict[Rule, dict[str, str]] = {
    # the new value is used from here on
    "free": {
        "data": "root train.annotations train.images val.annotations val.images strict cache cache_dir cache_zoom"
        " memory_gb workers min_labelled",  # their content is compared by digest
        "augment": "scale stretch translate rotate shear perspective flip flip_vertical brightness contrast saturation"
        " mosaic mosaic_scale mixup copy_paste plain_end keep_visible",
        "loss": "cls box side quality box_weight smooth_l1_beta beta assigner atss_candidates atss_anchor"
        " dsla_candidates dsla_iou_weight tal_candidates tal_alpha tal_beta assist_detach_epochs classification alpha"
        " gamma efl_scale",
        "train": "epochs momentum lr weight_decay schedule milestones warmup_steps final_lr clip_norm ema_decay"
        " pace eval_every eval_images save_every patience device precision compile threads sync_batch_norm"
        " timeout_minutes loggers teacher",  # the teacher is compared by its sha256
        "distill": "cls side side_points temperature feature",  # adapters come and go with feature: see saved.py
    },
    # the saved tensors depend on it
    "fixed": {
        "model": "input.hw input.resize input.mean input.std activation backbone.kind backbone.width"
        " backbone.channels backbone.blocks backbone.expansion backbone.kernel backbone.down neck.kind neck.channels"
        " neck.extra_level neck.p6_from head.kind head.box head.quality head.dgqp head.dgqp_top"
        " head.dgqp_hidden head.norm head.anchor_size head.convs head.kernel head.reg_max head.bin_width"
        " head.point_offset selection.score selection.iou selection.candidates selection.keep",
        "loss": "assist assist_channels",
        "train": "optimizer freeze",
    },
    # decides the batches of an epoch: a change would show some images twice and others never
    "within an epoch": {"data": "repeat_threshold", "train": "batch_size accumulate epoch_batches seed"},
    # read once, before the first step: the config keeps the value that the run was started with
    "start": {
        "model": "backbone.weights backbone.weights_sha256 backbone.weights_order head.prior",
        "train": "init_from",
    },
    # planned once. 0 goes on by the numbers that are given; another number of minutes is refused
    "planned": {"train": "minutes"},
}
PLANNED = (
    *("train.epochs", "train.epoch_batches", "train.eval_every", "train.eval_images", "train.pace"),
    "loss.assist_detach_epochs",
)
"""what a run with train.minutes decides for itself, and keeps when it is resumed with the same minutes"""
RULES: dict[str, Rule] = {
    f"{section}.{key}": rule
    for rule, sections in _RULES.items()
    for section, keys in sections.items()
    for key in keys.split()
}


def values(config: Config) -> dict[str, Any]:
    """Every key, such as "train.lr", with its value."""

    def walk(content: dict[str, Any], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in content.items():
            found |= walk(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
        return found

    return walk(config.to_dict(), "")


def changes(then: Config, now: Config, *rules: Rule) -> list[str]:
    """The keys under `rules` that differ, as "train.optimizer adamw -> sgd"."""
    old, new = values(then), values(now)
    return [f"{key} {old[key]} -> {new[key]}" for key in new if RULES[key] in rules and old[key] != new[key]]


def as_started(then: Config, now: Config) -> Config:
    """`now`, with the values of `then` for keys that only a start reads, and for those that train.minutes planned."""
    content, old = now.to_dict(), values(then)
    planned = PLANNED if then.train.minutes == now.train.minutes > 0 else ()
    for key in (*(key for key, rule in RULES.items() if rule == "start"), *planned):
        *parents, name = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[name] = old[key]
    return config_from_dict(content, "the saved config")
