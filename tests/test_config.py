"""The config: defaults in one place, misspelt keys refused with their path."""

import ast
import re
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import yaml

from nanogfl.config import Config, HeadConfig, LossConfig, Quality
from nanogfl.errors import UserError
from nanogfl.recipe import config_from_dict, differences, load_config
from tests.representations import DGQP, PER_LEVEL

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nanogfl"
RECIPES = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "ablations")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()
    assert load_config(write(tmp_path, "# nothing\n")) == Config()


def test_a_file_states_only_what_differs(tmp_path):
    config = load_config(write(tmp_path, "model: {input: {hw: [192, 320]}, neck: {channels: 64}}\ntrain: {lr: 1e-4}\n"))
    assert config.model.input.hw == (192, 320)
    assert config.model.neck.channels == 64
    assert config.model.neck.kind == Config().model.neck.kind
    assert config.train.lr == 1e-4  # YAML 1.1 reads 1e-4 as text
    assert config.data == Config().data


def all_fields(value, path=()):
    for field in fields(value):
        inner = getattr(value, field.name)
        yield from all_fields(inner, (*path, field.name)) if is_dataclass(inner) else [(*path, field.name)]


def test_every_knob_has_a_line_of_its_own_in_one_of_the_dataclasses():
    """A default is written once: no class of the config names the same knob twice, and each is annotated once."""
    tree = ast.parse((ROOT / "nanogfl/config.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = [statement.target.id for statement in node.body if isinstance(statement, ast.AnnAssign)]
            assert len(names) == len(set(names)), node.name
    assert len(list(all_fields(Config()))) > 40


def test_the_config_is_the_only_place_that_gives_a_knob_a_default():
    """Functions below take what they need without defaults that could disagree with the config."""
    knobs = {path[-1] for path in all_fields(Config()) if path[0] in ("augment", "loss", "train")} - {
        "seed",
        "device",
        "threads",
    }
    for file in [
        *(ROOT / "nanogfl/criterion").glob("*.py"),
        *(ROOT / "nanogfl/train").glob("*.py"),
        ROOT / "nanogfl/data/augment/plan.py",
    ]:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args]
            given = arguments[len(arguments) - len(node.args.defaults) :]
            given += [a for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d is not None]
            assert not knobs & {a.arg for a in given}, f"{file.name}: {node.name}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", "unknown key 'modle': did you mean 'model'?"),
        ("model: {neck: {chanels: 64}}", "unknown key 'model.neck.chanels': did you mean 'channels'?"),
        ("model: {input: {rezise: stretch}}", "unknown key 'model.input.rezise': did you mean 'resize'?"),
        ("model: {selection: {iuo: 0.5}}", "unknown key 'model.selection.iuo': did you mean 'iou'?"),
        ("data: {train: {annotations: a, images: b, picture: c}}", "unknown key 'data.train.picture': known here: "),
        ("train: {xyzzy: 1, lrr: 2}", "(and 1 more)"),
        ("train: {epochs: many}", "train.epochs: "),
        ("train: {epochs: 2.5}", "train.epochs: "),
        ("train: {epochs: 0}", "epochs must be at least 1, got 0"),
        ("train: {seed: -1}", "seed must be at least 0, got -1"),
        ("train: {lr: .nan}", "lr must be positive, got nan"),
        ("train: {lr: 0}", "lr must be positive, got 0"),
        ("train: {ema_decay: 1.0}", "ema_decay must lie in [0, 1), got 1.0"),
        ("train: {precision: fp64}", "train.precision: Input should be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp64'"),
        ("model: {backbone: {width: 2x}}", "model.backbone.width: Input should be '0.5x', '1.0x' or '1.5x', got '2x'"),
        ("model: {input: {hw: [320, 330]}}", "height and width must be multiples of 32, got 320 x 330"),
        ("model: {input: {hw: [0, 320]}}", "height and width must be multiples of 32, got 0 x 320"),
        ("model: {input: {hw: [320]}}", "model.input.hw"),
        ("model: {input: {std: [1, 0, 1]}}", "std must be positive"),
        ("model: {neck: {kind: pan}}", "kind pan has three levels"),
        (
            "model: {neck: {kind: fpn}}",
            "kind fpn has five levels, strides 8 to 128, and no other: set extra_level to false",
        ),
        ("model: {backbone: {kind: resnet50, width: 0.5x}}", "width is of shufflenetv2 alone, kind is resnet50"),
        ("model: {backbone: {kind: resnet152}}", "model.backbone.kind: Input should be 'shufflenetv2', 'resnet18'"),
        ("model: {head: {kind: shared, kernel: 3}}", "kernel is of kind per_level alone, shared has 3x3"),
        ("loss: {assist_channels: 1}", "assist_channels must be even and at least 8, got 1"),
        ("loss: {assist_channels: 33}", "assist_channels must be even and at least 8, got 33"),
        ("loss: {cls: 0}", "loss.cls 0 leaves the classes unlearned"),
        ("model: {head: {box: dirac}}\nloss: {box: 0}", "loss.box 0 leaves model.head.box dirac unlearned"),
        ("data: {repeat_threshold: 2}", "repeat_threshold must be at most 1, got 2"),
        ("data: {min_labelled: 1.5}", "min_labelled must be at most 1, got 1.5"),
        ("train: {timeout_minutes: 1.0e+300}", "timeout_minutes must be at most"),
        ("train: {optimizer: adam}", "train.optimizer: Input should be 'adamw' or 'sgd', got 'adam'"),
        ("train: {momentum: 1.0}", "momentum must lie in [0, 1), got 1.0"),
        ("train: {schedule: step}", "schedule step needs milestones"),
        ("train: {milestones: [8]}", "milestones are of schedule step, which is cosine here"),
        ("train: {epochs: 12, schedule: step, milestones: [8, 12]}", "between 0 and epochs (12), got [8, 12]"),
        ("train: {schedule: step, milestones: [11, 8]}", "milestones must rise"),
        ("train: {schedule: step, milestones: [8, 8]}", "milestones must rise"),
        ("train: {schedule: step, milestones: [0, 8]}", "milestones must rise and lie between 0 and epochs (100)"),
        ("model: {neck: {channels: 33}}", "channels must be even and at least 8, got 33"),
        ("model: {head: {kernel: 4}}", "kernel 4"),
        ("model: {head: {reg_max: 0}}", "reg_max 0"),
        ("model: {selection: {keep: 2000}}", "keep 2000, candidates 1000"),
        ("augment: {scale: [1.4, 0.6]}", "scale must be a rising pair of positive numbers, got [1.4, 0.6]"),
        ("augment: {scale: 0.6}", "augment.scale: "),
        ("augment: {flip: 2}", "flip must lie in [0, 1], got 2"),
        ("augment: {stretch: -1}", "stretch must be at least 0, got -1"),
        ("loss: {atss_candidates: 0}", "atss_candidates must be at least 1, got 0"),
        ("data: {workers: -2}", "workers must be at least 0, got -2"),
        ("model: 5", "model: "),
        ("- 1", "must hold keys and values, got list"),
        ("train: {epochs: 1", "is not valid YAML in line 1"),
        ("train: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("1: 2", "Keys should be strings"),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_names_its_path(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as raised:
        load_config(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


FL = {"loss": {"classification": "fl"}}
RETINANET = {
    "model": {"head": {"kind": "shared", "box": "deltas", "quality": "none"}},
    "loss": {"classification": "fl", "assigner": "max_iou", "box_weight": "none"},
}
NO_SENSE = {
    "dgqp.box=dirac": ("dgqp looks at the distributions of a box, and box dirac has none", "set box to general+dfl"),
    "dgqp.box=gaussian": ("and box gaussian has none", "set box to general+dfl"),
    "dgqp.quality=iou": ("learns the quality, so that another place for it has no", "set quality to joint, got iou"),
    "dgqp.dgqp_top=0": ("dgqp_top must lie between 1 and the 8 bins and dgqp_hidden be at least 1", "got 0 and 64"),
    "dgqp.dgqp_top=9": ("dgqp_top must lie between 1 and the 8 bins", "got 9 and 64"),
    "dgqp.dgqp_hidden=0": ("dgqp_hidden be at least 1", "got 4 and 0"),
    "dgqp.loss.classification=eqfl": ("keeps account of each class's own logits", "to qfl, or dgqp to false"),
    "head.bin_width=0": ("bin_width must be a positive number of strides", "got 0"),
    "head.bin_width=.inf": ("bin_width must be a positive number of strides", "got inf"),
    "head.bin_width=.nan": ("bin_width must be a positive number of strides", "got nan"),
    "head.anchor_size=-1": ("anchor_size must be a positive number of strides", "got -1"),
    "dirac.bin_width=0.5": ("bin_width is of distributions, box dirac has none", "leave bin_width out"),
    "retina.bin_width=0.5": ("bin_width is of distributions, box deltas has none", "leave bin_width out"),
    "head.anchor_size=8": ("anchor_size is of box deltas alone, box is general+dfl", "leave anchor_size out"),
    "head.norm=none": ("norm is of kind shared alone, per_level has batch norm", "leave norm out"),
    "retina.kind=per_level": ("anchors share two towers and know no quality", "set kind to shared and quality to none"),
    "retina.quality=iou": ("anchors share two towers and know no quality", "got shared and iou"),
    "retina.loss.assigner=atss": ("RetinaNet's anchors, need each other, got atss and deltas", "set both or neither"),
    "head.loss.assigner=max_iou": ("need each other, got max_iou and general+dfl", "set both or neither"),
    "retina.loss.box_weight=score": ("box_weight score is of boxes around grid points", "set it to none"),
    "retina.loss.box_weight=centerness": ("box_weight centerness is of boxes around grid points", "set it to none"),
    "retina.loss.assist=true": ("assist guides an assigner that looks at predictions", "set assigner to dsla or tal"),
    "head.loss.side=0": ("loss.side 0 leaves model.head.box general+dfl without it", "set model.head.box to general"),
    "gaussian.loss.side=0": (
        "the deviations of model.head.box gaussian unlearned",
        "or model.head.box to dirac",
    ),
    "iou.loss.quality=0": ("unlearned, which multiplies the scores", "or model.head.quality to none"),
    "head.loss.quality=-1": ("quality must be at least 0", "got -1"),
    "retina.loss.smooth_l1_beta=-1": ("smooth_l1_beta must be at least 0", "got -1"),
    "head.model.neck.p6_from=c5": ("p6_from is of kind fpn alone, kind is ghost_pan", "leave p6_from out"),
}
STARTS = {
    "head": {},
    "dgqp": {"model": {"head": {"dgqp": True}}},
    "dirac": {"model": {"head": {"box": "dirac"}}},
    "gaussian": {"model": {"head": {"box": "gaussian"}}},
    "iou": {"model": {"head": {"quality": "iou"}}, **FL},
    "retina": RETINANET,
}


def changed(case: str) -> tuple[str, tuple[str, ...]]:
    """dgqp.loss.side=0 -> the YAML of that start, the override; keys without a section are the head's."""
    start, _, override = case.partition(".")
    section = override.startswith(("loss.", "model."))
    return yaml.safe_dump(STARTS[start]), (override if section else f"model.head.{override}",)


@pytest.mark.parametrize("case", NO_SENSE)
def test_what_makes_no_sense_together_is_refused_with_why_and_what_to_do(tmp_path, case):
    text, overrides = changed(case)
    load_config(write(tmp_path, text))  # without the change it is fine
    with pytest.raises(UserError) as raised:
        load_config(write(tmp_path, text), overrides)
    message = str(raised.value)
    for part in NO_SENSE[case]:
        assert part in message
    assert "\n" not in message


CLASSIFICATIONS, QUALITIES = get_args(get_type_hints(LossConfig)["classification"]), get_args(Quality)


@pytest.mark.parametrize("classification", CLASSIFICATIONS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_a_class_learns_the_quality_exactly_where_no_other_place_has_it(tmp_path, classification, quality):
    text = f"loss: {{classification: {classification}}}\nmodel: {{head: {{quality: {quality}}}}}\n"
    if (classification in ("qfl", "eqfl")) == (quality == "joint"):
        config = load_config(write(tmp_path, text))
        assert (config.loss.classification, config.model.head.quality) == (classification, quality)
        return
    with pytest.raises(UserError) as raised:
        load_config(write(tmp_path, text))
    joint = quality == "joint"
    learned = "1" if joint else "a box's quality"
    assert str(raised.value).endswith(
        f"loss.classification {classification} teaches an object's class {learned}, which does not go with"
        f" model.head.quality {quality}: set loss.classification to one of {'qfl, eqfl' if joint else 'fl, efl'}, or"
        f" model.head.quality to {'another than joint' if joint else 'joint'}"
    )


@pytest.mark.parametrize("kind", ["per_level", "shared"])
def test_every_box_loads_with_every_quality_and_comes_back_as_it_was(kind):
    for head in [*PER_LEVEL.values(), *DGQP.values()]:
        given = {"kind": kind, "box": head.box, "quality": head.quality, "dgqp": head.dgqp}
        loss = {"classification": "qfl" if head.quality == "joint" else "efl"}
        config = config_from_dict({"model": {"head": given}, "loss": loss}, "here")
        found = config.model.head
        assert (found.box, found.quality, found.dgqp) == (head.box, head.quality, head.dgqp)
        assert config_from_dict(config.to_dict(), "x") == config


@pytest.mark.parametrize("weight", ["score", "centerness", "none"])
@pytest.mark.parametrize("assigner", ["atss", "dsla", "tal"])
@pytest.mark.parametrize("start", ["head", "dgqp", "gaussian", "iou"])
def test_points_go_with_every_assigner_and_weight(tmp_path, start, assigner, weight):
    overrides = (f"loss.assigner={assigner}", f"loss.box_weight={weight}")
    loss = load_config(write(tmp_path, yaml.safe_dump(STARTS[start])), overrides).loss
    assert (loss.assigner, loss.box_weight) == (assigner, weight)


def test_retinanet_loads_and_comes_back_as_it_was():
    config = config_from_dict(RETINANET, "x")
    assert (config.model.head.box, config.loss.assigner) == ("deltas", "max_iou")
    assert config_from_dict(config.to_dict(), "x") == config


@pytest.mark.parametrize(
    ("head", "bins", "values", "spread", "branch"),
    [
        (HeadConfig(), 8, 8, True, False),
        (HeadConfig(box="general", quality="none", reg_max=16), 17, 17, True, False),
        (HeadConfig(box="gaussian", quality="centerness"), 0, 2, True, True),
        (HeadConfig(box="dirac", quality="iou", reg_max=16), 0, 1, False, True),
        (HeadConfig(box="dirac", quality="iou-guided"), 0, 1, False, False),
        (HeadConfig(kind="shared", box="deltas", quality="none"), 0, 1, False, False),
    ],
)
def test_what_a_representation_consists_of(head, bins, values, spread, branch):
    assert (head.bins, head.side_values, head.has_spread, head.has_quality_branch) == (bins, values, spread, branch)


def test_a_missing_or_unreadable_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="cannot be read"):
        load_config(tmp_path / "binary.yaml")


def test_overrides_win_in_their_order(tmp_path):
    path = write(tmp_path, "train: {epochs: 5}\n")
    overrides = (
        "train.epochs=7",
        "model.input.hw=[96, 64]",
        "augment.scale=[0.5,2]",
        "model.neck={kind: pan, extra_level: false}",
        "train.lr=3e-4",
        "data.root=a=b",
        "train.epochs=9",
        " train.seed = 4",
    )
    config = load_config(path, overrides)
    assert config.train.epochs == 9
    assert config.model.input.hw == (96, 64)
    assert config.augment.scale == (0.5, 2.0)
    assert (config.model.neck.kind, config.model.neck.extra_level) == ("pan", False)
    assert config.train.lr == 3e-4
    assert config.data.root == "a=b"
    assert config.train.seed == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "--set takes key=value"),
        ("=5", "--set takes key=value"),
        ("train.epoch=5", "unknown key 'train.epoch': did you mean 'epochs'?"),
        ("train.epochs.more=5", "'epochs' is a value, not a group"),
        ("train.epochs=", "train.epochs: "),
        ("train.epochs=[1", "is not valid YAML"),
        ("train=5", "train: "),
        (".=1", "unknown key"),
    ],
)
def test_a_wrong_override_is_one_sentence(tmp_path, override, message):
    with pytest.raises(UserError) as raised:
        load_config(write(tmp_path, "train: {epochs: 5}\n"), (override,))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_config_is_frozen():
    config = Config()
    with pytest.raises(FrozenInstanceError):
        config.train.epochs = 3
    with pytest.raises(FrozenInstanceError):
        config.model.input.hw = (64, 64)


def test_plain_dictionaries_and_yaml_come_back_as_the_same_config(tmp_path):
    path = write(tmp_path, "model: {input: {hw: [96, 64]}, neck: {channels: 32}}\naugment: {scale: [0.9, 1.1]}\n")
    config = load_config(path, ("train.precision=bf16", "data.train={annotations: x.json, images: y}"))
    content = config.to_dict()
    assert content["model"]["input"]["hw"] == [96, 64]
    assert config_from_dict(content, "x") == config
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(content)), "x") == config


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_every_recipe_loads_and_its_detector_runs(path):
    from nanogfl.model.detector import build_detector

    torch.set_num_threads(1)
    config = load_config(path)
    # The papers' take seconds a picture: shapes only.
    with torch.inference_mode(), torch.device("meta" if path.parent.name == "papers" else "cpu"):
        detector = build_detector(config.model, 3).eval()
        out = detector(torch.zeros(1, *config.model.input.hw, 3, dtype=torch.uint8))
    assert out.cls_logits.shape == (1, len(detector.grid.points), 3)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_a_recipe_repeats_no_default(path):
    defaults = Config().to_dict()

    def repeated(content, default, where=()):
        for key, value in content.items():
            if where == ("data",) and key in ("train", "val") and value != default[key]:
                continue  # a split needs both of its keys
            if isinstance(value, dict) and key in default:
                yield from repeated(value, default[key], (*where, key))
            elif default.get(key) == value:
                yield ".".join((*where, key))

    assert list(repeated(yaml.safe_load(path.read_text()) or {}, defaults)) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_the_size_in_a_recipes_header_is_that_of_its_network(path):
    from nanogfl.model.complexity import count_complexity
    from nanogfl.model.detector import build_detector

    stated = re.search(r"^# size: (.+), counted with 80 classes$", path.read_text(), re.MULTILINE)
    if stated is None:
        assert path.parent.name not in ("nanodet", "papers")
        return
    with torch.device("meta"):
        assert stated[1] == str(count_complexity(build_detector(load_config(path).model, 80)))


def test_a_section_with_every_key_commented_out_means_the_defaults(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train:\n  # epochs: 3\nmodel:\n  head:\n", encoding="utf-8")
    assert load_config(path) == Config()


def test_differences_name_the_keys_that_changed():
    config = config_from_dict({"train": {"epochs": 4}, "augment": {"scale": [0.5, 2]}}, "here")
    assert differences(config, config) == []
    assert differences(Config(), config) == ["augment.scale [0.6, 1.4] -> [0.5, 2.0]", "train.epochs 100 -> 4"]


def test_one_key_of_a_section_leaves_its_other_keys_at_their_defaults(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {train: {annotations: mine.json}}\n", encoding="utf-8")
    train = load_config(path, ("data.val.images=photos",)).data
    assert (train.train.annotations, train.train.images) == ("mine.json", "train")
    assert (train.val.annotations, train.val.images) == ("val.json", "photos")


def test_a_cache_that_is_off_may_be_written_so(tmp_path):
    (tmp_path / "c.yaml").write_text("data: {cache: off}")
    assert load_config(tmp_path / "c.yaml").data.cache == "off"
    (tmp_path / "d.yaml").write_text("")
    assert load_config(tmp_path / "d.yaml", ("data.cache=off",)).data.cache == "off"
    with pytest.raises(UserError, match=r"data\.cache"):
        load_config(tmp_path / "d.yaml", ("data.cache=true",))
