"""Writes blank_detections, blank_raw and blank_distributions .onnx: our contract around arithmetic done by hand.

python tests/golden/make_blank.py     (needs the package onnx; the tests that read the files do not)

The 64 x 96 input has N = 6 cells of 32 x 32, row by row. A cell's three scores (classes blue, green, red) are the
means of its channels / 255. Its box is the cell, with the right side moved to x1 + 16 + 16 * green: narrower for less
green. Its spread is (1, 2, 3, 4) * red. Cells do not overlap, so suppression removes nothing. `detections` keeps the
best K = 10 of the 18 pairs whose score is above .05. `raw` delivers each cell twice, the second time 1 pixel lower and
with .9 of the score: the client's suppression must remove those with IoU > .6.

`distributions` is `detections` with the four bins (R = 3, stride 8) of each side. Bin 0 lies at (8, 16) of the cell.
Left is bin 1, top and bottom are bin 2; right is bin 3 with probability green, else bin 1: 1 + 2 * green on average.
"""

import sys
from pathlib import Path

import onnx
import onnx.checker
import onnx.parser

from nanogfl.contract.card import METADATA_KEY, ModelCard
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec

CELLS = """
    pixels = Cast <to = 1> (image)
    planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
    means = AveragePool <kernel_shape = [32, 32], strides = [32, 32]> (planes)
    cells = Transpose <perm = [0, 2, 3, 1]> (means)
    cells_flat = Reshape (cells, cells_shape)
    cell_scores = Div (cells_flat, full)
    blue, green, red = Split <axis = 2, num_outputs = 3> (cell_scores)
    cell_boxes_wide = Mul (green, right_gain)
    cell_boxes = Add (cell_boxes_wide, cell_base)
    cell_spread = Mul (red, spread_gain)
"""
CONSTANTS = """
    int64[3] cells_shape = {0, 6, 3}, float[1] full = {255},
    float[1,1,4] right_gain = {0, 0, 16, 0}, float[1,1,4] spread_gain = {1, 2, 3, 4},
    float[1,6,4] cell_base = {0,0,16,32, 32,0,48,32, 64,0,80,32, 0,32,16,64, 32,32,48,64, 64,32,80,64}
"""
HEADER = '<ir_version: 9, opset_import: ["" : 18]>'

RAW = f"""{HEADER}
blank (uint8[B,64,96,3] image) => (float[B,12,4] boxes, float[B,12,3] scores, float[B,12,4] spread)
<{CONSTANTS}, float[1,1,4] lower = {{0, 1, 0, 1}}, float[1] less = {{0.9}}>
{{ {CELLS}
    second_boxes = Add (cell_boxes, lower)
    boxes = Concat <axis = 1> (cell_boxes, second_boxes)
    second_scores = Mul (cell_scores, less)
    scores = Concat <axis = 1> (cell_scores, second_scores)
    spread = Concat <axis = 1> (cell_spread, cell_spread)
}}
"""

DETECTIONS = f"""{HEADER}
blank (uint8[B,64,96,3] image) => (float[B,10,4] boxes, float[B,10] scores, int64[B,10] labels, float[B,10,4] spread)
<{CONSTANTS}, int64[2] pairs_shape = {{0, 18}}, int64[1] k = {{10}}, int64[1] classes = {{3}}, int64[1] last = {{2}},
 float[1] threshold = {{0.05}}, int64[1] none = {{-1}}, float[1] zero = {{0}}>
{{ {CELLS}
    pair_scores = Reshape (cell_scores, pairs_shape)
    best, pairs = TopK <axis = 1> (pair_scores, k)
    kept = Greater (best, threshold)
    scores = Where (kept, best, zero)
    class = Mod (pairs, classes)
    labels = Where (kept, class, none)
    cell = Div (pairs, classes)
    cell_column = Unsqueeze (cell, last)
    kept_column = Unsqueeze (kept, last)
    box_rows = GatherND <batch_dims = 1> (cell_boxes, cell_column)
    boxes = Where (kept_column, box_rows, zero)
    spread_rows = GatherND <batch_dims = 1> (cell_spread, cell_column)
    spread = Where (kept_column, spread_rows, zero)
}}
"""

DISTRIBUTIONS = (
    DETECTIONS.replace(
        "float[B,10,4] spread)", "float[B,10,4] spread, float[B,10,4,4] distributions, float[B,10,3] points)"
    )
    .replace(
        "int64[3] cells_shape",
        """float[1,1,4,4] right_bins = {0,0,0,0, 0,0,0,0, 0,-1,0,1, 0,0,0,0},
    float[1,1,4,4] least_bins = {0,1,0,0, 0,0,1,0, 0,1,0,0, 0,0,1,0}, float[1] naught = {0}, int64[1] end = {3},
    float[1,6,3] cell_points = {8,16,8, 40,16,8, 72,16,8, 8,48,8, 40,48,8, 72,48,8}, int64[3] cells_shape""",
    )
    .replace(
        "    cell_column =",
        """    green_column = Unsqueeze (green, end)
    moved_bins = Mul (green_column, right_bins)
    cell_bins = Add (moved_bins, least_bins)
    nothing = Mul (green, naught)
    every_point = Add (nothing, cell_points)
    cell_column =""",
    )
    .replace(
        "    spread = Where",
        """    bin_rows = GatherND <batch_dims = 1> (cell_bins, cell_column)
    kept_table = Unsqueeze (kept_column, end)
    distributions = Where (kept_table, bin_rows, zero)
    point_rows = GatherND <batch_dims = 1> (every_point, cell_column)
    points = Where (kept_column, point_rows, zero)
    spread = Where""",
    )
)


def write(name: str, graph: str, card: ModelCard) -> None:
    """Writes the graph with the card in its metadata, next to this script."""
    model = onnx.parser.parse_model(graph)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model, full_check=True)
    path = Path(__file__).parent / name
    path.write_bytes(model.SerializeToString())
    print(f"{path}: {path.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    for export_format, text in (("raw", RAW), ("detections", DETECTIONS), ("distributions", DISTRIBUTIONS)):
        card = ModelCard(
            classes=("blue", "green", "red"),
            category_ids=(1, 2, 7),
            input=InputSpec(hw=(64, 96), resize="letterbox", mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
            selection=Selection(keep=10),
            format="raw" if export_format == "raw" else "detections",
            has_spread=True,
            bins=4 if export_format == "distributions" else 0,
            parity={"max_box_px": 0.0, "max_score": 0.0},
            source={"made by": "tests/golden/make_blank.py"},
        )
        write(f"blank_{export_format}.onnx", text, card)
