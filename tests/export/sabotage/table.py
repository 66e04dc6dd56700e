"""Every corruption of an export that is tried. A new kind of output gets its rows here, in the file of its kind."""

from tests.export.sabotage import batch, card, device, file, graph, rows, spread
from tests.export.sabotage.attempt import Corruption

CORRUPTIONS: list[Corruption] = [
    *rows.TABLE,
    *spread.TABLE,
    *graph.TABLE,
    *batch.TABLE,
    *file.TABLE,
    *card.TABLE,
    *device.TABLE,
]
