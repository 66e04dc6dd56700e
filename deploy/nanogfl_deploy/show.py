"""Where results go: a window, a picture, a folder of pictures, a video, a file of detections."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.atomic import atomic_path
from nanogfl.contract.detections import Detections
from nanogfl.contract.draw import draw_text
from nanogfl.contract.errors import UserError
from nanogfl.contract.frames import IMAGE_SUFFIXES
from nanogfl_deploy.sources import Pictures, Source

Picture = NDArray[np.uint8]
"""(h, w, 3) BGR, drawn on"""

_QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})


def window_problem() -> str | None:
    """Why no window can be opened, or None. Tried in a second process: OpenCV aborts the one that has no display."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    attempt = "import cv2; cv2.namedWindow('nanogfl'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", attempt], capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "OpenCV did not open a window on this display within 20 s"
    return None if done.returncode == 0 else "OpenCV cannot open a window on this display"


class Window:
    """A window of pictures; q, Esc or closing it ends."""

    def __init__(self, title: str) -> None:
        self._title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._sized = False

    def show(self, picture: Picture, status: str, wait: bool) -> bool:
        """The picture with `status` in its corner; `wait` for a key (pictures) or go on. False: the user ended it."""
        picture = picture.copy()
        draw_text(picture, status)
        if not self._sized:
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            self._sized = True
        cv2.imshow(self._title, picture)
        while True:  # in short waits: a window that the user closes would never deliver a key
            key = cv2.waitKey(50 if wait else 1)
            if key & 0xFF in _QUIT_KEYS and key != -1:
                return False
            if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
                return False
            if key != -1 or not wait:
                return True

    def close(self) -> None:
        cv2.destroyWindow(self._title)


def status_line(frames_per_second: float, model_ms: float, dropped: int) -> str:
    """What the window shows in its corner."""
    return f"{frames_per_second:.1f} FPS   model {model_ms:.1f} ms   dropped {dropped}"


class Saver(Protocol):
    """Keeps pictures. What is left at the path is complete or not there."""

    path: Path

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        """`seconds` since the start for a live source, else None."""

    def close(self, complete: bool) -> None:
        """`complete`: what was added is worth keeping."""


class PictureFile:
    """One picture."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        write_picture(self.path, picture)

    def close(self, complete: bool) -> None:
        pass


class PictureFolder:
    """One picture a frame, under the frame's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _make_folder(path)

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        file = self.path / name.replace("#", "_")
        write_picture(file if file.suffix.lower() in IMAGE_SUFFIXES else self.path / (file.name + ".jpg"), picture)

    def close(self, complete: bool) -> None:
        pass


class VideoFile:
    """An .mp4 under a temporary name until it is complete. A live source's frames are repeated to keep its pace."""

    def __init__(self, path: Path, frame_rate: float) -> None:
        self.path = path
        self._rate = frame_rate
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")  # OpenCV takes the format from the suffix
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0
        _make_folder(path.parent)

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        size = (picture.shape[1], picture.shape[0])
        if self._writer is None:
            self._size = size
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, size)
            if not self._writer.isOpened():
                raise UserError(f"{self.path} cannot be written as a video: check the folder and its permissions")
        if size != self._size:
            raise UserError(
                f"a video has frames of one size, {name} is {size[0]} x {size[1]} after"
                f" {self._size[0]} x {self._size[1]}: save into a folder"
            )
        due = self._written + 1 if seconds is None else math.floor(seconds * self._rate) + 1
        while self._written < due:
            self._writer.write(picture)
            self._written += 1

    def close(self, complete: bool) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if complete:
            os.replace(self._part, self.path)
        else:
            self._part.unlink(missing_ok=True)


class DetectionsFile:
    """One object a frame: .jsonl has one a line, .json is a list of them. `<name>.part` until it is complete."""

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        if path.suffix.lower() not in {".json", ".jsonl"}:
            raise UserError(f"detections are written to a .json or .jsonl, got {path}: name one of these")
        self.path = path
        self._names = class_names
        self._lines = path.suffix.lower() == ".jsonl"
        self._part = path.with_name(path.name + ".part")
        _make_folder(path.parent)
        try:
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self._part} cannot be written ({error.strerror}): check the folder") from None
        self._count = 0

    def add(self, name: str, frame_hw: tuple[int, int], detections: Detections) -> None:
        opening = "" if self._lines else ("[\n" if self._count == 0 else ",\n")
        self._file.write(opening + json.dumps(as_json(name, frame_hw, detections, self._names), ensure_ascii=False))
        self._file.write("\n" if self._lines else "")
        self._file.flush()
        self._count += 1

    def close(self, complete: bool) -> None:
        if not self._lines:
            self._file.write("[]\n" if self._count == 0 else "\n]\n")
        self._file.close()
        if complete:
            os.replace(self._part, self.path)
        else:
            self._part.unlink()


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


def write_picture(path: Path, picture: Picture) -> None:
    """Encodes by the suffix; a UserError where the folder does not take it."""
    good, content = cv2.imencode(path.suffix, picture)
    assert good, f"OpenCV refused to encode {path.suffix}"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())  # not cv2.imwrite: it cannot open non-ASCII paths on Windows


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made ({error.strerror}): name another place") from None


def kind_of(path: Path) -> Literal["video", "picture", "folder"]:
    """What a result's path asks for: .mp4 is a video, an image suffix a picture, anything else a folder."""
    if path.suffix.lower() == ".mp4" and not path.is_dir():
        return "video"
    return "picture" if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir() else "folder"


def open_saver(path: Path, source: Source) -> Saver:
    """What keeps `source`'s pictures at `path`; a UserError where they do not fit or would replace the source."""
    files = source.files if isinstance(source, Pictures) else [source.path] if source.path else []
    folders = {file.resolve().parent for file in files} if isinstance(source, Pictures) else set()
    if path.resolve() in folders | {file.resolve() for file in files}:
        raise UserError(f"results at {path} would replace the source: name another place")
    kind = kind_of(path)
    if kind == "folder":
        return PictureFolder(path)
    still = isinstance(source, Pictures)
    if kind == "picture":
        if isinstance(source, Pictures) and len(source.files) == 1:
            return PictureFile(path)
        raise UserError(f"{path} is one picture, the source has more: name a folder" + ("" if still else " or an .mp4"))
    if still:
        raise UserError(f"{path} is a video, the source is pictures: name a folder or an image file")
    return VideoFile(path, source.frame_rate or 25.0)


def default_place(source: Source) -> Path:
    """runs/detect/<source name>: a picture for an image, a folder for a folder, an .mp4 for a video or a camera."""
    name = source.name.replace(" ", "-")
    if isinstance(source, Pictures):
        return Path("runs/detect") / name
    return Path("runs/detect") / f"{Path(name).stem}.mp4"
