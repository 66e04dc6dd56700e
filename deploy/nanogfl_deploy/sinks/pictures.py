"""Results as pictures: one picture, a folder of them, or a video, by the path's suffix."""

import os
import re
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.images import IMAGE_SUFFIXES
from nanogfl.io.read_file import is_folder
from nanogfl_deploy.sinks.listing import DetectionsFile
from nanogfl_deploy.sinks.video_file import CODECS, VideoFile
from nanogfl_deploy.sources.capture import Source
from nanogfl_deploy.sources.open import VIDEO_SUFFIXES, Pictures

__all__ = ["DetectionsFile", "PictureFile", "PictureFolder", "Saver", "VideoFile", "open_saver", "write_picture"]

Picture = NDArray[np.uint8]
"""(h, w, 3) BGR, drawn on"""
_NO_PICTURES = frozenset({".json", ".jsonl", ".csv", ".txt", ".onnx", ".pt", ".pdf"})


class Saver(Protocol):
    """Saves pictures. The file at the path is complete or not there."""

    path: Path

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        """`seconds` since the start for a live source, else None."""

    def close(self, complete: bool) -> None:
        """`complete`: keep what was added."""


class PictureFile:
    """One picture."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        write_picture(self.path, picture)

    def close(self, complete: bool) -> None:
        pass


class PictureFolder:
    """One picture per frame, with the frame's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _make_folder(path)

    def add(self, name: str, picture: Picture, seconds: float | None) -> None:
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:  # a frame of a video: clip.mp4#000001
            name = "_".join(Path(name).name.rsplit("#", 1)) + ".jpg"
        write_picture(self.path / name, picture)

    def close(self, complete: bool) -> None:
        pass


def write_picture(path: Path, picture: Picture) -> None:
    """Encodes by the suffix and writes. Raises UserError where the format or the folder does not allow it."""
    try:
        good, content = cv2.imencode(path.suffix, picture)
    except cv2.error:
        good = False
    if not good:
        size = f"{picture.shape[1]} x {picture.shape[0]}"
        raise UserError(f"{path} cannot be written: no {path.suffix} holds {size} pixels; name a .png")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())  # not cv2.imwrite: it cannot open non-ASCII paths on Windows


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made ({error.strerror}): name another place") from None


def kind_of(path: Path) -> Literal["video", "picture", "folder"]:
    """The kind of result that a path names, by its suffix. Raises UserError for suffixes that cannot be written."""
    suffix = path.suffix.lower()
    if is_folder(path):
        return "folder"
    if suffix in CODECS:
        return "video"
    if suffix in IMAGE_SUFFIXES:
        return "picture"
    if suffix in VIDEO_SUFFIXES | _NO_PICTURES:
        raise UserError(f"--save cannot write a {suffix}, got {path}: name a folder, a picture or {', '.join(CODECS)}")
    return "folder"


def open_saver(path: Path, source: Source) -> Saver:
    """The saver for `source` at `path`. Raises UserError where they do not fit or it would replace the source."""
    files = source.files if isinstance(source, Pictures) else [source.path] if source.path else []
    taken = {os.path.realpath(file) for file in files}
    if isinstance(source, Pictures):
        taken |= {os.path.dirname(file) for file in taken} | {os.path.realpath(file.parent) for file in files}
    if os.path.realpath(path) in taken:
        raise UserError(f"results at {path} would replace the source: name another place")
    kind = kind_of(path)
    if kind == "folder":
        return PictureFolder(path)
    still = isinstance(source, Pictures)
    if kind == "picture":
        if isinstance(source, Pictures) and len(source.files) == 1:
            return PictureFile(path)
        raise UserError(f"{path} is one picture, the source has more: name a folder" + ("" if still else " or a video"))
    if still:
        raise UserError(f"{path} is a video, the source is pictures: name a folder or an image file")
    return VideoFile(path, source.frame_rate or 25.0)


def default_place(source: Source) -> Path:
    """runs/detect/<source name>: a picture for an image, a folder for a folder, an .mp4 for a video.

    An .mkv for a camera: it can be played even if the machine stops in the middle of the recording.
    """
    if isinstance(source, Pictures):
        return Path("runs/detect") / source.name.replace(" ", "-")
    if source.live:
        return Path("runs/detect") / (re.sub(r"[^A-Za-z0-9.]+", "-", source.name).strip("-.") + ".mkv")
    return Path("runs/detect") / f"{Path(source.name.replace(' ', '-')).stem}.mp4"
