"""The config: defaults in one place, bounds and joint rules, unknown keys refused by name; the shipped recipes."""

import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from nanogfl.config import About, AugmentConfig, Config, HeadConfig, LossConfig, NeckConfig, Quality, TrainConfig
from nanogfl.errors import UserError
from nanogfl.recipe import config_from_dict, differences, load_config, load_recipe
from tests.representations import DGQP, PER_LEVEL

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "ablations")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as raised:
        load_config(path, overrides)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()
    for text in ("# nothing\n", "train:\n  # epochs: 3\nmodel:\n  head:\n"):
        assert load_config(write(tmp_path, text)) == Config()


def test_a_file_states_only_what_differs(tmp_path):
    config = load_config(write(tmp_path, "model: {input: {hw: [192, 320]}, neck: {channels: 64}}\ntrain: {lr: 1e-4}\n"))
    assert config.model.input.hw == (192, 320)
    assert config.model.neck.channels == 64
    assert config.model.neck.kind == Config().model.neck.kind
    assert config.train.lr == 1e-4  # YAML 1.1 reads 1e-4 as text
    assert config.data == Config().data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", "unknown key 'modle': did you mean 'model'?"),
        ("model: {neck: {chanels: 64}}", "unknown key 'model.neck.chanels': did you mean 'channels'?"),
        ("model: {selection: {iuo: 0.5}}", "unknown key 'model.selection.iuo': did you mean 'iou'?"),
        ("data: {train: {annotations: a, images: b, picture: c}}", "unknown key 'data.train.picture': known here: "),
        ("about: {sorce: me}", "unknown key 'about.sorce': did you mean 'source'?"),
        ("about: {published_ap: 101}", "about.published_ap must be at most 100, got 101"),
        ("train: {xyzzy: 1, lrr: 2}", "(and 1 more)"),
        ("train: {epochs: many}", "train.epochs: "),
        ("train: {precision: fp64}", "train.precision: Input should be 'auto', 'fp32', 'bf16' or 'fp16', got 'fp64'"),
        ("train: {compile: fast}", "train.compile: "),
        ("model: {head: {kernel: 4}}", "model.head.kernel: Input should be 1, 3, 5 or 7, got 4"),
        ("augment: {scale: 0.6}", "augment.scale: "),
        ("model: 5", "model must hold keys and values, got 5"),
        ("- 1", "must hold keys and values, got list"),
        ("train: {epochs: 1", "is not valid YAML in line 1"),
        ("train: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("1: 2", "Keys should be strings"),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_names_its_key(tmp_path, text, message):
    path = write(tmp_path, text)
    assert f"{path}" in refusal(path)
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("train.epochs=0", "must be at least 1"),
        ("train.seed=-1", "must be at least 0"),
        ("train.lr=0", "must be above 0"),
        ("train.lr=.nan", "must be above 0"),
        ("train.ema_decay=1.0", "must be below 1"),
        ("train.timeout_minutes=2000000.0", "must be at most 1000000"),
        ("train.weight_decay=.inf", "must be a finite number"),
        ("model.neck.channels=33", "must be a multiple of 2"),
        ("loss.assist_channels=6", "must be at least 8"),
        ("loss.alpha=1.5", "must be at most 1"),
        ("data.repeat_threshold=2", "must be at most 1"),
        ("augment.perspective=0.95", "must be at most 0.9"),
        ("model.head.bin_width=.inf", "must be a finite number"),
    ],
)
def test_a_number_out_of_bounds_is_a_sentence_with_key_bound_and_value(tmp_path, override, rule):
    key, value = override.split("=")
    message = refusal(write(tmp_path, ""), (override,))
    assert re.search(rf": {re.escape(key)} {re.escape(rule)}, got {re.escape(value.lstrip('.'))}$", message), message


@pytest.mark.parametrize(
    ("construct", "sentence"),
    [
        (lambda: TrainConfig(epochs=0), "epochs must be at least 1, got 0"),
        (lambda: replace(TrainConfig(), lr=float("nan")), "lr must be above 0, got nan"),
        (lambda: LossConfig(alpha=1.5), "alpha must be at most 1, got 1.5"),
        (lambda: NeckConfig(channels=33), "channels must be a multiple of 2, got 33"),
        (lambda: HeadConfig(kernel=4), "kernel must be 1, 3, 5 or 7, got 4"),
        (lambda: AugmentConfig(scale=(2.0, 1.0)), "scale must be a rising pair"),
    ],
)
def test_constructing_in_python_checks_the_same_bounds(construct, sentence):
    with pytest.raises(ValueError, match=sentence):
        construct()
    assert LossConfig(alpha=None).alpha is None


FL = {"loss": {"classification": "fl"}}
RETINANET = {
    "model": {"head": {"kind": "shared", "box": "deltas", "quality": "none"}},
    "loss": {"classification": "fl", "assigner": "max_iou", "box_weight": "none"},
}
# a valid start and a change of it -> the setting that the sentence advises
NO_SENSE = {
    "dgqp.box=dirac": "set box to general+dfl",
    "dgqp.box=gaussian": "set box to general+dfl",
    "dgqp.quality=iou": "set quality to joint, got iou",
    "dgqp.dgqp_top=9": "at most the 8 bins, got 9",
    "dgqp.loss.classification=eqfl": "set classification to qfl, or dgqp to false",
    "dirac.bin_width=0.5": "leave bin_width out",
    "retina.bin_width=0.5": "leave bin_width out",
    "head.anchor_size=8": "leave anchor_size out",
    "head.norm=none": "leave norm out",
    "head.model.backbone={kind: resnet50, width: 0.5x}": "leave width out",
    "head.model.neck={kind: pan}": "set extra_level to false",
    "head.model.neck={kind: fpn}": "set extra_level to false",
    "head.model.neck.p6_from=c5": "leave p6_from out",
    "retina.kernel=3": "leave kernel out",
    "retina.kind=per_level": "set kind to shared and quality to none",
    "retina.quality=iou": "got shared and iou",
    "retina.loss.assigner=atss": "got atss and deltas: set both or neither",
    "head.loss.assigner=max_iou": "got max_iou and general+dfl: set both or neither",
    "retina.loss.box_weight=score": "set it to none",
    "retina.loss.assist=true": "set assigner to dsla or tal",
    "head.loss.cls=0": "set it above 0",
    "dirac.loss.box=0": "set it above 0",
    "head.loss.side=0": "set model.head.box to general",
    "gaussian.loss.side=0": "or model.head.box to dirac",
    "iou.loss.quality=0": "or model.head.quality to none",
    "head.train.schedule=step": "needs milestones",
    "head.train.milestones=[8]": "leave milestones out",
    "head.train={schedule: step, milestones: [11, 8]}": "milestones must rise",
    "head.train={schedule: step, milestones: [8, 8]}": "milestones must rise",
    "head.train={schedule: step, epochs: 12, milestones: [8, 12]}": "between 0 and epochs (12), got [8, 12]",
    "head.augment.scale=[1.4, 0.6]": "rising pair of positive numbers, got [1.4, 0.6]",
    "head.model.selection.keep=2000": "keep 2000, candidates 1000",
    "head.model.input.hw=[320, 330]": "multiples of 32, got 320 x 330",
}
STARTS = {
    "head": {},
    "dgqp": {"model": {"head": {"dgqp": True}}},
    "dirac": {"model": {"head": {"box": "dirac"}}},
    "gaussian": {"model": {"head": {"box": "gaussian"}}},
    "iou": {"model": {"head": {"quality": "iou"}}, **FL},
    "retina": RETINANET,
}


@pytest.mark.parametrize("case", NO_SENSE)
def test_settings_that_do_not_fit_together_are_refused_with_advice(tmp_path, case):
    start, _, override = case.partition(".")
    if not override.startswith(("loss.", "model.", "train", "augment.")):
        override = f"model.head.{override}"
    path = write(tmp_path, yaml.safe_dump(STARTS[start]))
    load_config(path)  # without the change it is fine
    assert NO_SENSE[case] in refusal(path, (override,))


CLASSIFICATIONS, QUALITIES = get_args(get_type_hints(LossConfig)["classification"]), get_args(Quality)


@pytest.mark.parametrize("classification", CLASSIFICATIONS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_a_class_learns_the_quality_exactly_where_it_enters_nowhere_else(tmp_path, classification, quality):
    path = write(tmp_path, f"loss: {{classification: {classification}}}\nmodel: {{head: {{quality: {quality}}}}}\n")
    if (classification in ("qfl", "eqfl")) == (quality == "joint"):
        config = load_config(path)
        assert (config.loss.classification, config.model.head.quality) == (classification, quality)
    else:
        assert f"model.head.quality {quality}: set loss.classification" in refusal(path)


@pytest.mark.parametrize("kind", ["per_level", "shared"])
def test_every_box_loads_with_every_quality_and_comes_back_as_it_was(kind):
    for head in [*PER_LEVEL.values(), *DGQP.values()]:
        given = {"kind": kind, "box": head.box, "quality": head.quality, "dgqp": head.dgqp}
        loss = {"classification": "qfl" if head.quality == "joint" else "efl"}
        config = config_from_dict({"model": {"head": given}, "loss": loss}, "here")
        found = config.model.head
        assert (found.box, found.quality, found.dgqp) == (head.box, head.quality, head.dgqp)
        assert config_from_dict(config.to_dict(), "x") == config
    config = config_from_dict(RETINANET, "x")
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
        ("train=5", "train must hold keys and values, got 5"),
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


def test_what_a_recipe_says_about_itself_is_not_part_of_its_config(tmp_path):
    path = write(tmp_path, "about: {published_ap: 30.4, source: a paper}\n")
    assert load_recipe(path) == (Config(), About(30.4, "a paper"))
    assert load_recipe(write(tmp_path, "about:\n")) == (Config(), About())


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


def test_the_former_names_of_the_losses_are_read():
    """Recipes and checkpoints before 0.2.0 hold them."""
    config = config_from_dict({"loss": {"qfl": 0.5, "giou": 3.0, "dfl": 0.75}}, "old.yaml")
    assert (config.loss.cls, config.loss.box, config.loss.side) == (0.5, 3.0, 0.75)
    with pytest.raises(UserError, match="qfl"):
        config_from_dict({"loss": {"qfl": 0.5, "cls": 0.5}}, "both.yaml")
