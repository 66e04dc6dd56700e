"""The most memory that this process has held."""

import re
import sys
from pathlib import Path


def peak_memory() -> int | None:
    """Peak resident bytes; None where the system does not say (Windows).

    On Linux from VmHWM: getrusage's ru_maxrss starts with what the parent held when it started this process, which
    for a bench with open models is more than a detector needs.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        status = ""
    if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
        return int(found[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
