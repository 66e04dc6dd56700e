"""`nanogfl export --report`: one page for whoever has to trust the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from nanogfl.contract.detections import Detect
from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.machine.timing import measure
from nanogfl_export.export import Exported
from nanogfl_export.report.facts import Frames, Timed, gather_facts
from nanogfl_export.report.page import compose_page
from nanogfl_export.report.picture import compose_picture


@dataclass(frozen=True)
class Report:
    page: Path
    picture: Path


def report_paths(output: Path) -> Report:
    """`bccd.onnx` -> `bccd_report.md` and `bccd_report.png` beside it."""
    return Report(*(output.with_name(f"{output.stem}_report{suffix}") for suffix in (".md", ".png")))


def write_report(
    exported: Exported,
    pytorch: Detect,
    frames: Frames,
    *,
    open_device: Callable[[Path], Detect],
    machine: str,
    timed: Timed = measure,
) -> Report:
    """`frames`: the pictures that the gate compared on; `machine`: the processor and how many of its threads
    `open_device(path)` takes. Both files are written or neither; a report of an earlier file goes in any case.

    Raises UserError; the .onnx stays.
    """
    report = report_paths(exported.path)
    try:
        report.page.unlink(missing_ok=True)  # it told of the file that this one replaced
        report.picture.unlink(missing_ok=True)
        exported.parity.require()
        facts = gather_facts(exported, pytorch, frames, open_device=open_device, machine=machine, timed=timed)
        page, picture = compose_page(facts, report.picture.name), compose_picture(facts)
        with atomic_path(report.picture) as temporary_picture, atomic_path(report.page) as temporary_page:
            temporary_picture.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            temporary_page.write_text(page, encoding="utf-8")
    except (UserError, OSError) as error:
        raise UserError(f"{exported.path} is written and verified, but not its report: {error}") from error
    return report
