"""The arithmetic of train.minutes: what is planned takes the time that was asked for, and anneals."""

import itertools
import math
from dataclasses import replace

import pytest

from nanogfl.config import Config, LossConfig, TrainConfig
from nanogfl.data.augment.plan import is_plain
from nanogfl.errors import UserError
from nanogfl.recipe import load_config
from nanogfl.training.minutes.plan import REPLANS, Costs, is_due, plan, plan_again
from nanogfl.training.optim import learning_rate, warmup_updates

VOC = {"pass_batches": 527, "images": 4952}
BCCD = {"pass_batches": 18, "images": 72}
CARDS = {"pass_batches": 1, "images": 4}
SMALL = Costs(batch=0.4, image=0.02, pictures=1.0, ending=0.1)


def planned(minutes: float, costs: Costs = SMALL, spent=8.0, reserve=0.0, data=BCCD, config=None, **train) -> Config:
    config = config or Config()
    config = replace(config, train=replace(config.train, minutes=minutes, **train))
    return plan(config, costs, spent=spent, reserve=reserve, **data)


def seconds(config: Config, costs: Costs, data: dict[str, int], first: int = 0) -> float:
    """Of the epochs from `first` on, one after the other."""
    train, taken = config.train, 0.0
    for epoch in range(first + 1, train.epochs + 1):
        taken += (train.epoch_batches or data["pass_batches"]) * costs.batch + costs.ending
        if epoch % train.eval_every == 0 or epoch == train.epochs:
            taken += (train.eval_images or data["images"]) * costs.image + costs.pictures
    return taken


def rates(config: Config, data: dict[str, int]) -> list[float]:
    each = -(-(config.train.epoch_batches or data["pass_batches"]) // config.train.accumulate)
    total = each * config.train.epochs
    return [learning_rate(update, total, config.train) for update in range(total)]


CASES = [
    (minutes, Costs(batch, image, 1.0, ending), data, accumulate)
    for minutes, batch, image, ending, data, accumulate in itertools.product(
        (1, 2, 5, 15, 600), (0.02, 0.3, 1.1), (0.003, 0.03), (0.02, 0.4), (VOC, BCCD, CARDS), (1, 4)
    )
]


def test_the_parts_of_a_run_add_up_to_the_time_that_was_asked_for():
    possible = 0
    for minutes, costs, data, accumulate in CASES:
        try:
            config = planned(minutes, costs, reserve=5.0, data=data, accumulate=accumulate)
        except UserError:
            assert minutes <= 2, (minutes, costs, data)
            continue
        possible += 1
        taken = 8.0 + 5.0 + seconds(config, costs, data)
        assert taken == pytest.approx(60 * minutes, rel=0.06), (minutes, costs, data, accumulate, config.train)
    assert possible > 0.9 * len(CASES)


def test_every_plan_warms_up_anneals_and_ends_without_mosaic():
    for minutes, costs, data, accumulate in CASES[:: len(CASES) // 24]:
        try:
            config = planned(min(minutes, 15), costs, data=data, accumulate=accumulate)
        except UserError:
            continue
        train, found = config.train, rates(config, data)
        peak = found.index(max(found))
        assert peak == warmup_updates(len(found), train) <= len(found) / 5
        assert max(found) == pytest.approx(train.lr, rel=0.02)
        assert found[-1] <= train.lr * (train.final_lr + 0.01)
        assert is_plain(config.augment, train.epochs - 1, train.epochs)
        assert not is_plain(config.augment, train.epochs // 2, train.epochs)


def test_less_than_a_pass_over_a_large_set_has_epochs_all_the_same():
    train = planned(2, Costs(0.6, 0.005, 1.0, 0.1), data=VOC).train
    assert 100 < train.epochs * train.epoch_batches < VOC["pass_batches"]
    assert train.epochs >= 10


def test_a_tiny_set_has_several_passes_in_an_epoch_and_a_usual_one_a_pass():
    tiny, usual = planned(2, data=CARDS).train, planned(15, data=BCCD).train
    assert tiny.epoch_batches > CARDS["pass_batches"]
    assert 10 <= tiny.epochs <= 40
    assert usual.epoch_batches == 0
    assert usual.epochs == pytest.approx(880 / 7.3, rel=0.12)  # evaluations take up to a tenth


def test_with_accumulation_every_update_of_a_planned_epoch_has_as_many_batches():
    train = planned(2, data=VOC, accumulate=4).train
    assert train.epoch_batches % 4 == 0


@pytest.mark.parametrize("minutes", [1, 2, 15])
def test_evaluations_are_few_in_short_runs_and_take_a_part_of_the_images_where_all_take_too_long(minutes):
    few = planned(minutes).train
    evaluations = math.ceil(few.epochs / few.eval_every)
    assert 1 <= evaluations <= 10
    assert few.eval_images == 0
    assert evaluations == 1 or evaluations * 2.44 <= 6 * minutes
    slow = planned(minutes, Costs(0.2, 0.1, 1.0, 0.05), data=VOC).train
    assert slow.eval_every == slow.epochs
    assert slow.eval_images * 0.1 <= max(10, 15 * minutes)
    assert slow.eval_images >= 50


def test_too_little_time_is_refused_and_the_least_that_is_named_is_enough():
    for costs, data, reserve in itertools.product((SMALL, Costs(1.5, 0.2, 2.0, 0.5)), (VOC, BCCD, CARDS), (0.0, 30.0)):
        with pytest.raises(
            UserError, match=r"train\.minutes 0\.05 is too short here: the start took 8\.0 s.*least"
        ) as e:
            planned(0.05, costs, reserve=reserve, data=data)
        least = float(str(e.value).rpartition(" ")[2])
        train = planned(least, costs, reserve=reserve, data=data).train
        assert train.epochs * (train.epoch_batches or data["pass_batches"]) >= 20
        with pytest.raises(UserError):
            planned(least - 0.11, costs, reserve=reserve, data=data)


@pytest.mark.parametrize("minutes", ["nan", "-1", "1e9", ".inf", "-.inf"])
def test_minutes_that_mean_nothing_are_no_setting(minutes):
    with pytest.raises(UserError, match=r"train\.minutes must be at (least 0|most 100000), got"):
        load_config("quickstart", (f"train.minutes={minutes}",))
    with pytest.raises(ValueError, match=r"minutes must be at (least 0|most 100000), got"):
        TrainConfig(minutes=float(minutes.replace(".", "")))


def test_the_longest_run_that_can_be_asked_for_has_a_plan():
    train = planned(100_000, Costs(0.01, 0.001, 0.5, 0.05), data=CARDS).train
    assert train.epochs <= 1000
    assert train.epochs * train.epoch_batches * 0.01 == pytest.approx(6e6, rel=0.05)


def test_a_schedule_by_milestones_cannot_be_planned():
    with pytest.raises(ValueError, match="set schedule to cosine"):
        TrainConfig(minutes=2, schedule="step", milestones=(8,))


def test_the_auxiliary_branch_is_let_go_after_the_same_share_of_the_epochs():
    loss = LossConfig(assigner="dsla", assist=True)  # after 10 of 100 epochs
    config = planned(15, data=BCCD, config=Config(loss=loss))
    assert config.loss.assist_detach_epochs == round(config.train.epochs / 10)
    assert planned(15, data=BCCD).loss == LossConfig()


def drive(config: Config, costs: Costs, data: dict[str, int], slower: dict[float, float]) -> tuple[Config, float, int]:
    """A run whose batches take `slower[place]` times as long from that share of the time on -> what it ended with."""
    asked, spent, plans, epoch, past = 60 * config.train.minutes, 8.0, 0, 0, []
    while epoch < config.train.epochs:
        factor = [by for place, by in slower.items() if spent >= place * asked][-1]
        now = costs._replace(batch=costs.batch * factor, image=costs.image * factor)
        one = replace(
            config, train=replace(config.train, epochs=epoch + 1, pace=(), eval_every=config.train.epochs + 1)
        )
        evaluated = not (epoch + 1) % config.train.eval_every or epoch + 1 == config.train.epochs
        evaluation = (config.train.eval_images or data["images"]) * now.image + now.pictures
        taken = seconds(one, now, data, first=epoch) - evaluation
        spent, epoch = spent + taken + evaluated * evaluation, epoch + 1
        past.append(rates(config, data)[: epoch * (config.train.epoch_batches or data["pass_batches"])])
        if is_due(config.train, epoch):
            new = plan_again(config, epoch, left=asked - spent, epoch=taken, evaluation=evaluation)
            plans, config = plans + (new != config), new
    final = rates(config, data)
    for before in past:  # the run of the last plan is the one that was trained
        assert before == final[: len(before)]
    return config, spent, plans


@pytest.mark.parametrize("data", [VOC, BCCD, CARDS])
@pytest.mark.parametrize(
    "slower",
    [
        {0: 1.0},
        {0: 1.3},
        {0: 0.6},
        {0: 1.0, 0.2: 2.0},
        {0: 1.0, 0.5: 0.5},
        {0: 1.0, 0.3: 3.0, 0.5: 1.0},
        {0: 1.0, 0.75: 1.7},
    ],
)
def test_a_run_whose_machine_becomes_slower_or_faster_is_planned_again_and_anneals_in_time(data, slower):
    config, spent, plans = drive(planned(5, data=data), SMALL, data, slower)
    assert spent == pytest.approx(300, rel=0.10)
    assert plans <= len(REPLANS)
    if planned(5, data=data).train.eval_every >= planned(5, data=data).train.epochs:
        assert config.train.eval_every == config.train.epochs
    assert not plans or slower != {0: 1.0}
    found = rates(config, data)
    after_warm_up = found[found.index(max(found)) :]
    assert all(later <= earlier for earlier, later in itertools.pairwise(after_warm_up))
    assert max(earlier - later for earlier, later in itertools.pairwise(after_warm_up)) < 0.1 * config.train.lr
    assert found[-1] <= config.train.lr * (config.train.final_lr + 0.02)


def test_a_walk_at_another_pace_ends_where_the_schedule_ends():
    train = TrainConfig(epochs=30, pace=((8, 20), (20, 26)))
    assert [train.walked(done, 5) for done in (0, 17, 40)] == [(0, 100), (17, 100), (40, 100)]
    assert train.walked(100, 5)[0] == pytest.approx(40 + 60 * 12 / 18)
    assert train.walked(125, 5)[0] == pytest.approx(80 + 20 / 2)
    assert train.walked(150, 5)[0] == pytest.approx(100)
    assert TrainConfig(epochs=30).walked(7, 3) == (7, 90)


@pytest.mark.parametrize("pace", [((0, 5),), ((5, 5),), ((8, 20), (8, 22)), ((9, 20), (8, 22)), ((40, 50),)])
def test_a_pace_that_no_plan_writes_is_no_setting(pace):
    with pytest.raises(ValueError, match="pace must hold pairs"):
        TrainConfig(epochs=40, pace=pace)
