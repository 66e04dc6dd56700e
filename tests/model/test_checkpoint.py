"""Checkpoints: what goes in comes out, and nothing in a file is executed."""

import pickle
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import Checkpoint, describe_checkpoint, load_checkpoint, save_checkpoint, weights_digest
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import load_predictor

CONFIG = Config(
    ModelConfig(InputSpec((64, 96), "letterbox"), "leaky_relu", BackboneConfig("0.5x"), NeckConfig(channels=8))
)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Checkpoint]:
    detector = build_detector(CONFIG.model, 2)
    for buffer in detector.buffers():
        if buffer.is_floating_point() and buffer.ndim == 1:
            buffer.uniform_(0.5, 2.0)  # statistics of norms that are not the fresh ones
    checkpoint = Checkpoint(CONFIG, ("cat", "Hund ü"), (3, 90), detector.state_dict(), {"epoch": 7, "ap": None})
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    return tmp_path / "a.pt", checkpoint


def test_a_checkpoint_comes_back_as_it_was(saved):
    path, checkpoint = saved
    loaded = load_checkpoint(path)
    assert loaded.config == CONFIG
    assert (loaded.classes, loaded.category_ids) == (("cat", "Hund ü"), (3, 90))
    assert (loaded.facts, loaded.training) == ({"epoch": 7, "ap": None}, None)
    built = loaded.build()
    assert not built.training
    state = built.state_dict()
    assert list(state) == list(checkpoint.weights)
    assert all(torch.equal(state[name], value) for name, value in checkpoint.weights.items())


def test_the_file_is_plain_data(saved):
    path, _ = saved
    content = torch.load(path, weights_only=True)
    assert content["config"]["model"]["input"]["hw"] == [64, 96]
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]  # no temporary file is left


@pytest.mark.parametrize(
    "text", ["model:\n  width: 1.0x\n", "hello\n", "", ".\n", "c", "# a comment\n", "(lp0\n.", "{}"]
)
def test_a_text_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "note.pt"
    path.write_text(text)
    with pytest.raises(UserError, match="is not a nanogfl checkpoint"):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_random_bytes_are_one_sentence(tmp_path):
    path, numbers = tmp_path / "noise.pt", random.Random(0)
    for _ in range(60):
        path.write_bytes(bytes(numbers.randrange(256) for _ in range(numbers.randrange(1, 40))))
        with pytest.raises(UserError, match="is not a nanogfl checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.9999])
def test_a_truncated_checkpoint_is_one_sentence(saved, share):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match="truncated"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}},
        [1, 2],
        torch.zeros(3),
        {"format": "nanogfl checkpoint 2"},
        {"format": "nanogfl checkpoint 1"},
    ],
)
def test_another_programs_checkpoint_is_one_sentence(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UserError, match="is not a nanogfl checkpoint"):
        load_checkpoint(tmp_path / "other.pt")


def test_a_missing_checkpoint_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("change", ["width", "classes", "missing"])
def test_weights_that_do_not_fit_the_config_are_one_sentence(saved, change):
    _, checkpoint = saved
    match change:
        case "width":
            wide = replace(CONFIG.model, backbone=BackboneConfig("1.0x"))
            wrong = replace(checkpoint, config=replace(CONFIG, model=wide))
        case "classes":
            wrong = replace(checkpoint, classes=("a", "b", "c"), category_ids=(1, 2, 3))
        case _:
            wrong = replace(checkpoint, weights={k: v for k, v in checkpoint.weights.items() if k != "mean"})
    with pytest.raises(UserError, match="weights do not fit its config") as raised:
        wrong.build()
    assert "\n" not in str(raised.value)


def test_a_failed_save_leaves_the_old_file(saved):
    path, checkpoint = saved
    before = path.read_bytes()
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_checkpoint(path, replace(checkpoint, facts={"f": lambda: 0}))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]


def test_info_names_what_is_in_the_file(saved):
    rows = dict(describe_checkpoint(saved[0]))
    assert re.fullmatch("sha256 [0-9a-f]{64}", rows["weights"])
    assert rows["classes"] == "2: cat, Hund ü"
    assert rows["input"].startswith("64 x 96 (height x width), letterbox")
    assert rows["epoch"] == "7"
    assert "resume" not in rows


@pytest.mark.parametrize(
    ("head", "said", "spread"),
    [
        (
            HeadConfig(),
            "per_level, box general+dfl, quality joint",
            "of each side, from its distribution over bins 0 to 7, 1 stride apart",
        ),
        (
            HeadConfig(kind="shared", reg_max=16, bin_width=0.5, dgqp=True),
            "shared, box general+dfl, quality joint through DGQP",
            "of each side, from its distribution over bins 0 to 16, 0.5 strides apart",
        ),
        (HeadConfig(box="gaussian"), "per_level, box gaussian, quality joint", "of each side, predicted as a number"),
        (HeadConfig(box="dirac"), "per_level, box dirac, quality joint", "none: the boxes are dirac"),
    ],
)
def test_info_says_what_a_box_is_and_whether_it_has_a_spread(tmp_path, head, said, spread):
    model = replace(CONFIG.model, neck=NeckConfig(channels=64), head=head)
    weights = build_detector(model, 1).state_dict()
    save_checkpoint(tmp_path / "a.pt", Checkpoint(Config(model), ("thing",), (1,), weights))
    rows = dict(describe_checkpoint(tmp_path / "a.pt"))
    assert (rows["head"], rows["spread"]) == (said, spread)


def test_a_loaded_predictor_answers_in_source_pixels(saved):
    predictor = load_predictor(saved[0])
    frame = torch.randint(0, 256, (50, 200, 3), dtype=torch.uint8).numpy()
    found = predictor(frame)
    assert predictor.class_names == ("cat", "Hund ü")
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [200, 50, 200, 50]).all()
    raw = predictor.raw(torch.zeros(64, 96, 3, dtype=torch.uint8).numpy())
    assert raw.boxes.shape == raw.spread.shape == (128, 4)
    assert raw.scores.shape == (128, 2)


def test_predicting_during_training_leaves_training_mode_on():
    predictor_config = CONFIG.model
    detector = build_detector(predictor_config, 1).train()
    from nanogfl.model.predictor import Predictor

    before = {name: value.clone() for name, value in detector.state_dict().items()}
    Predictor(detector, predictor_config, ("a",)).raw(torch.zeros(64, 96, 3, dtype=torch.uint8).numpy())
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_the_digest_sees_a_changed_bit_and_not_the_order():
    weights = {"b": torch.zeros(3), "a": torch.ones(2, dtype=torch.long)}
    same = {"a": torch.ones(2, dtype=torch.long), "b": torch.zeros(3)}
    assert weights_digest(weights) == weights_digest(same)
    same["b"][1] = -0.0
    assert weights_digest(weights) != weights_digest(same)
    assert weights_digest({"c": torch.zeros(3)}) != weights_digest({"b": torch.zeros(3)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_info_reads_weights_of_any_precision(saved, dtype):
    path, checkpoint = saved
    cast = {name: value.to(dtype) if value.ndim > 1 else value for name, value in checkpoint.weights.items()}
    save_checkpoint(path, replace(checkpoint, weights=cast))
    digest = dict(describe_checkpoint(path))["weights"]
    assert digest != f"sha256 {weights_digest(checkpoint.weights)}"
    load_predictor(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_whatever_computes_with_them(saved, value):
    path, checkpoint = saved
    name, tensor = next((n, v.clone()) for n, v in checkpoint.weights.items() if n.startswith("head"))
    tensor.view(-1)[0] = value
    save_checkpoint(path, replace(checkpoint, weights={**checkpoint.weights, name: tensor}))
    for use in (load_predictor, describe_checkpoint):
        with pytest.raises(UserError, match=f"not all finite numbers.*{name}"):
            use(path)
