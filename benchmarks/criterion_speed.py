"""Time of assignment and loss of the three assigners, forward and backward, without a network.

python benchmarks/criterion_speed.py --threads 2

Random predictions and objects. The best and the median of --repeats runs; a table for people, one JSON line last.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

from nanogfl.config import HeadConfig, LossConfig
from nanogfl.data.truth import Truth
from nanogfl.loss.assign.assign import assign
from nanogfl.loss.criterion import losses_of_assignment
from nanogfl.model.boxes.decode import Grid, make_grid
from nanogfl.model.detector import Predictions, read_levels
from nanogfl.model.heads.layout import HeadLayout
from nanogfl_deploy.bench.machine import cpu_name

STRIDES = (8, 16, 32, 64)


def random_batch(
    batch_size: int, side: int, classes: int, objects: int, reg_max: int, device: torch.device
) -> tuple[torch.Tensor, Predictions, Grid, Truth]:
    """The first is what a head's levels are (one leaf), in whose memory order the predictions lie."""
    random = torch.Generator().manual_seed(0)
    grid = make_grid((side, side), STRIDES, 0.5)
    size = torch.exp(torch.rand(objects, 2, generator=random) * 3 + 2.5).clamp(max=side)
    corner = torch.rand(objects, 2, generator=random) * (side - size)
    truth = Truth(
        torch.cat((corner, corner + size), dim=1),
        torch.randint(classes, (objects,), generator=random),
        torch.randint(batch_size, (objects,), generator=random),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
    )
    count = len(grid.points)
    output = torch.randn(batch_size, classes + 4 * (reg_max + 1), 1, count, generator=random)
    output[:, :classes] -= 4
    output = output.to(device).requires_grad_()
    head = HeadConfig(reg_max=reg_max)
    predictions = read_levels([output], (count,), HeadLayout.of(head, classes))
    return (
        output,
        predictions,
        Grid(grid.points.to(device), grid.strides.to(device), grid.level_sizes, head),
        truth.to(device),
    )


def times(action: Callable[[], Any], repeats: int, device: torch.device) -> list[float]:
    """Milliseconds of each run, sorted."""
    found = []
    for _ in range(repeats + 2):  # two to warm up
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(1e3 * (time.perf_counter() - start))
    return sorted(found[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--side", type=int, default=320, help="of the square picture, pixels")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--objects", type=int, default=230, help="in the whole batch")
    parser.add_argument("--reg-max", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    output, predictions, grid, truth = random_batch(
        arguments.batch_size, arguments.side, arguments.classes, arguments.objects, arguments.reg_max, device
    )

    rows = []
    names: tuple[Literal["atss", "dsla", "tal"], ...] = ("atss", "dsla", "tal")
    for name in names:
        config = LossConfig(assigner=name)
        assignment = assign(predictions, grid, truth, config)
        losses = losses_of_assignment(predictions, grid, truth, assignment, config)

        def run_assign(config: LossConfig = config) -> object:
            return assign(predictions, grid, truth, config)

        def run_loss(config: LossConfig = config, assignment: Any = assignment) -> object:
            return losses_of_assignment(predictions, grid, truth, assignment, config)

        def run_backward(total: torch.Tensor = losses.total) -> object:
            return torch.autograd.grad(total, output, retain_graph=True)

        row: dict[str, Any] = {"assigner": name, "positives": int(losses.positives.item())}
        for part, action in (("assign", run_assign), ("loss", run_loss), ("backward", run_backward)):
            found = times(action, arguments.repeats, device)
            row |= {f"{part}_ms": round(found[0], 2), f"{part}_p50_ms": round(statistics.median(found), 2)}
        rows.append(row)

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}")
    print(
        f"batch {arguments.batch_size} x {len(grid.points)} points x {arguments.classes} classes,"
        f" {arguments.objects} objects; best (median) of {arguments.repeats}, ms"
    )
    print(f"{'':6}{'assign':>16}{'loss':>16}{'loss backward':>16}{'positives':>11}")
    for row in rows:
        cells = "".join(f"{row[f'{p}_ms']:8.1f} ({row[f'{p}_p50_ms']:5.1f})" for p in ("assign", "loss", "backward"))
        print(f"{row['assigner']:6}{cells}{row['positives']:11}")
    print(json.dumps({"device": where, "threads": torch.get_num_threads(), **vars(arguments), "rows": rows}))


if __name__ == "__main__":
    main()
