"""`nanogfl eval` of a checkpoint: whose classes, which device, which images."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from nanogfl.api.gate_images import gate_frames
from nanogfl.api.model import load
from nanogfl.cli.evaluate import evaluate
from nanogfl.config import Config, DataConfig, SplitConfig
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained checkpoint, model.pt, and the drawn data set that it names."""
    folder = tmp_path_factory.mktemp("untrained")
    draw_dataset(folder, train=2, val=3, hw=(64, 96))
    categories = json.loads((folder / "val.json").read_text())["categories"]
    tiny = replace(Config().model, input=replace(Config().model.input, hw=(64, 96)))
    config = Config(model=tiny, data=DataConfig(root=str(folder), val=SplitConfig("val.json", "val")))
    names, ids = tuple(entry["name"] for entry in categories), tuple(entry["id"] for entry in categories)
    torch.manual_seed(0)
    save_checkpoint(
        folder / "model.pt", Checkpoint(config, names, ids, build_detector(tiny, len(names)).state_dict(), {})
    )
    return folder


def run(folder, *arguments):
    return CliRunner().invoke(evaluate, [str(folder / "model.pt"), *map(str, arguments)])


def test_its_own_validation_set_with_other_ids_is_matched_by_name_and_with_other_names_refused(folder):
    file = folder / "val.json"
    before = file.read_text()
    plain = run(folder, "--by-frequency", "--json", folder / "plain.json")
    assert plain.exit_code == 0, plain.output
    try:
        content = json.loads(before)
        for entry in (*content["categories"], *content["annotations"]):
            key = "category_id" if "category_id" in entry else "id"
            entry[key] = 100 - entry[key]
        file.write_text(json.dumps(content))
        done = run(folder, "--json", folder / "other.json")
        assert done.exit_code == 0, done.output
        classes = [json.loads((folder / f"{name}.json").read_text())["classes"] for name in ("plain", "other")]
        assert classes[0] == classes[1]
        assert "disc is 99 here, 1 in the model" in done.output
        content["categories"][0]["name"] = "ball"
        file.write_text(json.dumps(content))
        refused = run(folder)
        assert isinstance(refused.exception, UserError)
        assert "'disc'" in str(refused.exception)
        assert "ball" in str(refused.exception)
        with pytest.raises(UserError, match=r"'disc'.*ball.*--images FOLDER"):  # the export's images are the same set
            gate_frames(folder / "model.pt", None, 2)
    finally:
        file.write_text(before)


@pytest.mark.parametrize("device", ["foo", "cuda:99", "meta", "cuda:x", ""])
def test_a_device_that_is_not_there_is_one_sentence(folder, device):
    with pytest.raises(UserError, match="device") as caught:
        load(folder / "model.pt", device=device)
    assert "\n" not in str(caught.value)


def test_the_device_may_be_chosen_by_itself_and_threads_are_not_ignored(folder):
    assert load(folder / "model.pt", device="auto").class_names
    with pytest.raises(UserError, match="--threads"):
        load(folder / "model.pt", threads=2)


def test_an_export_leaves_out_a_validation_image_that_cannot_be_read_and_says_which(folder):
    paths = sorted((folder / "val").iterdir())
    assert gate_frames(folder / "model.pt", None, 9)[0] == "3 images of the checkpoint's validation set"
    before = {path: path.read_bytes() for path in paths}
    try:
        paths[1].write_bytes(before[paths[1]][:30])
        origin, frames = gate_frames(folder / "model.pt", None, 9)
        assert origin.startswith("2 images of the checkpoint's validation set")
        assert paths[1].name in origin
        assert [name for name, _ in frames] == [paths[0].name, paths[2].name]
        for path in paths:
            path.write_bytes(b"no image")
        with pytest.raises(UserError, match=r"none of 3 images.*--images FOLDER"):
            gate_frames(folder / "model.pt", None, 9)
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@pytest.mark.parametrize("gone", ["val", "val.json"])
def test_a_validation_set_that_is_gone_asks_for_other_images(folder, gone):
    (folder / gone).rename(folder / "away")
    try:
        with pytest.raises(UserError, match=rf"{gone}.* --images FOLDER"):
            gate_frames(folder / "model.pt", None, 9)
        refused = run(folder)
        assert isinstance(refused.exception, UserError)
        assert gone in str(refused.exception)
        assert "--images FOLDER" in str(refused.exception)
    finally:
        (folder / "away").rename(folder / gone)
