"""Public docstrings give the shapes of tensors and arrays, and the errors that their function raises."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nanogfl", "export/nanogfl_export", "deploy/nanogfl_deploy")

ARRAYS = re.compile(r"\b(Tensor|NDArray)\b")
STATE = re.compile(r"(dict|Mapping)\[str, Tensor\]")  # tensors of any shape by name
# (B, N, C), (M,), (B * N,), (), (...), (..., 4), (3, h', w'); a shape in words; a number that has none
_FIRST, _NEXT = r"\.\.\.|[A-Za-z]\w{0,3}'?(?: [*+] \w+)*|\d+", r", ?[\w .'*+()/-]+?"
SHAPE = re.compile(rf"\((?:{_FIRST})?(?:{_NEXT})*,?\)|\bscalars?\b|\b(?:one|any|same) shapes?\b")
RAISES = re.compile(r"\bUserErrors?\b|\bValueErrors?\b|\b[Rr]aises?\b")
EXPECTED = ("UserError", "ValueError")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.AST, name: str) -> Iterator[tuple[str, Function, str]]:
    """(qualified name, function, its docstring and that of its class) of a module's or a class's public functions."""
    of_class = (ast.get_docstring(tree) or "") if isinstance(tree, ast.ClassDef) else ""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{name}.{node.name}")
        elif is_command(node):
            continue
        elif isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__call__"):
            yield f"{name}.{node.name}", node, f"{ast.get_docstring(node) or ''}\n{of_class}"


def is_command(node: ast.AST) -> bool:
    """A command's docstring is its --help."""
    return isinstance(node, Function) and any(".command" in ast.unparse(part) for part in node.decorator_list)


def raises_expected_errors(function: Function) -> bool:
    """A `raise UserError(...)` or `raise ValueError(...)` of its own, not within a function that it defines."""
    nodes = list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            if node.exc.func.id in EXPECTED:
                return True
        elif not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            nodes += ast.iter_child_nodes(node)
    return False


def problems(source: str, name: str) -> list[str]:
    found = []
    for qualified, function, docstring in public_functions(ast.parse(source), name):
        arguments = function.args
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg]
        annotations = [a.annotation for a in given if a is not None and a.annotation is not None]
        types = [
            STATE.sub("", ast.unparse(annotation))
            for annotation in (*annotations, function.returns)
            if annotation is not None
        ]
        if any(map(ARRAYS.search, types)) and not SHAPE.search(docstring):
            found.append(f"{qualified}: no shapes")
        if raises_expected_errors(function) and not RAISES.search(docstring):
            found.append(f"{qualified}: no errors")
    return found


def test_public_docstrings_have_shapes_and_errors():
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to((ROOT / package).parent).with_suffix("").parts)
            found += problems(path.read_text(encoding="utf-8"), name)
    assert found == [], "add the shapes, or the errors, to these docstrings"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f(x: Tensor) -> int:\n    """Adds one."""', ["m.f: no shapes"]),
        ('def f(x: int) -> "NDArray[np.float32]":\n    """A number (of any kind)."""', ["m.f: no shapes"]),
        ('def f(x: Tensor) -> Tensor:\n    """(B, N, C) -> ()."""', []),
        ('def f(x: Tensor) -> Tensor:\n    """(..., 4) -> (...): area."""', []),
        ('def f(x: Tensor) -> float:\n    """The largest of a scalar."""', []),
        ('def f(x: dict[str, Tensor]) -> None:\n    """Loads a state."""', []),
        ('@click.command()\ndef f():\n    """Draw."""\n    raise UserError("x")', []),
        ("def _f(x: Tensor) -> Tensor:\n    pass", []),
        ('class A:\n    """Takes (B, 3, H, W)."""\n    def forward(self, x: Tensor) -> Tensor:\n        return x', []),
        ("class A:\n    def forward(self, x: Tensor) -> Tensor:\n        return x", ["m.A.forward: no shapes"]),
        ('def f():\n    """Reads."""\n    if 1:\n        raise UserError("x")', ["m.f: no errors"]),
        ('def f():\n    """Reads. Raises UserError for a folder."""\n    raise UserError("x")', []),
        ('def f():\n    """Makes g."""\n    def g():\n        raise ValueError("x")\n    return g', []),
    ],
)
def test_what_the_check_sees(source, expected):
    assert problems(source, "m") == expected
