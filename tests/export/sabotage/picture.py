"""A network that sees another picture than it was given."""

from typing import Any

import numpy as np

from tests.export.sabotage.attempt import EVERY, WITHIN, of_graph
from tests.export.sabotage.cuts import Cut, floats
from tests.export.sabotage.subject import SPEC
from tests.export.sabotage.surgery import HW


def pixels(body: str, **constants: Any) -> Cut:
    """The picture as float (B, H, W, 3), BGR."""
    return lambda graph: graph.rewire("image", f"pixels = Cast <to = 1> (right) {body}", **constants)


MEAN, _STD = floats(*SPEC.mean), floats(*SPEC.std)

TABLE = [
    *of_graph(
        EVERY,
        {
            "RGB instead of BGR": pixels("wrong = Gather <axis = 3> (pixels, order)", order=[2, 1, 0]),
            "mean in RGB order": pixels("wrong = Add(pixels, f)", f=MEAN - MEAN[::-1]),
            "mean missing": pixels("wrong = Add(pixels, f)", f=MEAN),
            "mean with the wrong sign": pixels("wrong = Add(pixels, f)", f=2 * MEAN),
            "std missing": pixels(
                "centred = Sub(pixels, mean) scaled = Mul(centred, std) wrong = Add(scaled, mean)", mean=MEAN, std=_STD
            ),
            "std in RGB order": pixels(
                "centred = Sub(pixels, mean) scaled = Mul(centred, f) wrong = Add(scaled, mean)",
                mean=MEAN,
                f=_STD / _STD[::-1],
            ),
            "pixels from 0 to 1": pixels("wrong = Mul(pixels, f)", f=floats(1 / 255)),
            "pixels as int8": pixels("byte = Cast <to = 3> (right) wrong = Cast <to = 1> (byte)"),
            "picture mirrored": pixels(
                "wrong = Gather <axis = 2> (pixels, order)", order=np.arange(HW[1])[::-1].copy()
            ),
            "picture upside down": pixels(
                "wrong = Gather <axis = 1> (pixels, order)", order=np.arange(HW[0])[::-1].copy()
            ),
            "picture one pixel to the right": pixels(
                "wrong = Gather <axis = 2> (pixels, order)", order=np.roll(np.arange(HW[1]), 1)
            ),
            "grey picture": pixels("wrong = Gather <axis = 3> (pixels, order)", order=[1, 1, 1]),
        },
    ),
    *of_graph(EVERY, {"pixels + .00001": pixels("wrong = Add(pixels, f)", f=floats(1e-5))}, reported=WITHIN),
]
