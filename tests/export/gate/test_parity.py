"""What the gate's figures allow."""

import pytest

from nanogfl.errors import UserError
from nanogfl_export.gate.parity import Parity


@pytest.mark.parametrize("name", ["box_px", "spread_px", "score", "points_px", "probability"])
@pytest.mark.parametrize("value", ["too much", float("nan"), float("inf")])
def test_every_tolerance_counts(name, value):
    measured = {"points_px": 0.0, "probability": 0.0}
    allowed = 0.05 if name.endswith("px") else 1e-4
    measured[name] = allowed * 1.01 if value == "too much" else value
    with pytest.raises(UserError, match="does not agree with PyTorch"):
        Parity(images=1, detections=1, matched=1, **measured).require()
    measured[name] = allowed * 0.99
    assert Parity(images=1, detections=1, matched=1, **measured).require()


def test_a_difference_of_what_the_model_should_not_have_counts():
    parity = Parity(images=1, detections=1, matched=1)
    parity.saw(spread_px=0.0)
    assert parity.spread_px is None
    parity.saw(spread_px=float("inf"))
    with pytest.raises(UserError):
        parity.require()


def test_one_unexplained_row_is_enough():
    with pytest.raises(UserError, match="only PyTorch has label 1"):
        Parity(images=1, detections=500, matched=499, unexplained=["x: only PyTorch has label 1"]).require()


@pytest.mark.parametrize(("detections", "allowed"), [(1000, 20), (100, 4), (1, 4)])
def test_ties_are_limited_by_a_share_but_never_below_a_few(detections, allowed):
    assert Parity(images=1, detections=detections, ties=allowed).require()
    with pytest.raises(UserError, match="row of a tie"):
        Parity(images=1, detections=detections, ties=allowed + 1, tie_rows=["row of a tie"]).require()
