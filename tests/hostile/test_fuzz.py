"""Any bytes in a recipe, a card, a checkpoint, a model or an image: they are read, or refused with one sentence.

Few examples in the suite; a longer run: NANOGFL_FUZZ=5000 python -m pytest tests/hostile/test_fuzz.py
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl.io.images import decode_picture
from nanogfl.model.checkpoint import describe_checkpoint
from nanogfl.model.nanodet.weights import read_nanodet
from nanogfl.recipe import load_config
from nanogfl_deploy.runtime import Detector
from tests.data.readers.test_fuzz import VALUES, fuzz, mutated
from tests.hostile.bad import MODEL, RECIPE, encoded, good_checkpoint
from tests.hostile.configs import LAUGHS
from tests.hostile.images import BOMBS, png

pytestmark = pytest.mark.slow  # all together longer than make check may take

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds, cut short, with bits turned and bytes put in."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.integers(0, 4)):
            case 0 | 1:
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 2:
                content[at : at + draw(st.integers(1, 8))] = draw(st.binary(max_size=8))
            case 3:
                content[at : at + 4] = draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"]))
            case 4:
                del content[draw(st.integers(at, len(content))) :]
    return bytes(content)


def one_sentence(error: UserError) -> None:
    assert "\n" not in str(error)[:2000]


@st.composite
def recipe_with_changes(draw: st.DrawFn) -> bytes:
    """Any value in place of any other."""
    from nanogfl.config import Config

    content = Config().to_dict()
    for _ in range(draw(st.integers(1, 3))):
        section, keys = content, []
        while isinstance(section, dict) and section and (not keys or draw(st.integers(0, 5))):
            keys.append((section, draw(st.sampled_from(sorted(section)))))
            section = section[keys[-1][1]]
        parent, key = keys[-1]
        parent[key] = draw(VALUES)
    return json.dumps(content, ensure_ascii=True).encode()


YAML = [RECIPE.encode(), LAUGHS.encode(), b"train: &a {lr: 1e-3}\nloss: {<<: *a}\n"]


@fuzz
@given(content=recipe_with_changes() | mutated(YAML))
def test_any_bytes_as_a_recipe(place, content):
    (place / "any.yaml").write_bytes(content)
    try:
        config = load_config(place / "any.yaml")
    except UserError as error:
        one_sentence(error)
    else:
        json.dumps(config.to_dict())


CARD = json.loads(Detector(MODEL, threads=1).card.to_json())


@st.composite
def card_with_changes(draw: st.DrawFn) -> str:
    content = json.loads(json.dumps(CARD))
    for _ in range(draw(st.integers(1, 2))):
        part = draw(st.sampled_from([content, content["input"], content["selection"]]))
        if isinstance(part, dict):
            part[draw(st.sampled_from(sorted(part)))] = draw(VALUES)
    return json.dumps(content)


@fuzz
@given(text=card_with_changes() | mutated([json.dumps(CARD).encode()]).map(lambda b: b.decode(errors="replace")))
def test_any_text_as_a_card(text):
    try:
        card = ModelCard.from_json(text)
    except UserError as error:
        one_sentence(error)
    else:
        assert ModelCard.from_json(card.to_json()) == card or "NaN" in card.to_json()


with zipfile.ZipFile(io.BytesIO(good_checkpoint())) as _archive:
    RECORDS = {name: _archive.read(name) for name in _archive.namelist()}
    PICKLE = next(name for name in RECORDS if name.endswith("data.pkl"))


@fuzz
@given(pickle=damaged([RECORDS[PICKLE]]) | st.none(), whole=damaged([good_checkpoint()]))
def test_any_bytes_as_a_checkpoint(place, pickle, whole):
    """A damaged archive, or one with a damaged pickle whose checksum is right, so that torch gets to see it."""
    (place / "any.pt").write_bytes(whole)
    if pickle is not None:
        with zipfile.ZipFile(place / "any.pt", "w") as archive:
            for name, data in RECORDS.items():
                archive.writestr(name, pickle if name == PICKLE else data)
    for read in (describe_checkpoint, read_nanodet):
        try:
            read(place / "any.pt")
        except UserError as error:
            one_sentence(error)


GOLDEN = [(MODEL.parent / f"blank_{kind}.onnx").read_bytes() for kind in ("detections", "raw", "distributions")]


@fuzz
@given(content=damaged(GOLDEN))
def test_any_bytes_as_a_model(place, content):
    (place / "any.onnx").write_bytes(content)
    try:
        found = Detector(place / "any.onnx", threads=1)(FRAME)
    except UserError as error:
        one_sentence(error)
    else:
        assert isinstance(found, Detections)


IMAGES = [encoded(suffix) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".gif", ".ppm", ".avif")]


@fuzz
@given(content=damaged([*IMAGES, *BOMBS.values(), png(20, 10, bytes(610))]))
def test_any_bytes_as_an_image(content):
    try:
        frame = decode_picture(content).frame
    except UserError as error:
        one_sentence(error)
    else:
        assert frame.shape[0] * frame.shape[1] <= 200_000_000
