"""Writes deploy/nanogfl_deploy/bench/peak.onnx, whose 1x1 convolutions `nanogfl bench` takes for this CPU's limit.

python benchmarks/make_peak_model.py     (needs the package onnx; bench does not)

A chain of 8 convolutions from 256 to 256 channels with bias, and no activation, of a free height and width. Its weights
are ConstantOfShape, which onnxruntime computes once when it opens the file: as fast as stored ones, in under 1 KB
instead of 260. All share one weight tensor (256 KiB), which stays in the cache. With 1/256 as the weight and a small
bias the values stay near 1: no denormal numbers. Of 128, 256 and 512 channels at 20, 28 and 40 pixels a side
all but the smallest came within 2 % of each other (108 to 111 GMAC/s on one core of an AMD EPYC with AVX-512).
"""

from pathlib import Path

import onnx
import onnx.checker
import onnx.parser

from nanogfl_deploy.bench.cpu_limit import CHANNELS, LAYERS, PEAK_FILE


def peak_model() -> bytes:
    """The file's content."""
    chain = "\n".join(f"    x{layer + 1} = Conv (x{layer}, weight, bias)" for layer in range(LAYERS))
    model = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 18]>
peak (float[1, {CHANNELS}, H, W] x0) => (float[1, {CHANNELS}, H, W] x{LAYERS})
<int64[4] weight_shape = {{{CHANNELS}, {CHANNELS}, 1, 1}}, int64[1] bias_shape = {{{CHANNELS}}}>
{{
    weight = ConstantOfShape <value = float[1] {{{1 / CHANNELS}}}> (weight_shape)
    bias = ConstantOfShape <value = float[1] {{0.01}}> (bias_shape)
{chain}
}}
""")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    content = peak_model()
    Path(PEAK_FILE).write_bytes(content)
    print(f"{PEAK_FILE.name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
