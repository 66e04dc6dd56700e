"""Ablation files: what they say, and what is refused before anything is trained."""

from pathlib import Path

import pytest
import yaml

from nanogfl.ablate.spec import Budget, folder_name, load_ablation
from nanogfl.config import Config
from nanogfl.errors import UserError
from nanogfl.model.detector import build_detector
from nanogfl.recipe import differences, load_config

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs" / "ablations").glob("*.yaml"))


def test_there_are_shipped_ablations():
    assert {"gfl-1c", "gfl-2b", "gfl-assigners"} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_row_of_every_shipped_ablation_loads_and_its_detector_is_built(path: Path):
    ablation = load_ablation(path)
    assert len(ablation.rows) > 1
    assert len(ablation.seeds) > 1
    for row in ablation.rows:
        build_detector(ablation.config(row, seed=1, epochs=2).model, 3)
    assert f"nanogfl ablate configs/ablations/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "key", "column"),
    [
        ("gfl-1c", "loss.beta", {0: 37.6, 1: 39.0, 2: 39.9, 2.5: 39.7, 4: 38.2}),
        ("gfl-2b", "model.head.reg_max", {12: 40.1, 14: 40.2, 16: 40.2, 18: 40.1}),
    ],
)
def test_the_papers_figures_belong_to_the_keys_that_their_rows_set(name, key, column):
    rows = load_ablation(ROOT / "configs" / "ablations" / f"{name}.yaml").rows
    assert {row.set.get(key): row.paper for row in rows.values() if row.paper is not None} == column
    assert all(label.endswith(f" {row.set[key]:g}") for label, row in rows.items() if key in row.set)


def test_a_row_is_the_base_with_the_common_keys_its_own_the_seed_and_the_budget(file: Path):
    recipe = file.parent / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("{batch_size: 4", "{patience: 2, batch_size: 4"))
    ablation = load_ablation(file, ("train.lr=0.01",))
    config = ablation.config("beta | 2*", seed=3, epochs=7)
    assert differences(load_config(recipe), config) == [
        "loss.box 2.0 -> 1.5",
        "loss.beta 2.0 -> 2.5",  # a nested section leaves the section's other keys as they are
        "train.epochs 100 -> 7",
        "train.lr 0.004 -> 0.01",
        "train.patience 2 -> 0",  # no row ends early
        "train.seed 0 -> 3",
    ]
    assert (ablation.title, ablation.budget, ablation.metric) == ("exponents", Budget(epochs=1), "ap")
    assert [(name, row.paper) for name, row in ablation.rows.items()] == [("beta 0", 37.6), ("beta | 2*", None)]
    assert [folder_name(name) for name in ablation.rows] == ["beta-0", "beta-2"]


def test_a_row_wins_over_what_is_common_to_all(file: Path):
    file.write_text(file.read_text().replace("{box: 1.5}", "{box: 1.5, beta: 3}"))
    ablation = load_ablation(file)
    assert [ablation.config(row, 0, 1).loss.beta for row in ablation.rows] == [0, 2.5]


def test_values_of_every_kind_arrive_as_they_are_written(file: Path):
    content = yaml.safe_load(file.read_text())
    content["set"] = {
        "train": {"lr": 1e-5, "clip_norm": float("inf"), "init_from": "a: b's #1, ü\n.pt", "freeze": ["neck"]},
        "loss.assist": False,
        "augment.scale": [0.5, 2],
        "data.cache_dir": None,
    }
    content["rows"] = {16: None, "other": {"set": {"loss.beta": 1}}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    config = load_ablation(file).config("16", 0, 1)
    assert (config.train.lr, config.train.clip_norm) == (1e-5, float("inf"))
    assert config.train.init_from == "a: b's #1, ü\n.pt"
    assert config.train.freeze == ("neck",)
    assert config.augment.scale == (0.5, 2.0)
    assert config.data.cache_dir is None
    assert config.loss.assist is False
    assert config.model.neck.kind == Config().model.neck.kind


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"row": {}}, "unknown key 'row': did you mean 'rows'?"),
        ({"rows": {}}, "rows: .*at least 1 item"),
        ({"rows": {"a": {"sett": {}}}}, "unknown key 'rows.a.sett': did you mean 'set'?"),
        ({"rows": {"a": {"set": {"loss.betta": 1}}}}, "row 'a': .*unknown key 'loss.betta': did you mean 'beta'"),
        ({"rows": {"a": {"set": {"loss": {"beta": float("nan")}}}}}, "row 'a': .*beta must be at least 0"),
        ({"rows": {"a": {"paper": "high"}}}, "rows.a.paper: .* number"),
        ({"rows": {"a": {}, "b": {"set": {"loss.beta": 2}}}}, "rows 'a' and 'b' are the same training"),
        ({"rows": {"a b": {}, "A/B": {"set": {"loss.beta": 1}}}}, "row 'A/B' would have a folder like row 'a b'"),
        ({"rows": {"..": {}}}, "row '..' would have a folder without a letter or digit"),
        ({"rows": {"a": {"set": {"train.seed": 4}}}}, "row 'a' sets train.seed, but seeds and budget decide it"),
        ({"set": {"train": {"epochs": 4}}}, "set sets train.epochs, but seeds and budget decide it"),
        ({"rows": {"a": 5}}, "rows.a must hold keys and values, got 5"),
        ({"seeds": [0, 0]}, "seeds must be different, got 0, 0"),
        ({"seeds": []}, "seeds: .*at least 1 item"),
        ({"seeds": [1.5]}, "seeds.0: .*integer"),
        ({"budget": {"epochs": 1, "steps": 4}}, "budget must be one of {epochs: N} and {steps: N}"),
        ({"budget": {"minutes": 5}}, "unknown key 'budget.minutes': known here: epochs, steps"),
        ({"budget": {"epochs": 0}}, "budget.epochs must be at least 1, got 0"),
        ({"budget": None}, "budget must hold keys and values"),
        ({"metric": "AP"}, "metric: Input should be 'ap', 'ap50'"),
        ({"paper": {"titel": "x"}}, "unknown key 'paper.titel': did you mean 'title'?"),
        ({"base": "none.yaml"}, "none.yaml does not exist"),
        ({"base": None}, "base: .*string"),
    ],
)
def test_what_does_not_fit_is_one_sentence(file: Path, change: dict, sentence: str):
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}, sort_keys=False))
    with pytest.raises(UserError, match=sentence) as raised:
        load_ablation(file)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("override", ["loss.beta=1", "loss={beta: 1}", "train.seed=1", "train.epochs=2"])
def test_an_override_of_what_the_rows_or_the_file_decide_is_refused(file: Path, override: str):
    with pytest.raises(UserError, match="leave it out"):
        load_ablation(file, (override,))


def test_a_file_that_cannot_be_read_is_one_sentence(file: Path):
    with pytest.raises(UserError, match="does not exist"):
        load_ablation(file.parent / "none.yaml")
    for text, sentence in (("[1", "is not valid YAML in line"), ("- 1", "must hold keys and values")):
        file.write_text(text)
        with pytest.raises(UserError, match=sentence):
            load_ablation(file)
