"""Wrong pictures of a batch: what a file with a free batch delivers where it is not run alone."""

from typing import Any

import numpy as np

from tests.export.sabotage.attempt import UNSEEN, of_graph
from tests.export.sabotage.cuts import Cut
from tests.export.sabotage.subject import SELECTION
from tests.export.sabotage.surgery import Surgery

FREE, ROWS_ONLY = ("dynamic", "raw dynamic", "plain dynamic"), ("dynamic", "plain dynamic")

_FAR = 1 << 40
_PLACES = """
  batch = Shape <start = 0, end = 1> (right_scores)
  batch_number = Squeeze(batch)
  place = Range(nought, batch_number, one)
"""
_NAMES: dict[str, Any] = {"nought": np.int64(0), "one": np.int64(1), "two": np.int64(2)}


def every_one_from(start: int, names: tuple[str, ...] = ()) -> Cut:
    """Every picture's outputs (or these of them) are those of the first picture (0) or of the last (-1)."""

    def cut(graph: Surgery) -> None:
        for name in names or graph.rows:
            zero = np.int64(0) if name == "labels" else np.float32(0)
            graph.replace(
                f"own = Mul(right_{name}, zero) other = Slice(right_{name}, start, end, axis) {name} = Add(own, other)",
                **{"zero": zero, "start": [start], "end": [start + 1 or _FAR], "axis": [0]},
            )

    return cut


def backwards(*names: str) -> Cut:
    def cut(graph: Surgery) -> None:
        for name in names or graph.rows:
            body = f"{name} = Slice(right_{name}, start, end, axis, step)"
            graph.replace(body, start=[-1], end=[-_FAR], axis=[0], step=[-1])

    return cut


def of_the_next(graph: Surgery) -> None:
    for name in graph.rows:
        graph.replace(
            f"rest = Slice(right_{name}, one, far, axis) first = Slice(right_{name}, axis, one, axis)"
            f" {name} = Concat <axis = 0> (rest, first)",
            **{"one": [1], "far": [_FAR], "axis": [0]},
        )


def spoiled(name: str, where: str, rank: int, factor: float = 1.1) -> Cut:
    """This output x factor in the pictures where the body's `hit` (B,) is true."""
    body = f"""{_PLACES} {where}
      hit_column = Unsqueeze(hit, behind)
      more = Mul(right_{name}, factor)
      {name} = Where(hit_column, more, right_{name})"""
    return lambda graph: graph.replace(
        body, **_NAMES, behind=list(range(1, rank)), factor=np.float32(factor), least=np.int64(3)
    )


def fails_with(condition: str) -> Cut:
    """`failing` () bool of the body, from found (B,), the detections of each picture."""
    body = f"""{_PLACES}
      filled = GreaterOrEqual(right_labels, nought)
      marks = Cast <to = 7> (filled)
      found = ReduceSum <keepdims = 0> (marks, axis_1)
      least_found = ReduceMin <keepdims = 0> (found)
      most_found = ReduceMax <keepdims = 0> (found)
      several = Greater(batch_number, one)
      {condition}
      index = Where(failing, outside, nought)
      factor = Gather(table, index)
      scores = Mul(right_scores, factor)"""
    return lambda graph: graph.replace(
        body, **_NAMES, axis_1=[1], outside=np.int64(9), table=np.array([1], np.float32), most=np.int64(SELECTION.keep)
    )


def mixed_pictures(graph: Surgery) -> None:
    """The network sees each picture's upper half and the lower half of the one before."""
    graph.rewire(
        "image",
        "batch = Shape <start = 0, end = 1> (right) batch_number = Squeeze(batch)"
        " place = Range(nought, batch_number, one) shifted = Add(place, one) other = Mod(shifted, batch_number)"
        " before = Gather <axis = 0> (right, other) top = Slice(right, start, middle, axis)"
        " bottom = Slice(before, middle, end, axis) wrong = Concat <axis = 1> (top, bottom)",
        **_NAMES,
        start=[0],
        middle=[48],
        end=[96],
        axis=[1],
    )


TABLE = [
    *of_graph(
        FREE,
        {
            "every picture has the first one's boxes": every_one_from(0, ("boxes",)),
            "every picture has the first one's scores": every_one_from(0, ("scores",)),
            "every picture has the first one's spread": every_one_from(0, ("spread",)),
            "every picture has the first one's everything": every_one_from(0),
            "every picture has the last one's everything": every_one_from(-1),
            "pictures in reverse": backwards(),
            "spread in reverse": backwards("spread"),
            "each picture has the next one's everything": of_the_next,
        },
    ),
    *of_graph(
        ROWS_ONLY,
        {
            "every picture has the first one's labels": every_one_from(0, ("labels",)),
            "the second picture's spread x 1.1": spoiled("spread", "hit = Equal(place, one)", 3),
            "the second picture's boxes x 1.002": spoiled("boxes", "hit = Equal(place, one)", 3, 1.002),
            "the third picture's scores x 1.1": spoiled("scores", "hit = Equal(place, two)", 2),
            "right at the first place only": spoiled("boxes", "hit = Greater(place, nought)", 3),
            "right in a batch of one only": spoiled(
                "boxes", "flat = Mul(place, nought) size = Add(flat, batch_number) hit = Greater(size, one)", 3
            ),
            "right in a batch of up to two only": spoiled(
                "scores",
                "flat = Mul(place, nought) size = Add(flat, batch_number) hit = GreaterOrEqual(size, least)",
                2,
            ),
            "pictures of a batch mixed": mixed_pictures,
            "fails where a picture of several is empty": fails_with(
                "empty = Equal(least_found, nought) failing = And(empty, several)"
            ),
            "fails in a batch of several": fails_with("failing = Identity(several)"),
            "fails where pictures of a batch differ": fails_with(
                "same = Equal(least_found, most_found) failing = Not(same)"
            ),
        },
    ),
    *of_graph(
        ROWS_ONLY,
        {
            "wrong in a batch of two only": spoiled(
                "boxes", "flat = Mul(place, nought) size = Add(flat, batch_number) hit = Equal(size, two)", 3
            )
        },
        reported=UNSEEN,
    ),
]
