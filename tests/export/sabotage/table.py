"""Every corruption of an export that is tried. A new kind of output gets its rows here, in the file of its kind."""

import random

from tests.export.sabotage import (
    batch,
    card,
    decode,
    device,
    device_frame,
    elsewhere,
    file,
    network,
    picture,
    rows,
    selecting,
    spread,
    values,
)
from tests.export.sabotage.attempt import Corruption

_MODULES = (
    *(values, rows, spread, picture, network, decode, selecting),
    *(elsewhere, batch, file, card, device_frame, device),
)
TABLES: list[list[Corruption]] = [module.TABLE for module in _MODULES]
CORRUPTIONS: list[Corruption] = [corruption for table in TABLES for corruption in table]


def sample(share: float) -> set[str]:
    """Names of this share of every table's corruptions, at least one of each; the same in every run."""
    draw = random.Random(20200604)
    chosen: set[str] = set()
    for table in TABLES:
        names = [corruption.name for corruption in table if not corruption.reported]
        chosen.update(draw.sample(names, max(1, round(share * len(names)))))
    return chosen
