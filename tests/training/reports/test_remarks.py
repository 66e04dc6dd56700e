"""What a run says of its settings before it starts: those that do nothing, and those that it cannot follow."""

from dataclasses import replace

import pytest

from nanogfl.config import Config, LossConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.recipe import config_from_dict
from nanogfl.training.datasets import load_data
from nanogfl.training.optim import learning_rate, warmup_updates
from nanogfl.training.reports.remarks import idle_settings, remarks
from nanogfl.training.start.norm_values import require_norm_values


def said(config: Config) -> str:
    data = load_data(config)
    return "\n".join(remarks(config, data, Loader(data.train, config, data.train_frames)))


def test_nothing_is_said_of_settings_that_do_what_they_say(tiny):
    assert said(replace(tiny, train=replace(tiny.train, warmup_steps=1, epochs=5))) == ""
    assert idle_settings(Config()) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"batch_size": 50}, ["batch_size 50", "9"]),
        ({"accumulate": 50}, ["accumulate 50", "2 batches"]),
        ({"warmup_steps": 100, "epochs": 5}, ["warmup_steps 100", "10 updates", "takes 2"]),
        ({"patience": 2, "epochs": 4, "eval_every": 2}, ["patience 2", "2 evaluations"]),
        ({"patience": 1, "eval_every": 9}, ["patience 1", "1 evaluations"]),
        ({"momentum": 0.5}, ["train.momentum 0.5", "sgd"]),
    ],
)
def test_what_cannot_be_followed_is_said(tiny, keys, words):
    lines = said(replace(tiny, train=replace(tiny.train, **{"warmup_steps": 0, **keys})))
    assert all(word in lines for word in words), lines


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("loss", {"beta": 1.0, "classification": "fl"}),
        ("loss", {"gamma": 1.0}),
        ("loss", {"dsla_candidates": 5}),
        ("loss", {"tal_beta": 2.0}),
        ("loss", {"atss_anchor": 5.0, "assigner": "tal"}),
        ("loss", {"assist_channels": 96}),
        ("loss", {"quality": 2.0}),
        ("augment", {"plain_end": 0.5}),
        ("augment", {"mosaic_scale": [0.1, 0.2]}),
        ("data", {"cache_zoom": 2.0, "cache": "off"}),
        ("data", {"memory_gb": 1.0}),
        ("model", {"head": {"dgqp_top": 3}}),
        ("model", {"backbone": {"weights_order": "rgb"}}),
        ("train", {"final_lr": 0.5, "schedule": "step", "milestones": [3]}),
    ],
)
def test_a_setting_that_nothing_reads_is_named(section, keys):
    content = {section: keys}
    if keys.get("classification") == "fl":
        content["model"] = {"head": {"quality": "none"}}
    inner = keys.get("head") or keys.get("backbone") or keys
    (line,) = idle_settings(config_from_dict(content, "here"))
    assert next(iter(inner)) in line


@pytest.mark.parametrize("schedule", ["cosine", "flat_cosine"])
def test_a_warm_up_never_takes_more_than_a_fifth_of_a_run(tiny, schedule):
    train = replace(tiny.train, warmup_steps=100, schedule=schedule, lr=1.0, final_lr=0.1)
    for total in (5, 40, 499):
        rates = [learning_rate(update, total, train) for update in range(total)]
        assert rates.index(max(rates)) == warmup_updates(total, train) == total // 5
        assert max(rates) == 1.0
        assert learning_rate(total, total, train) == pytest.approx(0.1)
    assert warmup_updates(500, train) == 100
    assert warmup_updates(0, train) == 0


@pytest.mark.parametrize("name", ["quickstart", "bccd", "finetune"])
def test_the_recipes_own_warm_up_is_shorter_than_that(name):
    from pathlib import Path

    from nanogfl.recipe import load_config

    config = load_config(Path(__file__).parents[3] / f"configs/{name}.yaml")
    images = {"quickstart": 720, "bccd": 292, "finetune": 292}[name]
    total = config.train.epochs * (images // config.train.batch_size)
    assert warmup_updates(total, config.train) == config.train.warmup_steps


@pytest.mark.parametrize("assist", [False, True])
def test_a_batch_norm_of_one_value_a_channel_is_refused_before_the_first_step(tiny, assist):
    loss = LossConfig(assigner="dsla", assist=True, assist_channels=16) if assist else tiny.loss
    small = replace(tiny, loss=loss, model=replace(tiny.model, input=InputSpec((64, 64))))  # stride 64: 1 x 1
    with pytest.raises(UserError, match=r"train\.batch_size"):
        require_norm_values(small, 2, 1)
    require_norm_values(small, 2, 2)
    three = replace(small.model.neck, extra_level=False)  # stride 32: 2 x 2
    require_norm_values(replace(small, model=replace(small.model, neck=three)), 2, 1)
