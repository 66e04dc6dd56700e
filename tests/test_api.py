"""`from nanogfl import ...`: what the README shows, as functions."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import nanogfl
from nanogfl import Detector, UserError, evaluate, load

ROOT = Path(__file__).parents[1]
EMBEDDED = ROOT / "tests" / "golden" / "embedded.onnx"
SMALL = {
    "model.input.hw": [96, 128],
    "model.backbone.width": "0.5x",
    "model.neck.channels": 16,
    "train.batch_size": 4,
    "train.epochs": 1,
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    from nanogfl.data.synthetic.dataset import draw_dataset

    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train=8, val=4)
    return folder


# The package ---------------------------------------------------------------------------------------------------


def run(code):
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    times = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)$", done.stderr, re.M)
    return {name: int(microseconds) for microseconds, _, name in times}


def test_importing_nanogfl_is_quick_and_loads_nothing():
    # the best of three: another process may have the processor at that moment
    imported = [run("import nanogfl") for _ in range(3)]
    assert not {"torch", "numpy", "cv2", "onnxruntime", "click"} & set(imported[0])
    assert min(times["nanogfl"] for times in imported) < 50_000  # µs


def test_detector_and_load_need_no_torch():
    names = run(f"from nanogfl import Detector, load; load({str(EMBEDDED)!r})")
    assert "onnxruntime" in names
    assert not {"torch", "onnx", "pydantic", "pycocotools"} & set(names)


def test_every_public_name_is_listed_typed_and_documented():
    typed = [node for node in ast.walk(ast.parse(Path(nanogfl.__file__).read_text())) if isinstance(node, ast.If)]
    stub = {name.name for node in ast.walk(typed[0]) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert stub == set(nanogfl.__all__) == set(nanogfl._HOME)
    assert set(nanogfl.__all__) <= set(dir(nanogfl))
    needs_torch = set() if find_spec("torch") else {"Callback"}
    for name in set(nanogfl.__all__) - needs_torch:
        assert (getattr(nanogfl, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        nanogfl.detekt  # noqa: B018


@pytest.mark.parametrize("name", ["load", "train", "evaluate", "export", "label"])
def test_a_docstring_explains_every_argument_and_error_and_has_an_example(name):
    function = getattr(nanogfl, name)
    text = inspect.getdoc(function)
    arguments = re.search(r"Args:\n(.*?)\n\n", text, re.S)[1]
    explained = {word for line in re.findall(r"^    (\S[^:]*):", arguments, re.M) for word in line.split(", ")}
    assert explained == set(inspect.signature(function).parameters)
    assert "Raises UserError" in text
    assert f"{name}(" in text


# load, evaluate ------------------------------------------------------------------------------------------------


def test_load_detects_like_the_detector(drawn):
    frame = cv2.imread(str(next((drawn / "val").iterdir())))
    model, expected = load(EMBEDDED), Detector(EMBEDDED)(frame)
    found = model(frame)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert len(found) > 0
    assert model.class_names == Detector(EMBEDDED).class_names


@pytest.mark.parametrize("path", ["none.onnx", "none.pt"])
def test_a_model_that_is_not_there_is_one_sentence(path):
    with pytest.raises(UserError, match=f"model {path} does not exist"):
        load(path)


def test_evaluate_gives_the_same_figures_of_a_path_a_model_and_a_detector(drawn, capsys):
    pytest.importorskip("pycocotools")
    given = [str(EMBEDDED), load(EMBEDDED), Detector(EMBEDDED)]
    found = [evaluate(model, drawn / "val.json", drawn / "val") for model in given]
    assert found[0].report.ap > 0.3
    assert len({entry.report.ap for entry in found}) == 1
    assert json.loads(json.dumps(found[0].to_dict()))["ap"] == found[0].report.ap
    assert capsys.readouterr() == ("", "")


def test_evaluate_asks_for_the_data_that_an_onnx_does_not_name():
    pytest.importorskip("pycocotools")
    with pytest.raises(UserError, match="--data"):
        evaluate(EMBEDDED)


# train, export -------------------------------------------------------------------------------------------------


def test_overrides_are_what_set_takes(tmp_path):
    pytest.importorskip("pydantic")
    from nanogfl.api.training import as_settings
    from nanogfl.recipe import load_config

    overrides = {"train.lr": 1e-05, "data.root": Path("a b"), "data.strict": True, "model.input.hw": (96, 128)}
    config = load_config("quickstart", as_settings(overrides))
    assert (config.train.lr, config.data.root, config.data.strict, config.model.input.hw) == (
        1e-05, "a b", True, (96, 128),
    )  # fmt: skip
    assert as_settings(["train.epochs=3"]) == ("train.epochs=3",)
    with pytest.raises(UserError, match="got object"):
        as_settings({"train.lr": object()})


def test_a_default_run_folder_is_the_first_free_one_or_the_last_used(tmp_path, monkeypatch):
    pytest.importorskip("yaml")
    pytest.importorskip("filelock")
    from nanogfl.api.training import default_run_dir

    monkeypatch.chdir(tmp_path)
    assert default_run_dir("a", False) == default_run_dir("a", True) == Path("runs/a")
    for name in ("a", "a-2"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "last.pt").touch()
    assert default_run_dir("a", False) == Path("runs/a-3")
    assert default_run_dir("a", True) == Path("runs/a-2")


@pytest.mark.slow
def test_train_evaluate_and_export_from_python(drawn, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    from nanogfl import Callback, export, train

    class Told(Callback):
        epochs = 0

        def epoch_ended(self, entry):
            self.epochs = entry["epoch"]

    monkeypatch.chdir(tmp_path)
    told = Told()
    run = train("quickstart", overrides={**SMALL, "data.root": drawn}, callbacks=[told])
    assert told.epochs == 1
    assert run.best == Path("runs/quickstart/best.pt")
    assert run.last.is_file()
    assert run.report.images == 4
    found = evaluate(run.best)
    assert found.report.to_dict().keys() == run.report.to_dict().keys()

    with pytest.raises(UserError, match="holds no images"):
        export(run.best, images=tmp_path)
    assert not run.best.with_suffix(".onnx").exists()
    assert capsys.readouterr() == ("", "")

    train("quickstart", "shown", overrides={**SMALL, "data.root": drawn}, verbose=True)
    assert "epoch 1/1" in capsys.readouterr().out


def test_a_config_takes_no_overrides():
    pytest.importorskip("torch")
    from nanogfl import train
    from nanogfl.config import Config

    with pytest.raises(UserError, match="change the Config"):
        train(Config(), overrides={"train.epochs": 1})
