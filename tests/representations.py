"""Every representation of box and quality that a config allows, as heads of a tiny network."""

from itertools import product
from typing import get_args

from nanogfl.config import Box, HeadConfig, LossConfig, Quality

BOXES = [box for box in get_args(Box) if box != "deltas"]
QUALITIES = list(get_args(Quality))


def small_head(box: str, quality: str = "joint", **keys) -> HeadConfig:
    return HeadConfig(1, 3, 5, box=box, quality=quality, **keys)


PER_LEVEL = {f"{box}, {quality}": small_head(box, quality) for box, quality in product(BOXES, QUALITIES)}
DGQP = {
    "general, DGQP": small_head("general", dgqp=True, dgqp_top=3, dgqp_hidden=8),
    "general+dfl, DGQP": small_head("general+dfl", dgqp=True, bin_width=1.5),
}
RETINA = HeadConfig(1, kind="shared", box="deltas", quality="none", norm="none", point_offset=0.0)


def matching_loss(head: HeadConfig, **keys) -> LossConfig:
    """What a config with this head may be trained by."""
    fitting: dict = {} if head.quality == "joint" else {"classification": "fl"}
    if head.box == "deltas":
        fitting |= {"assigner": "max_iou", "box_weight": "none"}
    return LossConfig(**{**fitting, **keys})
