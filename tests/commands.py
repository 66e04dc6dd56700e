"""Commands of nanogfl: in this process, which saves its start, or in one of their own."""

import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join(str(ROOT / part) for part in ("", "export", "deploy"))
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")

Done = subprocess.CompletedProcess[str]


def nanogfl(folder: Path, *arguments: object, **patched: Any) -> Done:
    """Runs main() in `folder`, without a display. `patched` are modules to be found in place of the installed ones."""
    from nanogfl.cli.main import main

    words = ["nanogfl", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        patch.chdir(folder)
        patch.setattr(sys, "argv", words)
        for name in _DISPLAYS:
            patch.delenv(name, raising=False)
        for name, module in patched.items():
            patch.setitem(sys.modules, name, module)
        sys.stdout.flush()
        sys.stderr.flush()
        before = [(number, os.dup(number)) for number in (1, 2)]
        code: Any = 0
        try:
            for number, file in ((1, out), (2, err)):
                os.dup2(file.fileno(), number)
            with (
                open(1, "w", encoding="utf-8", closefd=False) as patch_out,
                open(2, "w", encoding="utf-8", closefd=False) as patch_err,
            ):
                patch.setattr(sys, "stdout", patch_out)
                patch.setattr(sys, "stderr", patch_err)
                try:
                    main()
                except SystemExit as ended:
                    code = ended.code or 0
                except Exception:  # noqa: BLE001  as the interpreter does
                    traceback.print_exc()
                    code = 1
        finally:
            for number, saved in before:
                os.dup2(saved, number)
                os.close(saved)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(words, code, *texts)


def process(folder: Path, *arguments: object, **environment: str) -> Done:
    """The same by `python -m nanogfl`, for what only a process of its own shows."""
    return python("-m", "nanogfl", *arguments, folder=folder, OMP_NUM_THREADS="1", **environment)


def python(*arguments: object, folder: Path = ROOT, **environment: str) -> Done:
    """An interpreter of its own, which finds our packages, without a display."""
    inherited = {key: value for key, value in os.environ.items() if key not in _DISPLAYS}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", cwd=folder, check=False, timeout=300,
        env={**inherited, "PYTHONPATH": PATHS, **environment},
    )  # fmt: skip


def accepted(done: Done) -> str:
    """What a command printed that ended well and had nothing to say on stderr."""
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def refused(done: Done) -> str:
    """The one line on stderr of a command that ended with exit code 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]
