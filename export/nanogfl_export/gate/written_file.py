"""The written file as any client runs it: by onnxruntime and the card in its metadata alone."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.card import METADATA_KEY, ModelCard
from nanogfl.errors import UserError
from nanogfl.io.printable import shortened
from nanogfl.machine.ort import ORT_ERRORS, onnxruntime
from nanogfl.machine.threads import compute_threads

Outputs = dict[str, NDArray[Any]]


class WrittenFile:
    """An onnxruntime session of a written .onnx."""

    def __init__(self, content: Path | bytes) -> None:
        """`content`: a path, or a model's bytes. Raises UserError where onnxruntime cannot load it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = compute_threads()
        options.log_severity_level = 4  # errors come as exceptions
        source = content if isinstance(content, bytes) else str(content)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as error:
            raise _refused("be loaded", error) from None
        self.names = [output.name for output in self._session.get_outputs()]
        batch = self._session.get_inputs()[0].shape[0]
        self.free_batch = not isinstance(batch, int)

    def card(self) -> ModelCard:
        """The card in the metadata. Raises UserError where there is none."""
        return ModelCard.from_json(self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, ""))

    def run(self, images: NDArray[np.uint8]) -> list[Outputs]:
        """Network inputs uint8 (B, H, W, 3) -> name and value of every output, per picture. Raises UserError."""
        try:
            values = self._session.run(self.names, {"image": images})
        except ORT_ERRORS as error:
            raise _refused("be run", error) from None
        short = [name for name, value in zip(self.names, values, strict=True) if len(value) != len(images)]
        if short:
            raise UserError(f"the .onnx delivers {short[0]} for fewer pictures than it got; no file was written")
        return [dict(zip(self.names, (value[i] for value in values), strict=True)) for i in range(len(images))]


def _refused(what: str, error: Exception) -> UserError:
    reason = shortened(" ".join(str(error).split()), 300)
    return UserError(
        f"the .onnx cannot {what} by onnxruntime {onnxruntime.__version__} ({reason}); no file was written"
    )
