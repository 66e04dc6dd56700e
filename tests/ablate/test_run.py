"""Whole ablations, tiny: order, resuming after a kill, other configs, failures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nanogfl.ablate import run as run_module
from nanogfl.ablate.result import digest, read_result
from nanogfl.ablate.run import run_ablation
from nanogfl.ablate.spec import Ablation, load_ablation
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import ClassReport, Report
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.recipe import load_config
from nanogfl.training.loop import Outcome, train
from nanogfl.training.step import TrainStep


class PowerCut(BaseException):
    pass


pytestmark = pytest.mark.slow  # each trains


def silent(line: str) -> None:
    pass


def table(out: Path) -> dict:
    """The JSON without the minutes."""
    content = json.loads((out / "ablation.json").read_text())
    for row in content["rows"]:
        row["minutes"] = row["minutes"] is not None
    return content


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, drawn: Path) -> list[str]:
    """Replaces the training by a quick pretence that leaves its files; lists what was trained."""
    calls: list[str] = []

    def pretend(config, run_dir, *, resume=False):
        calls.append(f"{run_dir.parent.name}/{run_dir.name}{' resumed' * resume}")
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "log.jsonl").write_text(json.dumps({"seconds": 30.0, "eval_seconds": 30.0}) + "\n")
        value = 0.1 + config.loss.beta / 10 + config.train.seed / 100
        classes = tuple(ClassReport(f"c{k}", 1, value, value) for k in range(6))
        return Outcome(run_dir, value, 1, Report(value, 0.5, 0.4, None, 0.3, 0.2, 3, 1.0, classes))

    def checkpoint(path):
        class Loaded:
            classes = ("disc", "rectangle", "triangle", "star", "ring", "cross")
            category_ids = (1, 2, 3, 5, 8, 13)

        return Loaded

    monkeypatch.setattr(run_module, "train", pretend)
    monkeypatch.setattr(run_module, "load_checkpoint", checkpoint)
    return calls


def test_rows_go_seed_by_seed_and_the_table_is_theirs(file: Path, tmp_path: Path, trained: list[str]):
    said: list[str] = []
    lines = run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=said.append)
    assert trained == ["beta-0/seed0", "beta-2/seed0", "beta-0/seed3", "beta-2/seed3"]
    assert [line.mean for line in lines] == pytest.approx([11.5, 36.5])
    assert lines[0].spread == pytest.approx((10, 13))
    assert lines[0].minutes == pytest.approx(1)
    assert "[1/4] beta 0, seed 0: AP 10.0 %, 1.0 minutes" in said
    assert "[4/4] beta | 2*, seed 3: training, 1 epochs" in "\n".join(said)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ablation.md", "ablation.json", "ablation.png", "beta-0", "beta-2",
    }  # fmt: skip


def test_after_every_run_the_table_says_what_is_missing(
    file: Path, tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    pretend = run_module.train

    def looking(*arguments, **named):
        content = json.loads((tmp_path / "out" / "ablation.json").read_text())
        seen.append(sum(len(row["missing_seeds"]) for row in content["rows"]))
        assert f"missing, {seen[-1]} of 4 runs" in (tmp_path / "out" / "ablation.md").read_text()
        return pretend(*arguments, **named)

    monkeypatch.setattr(run_module, "train", looking)
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    assert seen == [4, 3, 2, 1]
    assert table(tmp_path / "out")["complete"]


def test_finished_runs_are_not_repeated_unless_started_over(file: Path, tmp_path: Path, trained: list[str]):
    said: list[str] = []
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    first = table(tmp_path / "out")
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=said.append)
    assert len(trained) == 4
    assert sum("finished already" in line for line in said) == 4
    assert table(tmp_path / "out") == first
    run_ablation(load_ablation(file), tmp_path / "out", fresh=True, say=silent)
    assert len(trained) == 8
    assert not any("resumed" in name for name in trained)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"budget": {"epochs": 2}}, r"train.epochs 1 -> 2"),
        ({"set": {"loss.box": 1.0}}, r"loss.box 1.5 -> 1.0"),
        ({"rows": {"beta 0": {"set": {"loss.beta": 1}}}}, r"loss.beta 0.0 -> 1.0"),
    ],
    ids=str,
)
def test_a_changed_config_or_budget_is_an_error_that_says_so_and_nothing_is_trained(
    file: Path, tmp_path: Path, trained: list[str], change: dict, named: str
):
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    before = (tmp_path / "out" / "ablation.json").read_bytes()
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}, sort_keys=False))
    with pytest.raises(UserError, match=rf"trained with another config or budget \({named}\).*--fresh"):
        run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    assert len(trained) == 4
    assert (tmp_path / "out" / "ablation.json").read_bytes() == before


def test_a_result_names_the_digest_of_its_config_and_a_broken_one_is_refused(
    file: Path, tmp_path: Path, trained: list[str]
):
    ablation = load_ablation(file)
    run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)
    folder = tmp_path / "out" / "beta-0" / "seed3"
    config = ablation.config(ablation.rows[0], 3, 1)
    content = json.loads((folder / "result.json").read_text())
    assert content["digest"] == digest(config)
    assert digest(replace(config, train=replace(config.train, seed=4))) != digest(config)
    assert content["figures"]["ap_large"] == 0.2
    # one of a version that knew fewer keys: what is missing was at its default
    content["config"]["loss"].pop("qfl")
    (folder / "result.json").write_text(json.dumps({**content, "digest": "of then"}))
    assert read_result(folder, config) is not None
    (folder / "result.json").write_text('{"row": ')
    with pytest.raises(UserError, match="is no result of an ablation"):
        run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)
    (folder / "result.json").unlink()
    (folder / "result.json").mkdir()
    with pytest.raises(UserError, match=r"result\.json cannot be read"):
        read_result(folder, config)


def test_a_run_that_fails_leaves_the_others_and_is_named_at_the_end(
    file: Path, tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
):
    pretend = run_module.train

    def failing(config, run_dir, **named):
        if config.train.seed == 0 and config.loss.beta == 0:
            raise UserError("the loss is no longer a finite number")
        return pretend(config, run_dir, **named)

    monkeypatch.setattr(run_module, "train", failing)
    with pytest.raises(UserError, match=r"1 of 4 runs failed, the first one \(beta 0, seed 0: the loss is no longer"):
        run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    assert trained == ["beta-2/seed0", "beta-0/seed3", "beta-2/seed3"]
    assert [row["missing_seeds"] for row in table(tmp_path / "out")["rows"]] == [[0], []]


def test_every_row_and_its_data_are_checked_before_the_first_run(file: Path, tmp_path: Path, trained: list[str]):
    content = yaml.safe_load(file.read_text())
    content["rows"]["last"] = {"set": {"data.val.annotations": "none.json"}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError, match=r"none\.json do not exist"):
        run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    assert not trained
    assert not (tmp_path / "out").exists()


def test_a_budget_of_steps_is_whole_epochs_of_each_row(file: Path, tmp_path: Path, trained: list[str]):
    content = yaml.safe_load(file.read_text())
    content |= {"budget": {"steps": 7}, "seeds": [0]}
    content["rows"] = {
        "four": {"set": {"loss.beta": 1}},  # 9 images: 2 batches of 4
        "three": {"set": {"train.batch_size": 3}},  # 3 batches
        "together": {"set": {"train.accumulate": 2}},  # 1 update
        "all": {"set": {"train.batch_size": 64}},  # 1 batch
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    results = {
        name: json.loads((tmp_path / "out" / name / "seed0/result.json").read_text()) for name in content["rows"]
    }
    epochs = {name: result["config"]["train"]["epochs"] for name, result in results.items()}
    assert epochs == {"four": 4, "three": 3, "together": 7, "all": 7}
    assert "7 steps, rounded up to whole epochs" in (tmp_path / "out" / "ablation.md").read_text()


def cut_off(monkeypatch: pytest.MonkeyPatch, ablation: Ablation, out: Path, after: int) -> None:
    """An ablation that is killed when it has made `after` steps."""
    real, calls = TrainStep.losses, 0

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls > after:
            raise PowerCut
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "losses", failing)
        with pytest.raises(PowerCut):
            run_ablation(ablation, out, fresh=False, say=silent)


def test_an_ablation_killed_in_its_second_run_goes_on_to_the_same_table(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ablation = replace(load_ablation(file), epochs=2)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_ablation(ablation, whole, fresh=False, say=silent)
    assert table(whole)["complete"]
    cut_off(monkeypatch, ablation, killed, after=4 + 3)  # 2 steps an epoch: in the second epoch of the second run
    assert [len(row["missing_seeds"]) for row in table(killed)["rows"]] == [1, 2]
    first = (killed / "beta-0" / "seed0" / "best.pt").stat().st_mtime_ns
    assert (killed / "beta-2" / "seed0" / "last.pt").exists()
    resumed: list[bool] = []

    def watched(config, run_dir, *, resume=False):
        resumed.append(resume)
        return train(config, run_dir, resume=resume)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train", watched)
        run_ablation(ablation, killed, fresh=False, say=silent)
    assert resumed == [True, False, False]
    assert (killed / "beta-0" / "seed0" / "best.pt").stat().st_mtime_ns == first
    assert table(killed) == table(whole)
    weights = [load_checkpoint(out / "beta-2" / "seed0" / "last.pt").weights for out in (whole, killed)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    result = json.loads((killed / "beta-2" / "seed0" / "result.json").read_text())
    assert result["epochs"] == 2
    assert load_config(killed / "beta-2" / "seed0" / "config.yaml") == ablation.config(ablation.rows[1], 0, 2)


def test_a_half_finished_run_of_another_config_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ablation = replace(load_ablation(file), epochs=2)
    cut_off(monkeypatch, ablation, tmp_path / "out", after=3)  # in the second epoch of the first run
    with pytest.raises(UserError, match=r"train.epochs 2 -> 3"):
        run_ablation(replace(ablation, epochs=3), tmp_path / "out", fresh=False, say=silent)


def test_fresh_forgets_both_files_of_a_run_that_was_killed(file: Path, tmp_path: Path):
    ablation = replace(load_ablation(file), seeds=(0,))
    folder = tmp_path / "out" / "beta-0" / "seed0"
    folder.mkdir(parents=True)
    for name in ("last.pt", "previous.pt"):
        (folder / name).write_text("of another run")
    run_ablation(ablation, tmp_path / "out", fresh=True, say=silent)
    assert load_checkpoint(folder / "last.pt").training["epoch"] == 1
    assert load_checkpoint(folder / "previous.pt").training["epoch"] == 0
