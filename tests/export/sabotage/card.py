"""A wrong card beside a right graph."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import onnx

from nanogfl.contract.card import METADATA_KEY, ModelCard
from tests.export.sabotage.attempt import Corruption, of_card, of_graph
from tests.export.sabotage.subject import SELECTION
from tests.export.sabotage.surgery import DoesNotApplyError, Surgery

Change = Callable[[ModelCard], ModelCard]
DEFAULT = ("detections", "raw", "dynamic")


def fields(**changed: Any) -> Change:
    return lambda card: replace(card, **changed)


def of_input(**changed: Any) -> Change:
    return lambda card: replace(card, input=replace(card.input, **changed))


def of_selection(**changed: Any) -> Change:
    return lambda card: replace(card, selection=replace(card.selection, **changed))


def of_source(key: str, value: Any) -> Change:
    """`value` in place of a fact that is there; of a number, this much more."""

    def change(card: ModelCard) -> ModelCard:
        if key not in card.source:
            raise DoesNotApplyError(f"the card's source has no {key}")
        old = card.source[key]
        return replace(card, source={**card.source, key: old + value if isinstance(old, (int, float)) else value})

    return change


def without_source(key: str) -> Change:
    return lambda card: replace(card, source={name: value for name, value in card.source.items() if name != key})


def of_parity(key: str, value: Any) -> Change:
    def change(card: ModelCard) -> ModelCard:
        if key not in card.parity:
            raise DoesNotApplyError(f"the card's parity has no {key}")
        return replace(card, parity={**card.parity, key: value})

    return change


def swapped(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[1], values[0], *values[2:])


def _turned(card: ModelCard) -> ModelCard:
    return replace(card, input=replace(card.input, hw=card.input.hw[::-1]))


def _every_selection() -> Iterator[Corruption]:
    for key, value in {"score": 0.06, "iou": 0.5, "candidates": 1000, "keep": SELECTION.keep - 1}.items():
        yield Corruption(f"card: {key} {value}", "card", DEFAULT, card=of_selection(**{key: value}))
    yield Corruption("card: score a little lower", "card", DEFAULT, card=of_selection(score=0.0499))
    yield Corruption("card: candidates + 1", "card", DEFAULT, card=of_selection(candidates=SELECTION.candidates + 1))


def _every_source() -> Iterator[Corruption]:
    texts = ("nanogfl", "torch", "onnx", "onnxruntime")
    changes: dict[str, Any] = {"checkpoint_sha256": "0" * 64, "box": "dirac", "parameters": 1, "macs": 1}
    for key, value in {**changes, **dict.fromkeys(texts, "9.9.9"), "ap": 0.3, "epoch": 1}.items():
        yield Corruption(f"card: another source {key}", "card", DEFAULT, card=of_source(key, value))
    for key in ("checkpoint_sha256", "ap"):
        yield Corruption(f"card: no source {key}", "card", DEFAULT, card=without_source(key))
    yield Corruption(
        "card: a fact of its own", "card", DEFAULT, card=lambda card: replace(card, source={**card.source, "ap50": 0.9})
    )


def second_card(graph: Surgery) -> None:
    """Two entries of one key: readers differ in which they take."""
    entry = next(entry for entry in graph.model.metadata_props if entry.key == METADATA_KEY)
    text = entry.value.replace('"a", "b", "c"', '"c", "b", "a"')
    if text == entry.value:
        raise DoesNotApplyError("the card has no such classes")
    graph.model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=text))


MADE = [
    *of_card(
        DEFAULT,
        {
            "card: classes reversed": lambda card: replace(card, classes=card.classes[::-1]),
            "card: two classes swapped": lambda card: replace(card, classes=swapped(card.classes)),
            "card: a class renamed": lambda card: replace(card, classes=(*card.classes[:-1], "d")),
            "card: a class in capitals": lambda card: replace(
                card, classes=(card.classes[0].upper(), *card.classes[1:])
            ),
            "card: a class missing": lambda card: replace(
                card, classes=card.classes[:-1], category_ids=card.category_ids[:-1]
            ),
            "card: a class too many": lambda card: replace(
                card, classes=(*card.classes, "d"), category_ids=(*card.category_ids, 11)
            ),
            "card: all classes alike": lambda card: replace(card, classes=card.classes[:1] * len(card.classes)),
            "card: category ids + 1": lambda card: replace(
                card, category_ids=tuple(number + 1 for number in card.category_ids)
            ),
            "card: two category ids swapped": lambda card: replace(card, category_ids=swapped(card.category_ids)),
            "card: category ids are labels": lambda card: replace(card, category_ids=tuple(range(len(card.classes)))),
            "card: mean in RGB order": lambda card: replace(
                card, input=replace(card.input, mean=card.input.mean[::-1])
            ),
            "card: mean of 0 to 1": of_input(mean=(0.406, 0.456, 0.485)),
            "card: mean + .001": lambda card: replace(
                card, input=replace(card.input, mean=tuple(value + 0.001 for value in card.input.mean))
            ),
            "card: std in RGB order": lambda card: replace(card, input=replace(card.input, std=card.input.std[::-1])),
            "card: std 1": of_input(std=(1.0, 1.0, 1.0)),
            "card: height and width turned": _turned,
            "card: another size": of_input(hw=(96, 96)),
            "card: letterbox instead of stretch": of_input(resize="letterbox"),
            "card: colour RGB": fields(colour="RGB"),
            "card: layout NCHW": fields(layout="uint8 (B, 3, H, W)"),
            "card: layout float": fields(layout="float32 (B, H, W, 3)"),
            "card: interpolation nearest": fields(interpolation="nearest"),
            "card: interpolation area": fields(interpolation="area"),
            "card: no spread": fields(has_spread=False),
            "card: bins without distributions": fields(bins=8),
            "card: contract version 2": fields(contract=2),
            "card: contract version 0": fields(contract=0),
            "card: a speed that nobody measured": fields(bench={"fps": 1000}),
        },
    ),
    *of_card(
        ("letterbox",),
        {
            "card: stretch instead of letterbox": of_input(resize="stretch"),
            "card: black padding": of_input(mean=(0.0, 0.0, 0.0)),
            "card: padding in RGB order": lambda card: replace(
                card, input=replace(card.input, mean=card.input.mean[::-1])
            ),
        },
    ),
    *of_card(("distributions",), {"card: a bin too many": fields(bins=9), "card: no bins": fields(bins=0)}),
    *of_card(("detections", "dynamic"), {"card: raw instead of detections": fields(format="raw")}),
    *of_card(("raw",), {"card: detections instead of raw": fields(format="detections")}),
    *_every_selection(),
    *_every_source(),
]

FIGURES = [
    *of_card(
        DEFAULT,
        {
            "card: invented agreement of boxes": of_parity("box_px", 0.0),
            "card: invented agreement of spread": of_parity("spread_px", 0.0),
            "card: invented agreement of scores": of_parity("score", 0.0),
            "card: compared on more images": of_parity("images", 5000),
            "card: more detections matched": of_parity("matched", 9999),
            "card: compared on other images": of_parity("on", "COCO val2017"),
            "card: compared on nothing": of_parity("on", ""),
            "card: no figures": fields(parity={}),
            "card: classes reversed as the figures are written": lambda card: replace(card, classes=card.classes[::-1]),
        },
        seam="last written",
    ),
    *of_card(
        DEFAULT,
        {
            "card: category ids + 1 whenever it is written": lambda card: replace(
                card, category_ids=tuple(number + 1 for number in card.category_ids)
            )
        },
        seam="written",
    ),
    *of_graph(DEFAULT, {"card: a second one": second_card}, seam="file", kind="card"),
]

TABLE = [*MADE, *FIGURES]
