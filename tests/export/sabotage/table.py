"""Every corruption of an export that is tried. A new kind of output gets its rows here, in the file of its kind."""

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

CORRUPTIONS: list[Corruption] = [
    *values.TABLE,
    *rows.TABLE,
    *spread.TABLE,
    *picture.TABLE,
    *network.TABLE,
    *decode.TABLE,
    *selecting.TABLE,
    *elsewhere.TABLE,
    *batch.TABLE,
    *file.TABLE,
    *card.TABLE,
    *device_frame.TABLE,
    *device.TABLE,
]
