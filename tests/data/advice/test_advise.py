"""What to train with, from a data set's figures; the expected values are worked out by hand."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from nanogfl.config import Config, TrainConfig
from nanogfl.data.advice.advise import Advice, advise, start_of
from nanogfl.data.advice.flips import why_not_flip
from nanogfl.data.advice.repeats import suggest_threshold
from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.recipe import load_config


def make_set(images, boxes=((0, 0, 0, 100, 100),), hw=(640, 640), classes=("cat", "dog")) -> DataSet:
    """`images` images with the same objects (label, x1, y1, x2, y2), or a list of the objects of each."""
    per_image = [boxes] * images if isinstance(images, int) else images
    records = []
    for number, objects in enumerate(per_image):
        given = np.array([entry[1:] for entry in objects], dtype=np.float32).reshape(-1, 4)
        labels = np.array([entry[0] for entry in objects], dtype=np.int64)
        areas, crowd = np.ones(len(labels), np.float32), np.zeros(len(labels), np.bool_)
        records.append(ImageRecord(number, Path(f"/nowhere/{number}.jpg"), hw, given, labels, areas, crowd))
    return DataSet("set", tuple(classes), tuple(range(len(classes))), tuple(records), ())


def values(*arguments, **settings) -> dict[str, object]:
    return {advice.key: advice.value for advice in advise(*arguments, **settings)}


class Bins(NamedTuple):
    reg_max: int = 7
    enough: int = 9
    share: float = 0.094
    cost: str = "which costs up to 0.027 AP"
    matters: bool = True


# Epochs, batch, warm-up, evaluations ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "start", "batch", "epochs"),
    [
        (160, "scratch", 8, 200),  # 20 updates an epoch, 4,000 in all
        (292, "scratch", 8, 112),  # 36: the recipe that was measured has 120 epochs of 16
        (8437, "scratch", 16, 50),  # 527: no fewer epochs
        (160, "detector", 16, 40),  # 10 updates an epoch, 400 in all
        (292, "detector", 16, 23),  # 18; 10 epochs were measured
        (8437, "detector", 16, 10),
        (51, "detector", 8, 67),  # 6
        (292, "backbone", 16, 56),
        (3, "scratch", 3, 500),  # one update an epoch, and no more than 500 epochs
        (1, "detector", 1, 400),
    ],
)
def test_small_sets_get_updates_and_large_ones_epochs(images, start, batch, epochs):
    found = values(make_set(images), start=start)
    assert (found["train.batch_size"], found["train.epochs"]) == (batch, epochs)


def test_the_learning_rate_follows_from_the_start():
    assert [values(make_set(200), start=start)["train.lr"] for start in ("scratch", "backbone", "detector")] == [
        0.004,
        0.004,
        0.001,
    ]
    sgd = Config(train=TrainConfig(optimizer="sgd", lr=0.01))
    assert "train.lr" not in values(make_set(200), config=sgd)


@pytest.mark.parametrize("images", [1, 9, 51, 160, 292, 800])
@pytest.mark.parametrize("start", ["scratch", "backbone", "detector"])
def test_a_warm_up_is_at_most_a_fifth_of_a_run(images, start):
    found = values(make_set(images), start=start)
    updates = found["train.epochs"] * (images // found["train.batch_size"])
    assert 5 * found.get("train.warmup_steps", TrainConfig().warmup_steps) <= updates


def test_ten_evaluations_and_fewer_where_they_would_cost_a_tenth_of_the_time():
    few, many = make_set(40), make_set(5000)
    assert values(make_set(160), few)["train.eval_every"] == 20  # of 200 epochs
    assert values(make_set(8437), many, start="detector")["train.eval_every"] == 2  # 5 of 10 epochs
    assert values(make_set(160), many)["train.eval_every"] == 105  # 1.9 of 200, so at 105 and at the end
    assert values(make_set(160))["train.eval_every"] == 20


def test_a_recipe_of_milestones_keeps_its_epochs():
    papers = Config(train=TrainConfig(optimizer="sgd", lr=0.01, schedule="step", milestones=(8, 11), epochs=12))
    assert "train.epochs" not in values(make_set(200), config=papers)


# Input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "hw"),
    [
        (48, [320, 320]),  # 24 px at 320
        (47, [352, 352]),  # 23.5: 326.8, the next multiple of 32
        (40, [384, 384]),  # 20: 384
        (36, [448, 448]),  # 18: 426.7
        (4, [512, 512]),  # no more than 1.6 times
    ],
)
def test_the_input_grows_until_the_median_object_has_enough_pixels(side, hw):
    found = advise(make_set(20, ((0, 0, 0, side, side),)))
    assert found[0].key == "model.input.hw"
    assert found[0].value == hw
    assert f"{side / 2:.0f} x {side / 2:.0f} px at 320 x 320" in found[0].reason
    if hw != [320, 320]:
        assert f"{(hw[0] / 320) ** 2:.1f} times as long" in found[0].reason


def test_the_input_does_not_grow_beyond_what_the_images_hold():
    small = make_set(20, ((0, 0, 0, 8, 8),), hw=(240, 320))
    assert advise(small)[0].value == [320, 320]
    assert "hold no more pixels" in advise(small)[0].reason
    assert "hold" not in advise(make_set(20, ((0, 0, 0, 80, 80),), hw=(240, 320)))[0].reason  # enough as it is
    assert advise(make_set(20, ()))[0].value == [320, 320]  # no object at all


# Bins -----------------------------------------------------------------------------------------------


def test_reg_max_grows_only_where_it_costs_ap_and_nothing_is_lost_by_it():
    train = make_set(20)
    for bins, start, expected in [
        (Bins(), "scratch", 9),
        (Bins(), "backbone", 9),
        (Bins(), "detector", 7),  # its box sides mean reg_max 7
        (Bins(matters=False, cost="which costs up to 0.009 AP"), "scratch", 7),
    ]:
        (advice,) = (a for a in advise(train, start=start, reach=lambda _, b=bins: b) if a.key == "model.head.reg_max")
        assert advice.value == expected
        assert "9.4%" in advice.reason
        assert bins.cost in advice.reason
    assert "model.head.reg_max" not in values(train)
    assert "model.head.reg_max" not in values(train, reach=lambda _: None)


def test_the_bins_are_measured_at_the_input_that_is_advised():
    seen = []
    advise(make_set(20, ((0, 0, 0, 40, 40),)), reach=lambda model: seen.append(model.input.hw))
    assert seen == [(384, 384)]


# Classes --------------------------------------------------------------------------------------------


def test_a_long_tail_is_repeated_and_its_epoch_is_counted_longer():
    box = (10, 10, 90, 90)
    train = make_set([[(0, *box)]] * 200 + [[(1, *box)]] * 2)
    found = {advice.key: advice for advice in advise(train)}
    assert found["data.repeat_threshold"].value == 0.05
    assert "1 classes lie in 2 images or fewer, the commonest in 200" in found["data.repeat_threshold"].reason
    # the two images are shown sqrt(.05 / (2 / 202)) = 2.2 times: 204 images
    assert "an epoch has 204 images" in found["train.batch_size"].reason
    assert "data.repeat_threshold" not in values(make_set([[(0, *box)]] * 190 + [[(1, *box)]] * 10))


def test_the_suggested_threshold_is_round_and_within_its_limits():
    assert [suggest_threshold(share) for share in (0.0002, 0.0234, 0.5)] == [0.001, 0.02, 0.05]


@pytest.mark.parametrize(
    "classes",
    [
        ("Left hand", "right hand"),
        ("turn_left", "straight", "turn_right"),
        ("hand_L", "hand_R"),
        ("Schuh links", "Schuh rechts"),
        ("左手", "右手"),
        tuple("0123456789"),
        ("plate", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ],
)
def test_sides_and_characters_are_not_mirrored(classes):
    assert why_not_flip(classes)
    (advice,) = (a for a in advise(make_set(20, classes=classes)) if a.key == "augment.flip")
    assert advice.value == 0


@pytest.mark.parametrize(
    "classes",
    [
        ("right", "wrong"),
        ("left",),
        ("lice", "rice"),  # no l of its own
        ("cleft", "ace"),
        ("0", "1", "2"),  # numbered, not named
        ("nine", "ten", "jack"),
        ("a", "b", "c"),
    ],
)
def test_other_names_are_mirrored(classes):
    assert why_not_flip(classes) is None
    assert "augment.flip" not in values(make_set(20, classes=classes))


# Settings -------------------------------------------------------------------------------------------


def test_every_choice_is_a_setting_that_a_recipe_takes(tmp_path):
    box = (10, 10, 40, 40)
    train = make_set([[(0, *box)]] * 200 + [[(1, *box)]] * 2, classes=("left", "right"))
    found = advise(train, make_set(9), start="detector", reach=lambda _: Bins())
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{}\n")
    config = load_config(recipe, [advice.setting for advice in found]).to_dict()
    assert len(found) == len({advice.key for advice in found}) == 9
    for advice in found:
        node = config
        for part in advice.key.split("."):
            node = node[part]
        assert node == advice.value
        assert advice.reason
        assert "\n" not in advice.reason
    assert Advice("model.input.hw", [416, 320], "").setting == "model.input.hw=[416,320]"


def test_what_the_user_sets_stays_and_the_rest_follows_from_it():
    config = Config(train=TrainConfig(batch_size=4, epochs=7))
    found = values(make_set(160), config=config, given={"train.batch_size"})
    assert "train.batch_size" not in found
    assert found["train.epochs"] == 100  # 40 updates an epoch
    found = values(make_set(160), config=config, given={"train.batch_size", "train.epochs"})
    assert "train.epochs" not in found
    assert found["train.warmup_steps"] == 56  # of 280 updates
    assert found["train.eval_every"] == 1


def test_the_start_is_what_the_recipe_names(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{}\n")
    assert start_of(load_config(recipe)) == "scratch"
    assert start_of(load_config(recipe, ["model.backbone.weights=a.pth"])) == "backbone"
    assert start_of(load_config(recipe, ["model.backbone.weights=a.pth", "train.init_from=b.pt"])) == "detector"
