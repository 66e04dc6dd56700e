"""Opening files that torch saved and anybody may have written: nothing in them is executed, nothing is a traceback."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from nanogfl.errors import UserError

_T = TypeVar("_T")


def read_weights(path: Path, *, old_format: bool = False) -> Any:
    """The content of the file, on the CPU; None where it is not such a file, or truncated, damaged or a zip bomb.

    `old_format` accepts the format of torch before 1.6 as well, which is not a zip. Raises UserError where the memory
    does not suffice.
    """
    return _guarded(path, old_format, lambda: torch.load(path, map_location="cpu", weights_only=True))


def foreign_globals(path: Path) -> list[str]:
    """Names of the classes and functions, sorted, that unpickling the file would import and `read_weights` refuses."""
    return sorted(_guarded(path, True, lambda: get_unsafe_globals_in_checkpoint(str(path))) or ())


def _guarded(path: Path, old_format: bool, read: Callable[[], _T]) -> _T | None:
    try:
        if not _is_safe_to_open(path, old_format):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about a file that is then refused
            return read()
    # zipfile and torch's unpickler document no errors for damaged or crafted files: they have raised fifteen kinds.
    except Exception as error:  # noqa: BLE001
        megabytes = path.stat().st_size / 1e6 if path.exists() else 0
        lacks_memory = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
        if lacks_memory and megabytes >= 1:  # a small file that asks for more is crafted
            raise UserError(
                f"{path} has {megabytes:.0f} MB, more than the free memory of this machine: close other programs"
            ) from None
        return None


def _is_safe_to_open(path: Path, old_format: bool) -> bool:
    """torch stores its records uncompressed, one after the other, so that together they are smaller than the file. But
    it also reads records with a wrong checksum, inflates compressed ones (1 MB to 1 GB) and accepts overlapping ones.
    """
    if old_format and not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as archive:
        fits = sum(record.file_size for record in archive.infolist()) <= path.stat().st_size
        return fits and archive.testzip() is None
