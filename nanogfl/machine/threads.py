"""How many threads this process should use, by its CPU affinity and its cgroups' quota, not by the machine's size."""

import os
from pathlib import Path

PROCESSORS = Path("/sys/devices/system/cpu")


def available_threads() -> int:
    """One per processor that this process may use, up to 16: with more, decoding waits for the disk."""
    return _allowed(len(_processors()) or os.cpu_count() or 1)


def compute_threads() -> int:
    """Threads for arithmetic: one per core, because two hyperthreads share a core's units. 0 (the library decides)
    where the system does not tell, as outside Linux."""
    cores = {_core_of(processor) for processor in _processors()}
    return _allowed(len(cores)) if cores else 0


def limit_opencv_threads() -> None:
    """Lowers OpenCV's threads to `available_threads`: it does not know every kind of affinity and quota."""
    import cv2

    cv2.setNumThreads(min(cv2.getNumThreads(), available_threads()))


def _processors() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _core_of(processor: int) -> str:
    try:
        return (PROCESSORS / f"cpu{processor}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(processor)  # some containers hide it


def _allowed(count: int) -> int:
    """`count`, limited by the quota, rounded down: the scheduler stops threads beyond it in the middle of a frame."""
    quota = cpu_quota()
    return max(1, min(16, count if quota is None else min(count, int(quota))))


def cpu_quota(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processors' worth of time that the tightest of our cgroups allows, version 2 (cpu.max) or 1 (cpu.cfs_quota_us).
    None without a limit."""
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None  # not Linux
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroups / controllers if (cgroups / controllers).is_dir() else cgroups / "cpu"
        # A container often sees its own group at the top, while /proc gives the host's path.
        folder = top / path.lstrip("/")
        groups = [group for group in (folder, *folder.parents) if group.is_relative_to(top)]
        quotas += [quota for group in groups if (quota := _quota(group)) is not None]
    return min(quotas, default=None)


def _quota(group: Path) -> float | None:
    """None if the group sets no limit, or is not visible."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None  # -1 and "max" mean no limit
    except (OSError, ValueError, ZeroDivisionError):
        return None
