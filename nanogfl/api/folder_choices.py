"""The settings of a run that is started from a folder: a start, what follows from the data set, and what is given."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nanogfl.api.folder_story import Choice
from nanogfl.config import Config
from nanogfl.data.advice.advise import Advice
from nanogfl.data.dataset import DataSet
from nanogfl.errors import UserError
from nanogfl.io.read_file import is_file
from nanogfl.recipe import load_config, with_settings
from nanogfl.training.advice import advise_training, reach_on
from nanogfl.training.start.choose import AUTO, Chosen, choose_start

_NETWORK = "finetune"
"""the shipped recipe of the network that published weights at hand start"""
_FROM_SCRATCH = "nanogfl-s"
"""the shipped recipe whose network learns fastest where nothing is at hand"""
_ITS_OWN = ("data.root", "data.train", "data.val")
"""the folder says them"""
_BY_THE_CLOCK = ("train.epochs", "train.eval_every")
"""train.minutes plans them"""


def choose(train: DataSet, val: DataSet, settings: Sequence[str]) -> tuple[Config, list[Choice], list[str]]:
    """(config, the choices, lines about the start). Raises UserError for a setting that is not valid."""
    _, given = with_settings(Config(), settings)
    if bad := sorted(key for key in given if key.startswith(_ITS_OWN)):
        raise UserError(f"--set {bad[0]} is for a recipe: of a folder, the images are its own; leave it out")
    start = _choose_start(settings)
    base, _ = with_settings(_recipe_of(start, given), settings)
    if "train.init_from" not in given or base.train.init_from == AUTO:
        base = replace(base, train=replace(base.train, init_from=start.init_from))
    planned = set(_BY_THE_CLOCK) if base.train.minutes else set()
    reach = reach_on(train, base)
    advice = advise_training(train, val, base, given={*given, *planned}, reach=reach)
    config, _ = with_settings(base, [entry.setting for entry in advice])
    instead: dict[str, Advice] = {}
    for key in {entry.key for entry in advise_training(train, val, base, reach=reach)} & given.keys() - planned:
        rest = {*given, *planned} - {key}
        without = _with_value_of(_recipe_of(start, given), key, base)
        instead |= {entry.key: entry for entry in advise_training(train, val, without, given=rest, reach=reach)}
    choices = [Choice(entry.key, entry.value, entry.reason) for entry in advice]
    for key, value in sorted(given.items()):
        other = instead.get(key)
        reason = "given" if other is None else f"given; otherwise {other.value}: {other.reason}"
        choices.append(Choice(key, value, reason))
    return config, choices, start.lines


def _with_value_of(recipe: Config, key: str, config: Config) -> Config:
    """`config` with the value that `recipe` has for the key."""
    value: Any = recipe.to_dict()
    for part in key.split("."):
        value = value[part]
    return with_settings(config, [f"{key}={json.dumps(value)}"])[0]


def _choose_start(settings: Sequence[str]) -> Chosen:
    network = load_config(_NETWORK)
    config, given = with_settings(network, settings)
    wanted = config.train.init_from if "train.init_from" in given else AUTO
    if wanted is None:
        return Chosen(None, None, ["start: from scratch"])
    if wanted == AUTO and config.model.backbone.weights is not None:
        return Chosen(None, None, [f"start: the backbone's weights are {config.model.backbone.weights}"])
    return choose_start(wanted, config.model)


def _recipe_of(start: Chosen, given: Collection[str]) -> Config:
    """The small network, or the network, augmentation and losses of the checkpoint that is the start. The defaults
    where the backbone is `given`."""
    if start.checkpoint is None:
        own = any(key.startswith("model.backbone.") for key in given)
        return Config() if own else Config(model=load_config(_FROM_SCRATCH).model)
    config = start.checkpoint.config
    model = replace(config.model, backbone=replace(config.model.backbone, weights=None, weights_sha256=None))
    if not is_file(Path(start.init_from or "")):  # published weights serve inputs of any size: the usual one
        model = replace(model, input=replace(model.input, hw=Config().model.input.hw))
    return Config(model=model, augment=config.augment, loss=config.loss)
