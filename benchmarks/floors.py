"""Do the lower bounds of pyproject.toml hold? Installs exactly them, trains, exports, evaluates and detects with them.

python benchmarks/floors.py [--python python3.12] [--newest] [--torch torch==2.13.0] [--folder FOLDER]

A bound that cannot be installed, or with which a command fails, ends it with exit code 1. The last line is JSON.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BOUND = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+)")

COMMANDS = (
    "data draw data",
    "data check recipe.yaml --quick",
    "train recipe.yaml --run-dir run",
    "export run/best.pt --image-count 4 --report",
    "export run/best.pt --image-count 4 --format raw --dynamic-batch -o raw.onnx",
    "eval run/best.pt --json pt.json",
    "eval run/best.onnx --data data/val.json --json onnx.json",
    "detect run/best.onnx data/val --save found --no-window --json found.json",
    "bench run/best.onnx",
    "explain run/best.pt {picture} --threshold 0",
    "models",
)
RECIPE = """
data: {root: data}
model: {input: {hw: [96, 128]}, backbone: {width: 0.5x}, neck: {channels: 32, extra_level: false}}
train: {epochs: 2, eval_every: 1, warmup_steps: 4}
"""


def floors(newest: bool, torch: str | None) -> list[str]:
    """The requirement of every dependency, extras included: its lower bound, or its name alone. Raises SystemExit."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = list(project["build-system"]["requires"]) + list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        requirements += [line for line in extra if not line.startswith("nanogfl[")]
    pinned = []
    for line in dict.fromkeys(requirements):
        bound = _BOUND.fullmatch(line)
        if bound is None:
            raise SystemExit(f"pyproject.toml requires '{line}': NAME>=VERSION is expected of every dependency")
        name, version = bound.groups()
        pinned.append(torch if torch and name == "torch" else name if newest else f"{name}=={version}")
    return pinned


def run(command: list[str], folder: Path) -> None:
    print("$", *(word if " " not in word else repr(word) for word in command), flush=True)
    environment = {**os.environ, "HOME": str(folder), "NANOGFL_CACHE": str(folder / "cache")}
    subprocess.run(command, cwd=folder, check=True, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    parser.add_argument("--newest", action="store_true", help="the newest releases instead of the lower bounds")
    parser.add_argument("--torch", help="this torch instead, such as torch==2.13.0")
    parser.add_argument("--folder", type=Path, default=Path("runs/floors"), help="made anew")
    arguments = parser.parse_args()

    folder: Path = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pinned = floors(arguments.newest, arguments.torch)
    python = folder / "venv" / "bin" / "python"
    failed = ""
    try:
        run([arguments.python, "-m", "venv", "venv"], folder)
        run([str(python), "-m", "pip", "install", "--quiet", "--prefer-binary", *pinned], folder)
        run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)], folder)
        run([str(python), "-m", "pip", "check"], folder)
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        for command in COMMANDS:
            picture = next((str(path) for path in sorted((folder / "data/val").glob("*"))), "")
            run([str(python), "-m", "nanogfl", *command.format(picture=picture).split()], folder)
    except subprocess.CalledProcessError as error:
        failed = " ".join(map(str, error.cmd))
        print(f"failed with exit code {error.returncode}: {failed}")
    print(json.dumps({"python": arguments.python, "requirements": pinned, "failed": failed or None}))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
