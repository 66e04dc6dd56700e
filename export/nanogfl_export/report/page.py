"""The report's Markdown."""

import json
import shlex
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import onnx

from nanogfl.machine.timing import Timing
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE
from nanogfl_export.report.facts import Facts, operator_rows, rewritten

_LISTED_CLASSES = 12
_VERSIONS = ("nanogfl", "torch", "onnx", "onnxruntime")


def compose_page(facts: Facts, picture: str) -> str:
    """`picture`: the PNG's name; both files lie in one folder."""
    parity, card = facts.exported.parity, facts.exported.card
    height, width = card.input.hw
    parts = [
        f"# {facts.exported.path.name}: report of its export",
        f"{len(card.classes)} classes, input {height} x {width} (height x width), format `{card.format}`;"
        f" {facts.day.isoformat()}, {', '.join(f'{name} {card.source[name]}' for name in _VERSIONS)}.",
        f"**The file agrees with PyTorch** on {_inline(card.parity['on'])}:"
        f" {parity.matched} of {parity.detections} detections are the same, boxes differ by at most"
        f" {parity.box_px:.2g} px and scores by at most {parity.score:.2g}.",
        f"![The same pictures detected by PyTorch and by the file; operators; latency]({quote(picture)})",
        *_agreement(facts),
        *_graph(facts),
        *_latency(facts),
        "## The file",
        _table(("", ""), _about(facts)),
        "## To use it",
        _usage(facts.exported.path.name),
    ]
    return "\n\n".join(parts) + "\n"


def _agreement(facts: Facts) -> list[str]:
    parity = facts.exported.parity
    spread = [("spread, largest difference", f"{parity.spread_px:.3g} px", f"{BOX_TOLERANCE} px")]
    if parity.spread_px is None:
        spread = [("spread", "the boxes have none", "")]
    rows = [
        ("pictures compared", parity.images, "at least 1"),
        ("boxes, largest difference", f"{parity.box_px:.3g} px", f"{BOX_TOLERANCE} px"),
        *spread,
        ("scores, largest difference", f"{parity.score:.3g}", f"{SCORE_TOLERANCE}"),
        ("detections matched, one to one", f"{parity.matched} of {parity.detections}", "all but ties"),
        ("decided by a tie", parity.ties, f"{parity.allowed_ties}"),
    ]
    parts = [
        "## Agreement with PyTorch",
        "Every row that the file delivers is compared with PyTorch's same detection, in pixels of the network input,"
        " and so are the detections that the runtime makes of it; boxes, spread and scores are also compared at every"
        " grid point. A grid of the pictures and one without any object are compared beside them.",
        _table(("", "measured", "allowed"), rows),
    ]
    if parity.tie_rows:
        parts.append(
            "Ties, which rounding may decide either way (a score at a limit or equal to another, an overlap at the"
            " suppression's limit, and what follows from them):"
        )
        parts.append("\n".join(f"- {_inline(row)}" for row in parity.tie_rows))
    return parts


def _graph(facts: Facts) -> list[str]:
    exported = facts.exported
    before, after = len(exported.plain.graph.node), len(exported.model.graph.node)
    if rewritten(exported):
        sentence = f"{before} nodes before the rewrites, {after} after."
        table = _table(("operator", "before", "after"), [*operator_rows(exported), ("**all**", before, after)])
    else:
        sentence = f"{after} nodes; written without rewrites, so there is one column."
        rows = [(name, count) for name, _, count in operator_rows(exported)]
        table = _table(("operator", "nodes"), [*rows, ("**all**", after)])
    return ["## Nodes", f"{sentence} As in the file: onnxruntime fuses more when it opens it.", table]


def _latency(facts: Facts) -> list[str]:
    latency, versions = facts.latency, facts.exported.card.source
    height, width = latency.frame_hw
    rows = [("the file", *_milliseconds(latency.written))]
    how = "written without rewrites, so there is nothing to compare with"
    if latency.plain is not None and latency.gain is not None:
        gain = latency.gain
        how = (
            f"in turns; **{gain.p50:.2f} times as fast as without the rewrites** (half of the rounds between"
            f" {gain.q25:.2f} and {gain.q75:.2f})"
        )
        rows.insert(0, ("without rewrites", *_milliseconds(latency.plain)))
    return [
        "## Latency",
        f"From a frame to its detections (resize, network, selection): {_inline(latency.frame)}, {width}x{height},"
        f" {latency.written.rounds} rounds on {latency.machine}, onnxruntime {versions['onnxruntime']}; {how}.",
        _table(("ms", "p50", "p95", "min"), rows),
    ]


def _milliseconds(timing: Timing) -> tuple[str, str, str]:
    return f"{timing.p50:.2f}", f"{timing.p95:.2f}", f"{timing.min:.2f}"


def _about(facts: Facts) -> list[tuple[str, object]]:
    card, model = facts.exported.card, facts.exported.model
    selection, spec = card.selection, card.input
    names = ", ".join(card.classes[:_LISTED_CLASSES])
    more = len(card.classes) - _LISTED_CLASSES
    opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
    known = {*_VERSIONS, "checkpoint_sha256", "parameters", "macs"}
    return [
        ("size", f"{facts.file_bytes / 1e6:.2f} MB ({facts.file_bytes} bytes)"),
        ("SHA-256", f"`{facts.file_sha256}`"),
        ("classes", f"{len(card.classes)}: {names}" + (f" and {more} more" if more > 0 else "")),
        *(("input", _tensor(value)) for value in model.graph.input),
        ("resize to it", f"{spec.resize}, {card.interpolation}, {card.colour}"),
        ("normalised inside", f"(pixel - mean) / std, mean {_numbers(spec.mean)}, std {_numbers(spec.std)}"),
        *(("output", _tensor(value)) for value in model.graph.output),
        (
            "selection" if card.format == "detections" else "selection (by the runtime)",
            f"score above {selection.score}, suppression at IoU above {selection.iou}, {selection.candidates}"
            f" candidates, at most {selection.keep} kept",
        ),
        ("opset", opsets),
        ("parameters", f"{card.source['parameters'] / 1e6:.2f} M"),
        ("multiply-adds", f"{card.source['macs'] / 1e9:.2f} G a picture"),
        ("checkpoint's SHA-256", f"`{card.source['checkpoint_sha256']}`"),
        *((f"checkpoint: {key}", _fact(value)) for key, value in card.source.items() if key not in known),
    ]


def _tensor(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim)
    return f"`{value.name}` {kind} ({shape})"


def _usage(name: str) -> str:
    file = shlex.quote(name)
    return "\n".join(
        (
            "```",
            f"nanogfl detect {file} photo.jpg",
            f"nanogfl info {file}",
            f"nanogfl bench {file}",
            "```",
            "",
            "```python",
            "from nanogfl_deploy import Detector",
            "",
            f"detections = Detector({json.dumps(name, ensure_ascii=False)})(frame)  # frame: uint8 (h, w, 3), BGR",
            "```",
        )
    )


def _fact(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] + ["---:" if len(header) > 2 or header[0] else "---"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(_inline(str(cell)) for cell in line) + " |" for line in lines)


def _inline(text: str) -> str:
    """A name or sentence of others, without what would end a table's cell or its line."""
    return " ".join(text.split()).replace("|", "\\|")
