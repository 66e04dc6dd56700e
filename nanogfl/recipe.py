"""Reading a recipe: a YAML over the defaults of config.py, with errors that name the key."""

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from nanogfl.bounds import requirement
from nanogfl.config import About, Config
from nanogfl.errors import UserError
from nanogfl.io.printable import shortened
from nanogfl.io.read_file import is_file
from nanogfl.io.yaml_file import parse_yaml, read_yaml

_MOST_VALUES, _DEEPEST = 10_000, 32
"""of a recipe, which has about 110 values on 4 levels"""
_LARGEST_NUMBER = (1 << 63) - 1
_MAY_BE_INFINITE = "train.clip_norm"
"""infinite means that nothing is clipped"""
_ADVICE = "check the path (`nanogfl models` lists the recipes that come along: configs/bccd.yaml, or bccd)"
_RENAMED = {"qfl": "cls", "giou": "box", "dfl": "side"}
"""keys of `loss` before 0.2.0, which older recipes and checkpoints hold"""
_READERS: dict[Any, TypeAdapter[Any]] = {}
"""by dataclass; building one takes longer than reading a recipe"""
_Section = TypeVar("_Section")


def shipped_recipes() -> Path:
    """The folder of the recipes that come with nanogfl: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def recipe_name(path: Path | str) -> str:
    """configs/nanodet/nanodet-m-1.5x_320.yaml, or the same without .yaml -> nanodet-m-1.5x_320."""
    path = Path(path)
    return path.stem if path.suffix in (".yaml", ".yml") else path.name


def _advice(path: Path) -> str:
    """What to do where no recipe is called `path`: the shipped ones with similar names, most similar first."""
    names = {recipe_name(file).lower(): recipe_name(file) for file in sorted(shipped_recipes().rglob("*.yaml"))}
    close = [names[near] for near in difflib.get_close_matches(recipe_name(path).lower(), names, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(close)}? Otherwise {_ADVICE}" if close else _ADVICE


def read_recipe(path: Path | str, what: str) -> tuple[Any, Path]:
    """The content of a recipe or an ablation (`what`) and its file: the one at `path`, else a shipped one of that name.

    A shipped recipe is found as configs/papers/gfl_r50.yaml, papers/gfl_r50.yaml or gfl_r50; a bare file name such as
    bccd.yaml is always the user's own. Raises UserError where the file is missing or is not YAML.
    """
    path = Path(path)
    file = path if is_file(path) else find_shipped(path) or path
    return read_yaml(file, what, _ADVICE if is_file(file) else _advice(path)), file


def find_shipped(path: Path) -> Path | None:
    """The shipped recipe that `path` names, see `read_recipe`; None if there is none."""
    folder = shipped_recipes()
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    bare = len(path.parts) == 1
    for file in sorted(folder.rglob("*.yaml")):
        own = file.relative_to(folder)
        if file.stem == path.name if bare else parts in (own.parts, own.with_suffix("").parts):
            return file
    return None


def load_config(path: Path | str, overrides: tuple[str, ...] = ()) -> Config:
    """The config of `load_recipe`."""
    return load_recipe(path, overrides)[0]


def load_recipe(path: Path | str, overrides: tuple[str, ...] = ()) -> tuple[Config, About]:
    """Reads the YAML at `path` (or a shipped recipe, see `read_recipe`) over the defaults, then `overrides` such as
    "model.backbone.width=0.5x" in their order.

    Raises UserError that names an unknown key, or the key, bound and value of what does not fit.
    """
    content, _ = read_recipe(path, "config")
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise UserError(f"config {path} must hold keys and values, got {type(content).__name__}")
    for override in overrides:
        _apply_override(content, override)
    _require_plain(content, str(path))
    about = validated(About, content.pop("about", None) or {}, str(path), ("about",))
    return config_from_dict(content, str(path)), about


def config_from_dict(content: dict[str, Any], origin: str) -> Config:
    """Validates `content` over the defaults. Raises UserError; `origin` is named in it."""
    _require_plain(content, origin)
    content = _with_new_names(content)
    config = validated(Config, _over_defaults(content, Config().to_dict()), origin)
    for path, value in _numbers(config.to_dict()):
        if not math.isfinite(value) and path != _MAY_BE_INFINITE:
            raise UserError(f"{origin}: {path} must be a finite number, got {value}")
    return config


def validated(kind: type[_Section], content: Any, origin: str, parents: tuple[str, ...] = ()) -> _Section:
    """`content` as a dataclass. Raises UserError; `origin` begins its sentence and `parents` the names of its keys."""
    try:
        if kind not in _READERS:
            _READERS[kind] = TypeAdapter(kind)
        valid: _Section = _READERS[kind].validate_python(content)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error, kind, parents)}") from None
    return valid


def _with_new_names(content: Any) -> Any:
    loss = content.get("loss") if isinstance(content, dict) else None
    if not isinstance(loss, dict):
        return content
    renamed = {_RENAMED[key] if key in _RENAMED and _RENAMED[key] not in loss else key: loss[key] for key in loss}
    return {**content, "loss": renamed}


def _numbers(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(content, list):
        for value in content:
            yield from _numbers(value, path)
    elif isinstance(content, float):
        yield path, content


def _require_plain(content: Any, origin: str) -> None:
    """Raises UserError for content that no recipe has, before anything walks or prints it. A checkpoint's config comes
    from a pickle, which may nest without end, or multiply by lists that hold the same list many times."""
    values = 0

    def walk(value: Any, path: tuple[str, ...]) -> None:
        nonlocal values
        values += 1
        where = f"{origin}: {'.'.join(path)[:200] or 'a key'}"
        if values > _MOST_VALUES or len(path) > _DEEPEST:
            raise UserError(f"{origin}: more than {_MOST_VALUES:,} values or {_DEEPEST} levels: this is not a recipe")
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    walk(key, path)
                walk(item, (*path, str(key)))
        elif isinstance(value, list | tuple):
            for item in value:
                walk(item, (*path, "[]"))
        elif isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            raise UserError(f"{where}: a number must have at most 63 bits, got one of {value.bit_length()}")

    walk(content, ())


def _over_defaults(content: Any, defaults: dict[str, Any]) -> Any:
    """A section states what differs from the defaults; YAML reads one whose keys are all commented out as None."""
    if content is None:
        return defaults
    if not isinstance(content, dict):
        return content
    merged = {**defaults, **content}
    for key, section in defaults.items():
        if isinstance(section, dict):
            merged[key] = _over_defaults(merged[key], section)
    return merged


def with_settings(config: Config, settings: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    """`config` with `settings` such as "train.epochs=20" over it, in their order; and what they give: key -> value.

    Raises UserError as `load_recipe` does.
    """
    own: dict[str, Any] = {}
    for setting in settings:
        _apply_override(own, setting)
    _require_plain(own, "--set")
    own = _with_new_names(own)
    changed = config_from_dict(_over_defaults(own, config.to_dict()), "--set")
    return changed, dict(_leaves(own))


def _leaves(content: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def differences(a: Config, b: Config) -> list[str]:
    """The keys in which two configs differ, as "train.epochs 4 -> 6"."""

    def compare(first: Any, second: Any, path: str) -> list[str]:
        if isinstance(first, dict):
            return [line for key in first for line in compare(first[key], second[key], f"{path}.{key}")]
        return [] if first == second else [f"{path[1:]} {first} -> {second}"]

    return compare(a.to_dict(), b.to_dict(), "")


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set takes key=value such as train.epochs=20, got '{override}'")
    *parents, last = key.strip().split(".")
    node = content
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: '{parent}' is a value, not a group of keys")
        node = child
    node[last] = parse_yaml(value, f"--set {override}")


def _first_problem(error: ValidationError, kind: Any, parents: tuple[str, ...]) -> str:
    """pydantic's first problem as one sentence: key, what is expected, what came."""
    problems = error.errors()
    first = problems[0]
    *sections, key = (*parents, *map(str, first["loc"])) or ("",)
    path = ".".join((*sections, key))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "unexpected_keyword_argument":
        known = _known_keys(kind, sections[len(parents) :])
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"unknown key '{path}': {hint}{more}"
    shown = "" if isinstance(first["input"], dict) else f", got {shortened(repr(first['input']), 200)}"
    if bound := requirement(first.get("ctx", {})):
        return f"{path} {bound}{shown}{more}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("missing"):
        return f"{path} is missing{more}"
    if first["type"] in ("dataclass_type", "dict_type"):
        message = "must hold keys and values"
    colon = "" if not path else f"{path} " if message.startswith("must ") else f"{path}: "
    return f"{colon}{message}{shown if ', got ' not in message else ''}{more}"


def _known_keys(kind: Any, sections: list[str]) -> list[str]:
    root = kind
    for section in sections:
        hint = get_args(kind)[-1] if get_origin(kind) is dict else get_type_hints(kind)[section]
        kind = hint
    names = [field.name for field in fields(kind)]
    return [*names, "about"] if kind is root is Config else names
