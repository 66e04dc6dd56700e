"""Classes that are much rarer than others: whether to show their images more often, and to weigh them otherwise."""

import numpy as np

from nanogfl.config import Config
from nanogfl.data.class_counts import images_per_class
from nanogfl.data.lint.finding import Example, Finding, Split
from nanogfl.data.order import EpochOrder

LONG = 20.0
"""ratio of the commonest to the rarest class, in images, from which a tail is long"""
THRESHOLDS = (0.001, 0.05)
"""least and most of the suggested repeat_threshold: LVIS's (arXiv:1908.03195), and configs/ablations/efl.yaml's"""


def check_tail(train: Split, config: Config, rare: int) -> list[Finding]:
    """A tail is long where the commonest class lies in LONG times as many images as the rarest that is used, and some
    lie in at most `rare` (LVIS: 10): COCO, in which the rarest class has hundreds, is none."""
    dataset = train.dataset
    counts = images_per_class(dataset)
    used = counts > 0
    few = np.flatnonzero(used & (counts <= rare))
    if not len(few) or counts.max() < LONG * counts[used].min():
        return []
    order = few[np.argsort(counts[few], kind="stable")]
    examples = tuple(
        Example("train", f"'{dataset.classes[label]}' in {counts[label]} of {len(dataset.images)} images")
        for label in order
    )
    ratio = counts.max() / counts[used].min()
    what = f"rare classes in a long tail (1 : {ratio:.0f})"
    if config.data.repeat_threshold > 0:
        advice = f"nothing to do: data.repeat_threshold {config.data.repeat_threshold:g} shows rare classes more often"
        return [Finding("note", "long-tail", what, advice, examples)]
    threshold = suggest_threshold(float(np.median(counts[used])) / len(dataset.images))
    repeated = EpochOrder(dataset, seed=0, repeat_threshold=threshold)
    advice = (
        f"data.repeat_threshold={threshold:g} shows the rarest {repeated.repeats.max():.1f} times an epoch"
        f" ({repeated.length} instead of {len(dataset.images)} images)"
    )
    if not config.loss.equalized:
        advice += "; compare loss.classification=eqfl with model.head.prior=0.001"
    return [Finding("warning", "long-tail", what, advice, examples)]


def suggest_threshold(median_share: float) -> float:
    """The median class's share of the images, as a round number: the rarer half of the classes is shown more often."""
    return float(f"{min(max(median_share, THRESHOLDS[0]), THRESHOLDS[1]):.0e}")
