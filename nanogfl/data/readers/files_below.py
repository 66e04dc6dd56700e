"""The files of a folder and of all folders in it, linked ones included."""

import os
from collections import deque
from pathlib import Path

from nanogfl.data.dataset import Problem
from nanogfl.io.read_file import is_file, is_folder


def files_below(folder: Path, problems: list[Problem], doubles: dict[Path, Path] | None = None) -> list[Path]:
    """Sorted. Listed in `problems`: linked folders that lead back up or are read already, folders that cannot be read,
    and broken links. Links to folders that are read already go to `doubles` instead if it is given: link -> folder."""
    root = os.path.realpath(folder)
    found: list[Path] = []
    seen: set[str] = set()
    waiting, links = [folder], deque[Path]()
    while waiting or links:
        linked = not waiting  # folders go before links to them, and keep their own paths
        current = links.popleft() if linked else waiting.pop()
        target = os.path.realpath(current)
        if doubles is not None and target in seen and not Path(os.path.realpath(current.parent)).is_relative_to(target):
            doubles[current] = Path(target)
            continue
        if target in seen or (linked and Path(root).is_relative_to(target)):
            problems.append(Problem(str(current), f"linked folder is not followed: {target} is read already"))
            continue
        seen.add(target)
        try:
            with os.scandir(current) as scanned:
                entries = list(scanned)
        except OSError as error:
            problems.append(Problem(str(current), f"folder cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_symlink():
                if entry.is_dir():
                    waiting.append(path)
                elif entry.is_file():
                    found.append(path)
            elif is_folder(path):
                links.append(path)
            elif is_file(path):
                found.append(path)
            elif not path.exists():
                problems.append(Problem(str(path), f"link is broken: {os.readlink(path)} is not there"))
    return sorted(found)
