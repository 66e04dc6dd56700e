"""The walls: floors that go one way, no copyleft among the dependencies, a help that loads nothing heavy."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.commands import accepted, python

ROOT = Path(__file__).parents[1]


def test_the_floors_go_one_way():
    command = Path(sys.executable).with_name("lint-imports")
    if not command.is_file():
        pytest.skip("import-linter is not installed beside this Python: pip install import-linter")
    result = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


# Licences -----------------------------------------------------------------------------------------------------

STRONG, WEAK = "GPL or AGPL", "LGPL"


def copyleft(meta: Mapping[str, str] | Message) -> str | None:
    """What a package's metadata says: STRONG, WEAK or None. A choice (OR) that has a free side is free."""
    expression = meta["License-Expression"]
    if expression:
        return _of_expression(expression)
    text = meta["License"] or ""
    # a long text is a licence in full, which may mention others: its title decides
    stated = [text if len(text) < 200 else text.strip()[:200], *_classifiers(meta)]
    kinds = {_of_words(words) for words in stated}
    return STRONG if STRONG in kinds else WEAK if WEAK in kinds else None


def _classifiers(meta: Mapping[str, str] | Message) -> list[str]:
    every = meta.get_all("Classifier") if isinstance(meta, Message) else meta.get("Classifier", [])
    return [c for c in every or [] if c.startswith("License ::")]


def _of_expression(expression: str) -> str | None:
    """SPDX: of alternatives the freest counts, of parts that all hold the strictest."""
    rank = [None, WEAK, STRONG]
    flat = expression.replace("(", " ").replace(")", " ")  # nesting: judged as if OR bound weakest
    sides = [
        max((_of_words(part) for part in re.split(r"\s+AND\s+", side, flags=re.I)), key=rank.index)
        for side in re.split(r"\s+OR\s+", flat, flags=re.I)
    ]
    return min(sides, key=rank.index)


def _of_words(words: str) -> str | None:
    if re.search(r"LGPL|Lesser General Public|Library General Public", words, re.I):
        return WEAK
    if re.search(r"GPL|General Public License|\bSSPL\b", words, re.I):
        # "WITH" an exception (GCC's runtime library, in wheels of numpy) lets anyone link to it
        return None if re.search(r"WITH\s+\S*exception|GCC-exception", words, re.I) else STRONG
    return None


def runtime_dependencies(
    root: str, find: Callable[[str], metadata.Distribution] = metadata.distribution
) -> dict[str, metadata.Distribution]:
    """Everything installed that `root`, with all of its extras, needs in the end."""
    found: dict[str, metadata.Distribution] = {}
    queue = [(root, extra) for extra in ("", *(find(root).metadata.get_all("Provides-Extra") or []))]
    seen: set[tuple[str, str]] = set()
    while queue:
        name, extra = queue.pop()
        key = (re.sub(r"[-_.]+", "-", name).lower(), extra)
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = find(name)
        except metadata.PackageNotFoundError:
            continue  # an extra or a platform that is not installed here
        found[key[0]] = distribution
        for line in distribution.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]
    found.pop(root, None)
    return found


def test_no_dependency_has_a_copyleft_licence(record_property):
    found = runtime_dependencies("nanogfl")
    assert {"numpy", "onnxruntime", "click"} <= found.keys()
    kinds = {name: copyleft(distribution.metadata) for name, distribution in found.items()}
    weak = sorted(name for name, kind in kinds.items() if kind == WEAK)
    record_property("lgpl", weak)
    print(f"{len(found)} packages; LGPL: {', '.join(weak) or 'none'}")
    assert sorted(name for name, kind in kinds.items() if kind == STRONG) == []


def test_the_walk_reaches_extras_and_what_they_need():
    found = runtime_dependencies("nanogfl")
    try:
        metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        pytest.skip("torch is not installed: there is no extra to walk into")
    assert "torch" in found
    assert "sympy" in found  # by torch
    assert "pytest" not in found  # a dependency group, not ours at run time


def fake(license: str = "", expression: str = "", classifiers: tuple[str, ...] = ()) -> Message:
    meta = Message()
    for key, value in (("License", license), ("License-Expression", expression)):
        if value:
            meta[key] = value
    for classifier in classifiers:
        meta["Classifier"] = classifier
    return meta


@pytest.mark.parametrize(
    ("meta", "kind"),
    [
        (fake("AGPL-3.0"), STRONG),
        (fake("GNU Affero General Public License v3"), STRONG),
        (fake("GPLv2+"), STRONG),
        (fake(expression="AGPL-3.0-or-later"), STRONG),
        (fake(expression="MIT AND GPL-3.0-only"), STRONG),
        (fake(classifiers=("License :: OSI Approved :: GNU Affero General Public License v3",)), STRONG),
        (fake("MIT", classifiers=("License :: OSI Approved :: GNU General Public License v3 (GPLv3)",)), STRONG),
        (fake("LGPL-2.1"), WEAK),
        (fake(classifiers=("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",)), WEAK),
        (fake(expression="MIT OR GPL-2.0-only"), None),
        (fake(expression="BSD-3-Clause AND GPL-3.0-with-GCC-exception"), None),
        (fake(expression="GPL-3.0-or-later WITH GCC-exception-3.1"), None),
        (fake("BSD-3-Clause " * 30 + "... some part under the GNU General Public License"), None),
        (fake("Apache 2.0"), None),
        (fake(), None),
    ],
)
def test_the_check_of_licences_tells_them_apart(meta, kind):
    assert copyleft(meta) == kind


def test_a_copyleft_dependency_of_a_dependency_of_an_extra_would_be_found():
    class Fake:
        def __init__(self, license: str, requires: list[str], extras: tuple[str, ...] = ()) -> None:
            self.metadata, self.requires = fake(license), requires
            for extra in extras:
                self.metadata["Provides-Extra"] = extra

    world = {
        "ours": Fake("Apache-2.0", ["good", 'heavy[fast]; extra == "train"', "absent"], ("train",)),
        "good": Fake("MIT", []),
        "heavy": Fake("MIT", ['Hidden_Part>=1; extra == "fast"', 'never; extra == "slow"']),
        "Hidden_Part": Fake("AGPL-3.0", ["ours"]),
        "never": Fake("GPL", []),
    }

    def find(name: str) -> metadata.Distribution:
        if name not in world:
            raise metadata.PackageNotFoundError(name)
        return world[name]

    found = runtime_dependencies("ours", find)
    assert sorted(found) == ["good", "heavy", "hidden-part"]
    assert [name for name, d in found.items() if copyleft(d.metadata) == STRONG] == ["hidden-part"]


# Importing costs nothing --------------------------------------------------------------------------------------

HEAVY = ("torch", "cv2", "numpy", "onnx", "onnxruntime", "pydantic", "yaml", "matplotlib", "pycocotools", "rich")


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """stdout, and the top-level packages that `nanogfl ARGUMENTS` imports."""
    command = [sys.executable, "-X", "importtime", "-m", "nanogfl", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    names = re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", result.stderr, re.M)
    return result.stdout, {name.split(".")[0] for name in names}


def test_help_and_version_load_nothing_heavy():
    shown, names = imported_by("--help")
    assert "detect" in shown
    assert "click" in names  # the list is not empty for another reason
    assert not names & set(HEAVY)
    assert not imported_by("--version")[1] & set(HEAVY)


def test_the_help_of_every_command_loads_nothing_heavy():
    shown, _ = imported_by("--help")
    commands = re.findall(r"^  ([\w-]+) ", shown.split("Commands:")[1], re.M)
    assert {"detect", "bench", "info"} <= set(commands)
    for command in commands:
        assert not imported_by(command, "--help")[1] & set(HEAVY), command


LOSSES = sorted(f"nanogfl.loss.{path.stem}" for path in (ROOT / "nanogfl/loss").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (["nanogfl.config"], ["pydantic", "torch", "yaml"]),
        (["nanogfl.data.synthetic.dataset"], ["torch", "pydantic", "yaml"]),
        (
            ["nanogfl.data.readers.read", "nanogfl.evaluation.coco_ap", "nanogfl.evaluation.frequency"],
            ["torch", "onnx"],
        ),
        (["nanogfl_deploy.sources.open"], ["PIL", "torch"]),
        (LOSSES, ["cv2", "sqlite3", "PIL", "nanogfl.data.cache.frames"]),
    ],
    ids=lambda names: names[0],
)
def test_a_module_loads_no_package_that_it_does_not_need(modules, unwanted):
    if modules is LOSSES:
        pytest.importorskip("torch")
    script = f"import sys, {', '.join(modules)}; print(sorted(set({unwanted}) & set(sys.modules)))"
    assert accepted(python("-c", script)) == "[]\n"


def test_the_packages_init_files_are_empty():
    files = {path for top in ("nanogfl", "export", "deploy") for path in (ROOT / top).rglob("__init__.py")}
    assert len(files) > 8
    public = {ROOT / "nanogfl" / "__init__.py", ROOT / "deploy" / "nanogfl_deploy" / "__init__.py"}  # loaded lazily
    for file in files - public:
        statements = [line for line in file.read_text().splitlines() if line.strip()]
        assert not [s for s in statements if not s.startswith('"""')], file
