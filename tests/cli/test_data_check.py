"""`nanogfl data check`, and the short form of it before a training."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from nanogfl.cli.data import data
from nanogfl.data.lint.run import advise_before_training
from nanogfl.data.readers.read import load_split
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import UserError
from nanogfl.recipe import load_config
from tests.commands import nanogfl
from tests.commands import refused as one_line

pytestmark = pytest.mark.slow  # all together longer than make check may take


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """12 + 4 drawn pictures, in which nothing is wrong."""
    draw_dataset(tmp_path / "shapes", train=12, val=4, hw=(96, 128))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"data: {{root: '{tmp_path / 'shapes'}'}}\n"
        "model: {input: {hw: [128, 160]}, backbone: {width: 0.5x}, neck: {channels: 16, extra_level: false}}\n"
    )
    return path


def check(recipe: Path, *arguments: str):
    output = recipe.parent / "out"
    return CliRunner().invoke(data, ["check", str(recipe), "-o", str(output), *arguments]), output


def keys(output: Path, *severities: str) -> set[str]:
    content = json.loads((output / "check.json").read_text())
    return {f["key"] for f in content["findings"] if not severities or f["severity"] in severities}


def edit(recipe: Path, change, split="train") -> None:
    path = recipe.parent / "shapes" / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def draw_twice(content) -> None:
    content["annotations"].append({**content["annotations"][0], "id": 10_000})


def file_of(recipe: Path, number: int) -> Path:
    return sorted((recipe.parent / "shapes/train").glob("*.jpg"))[number]


def test_a_good_data_set_has_no_error_and_no_warning(recipe):
    result, output = check(recipe, "--strict", "--set", "model.head.reg_max=12")
    assert result.exit_code == 0, result.output
    assert "nothing was found" in result.output
    assert "12 images" in result.output
    assert keys(output, "error", "warning") == set()
    assert str(output / "check.md") in result.output


def test_findings_are_said_written_and_drawn(recipe):
    edit(recipe, draw_twice)
    file_of(recipe, 3).write_bytes(b"no image")
    result, output = check(recipe)
    assert result.exit_code == 1, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "ERROR 1 images cannot be read" in lines
    assert "WARNING 1 boxes drawn twice" in lines
    assert result.output.index("images cannot be read") < result.output.index("boxes drawn twice")
    content = json.loads((output / "check.json").read_text())
    assert content["counts"]["error"] == 1
    twice = next(f for f in content["findings"] if f["key"] == "duplicate-boxes")
    assert twice["count"] == 1
    x, y, w, h = json.loads((recipe.parent / "shapes/train.json").read_text())["annotations"][0]["bbox"]
    assert twice["examples"][0]["boxes"] == [[x, y, x + w, y + h]]
    text = (output / "check.md").read_text()
    assert "](finding-duplicate-boxes.png)" in text
    assert cv2.imread(str(output / "finding-duplicate-boxes.png")).shape[0] > 100
    assert "finding-unreadable-images.png" not in text  # there is nothing to see
    assert not (output / "finding-unreadable-images.png").exists()
    # once corrected, the next check leaves no picture of the last one
    edit(recipe, lambda content: content["annotations"].pop())
    (output / "mine.png").write_bytes(b"a stranger's")
    assert check(recipe)[0].exit_code == 1  # of the file that cannot be read
    assert not (output / "finding-duplicate-boxes.png").exists()
    assert (output / "mine.png").exists()


@pytest.mark.parametrize(
    ("wrong", "code"), [(draw_twice, 0), (lambda content: content["images"][0].update(width=999), 1)]
)
def test_errors_are_exit_code_1_and_with_strict_warnings_too(recipe, wrong, code):
    reach = ("--set", "model.head.reg_max=12")
    assert check(recipe, "--strict", *reach)[0].exit_code == 0
    edit(recipe, wrong)
    result, output = check(recipe, "--strict", *reach)
    assert result.exit_code == 1
    assert (output / "check.json").exists()
    assert check(recipe, *reach)[0].exit_code == code


def test_what_is_no_data_set_or_no_recipe_is_one_sentence_and_exit_code_2(recipe):
    def refused(*arguments: str) -> str:
        result, output = check(recipe, *arguments)
        assert isinstance(result.exception, UserError), result.output
        assert not output.exists()
        return str(result.exception)

    assert "do not exist" in refused("--set", "data.root=nowhere")
    assert "did you mean" in refused("--set", "data.roott=x")
    edit(recipe, lambda content: content["annotations"][0].update(category_id=77))
    assert "unknown category" in refused("--strict")
    assert "unknown category" in one_line(nanogfl(recipe.parent, "data", "check", recipe, "--strict"))
    assert CliRunner().invoke(data, ["check", str(recipe), "--quik"]).exit_code == 2
    taken = CliRunner().invoke(data, ["check", str(recipe), "-o", str(recipe)])
    assert "is a file" in str(taken.exception)


def test_the_quick_form_opens_no_image(recipe, monkeypatch):
    for image in (recipe.parent / "shapes").rglob("*.jpg"):
        image.write_bytes(b"")
    monkeypatch.setattr("nanogfl.io.images.read_content", pytest.fail)
    monkeypatch.setattr("nanogfl.data.lint.images.read_content", pytest.fail)
    edit(recipe, draw_twice)
    result, output = check(recipe, "--quick")
    assert result.exit_code == 0, result.output
    assert "--quick" in result.output
    assert "duplicate-boxes" in keys(output)
    assert "unreadable-images" not in keys(output)
    assert not list(output.glob("finding-*"))
    assert json.loads((output / "check.json").read_text())["images_read"] is False


def test_a_reg_max_that_costs_ap_is_found_and_the_advised_one_costs_none(recipe):
    def advised(output: Path) -> int:
        return {a["key"]: a["value"] for a in json.loads((output / "check.json").read_text())["advice"]}[
            "model.head.reg_max"
        ]

    result, output = check(recipe, "--quick", "--set", "model.head.reg_max=1")
    assert "reach" in keys(output, "warning")
    enough = advised(output)
    assert f"model.head.reg_max={enough} " in result.output
    assert f"set model.head.reg_max to {enough}, " in result.output
    assert "reach" not in keys(check(recipe, "--quick", "--set", f"model.head.reg_max={enough}")[1])
    # weights of a detector come with their own reg_max: it stays
    started = check(recipe, "--quick", "--set", "model.head.reg_max=1", "--set", "train.init_from=a.pt")[1]
    assert "reach" not in keys(started)
    assert advised(started) == 1


# Before a training ----------------------------------------------------------------------------------------------


def advice(recipe: Path, **settings) -> list[str]:
    root = recipe.parent / "shapes"
    train, val = (load_split(root / f"{name}.json", root / name) for name in ("train", "val"))
    config = load_config(recipe)
    config = replace(config, data=replace(config.data, **settings))
    return list(advise_before_training(train, val, config, finest_stride=8.0))


def test_a_good_data_set_is_not_talked_about_before_a_training(recipe):
    for image in (recipe.parent / "shapes").rglob("*.jpg"):
        image.write_bytes(b"")
    assert advice(recipe) == []


def test_only_what_a_user_should_act_on_is_said_before_a_training(recipe):
    def change(content):
        draw_twice(content)
        content["annotations"].append({**content["annotations"][0], "id": 10_001, "bbox": [1, 1, 0, 9]})
        content["annotations"].append({**content["annotations"][0], "id": 10_002, "iscrowd": 1})

    edit(recipe, change)
    lines = advice(recipe)
    assert len(lines) == 2  # the run lists the empty box itself, and a crowd region is fine
    assert lines[0].startswith("  warning: 1 boxes drawn twice (train: ")
    assert "data check" in lines[1]


def all_crowds(content) -> None:
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


@pytest.mark.parametrize("change", [lambda content: content["annotations"].clear(), all_crowds])
def test_a_val_set_without_objects_is_an_error_in_the_check_and_said_before_a_training(recipe, change):
    edit(recipe, change, "val")
    result, output = check(recipe, "--quick", "--strict")
    assert result.exit_code == 1
    assert "val-without-objects" in keys(output, "error")
    assert any(line.strip().startswith("error: 4 validation images") for line in advice(recipe))


def test_a_file_that_is_listed_in_both_splits_is_found_by_the_quick_form(recipe):
    result, output = check(
        recipe, "--quick", "--set", "data.val.images=train", "--set", "data.val.annotations=train.json"
    )
    assert result.exit_code == 1, result.output
    assert "val-in-train" in keys(output, "error")


def test_pictures_of_12_bits_are_a_warning(recipe):
    for path in sorted((recipe.parent / "shapes/train").glob("*.jpg"))[:2]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype("uint16")
        path.write_bytes(cv2.imencode(".png", grey * 16)[1].tobytes())
    result, output = check(recipe)
    assert result.exit_code == 0, result.output
    (finding,) = (f for f in json.loads((output / "check.json").read_text())["findings"] if f["key"] == "little-range")
    assert (finding["severity"], finding["count"]) == ("warning", 2)
