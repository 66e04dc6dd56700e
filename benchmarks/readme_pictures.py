"""The two photographs of the README: boxes, and the spread of each side.

nanogfl import-nanodet nanodet-plus-m_416.ckpt -o plus416.pt
nanogfl export plus416.pt --images DATA/coco_mini/val
python benchmarks/readme_pictures.py plus416.onnx --images DATA/coco_mini/val

The photographs are CC BY 2.0 (docs/attribution.md). Look at the pictures after writing them.
"""

import argparse
from pathlib import Path

import cv2

from nanogfl.draw.boxes import draw_detections
from nanogfl.io.images import read_frame
from nanogfl_deploy import Detector

ROOT = Path(__file__).parents[1]
PICTURES = (  # written file, photograph, least score shown, spread drawn
    ("boxes.jpg", "000000423617.jpg", 0.7, False),
    ("spread.jpg", "000000261888.jpg", 0.55, True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    detector = Detector(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, photograph, least, spread in PICTURES:
        frame = read_frame(options.images / photograph)
        found = detector(frame).above(least)
        picture = draw_detections(frame, found, detector.class_names, show_spread=spread)
        cv2.imwrite(str(options.output / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
        shown = ", ".join(
            f"{detector.class_names[label]} {score:.2f}"
            for label, score in zip(found.labels, found.scores, strict=True)
        )
        print(f"{options.output / name}: {shown}; {(options.output / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
