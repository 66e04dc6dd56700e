"""onnxruntime is loaded in one place, with its telemetry off."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "golden" / "blank_distributions.onnx"
BARE = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.MULTILINE)


def test_no_other_file_of_the_packages_imports_onnxruntime():
    found = [
        str(path.relative_to(ROOT))
        for folder in ("nanogfl", "deploy", "export", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if BARE.search(path.read_text(encoding="utf-8"))
    ]
    assert found == [str(Path("nanogfl/machine/ort.py"))]


def test_a_value_set_by_the_user_stays():
    code = "import os, nanogfl.machine.ort; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for before, after in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **before}
        if not before:
            environment.pop("ORT_DISABLE_TELEMETRY", None)
        assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip() == after


@pytest.mark.parametrize(
    "command",
    ["bench", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("detect", "info", "explain", "eval"))],
)
def test_no_command_leaves_anything_in_the_users_home(tmp_path, command):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    (work / "val").mkdir(parents=True)
    cv2.imwrite(str(work / "val" / "a.png"), np.full((64, 96, 3), 90, np.uint8))
    categories = ", ".join(f'{{"id": {id}, "name": "{name}"}}' for id, name in ((1, "blue"), (2, "green"), (7, "red")))
    (work / "val.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 64}], "annotations":'
        ' [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}],'
        f' "categories": [{categories}]}}'
    )
    arguments = {
        "detect": ["val", "--json", "found.json"],
        "info": [],
        "bench": ["--rounds", "1", "--cold", "1"],
        "explain": ["val/a.png"],
        "eval": ["--data", "val.json", "--images", "val"],
    }[command]
    if command == "eval":
        pytest.importorskip("pycocotools")
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "deploy")])}
    for name in [name for name in environment if name.startswith("XDG_") or name == "ORT_DISABLE_TELEMETRY"]:
        environment.pop(name)
    done = subprocess.run(
        [sys.executable, "-m", "nanogfl", command, str(MODEL), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=work,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []
