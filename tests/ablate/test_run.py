"""Whole ablations, tiny: order, resuming after a kill, other configs, failures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nanogfl.ablate import run as run_module
from nanogfl.ablate.run import run_ablation
from nanogfl.ablate.spec import Ablation, Budget, load_ablation
from nanogfl.errors import UserError
from nanogfl.evaluation.coco_ap import ClassReport, Report
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.recipe import load_config
from nanogfl.training.loop import Outcome
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


def test_rows_go_seed_by_seed_and_the_table_says_what_is_missing(file, tmp_path, trained, monkeypatch):
    said: list[str] = []
    seen: list[int] = []
    pretend = run_module.train

    def looking(*arguments, **named):
        seen.append(sum(len(row["missing_seeds"]) for row in table(tmp_path / "out")["rows"]))
        return pretend(*arguments, **named)

    monkeypatch.setattr(run_module, "train", looking)
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=said.append)
    assert trained == ["beta-0/seed0", "beta-2/seed0", "beta-0/seed3", "beta-2/seed3"]
    assert seen == [4, 3, 2, 1]
    content = table(tmp_path / "out")
    assert content["complete"]
    assert [row["mean"] for row in content["rows"]] == pytest.approx([11.5, 36.5])
    assert "[1/4] beta 0, seed 0: AP 10.0 %, 1.0 minutes" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "ablation.md", "ablation.json", "ablation.png", "beta-0", "beta-2",
    }  # fmt: skip


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


def test_a_changed_config_or_budget_is_an_error_and_nothing_is_trained(file, tmp_path, trained):
    run_ablation(load_ablation(file), tmp_path / "out", fresh=False, say=silent)
    before = (tmp_path / "out" / "ablation.json").read_bytes()
    for change, named in (({"budget": {"epochs": 2}}, "train.epochs 1 -> 2"), ({"set": {}}, "loss.box 1.5 -> 2.0")):
        changed = file.parent / "changed.yaml"
        changed.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}, sort_keys=False))
        with pytest.raises(UserError, match=rf"another config or budget \({named}\).*--fresh"):
            run_ablation(load_ablation(changed), tmp_path / "out", fresh=False, say=silent)
    assert len(trained) == 4
    assert (tmp_path / "out" / "ablation.json").read_bytes() == before


def test_an_older_result_is_read_and_a_damaged_one_refused(file: Path, tmp_path: Path, trained: list[str]):
    ablation = load_ablation(file)
    run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)
    path = tmp_path / "out" / "beta-0" / "seed3" / "result.json"
    content = json.loads(path.read_text())
    assert content["figures"]["ap_large"] == 0.2
    # one of a version that knew fewer keys and wrote a digest: what is missing was at its default
    content["config"]["loss"].pop("cls")
    path.write_text(json.dumps({**content, "digest": "of then"}))
    run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)
    assert len(trained) == 4
    for text in ('{"row": ', "[1]", "{}", json.dumps({**content, "figures": 5})):
        path.write_text(text)
        with pytest.raises(UserError, match="is not a result of an ablation"):
            run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"result\.json cannot be read"):
        run_ablation(ablation, tmp_path / "out", fresh=False, say=silent)


def test_a_run_that_fails_leaves_the_others_and_is_named_at_the_end(file, tmp_path, trained, monkeypatch):
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
    content["rows"]["last"] = {"set": {"train.teacher": "none.pt"}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError, match=r"row 'last': checkpoint none\.pt does not exist"):
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
    ablation = replace(load_ablation(file), budget=Budget(epochs=2), seeds=(0,))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_ablation(ablation, whole, fresh=False, say=silent)
    cut_off(monkeypatch, ablation, killed, after=4 + 3)  # 2 steps an epoch: in the second epoch of the second run
    assert [row["missing_seeds"] for row in table(killed)["rows"]] == [[], [0]]
    with pytest.raises(UserError, match=r"train.epochs 2 -> 3"):  # the half-finished run is recognised, too
        run_ablation(replace(ablation, budget=Budget(epochs=3)), killed, fresh=False, say=silent)
    first = (killed / "beta-0" / "seed0" / "best.pt").stat().st_mtime_ns
    said: list[str] = []
    run_ablation(ablation, killed, fresh=False, say=said.append)
    assert [line.split(": ")[1].split(",")[0] for line in said[:-6] if " epochs, " in line] == ["going on"]
    assert (killed / "beta-0" / "seed0" / "best.pt").stat().st_mtime_ns == first
    assert table(killed) == table(whole)
    weights = [load_checkpoint(out / "beta-2" / "seed0" / "last.pt").weights for out in (whole, killed)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert load_config(killed / "beta-2" / "seed0" / "config.yaml") == ablation.config("beta | 2*", 0, 2)


def test_fresh_forgets_both_files_of_a_run_that_was_killed(file: Path, tmp_path: Path):
    ablation = replace(load_ablation(file), seeds=(0,))
    folder = tmp_path / "out" / "beta-0" / "seed0"
    folder.mkdir(parents=True)
    for name in ("last.pt", "previous.pt"):
        (folder / name).write_text("of another run")
    run_ablation(ablation, tmp_path / "out", fresh=True, say=silent)
    assert load_checkpoint(folder / "last.pt").training["epoch"] == 1
    assert load_checkpoint(folder / "previous.pt").training["epoch"] == 0
