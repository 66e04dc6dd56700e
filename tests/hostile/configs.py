"""Recipes, ablations and folders of recipes."""

from tests.hostile.bad import Bad, Content, endless, link, pipe


def laughs(first: str, step: str, end: str = "") -> str:
    """9^9 values in nine lines, each an alias of the one before."""
    lines = (
        step.format(new=new, nine=", ".join([f"*{old}"] * 9)) for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return first + "".join(lines) + end


LAUGHS = laughs("a: &a [x, x, x, x, x, x, x, x, x]\n", "{new}: &{new} [{nine}]\n")
MERGED = laughs("a: &a {x: 1}\n", "{new}: &{new} {{<<: [{nine}]}}\n")
FLOW = laughs("[&a [x, x, x, x, x, x, x, x, x]", ", &{new} [{nine}]", "]")
DEEP = "[" * 500


def config(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"config: {name}", "train recipe.yaml --run-dir run", sentence, {"recipe.yaml": content})


def ablation(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"ablation: {name}", "ablate rows.yaml --out out", sentence, {"rows.yaml": content})


CONFIGS = [
    config("a pipe", pipe, r"config recipe\.yaml cannot be read: it is a device or a pipe"),
    config("a device", endless, "it is a device or a pipe"),
    config("a link to itself", link("recipe.yaml"), r"recipe\.yaml cannot be read \(Too many levels of symbolic links"),
    config("UTF-16", "train: {epochs: 1}".encode("utf-16"), "is not text in UTF-8"),
    config("a megabyte", "#" * 1_000_001, "has more than 1,000,000 bytes"),
    config("brackets without end", f"a: {DEEP}", "nested"),
    config("billion laughs", LAUGHS, "aliases written out"),
    config("billion laughs, merged", MERGED, "aliases written out"),
    config("an alias within itself", "train: &a [*a]", "aliases written out"),
    config("a tag that calls", "train: !!python/object/apply:os.system [touch run]", "determine a constructor"),
    config("a 13th month", "train: {lr: 2001-13-01}", "not valid YAML: month must be in 1..12"),
    config("a number of 4000 digits", f"train: {{epochs: {'9' * 4000}}}", "train.epochs"),
    config("a number in sixties", f"train: {{epochs: 1{':59' * 2000}}}", "train.epochs"),
    config("not a number", "loss: {tal_alpha: .nan}", "tal_alpha"),
    config("a terminal's escape as a key", '"\\e[2Jtrain": 1', r"unknown key '\\x1b\[2Jtrain'"),
    config("a list as a key", "? [a]\n: b", "not valid YAML"),
    config("two documents", "a: 1\n---\nb: 2", "found another document"),
    config("channels without end", "model: {neck: {channels: 1000000000}}", "channels.* 1024"),
    config("an input without end", "model: {input: {hw: [3200000, 3200000]}}", "height and width.* 4096"),
    config("a batch without end", "train: {batch_size: 1000000000000}", "batch_size.* 65536"),
    config("half of a character", 'data: {root: "\\uD800"}', "no file can have this name"),
    config("a name that no system takes", f"data: {{root: {'a' * 5000}}}", "cannot be read .File name too long"),
    Bad("show: a pipe", "data show recipe.yaml -o sheet.png", "it is a device or a pipe", {"recipe.yaml": pipe}),
    Bad("check: laughs", "data check recipe.yaml -o out", "aliases written out", {"recipe.yaml": MERGED}),
    Bad("--set: laughs", f"train recipe.yaml --set 'train.seed={FLOW}'", "aliases written out", {}),
    Bad("--set: deep", f"train recipe.yaml --set {'a.' * 50}b=1", "not a recipe|levels", {}),
    Bad("models: laughs", "models --configs recipes", "aliases written out", {"recipes/a.yaml": LAUGHS}),
    ablation("a pipe", pipe, "it is a device or a pipe"),
    ablation("billion laughs", LAUGHS, "aliases written out"),
    ablation("deep", DEEP, "nested"),
    ablation("a base without an end", "base: /dev/zero\nrows: {a: {}}\nbudget: {epochs: 1}", "/dev/zero .* device"),
]  # fmt: skip
