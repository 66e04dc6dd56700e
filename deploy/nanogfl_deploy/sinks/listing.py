"""Detections as a file: .json or .jsonl."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl.io.read_file import is_folder
from nanogfl_deploy.sinks.part import Part


class DetectionsFile:
    """One object per frame: .jsonl has one per line, .json is a list of them. The name is temporary until `close`.

    The temporary file is valid after every frame: a full disk costs the later frames only, a kill only the file's name.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        if path.suffix.lower() not in {".json", ".jsonl"}:
            raise UserError(f"detections are written to a .json or .jsonl, got {path}: name one of these")
        if is_folder(path):
            raise UserError(f"detections cannot be written to {path}: it is a folder; name a file")
        self.path = path
        self._names = class_names
        self._is_list = path.suffix.lower() == ".json"
        self._closing = b"\n]\n" if self._is_list else b""
        self._count = 0
        self._end = 0
        """the position of the next frame, over the closing bracket"""
        self._part = Part(path)
        self._file = self._part.path.open("wb", buffering=0)
        if self._is_list:
            self._write(b"[" + self._closing)
            self._end = 1

    def add(self, name: str, frame_hw: tuple[int, int], detections: Detections, seconds: float | None = None) -> None:
        """Appends a frame, taken at `seconds` if that is known. Raises UserError where the disk is full."""
        content = as_json(name, frame_hw, detections, self._names)
        if seconds is not None:
            content["seconds"] = round(seconds, 3)
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        # a name that is not UTF-8 becomes a JSON escape, which Python's os.fsencode takes back
        entry = text.encode("utf-8", errors="backslashreplace")
        entry = (b",\n" if self._count else b"\n") + entry if self._is_list else entry + b"\n"
        try:
            self._write(entry + self._closing)
        except UserError:
            self._file.truncate(self._end)
            self._write(self._closing)
            raise
        self._end += len(entry)
        self._count += 1

    def close(self, complete: bool) -> None:
        """`complete`: the file gets its name; else nothing is left."""
        self._file.close()
        if complete:
            self._part.finish()
        else:
            self._part.drop()

    def _write(self, content: bytes) -> None:
        """Writes all of it behind the last frame, or raises UserError."""
        try:
            self._file.seek(self._end)
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}") from None


def as_json(name: str, frame_hw: tuple[int, int], detections: Detections, class_names: Sequence[str]) -> dict[str, Any]:
    """A frame's detections as plain values: boxes x1 y1 x2 y2 and spread in the frame's pixels, rounded to 1/100."""
    found = []
    for index, label in enumerate(detections.labels.tolist()):
        spread = None if detections.spread is None else [round(float(v), 2) for v in detections.spread[index]]
        found.append(
            {
                "box": [round(float(value), 2) for value in detections.boxes[index]],
                "score": round(float(detections.scores[index]), 5),
                "label": label,
                "class": class_names[label],
                "spread": spread,
            }
        )
    return {"source": name, "width": frame_hw[1], "height": frame_hw[0], "detections": found}
