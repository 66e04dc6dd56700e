"""How the tests read an assignment: one object per image and point, or none."""

import torch
from torch import Tensor

from nanogfl.loss.assign.candidates import Assignment


def truth_index(assignment: Assignment) -> Tensor:
    """(B, N) the object of the batch's flat list that a point learns; -1: none."""
    index = torch.full((assignment.ignored.numel() + 1,), -1, dtype=torch.long, device=assignment.image.device)
    return index.scatter(0, assignment.slot(), assignment.owner)[:-1].view(assignment.ignored.shape)
