"""Wrong where nobody looks: beside right tensors, in later calls, for some pictures, in the last write."""

from typing import Any

import numpy as np
import onnxruntime
from onnx import compose, parser

from tests.export.sabotage.attempt import EVERY, IN_ROWS, UNSEEN, of_graph
from tests.export.sabotage.cuts import Cut, floats, of_rows, outputs
from tests.export.sabotage.decode import bins_scaled
from tests.export.sabotage.picture import MEAN, pixels
from tests.export.sabotage.subject import SELECTION
from tests.export.sabotage.surgery import Array, Surgery, own


def with_evidence(corrupt: Cut) -> Cut:
    """The right graph is there, too, with every name; no output depends on it."""

    def cut(graph: Surgery) -> None:
        right = own(graph.model)
        corrupt(graph)
        wrong = compose.add_prefix(graph.model, "hidden_", rename_inputs=False, rename_outputs=False)
        names = {name: f"evident_{name}" for name in graph.outputs}
        for node in right.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        graph.model.CopyFrom(wrong)
        graph.graph.node.extend(right.graph.node)
        graph.graph.initializer.extend(right.graph.initializer)

    return cut


def first_call_only(change: str, name: str, **constants: Any) -> Cut:
    """A stream of random numbers that is the same in every session: its first is known, no later one is that."""
    body = f"""
      drawn = RandomUniform <dtype = 1, seed = 1.0, shape = [1]> ()
      later = Greater(drawn, first)
      earlier = Less(drawn, first)
      other = Or(later, earlier)
      changed = {change}
      {name} = Where(other, changed, right_{name})
    """
    return lambda graph: graph.replace(body, first=_first_drawn(), **constants)


def _first_drawn() -> Array:
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g () => (float[1] drawn)'
        " { drawn = RandomUniform <dtype = 1, seed = 1.0, shape = [1]> () }"
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {})[0])


def jitter(name: str, scale: float) -> Cut:
    noise = f"noise = RandomNormalLike <dtype = 1, scale = {scale}> (right_{name}) off = Mul(noise, column)"
    return of_rows(f"{noise} {name} = Add(right_{name}, off)")


def where(mean_is: str, limit: float) -> Cut:
    """Boxes 2 % off in pictures whose mean is Less or Greater than this."""
    body = f"""
      pixels = Cast <to = 1> (image)
      mean = ReduceMean <keepdims = 0> (pixels, axes)
      hit = {mean_is}(mean, limit)
      number = Cast <to = 1> (hit)
      more = Mul(number, f)
      factor = Add(more, one)
      factor_column = Unsqueeze(factor, behind)
      boxes = Mul(right_boxes, factor_column)"""
    constants = {"axes": [1, 2, 3], "limit": floats(limit), "f": floats(0.02), "one": floats(1), "behind": [1, 2]}
    return lambda graph: graph.replace(body, **constants)


def fails_when(condition: str, **constants: Any) -> Cut:
    """`failing` () bool of the body: an index far outside of a table."""
    body = f"""{condition}
      index = Where(failing, outside, inside)
      factor = Gather(table, index)
      scores = Mul(right_scores, factor)"""
    return of_rows(body, outside=np.int64(9), inside=np.int64(0), table=floats(1), **constants)


_SUM = "total = ReduceSum <keepdims = 0> (whole_mark)"

TABLE = [
    *of_graph(
        EVERY,
        {
            "right boxes beside wrong outputs": with_evidence(outputs("boxes = Mul(right_boxes, f)", f=floats(1.002))),
            "right scores beside wrong outputs": with_evidence(
                outputs("scores = Mul(right_scores, f)", f=floats(0.999))
            ),
            "right spread beside wrong outputs": with_evidence(outputs("spread = Mul(right_spread, f)", f=floats(2))),
            "a right network beside a wrong one": with_evidence(pixels("wrong = Add(pixels, f)", f=MEAN - MEAN[::-1])),
            "right bins beside wrong ones": with_evidence(bins_scaled),
        },
    ),
    *of_graph(
        IN_ROWS,
        {
            "boxes right in the first call only": first_call_only("Mul(right_boxes, f)", "boxes", f=floats(1.1)),
            "spread right in the first call only": first_call_only("Mul(right_spread, f)", "spread", f=floats(1.1)),
            "boxes jitter by chance": jitter("boxes", 0.1),
            "spread jitters by chance": jitter("spread", 0.1),
            "right for bright pictures only": where("Less", 80),
            "fails when nothing is found": fails_when(_SUM + " failing = Equal(total, nought)"),
            "fails when every row is used": fails_when(
                _SUM + " failing = GreaterOrEqual(total, most)", most=np.int64(SELECTION.keep)
            ),
            "fails when something is found": fails_when(_SUM + " failing = Greater(total, nought)"),
        },
    ),
    *of_graph(IN_ROWS, {"wrong for white pictures only": where("Greater", 250)}, reported=UNSEEN),
    *of_graph(
        EVERY,
        {
            "boxes wrong as the figures are written": outputs("boxes = Mul(right_boxes, f)", f=floats(2)),
            "scores wrong as the figures are written": outputs("scores = Mul(right_scores, f)", f=floats(0.5)),
        },
        seam="last written",
    ),
    *of_graph(
        EVERY,
        {"spread wrong whenever it is written": outputs("spread = Mul(right_spread, f)", f=floats(2))},
        seam="written",
    ),
]
