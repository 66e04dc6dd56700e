"""Time that `detect --spread` takes to draw one box with soft sides into a frame of 1280 x 720.

python benchmarks/draw_spread_speed.py

The median of --repeats drawings for each size of box and spread; a table for people, one JSON line last.
"""

import argparse
import json
import statistics
import time

import cv2
import numpy as np

from nanogfl.draw.boxes import line_width
from nanogfl.draw.spread import draw_soft_box
from nanogfl_deploy.bench.machine import cpu_name

BOXES = ((500, 300, 560, 380), (300, 200, 700, 600), (10, 10, 1270, 710))
SPREADS = (4, 12, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    cv2.setNumThreads(1)
    frame = np.full((720, 1280, 3), 90, np.uint8)
    results = []
    for box in BOXES:
        for spread in SPREADS:
            seconds = []
            for _ in range(repeats):
                start = time.perf_counter()
                draw_soft_box(
                    frame,
                    np.array(box, np.float32),
                    np.full(4, spread, np.float32),
                    (20, 200, 60),
                    line_width(720, 1280),
                )
                seconds.append(time.perf_counter() - start)
            results.append({"box": box, "spread_px": spread, "ms": round(statistics.median(seconds) * 1e3, 3)})
            print(f"{box[2] - box[0]:>5} x {box[3] - box[1]:<4} spread {spread:>2} px  {results[-1]['ms']:.2f} ms")
    print(json.dumps({"cpu": cpu_name(), "opencv": cv2.__version__, "threads": 1, "results": results}))


if __name__ == "__main__":
    main()
