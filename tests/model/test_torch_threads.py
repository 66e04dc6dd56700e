"""torch's threads under a quota that it does not know."""

import pytest
import torch

from nanogfl.model import torch_threads
from nanogfl.model.torch_threads import limit_torch_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("allowed", "own_choice", "expected"), [(2, None, 2), (8, None, 3), (0, None, 3), (2, "3", 3)])
def test_torch_gets_no_more_threads_than_the_quota_unless_told(
    monkeypatch, three_threads, allowed, own_choice, expected
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own_choice:
        monkeypatch.setenv("OMP_NUM_THREADS", own_choice)
    monkeypatch.setattr(torch_threads, "compute_threads", lambda: allowed)
    limit_torch_threads()
    assert torch.get_num_threads() == expected
