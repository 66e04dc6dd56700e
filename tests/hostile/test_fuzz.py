"""Whatever bytes lie in a recipe, an ablation, a card, a checkpoint, a model or an image: read, or one sentence.

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

from nanogfl.ablate.spec import load_ablation
from nanogfl.contract.card import ModelCard
from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl.io.image_header import claimed_hw
from nanogfl.io.images import MOST_PIXELS, decode_picture
from nanogfl.model.checkpoint import describe_checkpoint
from nanogfl.model.nanodet.weights import read_nanodet
from nanogfl.recipe import load_config
from nanogfl_deploy.runtime import Detector
from tests.data.readers.test_fuzz import VALUES, fuzz, mutated
from tests.hostile.bad import MODEL, RECIPE, encoded, good_checkpoint
from tests.hostile.configs import LAUGHS, ROWS
from tests.hostile.images import CLAIMS, jpeg, png

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


@fuzz
@given(content=mutated([RECIPE.encode(), LAUGHS.encode(), b"train: &a {lr: 1e-3}\nloss: {<<: *a}\n"]))
def test_any_bytes_as_a_recipe(place, content):
    (place / "any.yaml").write_bytes(content)
    try:
        load_config(place / "any.yaml")
    except UserError as error:
        one_sentence(error)


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


@fuzz
@given(content=recipe_with_changes())
def test_any_values_in_a_recipe(place, content):
    (place / "any.yaml").write_bytes(content)
    try:
        config = load_config(place / "any.yaml")
    except UserError as error:
        one_sentence(error)
    else:
        json.dumps(config.to_dict())


@fuzz
@given(
    content=mutated([ROWS.encode(), b"base: recipe.yaml\nrows: {a: {set: {train: {lr: .1}}, paper: 1}}\nseeds: [0]\n"])
)
def test_any_bytes_as_an_ablation(place, content):
    (place / "rows.yaml").write_bytes(content)
    try:
        load_ablation(place / "rows.yaml")
    except UserError as error:
        one_sentence(error)


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


@fuzz
@given(content=damaged([good_checkpoint()]))
def test_any_bytes_as_a_checkpoint(place, content):
    (place / "any.pt").write_bytes(content)
    for read in (describe_checkpoint, read_nanodet):
        try:
            read(place / "any.pt")
        except UserError as error:
            one_sentence(error)


with zipfile.ZipFile(io.BytesIO(good_checkpoint())) as _archive:
    RECORDS = {name: _archive.read(name) for name in _archive.namelist()}
    PICKLE = next(name for name in RECORDS if name.endswith("data.pkl"))


@fuzz
@given(content=damaged([RECORDS[PICKLE]]))
def test_any_bytes_as_a_checkpoints_pickle(place, content):
    """Its checksum is right, so that torch gets to see it."""
    with zipfile.ZipFile(place / "any.pt", "w") as archive:
        for name, data in RECORDS.items():
            archive.writestr(name, content if name == PICKLE else data)
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
@given(content=damaged([*IMAGES, *CLAIMS.values(), png(20, 10, bytes(610)), jpeg(64, 48, b"\xff\xff")]))
def test_any_bytes_as_an_image(content):
    claimed = claimed_hw(content)
    try:
        frame = decode_picture(content).frame
    except UserError as error:
        one_sentence(error)
    else:
        assert claimed is not None
        assert frame.shape[0] * frame.shape[1] <= claimed[0] * claimed[1] <= MOST_PIXELS
