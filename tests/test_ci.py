"""The public CI's workflow, which nothing here can run: what it calls exists, and the actions it uses cannot change."""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STEPS = [
    step
    for path in WORKFLOWS
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    for step in job["steps"]
]


def test_every_command_calls_a_make_target_or_a_file_that_exists():
    commands = [step["run"] for step in STEPS if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    called = {target for command in commands for target in re.findall(r"\bmake ([a-z-]+)", command)}
    assert {"check", "test", "headless"} <= called <= targets
    files = {file for command in commands for file in re.findall(r"python (\S+\.py)", command)}
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_actions_are_pinned_to_a_commit():
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)


def test_the_oldest_supported_python_is_tested():
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    for name in ("test", "windows"):
        assert min(jobs[name]["strategy"]["matrix"]["python"]) == oldest.removeprefix(">=")


def test_the_list_of_device_tests_names_what_exists():
    listed = (ROOT / "tests" / "device.txt").read_text(encoding="utf-8").splitlines()
    assert len(listed) > 10
    assert [name for name in listed if not (ROOT / name).exists()] == []
