"""The classes of a data set: those of its file, or those of the model that is evaluated on it, matched by name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from nanogfl.contract.detections import MOST_CLASSES
from nanogfl.data.dataset import Problem
from nanogfl.errors import UserError


class Classes(NamedTuple):
    names: tuple[str, ...]
    ids: tuple[int, ...]
    label_of: Mapping[int, int]
    """the file's number of a class -> dense label; a number that is missing is a class unknown to the model"""
    notes: tuple[Problem, ...] = ()
    """how the file's classes differ from the model's"""


def choose_classes(
    file: Path,
    categories: Mapping[int, str],
    class_ids: tuple[int, ...] | None,
    class_names: tuple[str, ...] | None = None,
    *,
    numbered: bool = True,
) -> Classes:
    """The classes of the file in the order of their numbers, or those of a model, matched by name.

    The rule for every format and command: a class of the model is the file's class of exactly the same name. Numbers
    only decide between several classes of one name. `notes` list classes that the model does not know and, in formats
    with numbers of their own (`numbered`), numbers that differ. With `class_ids` alone, classes are matched by number.

    Raises UserError if the file lacks a class of the model, or has too many classes.
    """
    if class_ids is not None and class_names is not None:
        return _by_name(file, categories, class_ids, class_names, numbered)
    if len(categories) > MOST_CLASSES:
        raise UserError(
            f"{file} has {len(categories):,} classes, and at most {MOST_CLASSES:,} are read: check that the names are"
            " those of classes"
        )
    ids = tuple(sorted(categories)) if class_ids is None else class_ids
    unknown = [i for i in ids if i not in categories]
    if unknown:
        raise UserError(
            f"{file} has no category with id {unknown[0]}, which the model was trained on: its categories are"
            f" {_few(f'{i} {categories[i]}' for i in sorted(categories))}"
        )
    return Classes(tuple(categories[i] for i in ids), ids, {number: label for label, number in enumerate(ids)})


def _by_name(
    file: Path, categories: Mapping[int, str], ids: tuple[int, ...], names: tuple[str, ...], numbered: bool
) -> Classes:
    numbers_of: dict[str, list[int]] = {}
    for number, name in categories.items():
        numbers_of.setdefault(name, []).append(number)
    label_of: dict[int, int] = {}
    moved = []
    for label, (own, name) in enumerate(zip(ids, names, strict=True)):
        numbers = numbers_of.get(name, [])
        number = own if own in numbers or len(numbers) != 1 else numbers[0]
        if number in label_of or categories.get(number) != name:
            raise _other_classes(file, categories, names, name)
        label_of[number] = label
        if number != own:
            moved.append(f"{name} is {number} here, {own} in the model")
    notes = []
    if moved and numbered:
        notes.append(Problem("classes", f"matched by name, their ids differ: {_few(moved)}"))
    if unknown := [name for number, name in categories.items() if number not in label_of]:
        notes.append(Problem("classes", f"unknown to the model, their boxes are left out: {_few(unknown)}"))
    return Classes(names, ids, label_of, tuple(notes))


def _other_classes(file: Path, categories: Mapping[int, str], names: tuple[str, ...], name: str) -> UserError:
    if (count := list(categories.values()).count(name)) > 0:
        return UserError(
            f"{file} has {count} and the model {names.count(name)} classes named '{name}', and their ids do not tell"
            " which is which: give each class its own name"
        )
    alike = [other for other in categories.values() if _folded(other) == _folded(name)]
    hint = f" ('{alike[0]}' differs in case or spaces)" if alike else ""
    return UserError(
        f"{file} has no class '{name}', which the model was trained on: its classes are {_few(categories.values())},"
        f" the model's are {_few(names)}{hint}; rename them in {file.name} if they mean the same, or choose a data set"
        " with these classes"
    )


def _folded(name: str) -> str:
    return "".join(name.casefold().split())


def _few(items: Iterable[str], most: int = 10) -> str:
    """a, b, c and 7 more"""
    every = list(items)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
