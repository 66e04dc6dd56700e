"""Random numbers that are a hash of their place: uniform, and no place knows of another."""

import numpy as np
import pytest

from nanogfl.data.augment.draws import Role, layer_draws, picture_draws, position_keys
from tests.thinned import thinned

ROLES = list(Role)


def draws(seed=0, epoch=0, positions=range(4096)) -> np.ndarray:
    """(positions, 144): every draw of every place"""
    keys = position_keys(seed, epoch, np.array(positions))
    return np.concatenate([picture_draws(keys), layer_draws(keys, ROLES).reshape(len(keys), -1)], axis=1)


def by_hand(seed, epoch, position, number) -> float:
    """splitmix64 in whole numbers of Python."""
    mask = 2**64 - 1

    def mix(value):
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
        value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
        return value ^ value >> 31

    step, key = 0x9E3779B97F4A7C15, 0
    for part in (seed, epoch, position):
        key = mix(key + step + part & mask)
    return (mix(key + step * (number + 1) & mask) >> 11) / 2**53


def test_the_numbers_are_splitmix64s_on_every_machine():
    found = draws(7, 3, [0, 1, 999_999])
    for row, position in enumerate((0, 1, 999_999)):
        assert found[row].tolist() == [by_hand(7, 3, position, number) for number in range(144)]


def test_all_draws_are_uniform():
    every = draws()
    assert 0 <= every.min() < 1e-4
    assert 1 - 1e-4 < every.max() < 1
    counts = np.histogram(every, bins=1000, range=(0, 1))[0]
    expected = every.size / 1000
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared == pytest.approx(999, abs=5 * np.sqrt(2 * 999))
    # each draw by itself, too: mean 1/2, variance 1/12, five standard errors
    assert np.abs(every.mean(axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / 4096)
    assert np.abs(every.var(axis=0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / 4096)


@pytest.mark.parametrize("step", thinned([1, 2, 16, 256], 1, 16))
def test_neighbours_are_uncorrelated(step):
    """In seed, epoch, position and draw number: the correlation of 590,000 pairs, five standard errors."""
    base = draws(5, 9)
    pairs = {
        "seed": (base, draws(5 + step, 9)),
        "epoch": (base, draws(5, 9 + step)),
        "position": (base[:-step], base[step:]),
        "draw": (base[:, : -min(step, 100)], base[:, min(step, 100) :]),
        "seed and epoch swapped": (base, draws(9, 5)),
        "seed against epoch": (draws(5 + step, 9), draws(5, 9 + step)),
        "epoch against position": (draws(5, 9 + step)[:-step], base[step:]),
    }
    for name, (first, second) in pairs.items():
        correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(first.size), name


def test_a_layers_draws_do_not_depend_on_which_other_layers_are_drawn():
    keys = position_keys(1, 2, np.arange(5))
    every = layer_draws(keys, ROLES)
    assert np.array_equal(layer_draws(keys, [Role.MIXUP, Role.MOSAIC_2]), every[:, [Role.MIXUP, Role.MOSAIC_2]])


def test_no_two_draws_of_a_place_share_a_number():
    one = draws(positions=[0])[0]
    assert len(set(one.tolist())) == 144


def test_seeds_of_any_size_are_accepted():
    assert not np.array_equal(draws(2**63 + 1, positions=[0]), draws(1, positions=[0]))
