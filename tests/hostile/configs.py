"""Recipes, ablations and folders of recipes."""

from tests.hostile.bad import Bad, Content, endless, folder, link, pipe

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""9^9 values in 9 lines"""
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FLOW = "[&a [x, x, x, x, x, x, x, x, x]" + "".join(
    f", &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
) + "]"  # fmt: skip


def config(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"config: {name}", "train recipe.yaml --run-dir run", sentence, {"recipe.yaml": content})


def ablation(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"ablation: {name}", "ablate rows.yaml --out out", sentence, {"rows.yaml": content})


ROWS = "base: recipe.yaml\nrows: {a: {set: {loss.beta: 1}}}\nbudget: {epochs: 1}\n"

CONFIGS = [
    config("a folder", folder, r"config recipe\.yaml cannot be read: it is a folder"),
    config("a pipe without a writer", pipe, r"config recipe\.yaml cannot be read: it is a device or a pipe"),
    config("a device without an end", endless, "it is a device or a pipe"),
    config("a link to itself", link("recipe.yaml"), r"recipe\.yaml cannot be read \(Too many levels of symbolic links"),
    config("a link to nothing", link("nothing"), r"recipe\.yaml does not exist"),
    config("UTF-16", "train: {epochs: 1}".encode("utf-16"), "is not text in UTF-8"),
    config("a zero byte", "train:\0 1", "is a binary file"),
    config("a megabyte", "#" * 1_000_001, "has more than 1,000,000 bytes"),
    config("brackets without end", "a: " + "[" * 5000, "not valid YAML in line 1: it is nested more than 32 levels"),
    config("blocks without end", "".join(" " * n + "a:\n" for n in range(500)), "nested more than 32 levels"),
    config("billion laughs", LAUGHS, "it holds more than 100,000 values, aliases written out"),
    config("billion laughs, merged", MERGED, "it holds more than 100,000 values, aliases written out"),
    config("an alias within itself", "train: &a [*a]", r"line 1: alias \*a lies within what it stands for"),
    config("an alias of nothing", "train: *a", "found undefined alias"),
    config("a tag that calls", "train: !!python/object/apply:os.system [touch run]", "a tag .* is not expected"),
    config("a tag that converts", "train: {epochs: !!int '3'}", "a tag .* is not expected"),
    config("a 13th month", "train: {lr: 2001-13-01}", "not valid YAML: month must be in 1..12"),
    config(
        "a number of 4000 digits",
        f"train: {{epochs: {'9' * 4000}}}",
        "train.epochs: .* at most 63 bits, got one of 13288",
    ),
    config("a number of 9000 digits", f"train: {{epochs: {'9' * 9000}}}", "not valid YAML: Exceeds the limit"),
    config("a number in sixties", f"train: {{epochs: 1{':59' * 2000}}}", "train.epochs: .* at most 63 bits"),
    config("a number as a key", f"? {'9' * 4000}\n: 1", "at most 63 bits, got one of 13288"),
    config("a value without end", f"data: {{root: {'a' * 10_001}}}", "a value has more than 10,000 characters"),
    config("not a number", "loss: {tal_alpha: .nan}", "loss.tal_alpha must be at least 0|tal_alpha must be at least"),
    config("an infinite range", "augment: {scale: [1, .inf]}", "augment.scale must be a finite number, got inf"),
    config("a terminal's escape as a key", '"\\e[2Jtrain": 1', r"unknown key '\\x1b\[2Jtrain'"),
    config("a new line as a key", '"a\\nnanogfl: all is well": 1', r"unknown key 'a\\nnanogfl: all is well'"),
    config("a list", "- 1", "must hold keys and values, got list"),
    config("a list as a key", "? [a]\n: b", "not valid YAML"),
    config("two documents", "a: 1\n---\nb: 2", "found another document"),
    config("a control character", "train: \x07", "not valid YAML"),
    config("convolutions without end", "model: {head: {convs: 1000000000}}", "convs must be at most 16"),
    config("channels without end", "model: {neck: {channels: 1000000000}}", "channels must be at most 1024"),
    config("bins without end", "model: {head: {reg_max: 1000000000}}", "reg_max must be at most 256"),
    config("a hidden layer without end", "model: {head: {dgqp: true, dgqp_hidden: 1000000000}}", "at most 4096"),
    config("an input without end", "model: {input: {hw: [3200000, 3200000]}}", "height and width must be at most 4096"),
    config("a mean that is none", "model: {input: {mean: [.nan, 0, 0]}}", "mean and std must be finite"),
    config("candidates without end", "model: {selection: {candidates: 1000000000}}", "candidates <= 100,000 must hold"),
    config("threads without end", "data: {workers: 1000000000}", "workers must be at most 256"),
    config("a batch without end", "train: {batch_size: 1000000000000}", "batch_size must be at most 65536"),
    config("half of a character", 'data: {root: "\\uD800"}', "no file can have this name"),
    config("a zero byte in a path", 'data: {root: "a\\0b"}', "no file can have this name"),
    config("a name that no system takes", f"data: {{root: {'a' * 5000}}}", "cannot be read .File name too long"),
    Bad("show: a pipe", "data show recipe.yaml -o sheet.png", "it is a device or a pipe", {"recipe.yaml": pipe}),
    Bad("show: laughs", "data show recipe.yaml -o sheet.png", "aliases written out", {"recipe.yaml": LAUGHS}),
    Bad("check: a device", "data check recipe.yaml -o out", "it is a device or a pipe", {"recipe.yaml": endless}),
    Bad("check: laughs", "data check recipe.yaml -o out", "aliases written out", {"recipe.yaml": MERGED}),
    Bad("--set: laughs", f"train recipe.yaml --set 'train.seed={FLOW}'", "aliases written out", {}),
    Bad("--set: deep", f"train recipe.yaml --set {'a.' * 50}b=1", "or 32 levels: this is not a recipe", {}),
    Bad("models: a pipe", "models --configs recipes", "it is a device or a pipe", {"recipes/a.yaml": pipe}),
    Bad("models: laughs", "models --configs recipes", "aliases written out", {"recipes/a.yaml": LAUGHS}),
    Bad(
        "models: a size",
        "models --configs recipes",
        "at most 1024",
        {"recipes/a.yaml": "model: {neck: {channels: 2222}}"},
    ),
    ablation("a folder", folder, r"ablation rows\.yaml cannot be read: it is a folder"),
    ablation("a pipe", pipe, "it is a device or a pipe"),
    ablation("UTF-16", ROWS.encode("utf-16"), "is not text in UTF-8"),
    ablation("billion laughs", LAUGHS, "aliases written out"),
    ablation("a 13th month", "title: 2001-13-01", "month must be in 1..12"),
    ablation("an escape beyond Unicode", 'title: "\\UFFFFFFFF"', "not valid YAML"),
    ablation("a deep one", "[" * 5000, "nested more than 32 levels"),
    ablation(
        "a base without an end", "base: /dev/zero\nrows: {a: {}}\nbudget: {epochs: 1}", "config /dev/zero .* device"
    ),
    ablation(
        "a base with a zero byte", 'base: "a\\0"\nrows: {a: {}}\nbudget: {epochs: 1}', "no file can have this name"
    ),
    ablation(
        "rows without end",
        f"base: x\nrows: {{{', '.join(f'r{n}: {{}}' for n in range(1001))}}}\nbudget: {{epochs: 1}}",
        "at most 1000 items",
    ),
    ablation(
        "a huge budget",
        f"base: x\nrows: {{a: {{}}}}\nbudget: {{epochs: {'9' * 4000}}}",
        "budget.epochs must be at most",
    ),
]
