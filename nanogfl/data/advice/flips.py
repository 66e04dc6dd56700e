"""Whether a mirrored picture would teach a wrong class, by the names of the classes."""

import re
import string
from collections.abc import Iterator, Sequence

_SIDES = (
    ("left", "right"),
    ("links", "rechts"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("izquierdo", "derecho"),
    ("esquerda", "direita"),
    ("sinistra", "destra"),
    ("左", "右"),
)
_LETTERS = ("l", "r")
"""as a word of its own: hand_l, hand_r"""
_MANY_LETTERS = 20


def why_not_flip(classes: Sequence[str]) -> str | None:
    """Why training pictures must not be mirrored; None: no class name speaks against it."""
    by_name = {name.casefold(): name for name in classes}
    for key, name in by_name.items():
        for other in _other_side(key):
            if other in by_name:
                return f"in a mirrored picture '{name}' is '{by_name[other]}'"
    letters = [name for name in classes if len(name) == 1 and name in string.ascii_letters]
    if set(string.digits) <= set(classes) or len({name.casefold() for name in letters}) >= _MANY_LETTERS:
        return "the classes are characters: a mirrored one is none, or another"
    return None


def _other_side(name: str) -> Iterator[str]:
    for one, other in _SIDES:
        if one in name:
            yield name.replace(one, other)
    one, other = _LETTERS
    if (swapped := re.sub(rf"(?<![^\W_]){one}(?![^\W_])", other, name)) != name:
        yield swapped
