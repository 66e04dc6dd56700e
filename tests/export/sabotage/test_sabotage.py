"""The gate refuses every sabotaged export, says why, and leaves nothing; it passes the right ones."""

import pytest

from tests.export.sabotage.attempt import FORMATS, Workshop
from tests.export.sabotage.subject import SELECTION
from tests.export.sabotage.table import CORRUPTIONS, sample

USUAL = sample(0.05) | {"RGB instead of BGR"}
"""these are tried in every run, in the first of their formats; all others are exhaustive"""


def _cases():
    for corruption in CORRUPTIONS:
        for name in () if corruption.reported else corruption.formats:
            usual = corruption.name in USUAL and name == corruption.formats[0]
            marks = [] if usual else [pytest.mark.exhaustive]
            yield pytest.param(corruption, name, id=f"{corruption.name}, {name}", marks=marks)


def _formats():
    for name in FORMATS:
        yield pytest.param(name, marks=[] if name in ("detections", "dynamic") else [pytest.mark.exhaustive])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_formats()))
def test_a_right_export_passes(workshop, tmp_path, name):
    exported = workshop.control(tmp_path / "right.onnx", name)
    assert [path.name for path in tmp_path.iterdir()] == ["right.onnx"]
    assert exported.parity.matched == exported.parity.detections > 50


@pytest.mark.slow
def test_the_pictures_reach_what_is_corrupted(workshop):
    """Full lists and short ones, every class, boxes at the edge; a plain picture without any."""
    found = workshop.found()
    assert max(map(len, found)) == SELECTION.keep
    assert 0 < min(map(len, found)) < SELECTION.keep
    assert {label for rows in found for label in rows.labels} == {0, 1, 2}
    assert workshop.found_in_plain() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("corruption", "name"), list(_cases()))
def test_a_sabotaged_export_is_refused_and_leaves_nothing(workshop, tmp_path, corruption, name):
    outcome = workshop.attempt(corruption, tmp_path / "wrong.onnx", name)
    assert outcome.verdict == "refused", outcome.reason
    assert outcome.left == []


def test_the_names_are_unique_and_every_run_tries_each_kind():
    names = [corruption.name for corruption in CORRUPTIONS]
    assert len(names) == len(set(names)) >= 340
    kinds = {corruption.kind for corruption in CORRUPTIONS}
    assert {corruption.kind for corruption in CORRUPTIONS if corruption.name in USUAL} == kinds
