"""`train FOLDER`: the lists, the settings and the resuming of a run that is started from a folder."""

import json
import shutil
from pathlib import Path

import cv2
import pytest

pytest.importorskip("torch")

from nanogfl import UserError, train
from nanogfl.api import ending
from nanogfl.api.folder import begin_run, go_on_with_run
from nanogfl.api.folder_story import Reading, read_story
from nanogfl.data.readers.read import load_split
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import Interrupted
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.recipe import load_config

TINY = (
    "model.input.hw=[96,128]", "model.backbone.width=0.5x", "model.neck.channels=16", "train.epochs=1",
    "train.batch_size=4", "train.threads=1", "train.init_from=none", "data.cache=off",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Eight drawn images with labels of YOLO and no validation part."""
    draw_dataset(tmp_path / "drawn", train=8, val=2)
    dataset = load_split(tmp_path / "drawn/train.json", tmp_path / "drawn/train")
    photos = tmp_path / "my photos"
    for part in ("images", "labels"):
        (photos / part).mkdir(parents=True)
    (photos / "data.yaml").write_text(f"names: {json.dumps(dataset.classes)}\n".replace("(", "[").replace(")", "]"))
    from nanogfl.data.readers.write_yolo import yolo_label

    for image in dataset.images:
        shutil.copy(image.path, photos / "images" / image.path.name)
        (photos / "labels" / image.path.name).with_suffix(".txt").write_text(yolo_label(image))
    return photos


@pytest.fixture
def silent():
    return lambda line: None


def listed(run):
    return [
        {image["file_name"] for image in json.loads((run / f"data/{part}.json").read_text())["images"]}
        for part in ("train", "val")
    ]


# The lists -----------------------------------------------------------------------------------------------------


def test_a_folder_without_a_validation_part_becomes_two_lists_and_a_recipe(folder, tmp_path, silent):
    run = tmp_path / "run"
    config = begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    trained, validated = listed(run)
    assert trained
    assert validated
    assert not trained & validated
    assert trained | validated == {f"images/{path.name}" for path in (folder / "images").iterdir()}
    assert load_config(run / "config.yaml") == config
    root, val = Path(config.data.root), config.data.val
    assert len(load_split(root / val.annotations, root / val.images, strict=True).images) == len(validated)


def test_a_second_start_into_the_run_uses_its_lists(folder, tmp_path, silent):
    run = tmp_path / "run"
    begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    before = listed(run)
    for path in sorted((folder / "images").iterdir())[:2]:
        frame = cv2.flip(cv2.imread(str(path)), 1)
        (folder / "images" / f"new_{path.name}").write_bytes(cv2.imencode(".jpg", frame)[1].tobytes())
    begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    assert listed(run) == before
    begin_run(folder, run, Reading(format="yolo"), TINY, strict=False, tell=silent)  # asked for: read again
    assert listed(run) != before


def test_nothing_of_another_folder_stays_in_a_run_that_was_not_saved_yet(folder, tmp_path, silent):
    run = tmp_path / "run"
    bad, other = folder / "labels/bad.txt", tmp_path / "other"
    shutil.copytree(folder, other)
    shutil.copy(next((folder / "images").iterdir()), folder / "images/bad.jpg")
    bad.write_text("0 .5 .5 .2\n")
    begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    assert (run / "data/left_out.txt").is_file()
    with pytest.raises(UserError):  # the stored lists have no bad label any more
        begin_run(folder, run, Reading(), TINY, strict=True, tell=silent)
    begin_run(other, run, Reading(), TINY, strict=False, tell=silent)
    assert not (run / "data/left_out.txt").exists()


@pytest.mark.parametrize(("tested", "used"), [(2, True), (0, False)])
def test_a_test_part_serves_as_validation_where_it_is_large_enough(folder, tmp_path, silent, tested, used, monkeypatch):
    monkeypatch.setattr("nanogfl.api.folder._LEAST_TEST", 0.25)
    for number, path in enumerate(sorted((folder / "images").iterdir())):
        part = "test" if number <= tested else "train"
        for kind, name in (("images", path.name), ("labels", f"{path.stem}.txt")):
            (folder / part / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / name).rename(folder / part / kind / name)
    begin_run(folder, tmp_path / "run", Reading(), TINY, strict=False, tell=silent)
    _, validated = listed(tmp_path / "run")
    assert all(name.startswith("test/" if used else "train/") for name in validated)
    assert (tmp_path / "run/data/test.json").exists() is not used
    assert any("test is used for validation" in line for line in read_story(tmp_path / "run").found) is used


def test_a_folder_that_cannot_be_read_leaves_no_run_folder(tmp_path, silent):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        begin_run(tmp_path / "empty", tmp_path / "run", Reading(), TINY, strict=False, tell=silent)
    assert not (tmp_path / "run").exists()


# The settings --------------------------------------------------------------------------------------------------


def test_what_the_user_sets_counts_more_than_what_follows_and_both_are_said(folder, tmp_path):
    said = []
    config = begin_run(folder, tmp_path / "run", Reading(), TINY, strict=False, tell=said.append)
    assert (config.train.epochs, config.model.input.hw) == (1, (96, 128))
    choices = {choice.key: choice for choice in read_story(tmp_path / "run").choices}
    assert choices["train.epochs"].value == 1
    assert choices["train.epochs"].reason.startswith("given; otherwise ")
    assert "train.lr" in choices
    assert "given" not in choices["train.lr"].reason
    for choice in choices.values():
        assert any(choice.key in line and choice.reason in line for line in said)


def test_what_would_follow_otherwise_is_what_follows_without_the_setting(folder, tmp_path, silent):
    def chosen(settings, run):
        begin_run(folder, tmp_path / run, Reading(), settings, strict=False, tell=silent)
        return {choice.key: choice for choice in read_story(tmp_path / run).choices}["model.input.hw"]

    without = chosen([setting for setting in TINY if "input" not in setting], "free")
    assert chosen(TINY, "given").reason == f"given; otherwise {without.value}: {without.reason}"


def test_the_clock_plans_the_epochs_unless_they_are_given(folder, tmp_path, silent):
    timed = [setting for setting in TINY if "epochs" not in setting] + ["train.minutes=2"]
    begin_run(folder, tmp_path / "run", Reading(), timed, strict=False, tell=silent)
    keys = {choice.key for choice in read_story(tmp_path / "run").choices}
    assert "train.minutes" in keys
    assert not keys & {"train.epochs", "train.eval_every"}


def test_settings_that_the_folder_itself_says_and_unknown_ones_are_errors(folder, tmp_path, silent):
    for setting, sentence in (("data.root=x", "images are its own"), ("train.epoch=3", "did you mean 'epochs'")):
        with pytest.raises(UserError, match=sentence):
            begin_run(folder, tmp_path / "run", Reading(), [*TINY, setting], strict=False, tell=silent)
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_a_folder_and_a_recipe_is_asked_about(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bccd").mkdir()
    with pytest.raises(UserError, match=r"bccd is a folder here and a recipe .*: give /.*/bccd for the folder, or /.*"):
        train("bccd")
    with pytest.raises(UserError, match="--format and --val say how to read a folder"):
        train("configs/bccd.yaml", data_format="yolo", val_part="val")


# Resuming ------------------------------------------------------------------------------------------------------


def test_resuming_takes_the_stored_lists_and_finds_a_folder_that_was_moved(folder, tmp_path, silent):
    run = tmp_path / "run"
    started = begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    before = listed(run)
    assert go_on_with_run(folder, run, Reading(), ["train.epochs=2"], tell=silent).train.epochs == 2
    moved, said = folder.rename(tmp_path / "elsewhere"), []
    config = go_on_with_run(moved, run, Reading(), [], tell=said.append)
    assert config.data.root == str(moved)
    assert "images are now read from" in said[0]
    assert (config.data.train, listed(run)) == (started.data.train, before)
    assert read_story(run).folder == str(moved)


def test_resuming_guesses_nothing_anew(folder, tmp_path, silent):
    run = tmp_path / "run"
    begin_run(folder, run, Reading(), TINY, strict=False, tell=silent)
    with pytest.raises(UserError, match="leave --format and --classes out"):
        go_on_with_run(folder, run, Reading(format="yolo", classes=["a"]), [], tell=silent)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"was started from .*my photos, not from"):
        go_on_with_run(tmp_path / "other", run, Reading(), [], tell=silent)
    with pytest.raises(UserError, match="was not started from a folder: resume it with its recipe"):
        go_on_with_run(folder, tmp_path / "other", Reading(), [], tell=silent)


def test_the_end_of_a_resumed_run_finds_a_folder_that_was_moved(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ending, "NEEDED", ("no_such_package",))
    train(folder, tmp_path / "run", overrides=TINY)
    moved = folder.rename(tmp_path / "elsewhere")
    again = train(moved, tmp_path / "run", resume=True)
    assert again.report.images > 0
    assert load_checkpoint(again.best).config.data.root == str(moved)


# The end -------------------------------------------------------------------------------------------------------


def test_without_the_packages_for_the_export_it_is_said_first_and_the_run_still_ends(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ending, "NEEDED", ("no_such_package",))
    run = train(folder, tmp_path / "run", overrides=TINY, verbose=True)
    said = capsys.readouterr().out
    assert said.index("there will be no best.onnx") < said.index("epoch 1/1")
    assert run.onnx is None
    assert run.best.is_file()
    assert "not exported" in run.page.read_text(encoding="utf-8")


def test_a_signal_during_the_export_says_what_is_kept_and_how_to_go_on(folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "export", stop)
    with pytest.raises(Interrupted, match=r"best\.pt is kept; .* --resume") as stopped:
        train(folder, tmp_path / "run", overrides=TINY)
    assert stopped.value.exit_code == 130


def test_a_refused_export_is_an_error_that_keeps_the_checkpoint_and_the_page_says_so(folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise UserError("the file differs by 3 px")

    monkeypatch.setattr(ending, "export", refuse)
    with pytest.raises(UserError, match=r"differs by 3 px; the checkpoint .*best\.pt is kept"):
        train(folder, tmp_path / "run", overrides=TINY)
    assert (tmp_path / "run/best.pt").is_file()
    assert not (tmp_path / "run/best.onnx").exists()
    assert "refused: the file differs by 3 px" in (tmp_path / "run/page.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_one_call_from_a_folder_to_a_verified_file_and_a_page_also_resumed_by_its_recipe(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train("my photos", overrides=[*TINY, "model.head.prior=0.3"])  # scores high enough to compare detections
    assert run.onnx == Path("runs/my photos/best.onnx")
    assert "verified against PyTorch" in run.page.read_text(encoding="utf-8")
    run.onnx.unlink()
    run.page.unlink()
    again = train(run.run_dir / "config.yaml", run.run_dir, resume=True, overrides={"train.epochs": 2})
    assert again.onnx.is_file()
    assert again.page.is_file()
