"""Freed memory stays: counted in page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from nanogfl.training.device import keep_freed_memory
    assert keep_freed_memory()
def work():
    parts = [torch.ones(12_000_000) for _ in range(3)]  # 48 MB each
for _ in range(6):  # until every chunk has found its place
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_large_tensors_are_taken_from_what_was_freed_before():
    def faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", COUNT, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") * 20 < faults("plain")
