"""AP of a checkpoint and of every file that it can be exported to: rewritten and as traced, `detections` and `raw`.

python benchmarks/export_ap.py CHECKPOINT --data val.json --images FOLDER

Every file passes the gate on the data set's first images. A table for people, one JSON line last.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import torch

from nanogfl.api.gate_images import gate_frames
from nanogfl.contract.card import ExportFormat
from nanogfl.data.readers.read import load_split
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl.machine.ort import onnxruntime
from nanogfl.model.predictor import load_predictor
from nanogfl_deploy.bench.machine import cpu_name
from nanogfl_deploy.runtime import Detector
from nanogfl_export.export import export_checkpoint

FORMATS: tuple[ExportFormat, ...] = ("detections", "raw")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="COCO json, VOC split list or data.yaml")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--gate-images", type=int, default=16)
    arguments = parser.parse_args()

    data = load_split(arguments.data, arguments.images)
    reference = evaluate(load_predictor(arguments.checkpoint), data).ap
    assert reference is not None
    rows: list[dict[str, object]] = [{"file": "checkpoint", "ap": reference, "difference": 0.0}]
    with tempfile.TemporaryDirectory() as folder:
        for output_format, rewrite in itertools.product(FORMATS, (True, False)):
            origin, frames = gate_frames(arguments.checkpoint, arguments.images, arguments.gate_images)
            exported = export_checkpoint(
                arguments.checkpoint,
                Path(folder) / "model.onnx",
                output_format=output_format,
                rewrite=rewrite,
                frames=frames,
                frames_origin=origin,
                open_device=Detector,
            )
            ap = evaluate(Detector(exported.path), data).ap
            assert ap is not None
            name = f"{output_format}, {'rewritten' if rewrite else 'as traced'}"
            rows.append({"file": name, "ap": ap, "difference": ap - reference, "parity": str(exported.parity)})

    print(
        f"{cpu_name()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {arguments.checkpoint.name}"
    )
    print(f"{'':<24}{'AP':>10}{'minus the checkpoint':>24}")
    for row in rows:
        print(f"{row['file']:<24}{row['ap']:10.6f}{row['difference']:+24.6f}")
    print(json.dumps({"checkpoint": arguments.checkpoint.name, "data": arguments.data.name, "rows": rows}))


if __name__ == "__main__":
    main()
