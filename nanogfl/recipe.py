"""Reading a recipe: a YAML over the defaults of config.py, with errors that name the key."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from nanogfl.config import Config
from nanogfl.contract.errors import UserError


def load_config(path: Path | str, overrides: tuple[str, ...] = ()) -> Config:
    """The YAML at `path` over the defaults, then `overrides` such as "model.backbone.width=0.5x" in their order.

    Raises UserError that names the path of an unknown key or of a value that does not fit.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"config {path} does not exist: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} cannot be read: {error}") from None
    content = _parse_yaml(text, str(path))
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise UserError(f"config {path} must hold keys and values, got {type(content).__name__}")
    for override in overrides:
        _apply_override(content, override)
    return config_from_dict(content, str(path))


def config_from_dict(content: dict[str, Any], origin: str) -> Config:
    """Validates; `origin` is named in the UserError."""
    try:
        return TypeAdapter(Config).validate_python(_over_defaults(content, Config().to_dict()))
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_problem(error)}") from None


def _over_defaults(content: Any, defaults: dict[str, Any]) -> Any:
    """A section states what differs from the defaults; one whose every key is commented out reads as None."""
    if content is None:
        return defaults
    if not isinstance(content, dict):
        return content
    merged = {**defaults, **content}
    for key, section in defaults.items():
        if isinstance(section, dict):
            merged[key] = _over_defaults(merged[key], section)
    return merged


def differences(a: Config, b: Config) -> list[str]:
    """The keys in which two configs differ, as "train.epochs 4 -> 6"."""

    def compare(first: Any, second: Any, path: str) -> list[str]:
        if isinstance(first, dict):
            return [line for key in first for line in compare(first[key], second[key], f"{path}.{key}")]
        return [] if first == second else [f"{path[1:]} {first} -> {second}"]

    return compare(a.to_dict(), b.to_dict(), "")


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{origin} is not valid YAML{where}: {getattr(error, 'problem', None) or error}") from None


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
    node[last] = _parse_yaml(value, f"--set {override}")


def _first_problem(error: ValidationError) -> str:
    problems = error.errors()
    first = problems[0]
    parents = [str(part) for part in first["loc"][:-1]]
    path = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "unexpected_keyword_argument":
        known = _known_keys(parents)
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"unknown key '{path}': {hint}{more}"
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f", got {first['input']!r}"
    return f"{path}: {message}{shown if ', got ' not in message else ''}{more}"


def _known_keys(parents: list[str]) -> list[str]:
    node: Any = Config().to_dict()
    for parent in parents:
        node = node[parent]
    return list(node)
