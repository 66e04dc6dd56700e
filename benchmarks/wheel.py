"""Does what we build work where nothing else is? Installs the wheel and the sdist with their dependencies, each in a
new environment, and runs the main job from an empty folder.

python benchmarks/wheel.py [--python python3.12] [--folder FOLDER]

PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets the torch without CUDA. A command that fails ends it with
exit code 1. Needs hatchling.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

DEVICE = (  # as `pip install nanogfl` gives it
    "detect shapes.onnx data/val --save seen --no-window --json seen.json",
    "bench shapes.onnx --rounds 20 --cold 1",
    "info shapes.onnx",
)
TRAINING = (  # with [train,export]
    "models",
    "data check quickstart --quick --set data.root=data",
    "train quickstart --set data.root=data --set train.epochs=16 --set train.eval_every=16",
    "export runs/quickstart/best.pt --image-count 8",
    "eval runs/quickstart/best.onnx --data data/val.json",
    "detect runs/quickstart/best.onnx data/val --save found --no-window",
)
PYTHON = """
from pathlib import Path
import nanogfl
print(Path(nanogfl.__file__).parent, nanogfl.__version__)
frame = __import__("cv2").imread(str(next(Path("data/val").glob("*"))))
print(len(nanogfl.Detector("shapes.onnx")(frame)), "detections by Detector")
print(len(nanogfl.load("runs/quickstart/best.pt")(frame)), "detections by load")
"""


def run(command: list[str | Path], folder: Path) -> None:
    words = [str(word) for word in command]
    print("$", *(word if " " not in word else repr(word) for word in words), flush=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(words, cwd=folder, check=True, env={**environment, "NANOGFL_CACHE": str(folder / "cache")})


def try_out(package: Path, interpreter: str, folder: Path) -> None:
    """Installs `package` into a new environment in `folder`. Raises CalledProcessError for the command that fails."""
    empty, scripts = folder / "empty", folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    empty.mkdir(parents=True)
    run([interpreter, "-m", "venv", folder / "venv"], folder)
    shutil.copy(ROOT / "tests/golden/embedded.onnx", empty / "shapes.onnx")
    install: list[str | Path] = [scripts / "python", "-m", "pip", "install", "--quiet", "--prefer-binary"]
    run([*install, package], empty)
    run([scripts / "nanogfl", "data", "draw", "data", "--train", "200", "--val", "20"], empty)
    for line in DEVICE:
        run([scripts / "nanogfl", *line.split()], empty)
    run([*install, f"{package}[train,export]"], empty)
    run([scripts / "python", "-m", "pip", "check"], empty)
    for line in TRAINING:
        run([scripts / "nanogfl", *line.split()], empty)
    run([scripts / "python", "-c", PYTHON], empty)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--folder", type=Path, help="made anew, outside of any checkout; default: a temporary one")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="nanogfl-wheel-") as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            run([sys.executable, "-m", "hatchling", "build", "-d", folder / "dist"], ROOT)
            for kind in ("*.whl", "*.tar.gz"):
                (package,) = (folder / "dist").glob(kind)
                try_out(package, arguments.python, folder / package.suffix.strip("."))
        except subprocess.CalledProcessError as error:
            sys.exit(f"failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}")


if __name__ == "__main__":
    main()
