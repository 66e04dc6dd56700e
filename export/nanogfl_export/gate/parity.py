"""The result of the gate: how far the written file is from PyTorch, and what is allowed."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nanogfl.errors import UserError
from nanogfl_export.gate.tolerances import BOX_TOLERANCE, SCORE_TOLERANCE, TIE_LEAST, TIE_SHARE


@dataclass
class Parity:
    """The largest differences over all pictures."""

    images: int = 0
    """the given ones; a grid of them and plain pictures are compared in addition"""
    box_px: float = 0.0
    spread_px: float | None = None
    """None where boxes have no spread"""
    score: float = 0.0
    points_px: float | None = None
    """of the positions of a distribution's bins; None, like `probability`, where the file has no distributions"""
    probability: float | None = None
    detections: int = 0
    """PyTorch's, on the given images"""
    matched: int = 0
    """of them, those that the device delivers as well"""
    ties: int = 0
    """rows that only one side delivers, because rounding decides them"""
    nothing_found: bool = False
    """a picture in which PyTorch finds nothing was compared"""
    unexplained: list[str] = field(default_factory=list)
    tie_rows: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The fields for the card, without `unexplained`: no file is written if a row is unexplained."""
        return {key: value for key, value in asdict(self).items() if key != "unexplained" and value is not None}

    def __str__(self) -> str:
        parts = [f"boxes {self.box_px:.2g} px"]
        parts += [] if self.spread_px is None else [f"spread {self.spread_px:.2g} px"]
        parts += [f"scores {self.score:.2g}"]
        if self.probability is not None:
            parts += [f"probabilities {self.probability:.2g}", f"their places {self.points_px:.2g} px"]
        return (
            f"{self.images} images, largest differences: {', '.join(parts)};"
            f" {self.matched} of {self.detections} detections matched, {self.ties} ties"
        )

    def require(self) -> "Parity":
        """Returns itself. Raises UserError with the differences where they exceed what is allowed."""
        pixels = [self.box_px, self.spread_px, self.points_px]
        shares = [self.score, self.probability]
        # written so that NaN fails, too
        near = all(value <= BOX_TOLERANCE for value in pixels if value is not None)
        if not (near and all(value <= SCORE_TOLERANCE for value in shares if value is not None)):
            raise UserError(
                f"the .onnx does not agree with PyTorch ({self}; allowed: {BOX_TOLERANCE} px and {SCORE_TOLERANCE});"
                " no file was written"
            )
        if self.unexplained or self.ties > self.allowed_ties:
            rows = self.unexplained or self.tie_rows
            raise UserError(
                f"the .onnx detects differently from PyTorch ({self}; {'; '.join(rows[:3])}); no file was written"
            )
        return self

    @property
    def allowed_ties(self) -> int:
        return max(TIE_LEAST, int(TIE_SHARE * self.detections))

    def saw(self, **measured: float) -> None:
        """Raises the named fields to these values where they are larger; NaN stays."""
        for name, value in measured.items():
            so_far = getattr(self, name)
            if so_far is not None or value != 0:  # None: the model has none, which a difference contradicts
                setattr(self, name, float(np.maximum(so_far or 0.0, value)))  # np.maximum hands NaN on
