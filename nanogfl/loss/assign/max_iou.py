"""RetinaNet's assignment (arXiv:1708.02002, sec. 4): an anchor learns the object that it overlaps most, if enough."""

import torch
from torch import Tensor

from nanogfl.data.truth import Truth
from nanogfl.loss.assign.candidates import Assignment, canonical_rank, inside_ignored, sortable
from nanogfl.model.boxes.decode import Grid
from nanogfl.model.boxes.iou import box_iou

_LOW_BITS = 0xFFFFFFFF
_BEST = 1 << 30
"""above the bits of any float32 below 2, and so of any IoU"""


@torch.no_grad()
def max_iou_assignment(
    centres: Tensor,
    sizes: Tensor,
    truth: Truth,
    batch_size: int,
    *,
    positive: float = 0.5,
    negative: float = 0.4,
) -> Assignment:
    """Centres and sizes of anchors (N, 2) in pixels -> B * N pairs: each anchor of each image once, image by image.

    An anchor learns the object that it overlaps most, if the IoU is at least `positive`. An object's best anchors (all
    that share its largest IoU, if above 0) learn it in any case, as in Detectron and mmdetection; of several such
    objects the one that the anchor overlaps most. Equal IoUs go by `canonical_rank`. An anchor that learns nothing is
    ignored if its IoU is at least `negative`, or its centre is inside an ignored region. 0 < negative <= positive.

    A pair that is not positive has owner 0, even if there is no object 0, and quality 0; else quality is the IoU.
    """
    assert 0 < negative <= positive, (negative, positive)
    anchors, device = len(centres), centres.device
    reach = sizes / 2
    # Coordinates apart in memory, so that the arithmetic runs along N.
    boxes = torch.cat((centres - reach, centres + reach), dim=1).T.contiguous().T
    iou = box_iou(boxes, truth.boxes[:, None])  # (G, N)
    largest = iou.amax(dim=1, keepdim=True)
    best = (iou == largest) & (largest > 0)

    # Best or not, IoU and rank in one number, larger for the smaller rank: the largest bid wins without ties.
    rank = canonical_rank(truth)
    bid = ((best * _BEST + sortable(iou)) << 32) | (_LOW_BITS - rank)[:, None]
    nobody = torch.full((batch_size, anchors), _LOW_BITS, dtype=torch.long, device=device)  # IoU 0
    won = nobody.scatter_reduce(0, truth.image[:, None].expand(-1, anchors), bid, "amax").flatten()  # (B * N,)

    claim = won >> 32
    overlap = (claim & (_BEST - 1)).int().view(torch.float32)
    taken = (claim >= _BEST) | (overlap >= positive)
    by_rank = torch.cat((rank.argsort(), rank.new_zeros(1)))  # never empty
    owner = torch.where(taken, by_rank[_LOW_BITS - (won & _LOW_BITS)], 0)

    ignored = (overlap >= negative).view(batch_size, anchors)
    ignored = ignored | inside_ignored(Grid(centres, sizes[:, 0], ()), truth, batch_size)
    return Assignment(
        image=torch.arange(batch_size, device=device)[:, None].expand(-1, anchors).flatten(),
        point=torch.arange(anchors, device=device).expand(batch_size, -1).flatten(),
        owner=owner,
        positive=taken,
        quality=torch.where(taken, overlap, 0),
        ignored=ignored & ~taken.view(batch_size, anchors),
    )
