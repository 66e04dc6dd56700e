"""A wrong card beside a right graph."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import onnx

from nanogfl.contract.card import METADATA_KEY, ModelCard
from tests.export.sabotage.attempt import Corruption
from tests.export.sabotage.subject import SELECTION
from tests.export.sabotage.surgery import DoesNotApply, Surgery

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
            raise DoesNotApply(f"the card's source has no {key}")
        old = card.source[key]
        return replace(card, source={**card.source, key: old + value if isinstance(old, (int, float)) else value})

    return change


def without_source(key: str) -> Change:
    return lambda card: replace(card, source={name: value for name, value in card.source.items() if name != key})


def of_parity(key: str, value: Any) -> Change:
    def change(card: ModelCard) -> ModelCard:
        if key not in card.parity:
            raise DoesNotApply(f"the card's parity has no {key}")
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
        raise DoesNotApply("the card has no such classes")
    graph.model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_KEY, value=text))


MADE = [
    Corruption("card: classes reversed", "card", DEFAULT, card=lambda card: replace(card, classes=card.classes[::-1])),
    Corruption("card: two classes swapped", "card", DEFAULT, card=lambda card: replace(card, classes=swapped(card.classes))),
    Corruption("card: a class renamed", "card", DEFAULT, card=lambda card: replace(card, classes=(*card.classes[:-1], "d"))),
    Corruption("card: a class in capitals", "card", DEFAULT, card=lambda card: replace(card, classes=(card.classes[0].upper(), *card.classes[1:]))),
    Corruption("card: a class missing", "card", DEFAULT, card=lambda card: replace(card, classes=card.classes[:-1], category_ids=card.category_ids[:-1])),
    Corruption("card: a class too many", "card", DEFAULT, card=lambda card: replace(card, classes=(*card.classes, "d"), category_ids=(*card.category_ids, 11))),
    Corruption("card: all classes alike", "card", DEFAULT, card=lambda card: replace(card, classes=card.classes[:1] * len(card.classes))),
    Corruption("card: category ids + 1", "card", DEFAULT, card=lambda card: replace(card, category_ids=tuple(number + 1 for number in card.category_ids))),
    Corruption("card: two category ids swapped", "card", DEFAULT, card=lambda card: replace(card, category_ids=swapped(card.category_ids))),
    Corruption("card: category ids are labels", "card", DEFAULT, card=lambda card: replace(card, category_ids=tuple(range(len(card.classes))))),
    Corruption("card: mean in RGB order", "card", DEFAULT, card=lambda card: replace(card, input=replace(card.input, mean=card.input.mean[::-1]))),
    Corruption("card: mean of 0 to 1", "card", DEFAULT, card=of_input(mean=(0.406, 0.456, 0.485))),
    Corruption("card: mean + .001", "card", DEFAULT, card=lambda card: replace(card, input=replace(card.input, mean=tuple(value + 0.001 for value in card.input.mean)))),
    Corruption("card: std in RGB order", "card", DEFAULT, card=lambda card: replace(card, input=replace(card.input, std=card.input.std[::-1]))),
    Corruption("card: std 1", "card", DEFAULT, card=of_input(std=(1.0, 1.0, 1.0))),
    Corruption("card: height and width turned", "card", DEFAULT, card=_turned),
    Corruption("card: another size", "card", DEFAULT, card=of_input(hw=(96, 96))),
    Corruption("card: letterbox instead of stretch", "card", DEFAULT, card=of_input(resize="letterbox")),
    Corruption("card: stretch instead of letterbox", "card", ("letterbox",), card=of_input(resize="stretch")),
    Corruption("card: black padding", "card", ("letterbox",), card=of_input(mean=(0.0, 0.0, 0.0))),
    Corruption("card: padding in RGB order", "card", ("letterbox",), card=lambda card: replace(card, input=replace(card.input, mean=card.input.mean[::-1]))),
    Corruption("card: colour RGB", "card", DEFAULT, card=fields(colour="RGB")),
    Corruption("card: layout NCHW", "card", DEFAULT, card=fields(layout="uint8 (B, 3, H, W)")),
    Corruption("card: layout float", "card", DEFAULT, card=fields(layout="float32 (B, H, W, 3)")),
    Corruption("card: interpolation nearest", "card", DEFAULT, card=fields(interpolation="nearest")),
    Corruption("card: interpolation area", "card", DEFAULT, card=fields(interpolation="area")),
    Corruption("card: no spread", "card", DEFAULT, card=fields(has_spread=False)),
    Corruption("card: bins without distributions", "card", DEFAULT, card=fields(bins=8)),
    Corruption("card: a bin too many", "card", ("distributions",), card=fields(bins=9)),
    Corruption("card: no bins", "card", ("distributions",), card=fields(bins=0)),
    Corruption("card: raw instead of detections", "card", ("detections", "dynamic"), card=fields(format="raw")),
    Corruption("card: detections instead of raw", "card", ("raw",), card=fields(format="detections")),
    Corruption("card: contract version 2", "card", DEFAULT, card=fields(contract=2)),
    Corruption("card: contract version 0", "card", DEFAULT, card=fields(contract=0)),
    Corruption("card: a speed that nobody measured", "card", DEFAULT, card=fields(bench={"fps": 1000})),
    *_every_selection(),
    *_every_source(),
]  # fmt: skip

FIGURES = [
    Corruption("card: invented agreement of boxes", "card", DEFAULT, card=of_parity("box_px", 0.0), seam="last written"),
    Corruption("card: invented agreement of spread", "card", DEFAULT, card=of_parity("spread_px", 0.0), seam="last written"),
    Corruption("card: invented agreement of scores", "card", DEFAULT, card=of_parity("score", 0.0), seam="last written"),
    Corruption("card: compared on more images", "card", DEFAULT, card=of_parity("images", 5000), seam="last written"),
    Corruption("card: more detections matched", "card", DEFAULT, card=of_parity("matched", 9999), seam="last written"),
    Corruption("card: compared on other images", "card", DEFAULT, card=of_parity("on", "COCO val2017"), seam="last written"),
    Corruption("card: compared on nothing", "card", DEFAULT, card=of_parity("on", ""), seam="last written"),
    Corruption("card: no figures", "card", DEFAULT, card=fields(parity={}), seam="last written"),
    Corruption("card: classes reversed as the figures are written", "card", DEFAULT, card=lambda card: replace(card, classes=card.classes[::-1]), seam="last written"),
    Corruption("card: category ids + 1 whenever it is written", "card", DEFAULT, card=lambda card: replace(card, category_ids=tuple(number + 1 for number in card.category_ids)), seam="written"),
    Corruption("card: a second one", "card", DEFAULT, graph=second_card, seam="file"),
]  # fmt: skip

TABLE = [*MADE, *FIGURES]
