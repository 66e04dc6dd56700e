"""Any bytes in an annotation file: a data set, or one sentence.

Few examples in the suite; a longer run: NANOGFL_FUZZ=20000 python -m pytest tests/data/readers/test_fuzz.py
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanogfl.data.dataset import DataSet
from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.write_coco import write_coco
from nanogfl.errors import UserError
from nanogfl.io.image_header import header_hw
from nanogfl.io.images import decode_picture
from tests.data.readers.test_image_sizes import FROM_HEADER
from tests.data.readers.test_write_coco import assert_same, round_trip
from tests.data.voc_set import box, draw_image, thing, write_voc, xml
from tests.data.yolo_set import write_yolo

pytestmark = pytest.mark.slow  # all together longer than make check may take

fuzz = settings(
    max_examples=int(os.environ.get("NANOGFL_FUZZ", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)

NUMBER_LIKE = st.sampled_from(
    ["nan", "-inf", "1e999", "-0", "1e-320", "0x10", "1_0", "٣", "", " ", "True", "9" * 5000, "1e308", "-1e308", "0.5"]
) | st.floats().map(repr) | st.integers().map(str)  # fmt: skip
SNIPPETS = st.sampled_from(
    [b"<!DOCTYPE a [", b"<!ENTITY b 'c'>", b"&b;", b"<![CDATA[", b"]]>", b"<object>", b"</object>", b"\0", b"\xff\xfe",
     b"\xef\xbb\xbf", b"\r\n", b"../", b"&#0;", b"&#xD800;", b"<?xml version='1.0' encoding='utf-7'?>", b"\x1b", b"-",
     b"\\ud800", b"1e999", b"NaN", b"{", b"[", b"*a", b"&a ", b"!!int ", b"<<: ", b"? ", b": ", b"%YAML 9.9\n", b"\t",
     b"\x85", b"9" * 5000]
)  # fmt: skip


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Any bytes, or one of the seeds with up to four places cut out and replaced."""

    @st.composite
    def edit(draw: st.DrawFn) -> bytes:
        content = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, len(content)))
            until = draw(st.integers(at, min(len(content), at + 40)))
            piece = draw(st.binary(max_size=8) | SNIPPETS | NUMBER_LIKE.map(str.encode) | st.just(content[:30]))
            content = content[:at] + piece + content[until:]
        return content

    return st.binary(max_size=60) | edit()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Callable[[str], Path]:
    """A folder for each kind of file, made once."""
    root = tmp_path_factory.mktemp("fuzz")
    voc = {"a": xml(thing(), filename="a.png"), "b": xml(thing("dog", box("1.5", 2, 99, "6e1")), size="")}
    write_voc(root / "voc", voc)
    write_yolo(root / "yolo", {"a": "0 .5 .5 .2 .2", "b": "1 .1 .1 .2 .2 .3 .1"})
    for name in "ab":
        draw_image(root / f"coco/images/{name}.png")
    return lambda kind: root / kind


def refused_or_read(annotations: Path, images: Path, output: Path) -> None:
    """And what is read is consistent, and comes back from COCO json."""
    try:
        dataset = load_split(annotations, images)
    except UserError as error:
        sentence = str(error)
    else:
        sentence = ""
        consistent(dataset)
        assert_same(dataset, round_trip(dataset, images, output))
    assert "\n" not in sentence


def consistent(dataset: DataSet) -> None:
    assert len(dataset.classes) == len(dataset.category_ids)
    for image in dataset.images:
        height, width = image.hw
        x1, y1, x2, y2 = image.boxes.T
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= width) & (y1 >= 0) & (y1 < y2) & (y2 <= height)).all()
        assert np.isfinite(image.areas).all()
        assert set(image.labels.tolist()) <= set(range(len(dataset.classes)))
    assert all("\n" not in problem.reason for problem in dataset.problems)


XML = xml(thing(), thing("dog", f"<difficult>1</difficult>{box(-5, 2.5, 700, 60)}"), filename="a.png").encode()
CUT = xml(thing(inside=box("X", 1, 9, "Y")), size="<size><width>W</width><height>60</height></size>")


def cut(x: str, y: str, width: str) -> bytes:
    return CUT.replace("X", x).replace("Y", y).replace("W<", f"{width}<").encode()


@fuzz
@given(
    content=mutated([XML, b'<?xml version="1.0"?>\n' + XML, XML.decode().encode("utf-16")])
    | st.builds(cut, NUMBER_LIKE, NUMBER_LIKE, NUMBER_LIKE),
    listed=st.just(b"a\nb\n") | mutated([b"a\nb\n", b"\xef\xbb\xbfa\r\nb\r\n"]),
)
def test_any_bytes_as_an_xml_and_a_split_list(place, content, listed):
    root = place("voc")
    (root / "Annotations/a.xml").write_bytes(content)
    (root / "ImageSets/Main/train.txt").write_bytes(listed)
    refused_or_read(root / "ImageSets/Main/train.txt", root / "JPEGImages", root / "out.json")


@fuzz
@given(
    content=mutated([b"0 .5 .5 .2 .2\n1 .25 .75 1 .5\n", b"1 .1 .1 .2 .2 .3 .1\r\n"])
    | st.lists(st.lists(NUMBER_LIKE, min_size=3, max_size=8).map(" ".join)).map("\n".join).map(str.encode)
    | st.lists(st.lists(st.floats(-0.02, 1.02).map(repr), min_size=4, max_size=4).map(lambda n: " ".join(["1", *n])))
    .map("\n".join)
    .map(str.encode)
)
def test_any_bytes_as_a_label_file(place, content):
    root = place("yolo")
    (root / "labels/train/a.txt").write_bytes(content)
    refused_or_read(root / "data.yaml", root / "images/train", root / "out.json")


YAML = b"path: ../x\nnc: 2\nnames:\n  0: cat\n  1: 'dog'\nextra: &a [1, {b: c}]\nmore: *a\n"


@fuzz
@given(content=mutated([YAML, b"names: [cat, dog]\n", b'{"names": ["cat", "dog"], "nc": 2}']))
def test_any_bytes_as_a_data_yaml(place, content):
    root = place("yolo")
    (root / "labels/train/a.txt").write_text("0 .5 .5 .2 .2")
    (root / "other.yaml").write_bytes(content)
    refused_or_read(root / "other.yaml", root / "images/train", root / "out.json")


COCO = {
    "images": [{"id": n, "file_name": f"{name}.png", "width": 100, "height": 60} for n, name in enumerate("ab", 1)],
    "annotations": [{"id": n, "image_id": n, "category_id": 3, "bbox": [1, 2.5, 30, 40]} for n in (1, 2)],
    "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -(10**400), 1e308, -1e308, 1e-320, "\ud800", "\0", "../x", "/etc/passwd", "a" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "name", "rotation"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def coco_with_one_change(draw: st.DrawFn) -> bytes:
    content = json.loads(json.dumps(COCO))
    for _ in range(draw(st.integers(1, 3))):
        entry = content[draw(st.sampled_from(sorted(COCO)))][draw(st.integers(0, 1))]
        key = draw(st.sampled_from([*entry, "area", "iscrowd", "attributes"]))
        if key == "bbox" and draw(st.booleans()):
            number = st.floats() | st.integers() | st.sampled_from([10**400, 1e308, -1e308, 1e-320])
            entry[key] = draw(st.lists(number, min_size=4, max_size=4))
        else:
            entry[key] = draw(VALUES)
    return json.dumps(content).encode()


@fuzz
@given(content=mutated([json.dumps(COCO).encode()]) | coco_with_one_change())
def test_any_bytes_as_a_coco_json(place, content):
    root = place("coco")
    (root / "any.json").write_bytes(content)
    refused_or_read(root / "any.json", root / "images", root / "out.json")


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged files
@fuzz
@given(content=mutated(list(FROM_HEADER.values())))
def test_any_bytes_as_an_image_have_the_size_of_the_frame(place, content):
    path = place("coco") / "any.jpg"
    path.write_bytes(content)
    found = header_hw(path)
    if found is None or found[0] * found[1] > 1_000_000:  # a header may claim gigabytes
        return
    try:
        frame = decode_picture(content).frame
    except UserError:
        return
    assert found == frame.shape[:2]


def test_the_unchanged_files_are_read_without_problems(place, tmp_path):
    root = place("coco")
    (root / "plain.json").write_text(json.dumps(COCO))
    assert load_split(root / "plain.json", root / "images").problems == ()
    write_coco(load_split(root / "plain.json", root / "images"), root / "images", tmp_path / "out.json")
    (root / "plain.yaml").write_bytes(YAML)
    assert load_split(root / "plain.yaml", place("yolo") / "images/train").classes == ("cat", "dog")
