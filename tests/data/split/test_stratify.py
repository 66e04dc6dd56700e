"""Which groups are for validation: on random groups of several classes each, and where groups are large."""

import numpy as np

from nanogfl.data.split.stratify import Weight, choose_groups


def drawn(random, groups, classes):
    weights = []
    for _ in range(groups):
        size = int(random.integers(1, 9))
        labels = np.sort(random.choice(classes, random.integers(1, 4), replace=False))
        weights.append(Weight(size, labels, random.integers(1, size + 1, len(labels))))
    return weights


def test_training_keeps_every_class_and_half_of_the_images():
    random = np.random.default_rng(0)
    missing = 0
    for _ in range(200):
        groups = drawn(random, 14, 8)
        val = choose_groups(groups, 8, 0.2)
        images = np.array([group.images for group in groups])
        assert 0 < images[val].sum() <= images.sum() / 2
        held = [
            {int(label) for g, v in zip(groups, val, strict=True) if v == side for label in g.labels} for side in (0, 1)
        ]
        assert held[1] <= held[0]
        several = {label for label in range(8) if sum(label in group.labels for group in groups) > 1}
        missing += len(several - held[1])
    assert missing < 0.06 * 200 * 8  # where its other groups hold the last of another class


def test_a_class_of_two_large_groups_is_on_both_sides():
    one = np.ones(1, np.int64)
    groups = [Weight(8, one * 0, one * 8), Weight(8, one * 0, one * 8), *(Weight(1, one, one) for _ in range(100))]
    val = choose_groups(groups, 2, 0.2)
    assert val[:2].sum() == 1
    assert 15 <= val[2:].sum() <= 20
