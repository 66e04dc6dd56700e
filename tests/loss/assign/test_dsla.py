"""DSLA is its author's rule: against a plain loop over pictures, with objects that hold no grid point among them."""

from itertools import pairwise

import pytest
import torch

from nanogfl.config import LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.assign.candidates import inside_objects
from nanogfl.loss.criterion import compute_losses
from nanogfl.model.boxes.decode import make_grid
from nanogfl.model.detector import Predictions
from tests import thinned as thin

CONFIG = LossConfig(assigner="dsla")


def scene(seed: int) -> tuple[Predictions, Truth]:
    """Three pictures with up to 10 objects of 2 to 60 pixels, about which some predictions lie."""
    numbers = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=numbers)

    count = seed % 11
    centre, size = uniform(count, 2) * torch.tensor([96.0, 64.0]), 2 * 30 ** uniform(count, 2)
    boxes = torch.cat((centre - size / 2, centre + size / 2), dim=1)
    labels, image = (uniform(count) * 3).long(), (uniform(count) * 3).long()
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    points = len(make_grid((64, 96), (8, 16, 32), 0.5).points)
    sharp = torch.randn(3, points, 4, 8, generator=numbers) * 3
    return Predictions(torch.randn(3, points, 3, generator=numbers) - 2, sharp), Truth(boxes, labels, image, *none)


@pytest.mark.parametrize("seeds", thin.seeds(50, 230))
def test_random_scenes_equal_the_plain_loop(brute_force, seeds):
    grid = make_grid((64, 96), (8, 16, 32), 0.5)
    compared = outside = between = contested = 0
    for seed in seeds:
        predictions, truth = scene(seed)
        slow = brute_force(predictions, grid, truth, CONFIG)
        if slow.margin < 1e-5:
            continue  # float32 and float64 may differ where two numbers nearly meet
        compared += 1
        found = assign(predictions, grid, truth, CONFIG)
        taken = found.positive
        places = zip(found.image[taken].tolist(), found.point[taken].tolist(), strict=True)
        owner = dict(zip(places, found.owner[taken].tolist(), strict=True))
        assert owner == slow.owner, seed
        inside = inside_objects(grid, truth)
        outside += sum(not inside[g, p] for (_, p), g in owner.items())
        between += sum(not inside[g].any() for g in set(owner.values()))
        contested += slow.contested
    share = len(seeds) / 230
    assert compared >= 200 * share
    assert outside > 100 * share
    assert between > 20 * share
    assert contested > 100 * share


def test_an_object_between_grid_points_learns_where_its_picture_has_a_point_inside_another():
    grid = make_grid((64, 96), (8, 16, 32), 0.5)
    tiny, large = [21.0, 21, 23, 23], [10.0, 10, 60, 60]
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    points = len(grid.points)
    predictions = Predictions(torch.zeros(2, points, 2), torch.zeros(2, points, 4, 8))
    truth = Truth(torch.tensor([tiny, large, tiny]), torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), *none)
    assert not inside_objects(grid, truth)[0].any()
    found = assign(predictions, grid, truth, CONFIG)
    assert set(found.owner[found.positive].tolist()) == {0, 1}  # in the second picture no point is inside any object
    losses = compute_losses(predictions, grid, truth, CONFIG)
    assert all(torch.isfinite(loss) for loss in losses)


def test_a_contested_point_goes_to_the_cheapest_object_of_its_picture_whether_it_wants_it_or_not():
    """The author takes the least cost over all objects of the picture, not over those that want the point."""
    grid = make_grid((32, 32), (8,), 0.5)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    found_one = False
    for seed in range(60):
        numbers = torch.Generator().manual_seed(seed)
        corner = torch.rand(5, 2, generator=numbers) * 16
        boxes = torch.cat((corner, corner + 6 + torch.rand(5, 2, generator=numbers) * 10), dim=1)
        predictions = Predictions(
            torch.randn(1, 16, 2, generator=numbers), torch.randn(1, 16, 4, 8, generator=numbers) * 2
        )
        zeros = torch.zeros(5, dtype=torch.long)
        found = assign(predictions, grid, Truth(boxes, zeros, zeros, *none), CONFIG)
        row = torch.arange(5)[:, None].expand(5, found.point.numel() // 5).reshape(-1)
        found_one |= bool((found.positive & (found.owner != row)).any())
        assert all(a != b for a, b in pairwise(sorted(found.point[found.positive].tolist())))
    assert found_one
