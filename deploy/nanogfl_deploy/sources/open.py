"""Sources of frames: an image, a folder of images, a video, a camera, a stream. All iterate over (name, frame)."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from nanogfl.errors import UserError
from nanogfl.io.images import IMAGE_SUFFIXES, read_picture
from nanogfl.io.read_file import is_file, is_folder
from nanogfl_deploy.sources.camera import Camera
from nanogfl_deploy.sources.capture import Capture, Frame, Source, open_capture
from nanogfl_deploy.sources.video import Video

__all__ = ["Camera", "Capture", "Frame", "Pictures", "Source", "Video", "open_source"]

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"})
_UNKNOWN_IMAGES = frozenset({".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".raw", ".dng"})
_STREAMS = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt"})
_MOST_CAMERAS = 2**31
"""OpenCV numbers cameras with a 32-bit integer"""


class Pictures(Source):
    """One image file, or the images of a folder sorted by name.

    Unreadable images of a folder are skipped and listed; with `strict`, and for a single file, they raise UserError.
    """

    def __init__(self, path: Path, strict: bool = False) -> None:
        super().__init__(Path(os.path.realpath(path)).name, path, None)
        self.strict = strict or is_file(path)
        self.files = [path]
        if is_folder(path):
            try:
                entries = sorted(path.iterdir())
            except OSError as error:
                raise UserError(f"folder {path} cannot be read ({error.strerror}): check its permissions") from None
            self.files = [file for file in entries if file.suffix.lower() in IMAGE_SUFFIXES]
            others = _left_out(entries)
            if not self.files:
                wanted = f"folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})"
                raise UserError(f"{wanted}{f', but {others}' if others else ''}: name a folder or a file that does")
            if others:
                self.skipped.append(f"folder {path} has {others}: name them to read them")

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        unreadable: list[str] = []
        for file in self.files:
            if self.stopped:
                return
            try:
                picture = read_picture(file)
            except UserError as error:
                if self.strict:
                    raise
                unreadable.append(str(error))
                self.skipped.append(str(error))
                continue
            for note in picture.notes:
                kind = note.partition(":")[0]
                count, first = self.noted.get(kind, (0, f"{file}: {note}"))
                self.noted[kind] = count + 1, first
            yield file.name, picture.frame
        if len(unreadable) == len(self.files):
            raise UserError(f"none of the {len(self.files)} images of {self.path} can be read, first: {unreadable[0]}")


def open_source(text: str, strict: bool = False) -> Source:
    """The source that `text` names.

    Digits or a device are a camera, a URL is a stream, a folder or an image suffix are pictures, other files are a
    video. Raises UserError for anything else and for what cannot be opened.
    """
    path = Path(text)
    if text.isdecimal():
        return _open_camera(f"camera {text}", int(text))
    if "://" in text:
        return _open_stream(text)
    if _is_device(path):
        return _open_camera(f"camera {text}", str(path))
    if is_folder(path) or (is_file(path) and path.suffix.lower() in IMAGE_SUFFIXES):
        return Pictures(path, strict)
    if is_file(path):
        return Video(path, strict=strict)
    expected = "name an image, a folder of images, a video, a camera's number or device, or a stream's URL"
    if " ! " in text:
        raise UserError(f"source {text} looks like a GStreamer pipeline, which is not supported: {expected}")
    if any(letter in text for letter in "*?["):
        raise UserError(f"source {text} is a pattern that is no file's name: name the folder that holds the files")
    if os.path.lexists(path):
        raise UserError(f"source {text} is a pipe, a socket or a link to nothing: {expected}")
    raise UserError(f"source {text} does not exist: {expected}")


def _open_camera(name: str, device: int | str) -> Camera:
    if isinstance(device, int) and device >= _MOST_CAMERAS:
        raise UserError(f"no {name}: a camera's number is below {_MOST_CAMERAS}; the first camera is 0")
    # a device through V4L2 alone: FFmpeg would read whatever else comes out of it
    capture = open_capture(device, api=cv2.CAP_ANY if isinstance(device, int) else cv2.CAP_V4L2)
    if capture is None:
        what = "its number" if isinstance(device, int) else "that it is a video device"
        raise UserError(f"no {name}: it cannot be opened; check that it is plugged in, permitted and {what}")
    return Camera(name, capture)


def _open_stream(url: str) -> Camera:
    """Messages leave out the password and the query, which may hold a token."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        raise UserError("the source is no URL that can be read: expected one such as rtsp://HOST:554/PATH") from None
    name = f"{parts.scheme}://{place}"
    if parts.scheme.lower() not in _STREAMS:
        raise UserError(f"source {name} has another scheme than {', '.join(sorted(_STREAMS))}: name a file by its path")
    if (capture := open_capture(url)) is None:
        raise UserError(f"stream {name} cannot be opened: check the address, the network, user and password")
    return Camera(name, capture, advice="check the network and the sender")


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _left_out(entries: list[Path]) -> str:
    """A folder's entries that are not read but may be meant: "2 folders (a, b), 1 video (c.mp4)"."""
    kinds = {
        "folder": [
            entry.name
            for entry in entries
            if is_folder(entry) and not entry.name.startswith(".") and entry.suffix.lower() not in IMAGE_SUFFIXES
        ],
        "video": [entry.name for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES and is_file(entry)],
        "image of another kind": [entry.name for entry in entries if entry.suffix.lower() in _UNKNOWN_IMAGES],
    }
    parts = []
    for kind, names in kinds.items():
        if names:
            plural = kind.replace("image", "images") if "image" in kind else kind + "s"
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            parts.append(f"{len(names)} {kind if len(names) == 1 else plural} ({some})")
    return ", ".join(parts)
