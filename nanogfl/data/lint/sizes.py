"""Sizes of objects as the network sees them: after the recipe's resize, in network-input pixels."""

import math

import numpy as np
from numpy.typing import NDArray

from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.lint.finding import Finding, Severity, Split, sample

TINY = 16.0
"""network-input pixels: square root of the area below which little of an object is left to see"""
ENOUGH = 24.0
"""what the suggested input makes of the median"""
MANY_BELOW_STRIDE = 0.02
"""a larger share of objects below the finest stride is worth a warning"""
MOST_ENLARGED = 4.0
_SHOWN = 24


def sides_at_input(split: Split, spec: InputSpec) -> NDArray[np.float64]:
    """(O, 2) widths and heights of the objects, without crowd regions, in network-input pixels."""
    objects = ~split.index.crowd
    boxes = split.index.boxes[objects].astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2]) * split.index.scales(spec)[split.image_of[objects]]


def check_sizes(train: Split, spec: InputSpec, finest_stride: float) -> list[Finding]:
    """Objects of the training set that are smaller than the grid, or mostly tiny."""
    sides = sides_at_input(train, spec)
    if not len(sides):
        return []
    rows = np.flatnonzero(~train.index.crowd)
    findings = []
    below = sides.min(axis=1) < finest_stride
    if below.any():
        share = below.mean()
        examples = tuple(
            train.at([int(row)], f": {w:.1f} x {h:.1f} px at the input")
            for row, (w, h) in sample(list(zip(rows[below], sides[below], strict=True)), _SHOWN)
        )
        advice = f"{share:.1%} of the objects: a grid point may miss them; a larger model.input.hw, or leave them out"
        what = f"objects narrower than the finest stride, {finest_stride:g} px"
        severity: Severity = "warning" if share > MANY_BELOW_STRIDE else "note"
        findings.append(Finding(severity, "below-stride", what, advice, examples, int(below.sum())))
    extent = np.sqrt(sides.prod(axis=1))
    tiny = extent < TINY
    if tiny.mean() > 0.5:
        picked = sample(list(zip(rows[tiny], extent[tiny], strict=True)), _SHOWN)
        examples = tuple(train.at([int(row)], f": {size:.1f} px at the input") for row, size in picked)
        what = f"objects are tiny, below {TINY:g} x {TINY:g} px at the input"
        advice = f"{tiny.mean():.0%} of the objects: {suggest_input(train, spec, float(np.median(extent)))}"
        findings.append(Finding("warning", "tiny-objects", what, advice, examples, int(tiny.sum())))
    return findings


def suggest_input(train: Split, spec: InputSpec, median: float) -> str:
    """A larger input in which the median object has ENOUGH pixels, as far as the images hold them."""
    height, width = spec.hw
    source = np.median(train.index.hw, axis=0)
    held = float((source / spec.hw).max())
    factor = min(ENOUGH / median, MOST_ENLARGED, max(held, 1.0))
    larger = tuple(math.ceil(side * factor / 32) * 32 for side in (height, width))
    if larger == spec.hw:
        return "the images hold no more pixels: take pictures nearer, or cut larger images into parts"
    cost = larger[0] * larger[1] / (height * width)
    return f"set model.input.hw to [{larger[0]}, {larger[1]}] ({cost:.1f} times the computation)"
