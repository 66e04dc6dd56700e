"""Gradients of the network's bf16 depthwise convolutions on a CPU: torch's own beside those of model/depthwise.py.

python benchmarks/depthwise_speed.py --threads 1
"""

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nanogfl.machine.timing import measure
from nanogfl.model.depthwise import DepthwiseConv2d
from nanogfl_deploy.bench.machine import cpu_name

# channels, side of the input, kernel, stride: of ShuffleNetV2 1.0x + GhostPAN at 320 x 320
LAYERS = (
    (24, 80, 3, 2),
    (116, 40, 3, 2),
    (232, 20, 3, 2),
    (96, 40, 5, 1),
    (192, 40, 5, 1),
    (96, 20, 5, 1),
    (96, 40, 5, 2),
)


def both_ways(layer: nn.Conv2d, x: Tensor) -> Callable[[], None]:
    """Forward and backward of the layer in bf16."""
    with torch.autocast("cpu", torch.bfloat16):
        grad = torch.randn_like(layer(x))

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.backward(grad)
        x.grad = layer.weight.grad = None

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    print(f"{cpu_name()}, {arguments.threads} threads, torch {torch.__version__}, batch {arguments.batch}, bf16")
    print("channels  input  kernel  stride   torch ms   ours ms   ratio   (forward + backward, median)")
    rows = []
    for channels, side, kernel, stride in LAYERS:
        ours = DepthwiseConv2d(channels, kernel, stride)
        plain = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        x = torch.randn(arguments.batch, channels, side, side).bfloat16().to(memory_format=torch.channels_last)
        x.requires_grad_()
        timing = measure({"torch": both_ways(plain, x), "ours": both_ways(ours, x)}, arguments.rounds, warmup=2)
        theirs, own = timing["torch"].p50, timing["ours"].p50
        rows.append({"layer": [channels, side, kernel, stride], "torch_ms": theirs, "ours_ms": own})
        print(f"{channels:8}  {side:5}  {kernel:6}  {stride:6}  {theirs:9.2f}  {own:8.2f}  {theirs / own:6.1f}")
    print(json.dumps({"machine": cpu_name(), "threads": arguments.threads, "rows": rows}))


if __name__ == "__main__":
    main()
