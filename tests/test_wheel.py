"""What an installed nanogfl has: the recipes, found by name from any folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nanogfl.ablate.spec import load_ablation
from nanogfl.errors import UserError
from nanogfl.recipe import load_config, shipped_recipes

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


@pytest.mark.slow
def test_a_wheel_brings_every_recipe_and_finds_it(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling, of the dev group, is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    script = (
        "import nanogfl.recipe as r, nanogfl.ablate.spec as a, pathlib\n"
        "print(r.shipped_recipes())\n"
        "for file in sorted(r.shipped_recipes().rglob('*.yaml')):\n"
        "    name = pathlib.Path('configs') / file.relative_to(r.shipped_recipes())\n"
        "    a.load_ablation(name) if 'ablations' in name.parts else r.load_config(name)\n"
        "    print(name)\n"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{script}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    folder, *names = done.stdout.splitlines()
    assert Path(folder) == installed / "nanogfl/configs"
    assert names == [str(Path("configs") / path) for path in SHIPPED]
