"""An exported .onnx as a function: frame -> detections. Needs onnxruntime; neither torch nor onnx."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.card import METADATA_KEY, ModelCard
from nanogfl.contract.detections import Detections, Sides, select, sides_at, to_source
from nanogfl.contract.input_spec import Placement
from nanogfl.contract.preprocess import preprocess
from nanogfl.errors import UserError
from nanogfl.io.printable import shortened
from nanogfl.io.read_file import is_file
from nanogfl.machine.ort import ORT_ERRORS, onnxruntime
from nanogfl.machine.threads import compute_threads

_KIND_OF = ("tensor(float)", "tensor(int64)")  # of most outputs, and of the labels
_NO_TEXT = "a name in its graph or metadata is not text in UTF-8"
_FATAL = 4  # log level: errors come as exceptions; onnxruntime would print them as well


@dataclass(frozen=True)
class Outputs:
    """The graph's outputs for one image, in network-input pixels. Format "raw" has scores (N, C) and no labels."""

    boxes: NDArray[np.float32]
    """(K, 4) or (N, 4) x1 y1 x2 y2"""
    scores: NDArray[np.float32]
    """(K,) or (N, C)"""
    labels: NDArray[np.int64] | None
    """(K,), -1 in unused rows"""
    spread: NDArray[np.float32] | None
    """(K, 4) or (N, 4) left, top, right, bottom"""
    sides: Sides | None = None
    """of the K rows; None where the file has no distributions"""


class Detector:
    """`detector(frame)` is `finish(run(prepare(frame)))`; each step can be called, and timed, by itself."""

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        """`threads`: onnxruntime's threads within an operator; None: one per core of this process, at most 16.

        Raises UserError for a file that cannot be loaded or was not written by `nanogfl export`.
        """
        self.path = Path(path)
        self._session = open_session(self.path, threads)
        try:
            self.card = _read_card(self._session, self.path)
            self.class_names = self.card.classes
            self.output_shapes: dict[str, list[int | str]] = {o.name: o.shape for o in self._session.get_outputs()}
            """name -> sizes as the file declares them; a word is a free size"""
            self._output_names = _check_graph(self._session, self.card, self.path)
        except UnicodeDecodeError:  # onnxruntime does not check names
            raise UserError(f"{self.path}: {_NO_TEXT}: export the checkpoint again") from None

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Frame uint8 (h, w, 3) BGR -> detections in the frame's pixels."""
        image, placement = self.prepare(frame)
        return self.finish(self.run(image), placement)

    def prepare(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Placement]:
        """Frame uint8 (h, w, 3) BGR -> network input uint8 (H, W, 3) BGR, and where the frame lies in it."""
        return preprocess(frame, self.card.input)

    def run(self, image: NDArray[np.uint8]) -> Outputs:
        """Network input uint8 (H, W, 3) -> the graph's outputs.

        Raises UserError where the graph fails or its outputs contradict its card.
        """
        try:
            values = self._session.run(self._output_names, {"image": image[None]})
        except ORT_ERRORS as error:
            reason = shortened(" ".join(str(error).split()), 300)
            raise UserError(f"{self.path} loads, but cannot be run ({reason}): export the checkpoint again") from None
        named = {name: value[0] for name, value in zip(self._output_names, values, strict=True)}
        self._check_outputs(named)
        sides = sides_at(named["distributions"], named["points"]) if self.card.bins else None
        return Outputs(named["boxes"], named["scores"], named.get("labels"), named.get("spread"), sides)

    def _check_outputs(self, named: dict[str, NDArray[Any]]) -> None:
        """Raises UserError where the outputs contradict the card: a graph may declare any shape, and a label is used as
        an index."""
        card, rows = self.card, named["boxes"].shape[:1]
        shapes: dict[str, tuple[int, ...]] = {
            "boxes": (*rows, 4),
            "scores": rows if card.format == "detections" else (*rows, len(card.classes)),
            "labels": rows,
            "spread": (*rows, 4),
            "distributions": (*rows, 4, card.bins),
            "points": (*rows, 3),
        }
        wrong = [f"{name} {value.shape}" for name, value in named.items() if value.shape != shapes[name]]
        labels = named.get("labels")
        if labels is not None and not wrong and labels.size and labels.max() >= len(card.classes):
            wrong = [f"the label {labels.max()} of {len(card.classes)} classes"]
        # a sum in float64 is finite if and only if all values are, and is quicker than testing each
        sums = {name: value.sum(dtype=np.float64) for name, value in named.items() if name != "labels"}
        wrong += [f"{name} that are not finite" for name, total in sums.items() if not np.isfinite(total)]
        if wrong:
            raise UserError(f"{self.path} delivers {', '.join(wrong)}, unlike its card: export the checkpoint again")

    def finish(self, outputs: Outputs, placement: Placement) -> Detections:
        """The graph's outputs -> detections in the source frame's pixels."""
        if outputs.labels is None:
            card = self.card
            found = select(
                outputs.boxes, outputs.scores, outputs.spread, card.selection, card.input.hw, sides=outputs.sides
            )
        else:
            rows = Detections(outputs.boxes, outputs.scores, outputs.labels, outputs.spread, outputs.sides)
            found = rows.take((outputs.labels >= 0) & (outputs.scores > 0))
        return to_source(found, placement)


def open_session(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    """A session with the options that all of ours have. Raises UserError for a file that onnxruntime cannot load."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not is_file(path):
        raise UserError(f"model {path} does not exist or is no file: check the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or compute_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Otherwise threads spin while they wait for the next frame (with 2 threads for all of a 10 ms pause) and slow down
    # other work, such as another model. Within a frame they still spin.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # One planned block for all activations took 12 MB more at 416 and was no faster.
    options.enable_mem_pattern = False
    try:
        # no second attempt, which would print and then fail on the same file
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except UnicodeDecodeError:
        raise UserError(f"{path}: {_NO_TEXT}: write it with `nanogfl export`") from None
    except ORT_ERRORS as error:
        reason = " ".join(str(error).split())  # one line
        raise UserError(
            f"{path} is not an .onnx that onnxruntime {onnxruntime.__version__} can load ({reason}):"
            " write it with `nanogfl export`"
        ) from None


def _read_card(session: onnxruntime.InferenceSession, path: Path) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise UserError(
            f"{path} is an .onnx that is not ours (its metadata has no key '{METADATA_KEY}'):"
            " use one written by `nanogfl export`"
        )
    try:
        return ModelCard.from_json(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _check_graph(session: onnxruntime.InferenceSession, card: ModelCard, path: Path) -> list[str]:
    """The names of the outputs that the card promises. Raises UserError where the graph contradicts its card."""
    height, width = card.input.hw
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    kind, shape = inputs.get("image", ("no such input", []))
    batch_fits = bool(shape) and (not isinstance(shape[0], int) or shape[0] == 1)
    if len(inputs) != 1 or kind != "tensor(uint8)" or not batch_fits or shape[1:] != [height, width, 3]:
        raise UserError(
            f"{path}: expected one input 'image' of uint8 (1 or any, {height}, {width}, 3) as its card says,"
            f" found {inputs}: export the checkpoint again with batch 1 or a free batch"
        )
    expected = ["boxes", "scores"] + ["labels"] * (card.format == "detections") + ["spread"] * card.has_spread
    expected += ["distributions", "points"] * (card.bins > 0)
    found = [output.name for output in session.get_outputs()]
    kinds = {output.name: output.type for output in session.get_outputs()}
    if odd := [f"{n} {kinds[n]}" for n in expected if kinds.get(n, _KIND_OF[n == "labels"]) != _KIND_OF[n == "labels"]]:
        raise UserError(f"{path}: its outputs {', '.join(odd)} are not of the types in its card's format: export again")
    if missing := [name for name in expected if name not in found]:
        raise UserError(f"{path}: its card promises the outputs {missing}, it has {found}: export the checkpoint again")
    return expected
