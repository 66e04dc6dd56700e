"""The default number of threads: what this process may use, not what the machine has."""

import os

import pytest

from nanogfl.machine import threads
from nanogfl.machine.threads import available_threads, compute_threads, cpu_quota
from tests.commands import ROOT, accepted, python

MODEL = ROOT / "tests" / "golden" / "blank_detections.onnx"
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")


def cgroup_tree(folder, files, own):
    """A made-up /sys/fs/cgroup and /proc/self/cgroup."""
    for name, content in files.items():
        (folder / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "sys" / name).write_text(content)
    (folder / "own").write_text(own)
    return folder / "sys", folder / "own"


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, "0::/a/b\n", 4),
        ({"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, "0::/a/b\n", 1),
        ({"cpu.max": "200000 100000\n"}, "0::/docker/what-the-host-calls-it\n", 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1:cpu:/\n", None),
        ({"cpu/g/cpu.cfs_quota_us": "50000\n", "cpu/g/cpu.cfs_period_us": "100000\n"}, "1:cpu:/g\n", 0.5),
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            "4:memory:/x\n3:cpu,cpuacct:/y\n0::/\n",
            3,
        ),
        ({}, "0::/\n", None),
        ({"cpu.max": "nonsense\n"}, "0::/\n", None),
    ],
)
def test_the_tightest_quota_of_our_cgroups_counts(tmp_path, files, own, expected):
    assert cpu_quota(*cgroup_tree(tmp_path, files, own)) == expected


def test_without_cgroups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.9, 1), (3.0, 3), (64.0, 16), (None, 16)])
def test_a_quota_is_rounded_down_to_at_least_one_thread(monkeypatch, quota, expected):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(40)), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert available_threads() == expected


def run_on_one_processor(code):
    """In a process that may use a single one, whatever the machine has."""
    confine = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    return accepted(python("-c", confine + code)).split()


@needs_affinity
def test_every_library_gets_one_thread_on_one_allowed_processor():
    code = f"""
import cv2
from nanogfl.machine.threads import available_threads, compute_threads, limit_opencv_threads
from nanogfl_deploy.runtime import open_session
limit_opencv_threads()
options = open_session(__import__("pathlib").Path({str(MODEL)!r}), None).get_session_options()
print(available_threads(), compute_threads(), cv2.getNumThreads(), options.intra_op_num_threads)
"""
    assert run_on_one_processor(code) == ["1"] * 4


@needs_affinity
def test_more_threads_than_processors_stay_on_the_allowed_one():
    code = f"""
import pathlib
from nanogfl_deploy.runtime import open_session
session = open_session(pathlib.Path({str(MODEL)!r}), 3)
print(*{{len(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")}})
"""
    assert run_on_one_processor(code) == ["1"]


def test_hyperthreads_of_a_core_compute_as_one(tmp_path, monkeypatch):
    for processor in range(4):
        topology = tmp_path / f"cpu{processor}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{processor // 2 * 2}-{processor // 2 * 2 + 1}\n")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    monkeypatch.setattr(threads, "PROCESSORS", tmp_path)
    assert (available_threads(), compute_threads()) == (4, 2)
