"""Every test run has a cache folder of its own: nobody's is touched, and no test finds what another machine left."""

import os
import signal
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import nanogfl  # noqa: F401  before any test imports cv2, which then knows the limit on the pixels of image files

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that import onnxruntime themselves


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGFL_CACHE", str(folder))
        yield folder


def pytest_configure() -> None:
    """Under nohup every process that a test starts would ignore SIGHUP, and the tests of it would wait in vain."""
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="also every recipe of a family, not one of each")
    parser.addoption("--beside-device", action="store_true", help="without the files that `make device` runs whole")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = set() if config.getoption("--exhaustive") else {i for i in items if i.get_closest_marker("exhaustive")}
    if config.getoption("--beside-device"):
        left |= {item for item in items if _runs_whole_on_a_device(item.path)}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))
    # the files with long tests first: a worker that gets one as its last keeps the others waiting
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@cache
def _runs_whole_on_a_device(file: Path) -> bool:
    """It is in the list of `make device`, and no test in it is skipped where torch is missing."""
    listed = (Path(__file__).parent / "device.txt").read_text(encoding="utf-8").split()
    names = {
        parent.relative_to(Path(__file__).parents[1]).as_posix()
        for parent in (file, *file.parents)
        if parent.is_relative_to(Path(__file__).parent)
    }
    return bool(names & set(listed)) and "skip" not in file.read_text(encoding="utf-8")
