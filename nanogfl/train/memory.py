"""Memory that a training step frees stays with the process: the next step needs as much again."""

import ctypes
import platform

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1
_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """For a training on a CPU with glibc; elsewhere nothing happens and False is returned.

    Without it glibc gives every large tensor back to the system and takes it again, zeroed page by page: 300,000 page
    faults a step of 32 pictures at 320 x 320, a third of its time in fp32 (docs/results.md).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _PAD_BYTES))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)
