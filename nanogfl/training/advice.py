"""The advice of `nanogfl.data.advice` with the reach of a head's bins, which needs torch."""

from collections.abc import Callable, Collection
from functools import cache

from nanogfl.config import Config, ModelConfig
from nanogfl.data.advice.advise import Advice, advise, start_of
from nanogfl.data.advice.schedule import Start
from nanogfl.data.dataset import DataSet
from nanogfl.loss.reach import ReachReport, measure_reach
from nanogfl.model.detector import build_detector
from nanogfl.training.datasets import plain_truths


def reach_on(train: DataSet, config: Config) -> Callable[[ModelConfig], ReachReport | None]:
    """Measures how far the bins of a model reach on up to 1,024 training images, once per model; None: its head has no
    distributions."""

    @cache
    def measure(model: ModelConfig) -> ReachReport | None:
        if not model.head.bins:
            return None
        grid = build_detector(model, len(train.classes)).grid
        return measure_reach(grid, plain_truths(train, model.input), config.loss)

    return measure


def advise_training(
    train: DataSet,
    val: DataSet | None,
    config: Config,
    *,
    start: Start | None = None,
    given: Collection[str] = (),
    reach: Callable[[ModelConfig], ReachReport | None] | None = None,
) -> tuple[Advice, ...]:
    """`advise` with model.head.reg_max. `start`: by default what `config` says; `reach`: of an earlier `reach_on`."""
    return advise(
        train, val, config=config, start=start or start_of(config), given=given, reach=reach or reach_on(train, config)
    )
