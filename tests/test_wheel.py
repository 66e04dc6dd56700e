"""What an installed nanogfl has: the recipes, found by name from any folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from nanogfl.ablate.spec import load_ablation
from nanogfl.errors import UserError
from nanogfl.recipe import load_config, recipe_name, shipped_recipes

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml"))


def test_a_shipped_recipe_is_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = load_config(ROOT / "configs/papers/gfl_r50.yaml")
    for name in ("configs/papers/gfl_r50.yaml", "papers/gfl_r50.yaml", "configs/papers/gfl_r50", "gfl_r50"):
        assert load_config(name) == expected
    ablation = load_ablation(Path("configs/ablations/gfl-1c.yaml"))
    assert ablation == load_ablation(Path("gfl-1c"))
    assert Path(ablation.base).is_file()


def test_a_file_of_the_user_comes_first_and_a_missing_one_is_never_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bccd.yaml", "mine/bccd.yaml", "../configs/bccd.yaml", str(tmp_path / "configs/bccd.yaml")):
        with pytest.raises(UserError, match=r"bccd\.yaml does not exist.*nanogfl models"):
            load_config(name)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/bccd.yaml").write_text("train: {epochs: 7}\n")
    assert load_config("configs/bccd.yaml").train.epochs == 7


def test_names_without_a_folder_are_unique():
    stems = [path.stem for path in SHIPPED]
    assert len(set(stems)) == len(stems)
    assert shipped_recipes() == ROOT / "configs"


def test_a_recipes_name_keeps_its_dots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("nanodet-m-1.5x_320", "configs/nanodet/nanodet-m-1.5x_320.yaml", Path("nanodet-m-1.5x_320.yml")):
        assert recipe_name(given) == "nanodet-m-1.5x_320"
    assert load_config("nanodet-m-1.5x_320").model.backbone.width == "1.5x"


@pytest.mark.parametrize(
    ("given", "near"), [("qickstart", "quickstart"), ("BCCD", "bccd"), ("my/gfl_r5O.yaml", "gfl_r50")]
)
def test_an_unknown_name_lists_near_ones(tmp_path, monkeypatch, given, near):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"config {given} does not exist: did you mean {near}.*nanogfl models"):
        load_config(given)
    with pytest.raises(UserError, match=r"does not exist: check the path"):
        load_config("zzzzzz")


# Installed -----------------------------------------------------------------------------------------------------

PROGRAM = """
import pathlib, nanogfl, nanogfl.ablate.spec, nanogfl.recipe
print(pathlib.Path(nanogfl.__file__).parent)
folder = nanogfl.recipe.shipped_recipes()
for file in sorted(folder.rglob("*.yaml")):
    name = nanogfl.recipe.recipe_name(file)
    nanogfl.ablate.spec.load_ablation(name) if file.parent.name == "ablations" else nanogfl.recipe.load_config(name)
    print(file.relative_to(folder))
"""
SMALL = "model.input.hw=[96,128] model.backbone.width=0.5x model.neck.channels=16 train.batch_size=4 train.epochs=1"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of this checkout, by their suffix."""
    pytest.importorskip("hatchling", reason="hatchling, of the dev group, is not installed")
    folder = tmp_path_factory.mktemp("built")
    run([sys.executable, "-m", "hatchling", "build", "-d", folder], ROOT)
    wheel, sdist = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": next(wheel), "sdist": next(sdist)}


def run(command, folder):
    # nothing of this checkout may be found by the installed program
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installed_nanogfl_has_the_recipes_and_does_the_main_job(tmp_path, built, kind, request):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    own = sysconfig.get_path("purelib", vars={"base": environment, "platbase": environment})
    others = [path for path in sys.path if path.endswith("site-packages")]
    # a .pth of a folder that a .pth names is not read: an editable nanogfl there stays out
    Path(own, "others.pth").write_text("\n".join(others))
    install = "-m pip install --quiet --no-index --no-deps --no-build-isolation --ignore-installed"
    run([scripts / "python", *install.split(), built[kind]], tmp_path)

    empty = tmp_path / "empty"
    empty.mkdir()
    package, *names = run([scripts / "python", "-c", PROGRAM], empty).splitlines()
    assert Path(package).is_relative_to(environment)
    assert names == [str(path) for path in SHIPPED]
    if kind == "sdist" and not request.config.getoption("exhaustive"):
        return  # the wheel that pip builds of it has the same files

    nanogfl = scripts / "nanogfl"
    shutil.copy(ROOT / "tests/golden/embedded.onnx", empty / "shapes.onnx")
    run([nanogfl, "data", "draw", "data", "--train", "8", "--val", "2"], empty)
    assert "2 frames" in run([nanogfl, "detect", "shapes.onnx", "data/val", "--save", "seen"], empty)
    costs = run([nanogfl, "bench", "shapes.onnx", "--rounds", "3", "--cold", "1"], empty)
    assert json.loads(costs.splitlines()[-1])
    settings = [word for setting in ["data.root=data", *SMALL.split()] for word in ("--set", setting)]
    run([nanogfl, "train", "quickstart", *settings], empty)
    assert (empty / "runs/quickstart/best.pt").is_file()
