"""The card that travels in the .onnx."""

import json

import pytest

from nanogfl.contract.card import CONTRACT_VERSION, ModelCard
from nanogfl.contract.detections import Selection
from nanogfl.contract.input_spec import InputSpec
from nanogfl.errors import UserError

CARD = ModelCard(
    classes=("Ampel", "信号", 'a "quoted" name'),
    category_ids=(1, 7, 90),
    input=InputSpec(hw=(64, 96), resize="letterbox", mean=(1.5, 2.5, 3.5), std=(4.0, 5.0, 6.0)),
    selection=Selection(score=0.1, iou=0.5, candidates=50, keep=20),
    format="raw",
    has_spread=True,
    parity={"max_box_px": 0.001, "images": 8},
    source={"checkpoint": "abc"},
)


def test_a_card_comes_back_as_it_went():
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_a_card_of_another_contract_names_both_versions():
    text = json.dumps({**json.loads(CARD.to_json()), "contract": 99})
    with pytest.raises(UserError, match=f"contract version 99, this nanogfl reads {CONTRACT_VERSION}"):
        ModelCard.from_json(text)


@pytest.mark.parametrize("key", ["classes", "input", "selection", "format", "category_ids"])
def test_a_card_without_what_a_client_needs_is_refused(key):
    content = json.loads(CARD.to_json())
    del content[key]
    with pytest.raises(UserError, match="cannot be read"):
        ModelCard.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "no json", "[]", "3", '{"contract": 1, "input": {"hw": [3]}}'])
def test_what_is_no_card_is_a_sentence_and_no_traceback(text):
    with pytest.raises(UserError):
        ModelCard.from_json(text)


def test_a_card_with_an_unknown_key_is_refused():
    with pytest.raises(UserError, match="threshold"):
        ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), "threshold": 0.3}))
    for part in ("input", "selection"):
        content = json.loads(CARD.to_json())
        content[part]["colour"] = "RGB"
        with pytest.raises(UserError, match="colour"):
            ModelCard.from_json(json.dumps(content))
