"""Image files: unreadable, of another size, turned by EXIF, copied, nearly copied; and pictures that are none of it."""

import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest

from nanogfl.data.dataset import DataSet, ImageRecord
from nanogfl.data.lint.files import check_listed
from nanogfl.data.lint.finding import Split
from nanogfl.data.lint.images import hw_before_turning, look_at_images
from nanogfl.data.lint.leaks import check_leaks
from nanogfl.data.lint.run import check_images
from nanogfl.data.synthetic.dataset import draw_image
from nanogfl.io.image_header import header_hw


def picture(index, hw=(60, 100)):
    return draw_image(3, index, hw).image


def jpeg(frame, quality=92):
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def exif(way, order):
    """A TIFF header whose first directory holds a date and the orientation."""
    mark, sign = (b"II*\0", "<") if order == "little" else (b"MM\0*", ">")
    entries = struct.pack(sign + "HHII", 0x0100, 4, 1, 70000) + struct.pack(sign + "HHIHxx", 0x0112, 3, 1, way)
    return mark + struct.pack(sign + "IH", 8, 2) + entries + bytes(4)


def turned_jpeg(frame, way, order="big"):
    block = b"Exif\0\0" + exif(way, order)
    content = jpeg(frame)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]


def split_of(folder, name, contents, hw=(60, 100), **more):
    """Files with these bytes, all annotated with the same size."""
    records = []
    nothing = np.zeros(0)
    for number, content in enumerate(contents):
        path = folder / f"{name}{number}.jpg"
        path.write_bytes(content)
        boxes = np.zeros((0, 4), np.float32)
        records.append(ImageRecord(number, path, hw, boxes, nothing.astype(int), nothing, nothing == 1, **more))
    return Split(name, DataSet(f"{name}.json", ("a",), (1,), tuple(records), ()))


@pytest.fixture
def found(tmp_path, by_key):
    """(bytes of train's files, of val's) -> findings by key."""

    def check(train, val, hw=(60, 100)):
        return by_key(check_images(split_of(tmp_path, "train", train, hw), split_of(tmp_path, "val", val, hw)))

    return check


def test_good_and_different_files_are_no_finding(found):
    assert found([jpeg(picture(n)) for n in (0, 1, 2)], [jpeg(picture(n)) for n in (4, 5)]) == {}


def test_broken_empty_and_missing_files_are_errors_with_the_reason(tmp_path, by_key):
    whole = jpeg(picture(0))
    train = split_of(tmp_path, "train", [whole, whole[: len(whole) // 2], b"", b"no image"])
    val = split_of(tmp_path, "val", [jpeg(picture(1))])
    (tmp_path / "val0.jpg").unlink()
    findings = by_key(check_images(train, val))
    assert list(findings) == ["unreadable-images"]
    finding = findings["unreadable-images"]
    assert (finding.severity, finding.count) == ("error", 4)
    assert finding.examples[0].text.startswith("train1.jpg is not an image that can be read, but a damaged")
    assert "does not exist" in finding.examples[3].text
    assert [example.split for example in finding.examples] == ["train"] * 3 + ["val"]


def test_a_size_that_is_not_the_annotated_one_is_an_error(found):
    findings = found([jpeg(picture(0)), jpeg(picture(1, (60, 96)))], [jpeg(picture(2, (100, 60)))])
    assert list(findings) == ["other-size"]  # the last one's sides are swapped, but nothing turns it
    assert (findings["other-size"].severity, findings["other-size"].count) == ("error", 2)
    assert findings["other-size"].examples[0].text == "train1.jpg, 96 x 60, annotated as 100 x 60"


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("way", [5, 6, 7, 8])
def test_a_turned_image_annotated_as_stored_is_told_from_one_annotated_upright(found, way, order):
    as_stored = turned_jpeg(picture(0, (60, 100)), way, order)
    upright = turned_jpeg(picture(1, (100, 60)), way, order)
    findings = found([as_stored], [upright])
    assert [(f.key, f.severity, f.count) for f in findings.values()] == [
        ("exif-size-unclear", "error", 1),  # no box says more
        ("exif-turned", "note", 1),
    ]
    assert (
        findings["exif-size-unclear"].examples[0].text == "train0.jpg, 60 x 100, turned by EXIF, annotated as 100 x 60"
    )
    assert findings["exif-turned"].examples[0].split == "val"


@pytest.mark.parametrize(
    ("reach_hw", "key", "advised"),
    [
        ((90, 50), "exif-size-swapped", "swap"),
        ((50, 90), "exif-as-stored", "remove the orientation"),
        ((60.9, 60.9), "exif-size-unclear", "look"),
        ((90, 90), "exif-size-unclear", "look"),
    ],
)
def test_boxes_tell_whether_the_size_or_the_orientation_is_wrong(tmp_path, by_key, reach_hw, key, advised):
    turned = [turned_jpeg(picture(n, (60, 100)), 6) for n in (0, 1)]
    train = split_of(tmp_path, "train", turned, reach_hw=reach_hw)
    silent = replace(train.dataset.images[1], reach_hw=(40.0, 40.0))  # tells nothing itself: the other one does
    train = Split("train", replace(train.dataset, images=(train.dataset.images[0], silent)))
    findings = by_key(check_images(train, split_of(tmp_path, "val", [jpeg(picture(5))])))
    assert [(f.key, f.severity, f.count) for f in findings.values()] == [(key, "error", 2)]
    assert advised in findings[key].advice


@pytest.mark.parametrize("way", [3, 6])
def test_without_a_stated_size_nothing_is_promised(tmp_path, by_key, way):
    frame = picture(0, (100, 60) if way == 6 else (60, 100))
    train = split_of(tmp_path, "train", [turned_jpeg(frame, way)], measured=True)
    findings = by_key(check_images(train, split_of(tmp_path, "val", [jpeg(picture(5))], measured=True)))
    assert [(f.key, f.severity) for f in findings.values()] == [("exif-unstated", "warning")]
    assert findings["exif-unstated"].examples[0].text.startswith("train0.jpg")
    assert "nothing to do" not in findings["exif-unstated"].advice


def test_what_is_not_read_of_an_image_is_a_finding_that_names_it(found):
    grey = cv2.cvtColor(picture(0), cv2.COLOR_BGR2GRAY).astype(np.uint16)
    alpha = np.dstack([picture(1), np.zeros((60, 100), np.uint8)])
    train = [cv2.imencode(".png", content)[1].tobytes() for content in (grey * 16, grey * 257, alpha)]
    findings = found(train, [jpeg(picture(5))])
    assert {f.key: (f.severity, f.count) for f in findings.values()} == {
        "little-range": ("warning", 1),
        "transparent-images": ("note", 1),
    }
    assert findings["little-range"].examples[0].text.startswith("train0.jpg: ")
    assert "2.1%" in findings["little-range"].examples[0].text
    assert findings["transparent-images"].examples[0].image.path.name == "train2.jpg"


def test_a_turned_image_of_another_size_than_both_is_another_size(found):
    assert list(found([turned_jpeg(picture(0, (60, 90)), 6)], [jpeg(picture(1))])) == ["other-size"]


@pytest.mark.parametrize(("way", "hw"), [(2, (60, 100)), (3, (60, 100)), (4, (60, 100)), (6, (64, 64))])
def test_turns_that_the_size_does_not_show_are_left_to_the_eye(found, way, hw):
    findings = found([turned_jpeg(picture(0, hw), way)], [jpeg(picture(1, hw))], hw)
    assert [(f.key, f.severity) for f in findings.values()] == [("exif-unclear", "warning")]


def test_upright_exif_and_broken_exif_are_no_finding(found):
    broken = turned_jpeg(picture(0), 6).replace(exif(6, "big"), exif(6, "big")[:8] + b"\xff" * 30)
    assert cv2.imdecode(np.frombuffer(broken, np.uint8), cv2.IMREAD_COLOR).shape == (60, 100, 3)
    assert found([turned_jpeg(picture(1), 1), broken], [jpeg(picture(2))]) == {}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_the_orientation_of_other_formats_is_seen_too(suffix):
    frame = picture(0, (20, 30))
    block = np.frombuffer(exif(6, "little"), np.uint8)
    good, content = cv2.imencodeWithMetadata(suffix, frame, [cv2.IMAGE_METADATA_EXIF], [block])
    assert good
    assert cv2.imdecode(content, cv2.IMREAD_COLOR).shape[:2] == (30, 20)
    assert hw_before_turning(content.tobytes()) == (20, 30)
    assert hw_before_turning(cv2.imencode(suffix, frame)[1].tobytes()) is None


def entry(kind, value, sign):
    """The orientation as a number of two bytes (3) or of four (4)."""
    return struct.pack(sign + ("HHIHxx" if kind == 3 else "HHII"), 0x0112, kind, 1, value)


ODD = {
    **{f"kind {kind}, {value}, {sign}": (kind, value, sign, 42, b"") for kind in (3, 4) for value in range(10)
       for sign in "<>"},
    "another mark than 42": (3, 6, "<", 43, b""),
    "behind a name that lies outside": (3, 6, "<", 42, struct.pack("<HHII", 0x010F, 2, 99, 70000)),
    "behind one that is upright": (3, 6, "<", 42, entry(3, 1, "<")),
}  # fmt: skip


ALWAYS = ["kind 3, 0, <", "kind 3, 6, >", "kind 4, 6, <", "kind 3, 9, <", *list(ODD)[-3:]]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged EXIF
@pytest.mark.parametrize(
    "name", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ODD if name not in ALWAYS)]
)
def test_header_check_and_opencv_agree_on_odd_orientations(tmp_path, name):
    kind, value, sign, mark, before = ODD[name]
    block = (b"II" if sign == "<" else b"MM") + struct.pack(sign + "HIH", mark, 8, 1 + bool(before))
    block = b"Exif\0\0" + block + before + entry(kind, value, sign) + bytes(4)
    plain = jpeg(picture(0))
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    encoded = np.frombuffer(content, np.uint8)
    frame, stored = (cv2.imdecode(encoded, cv2.IMREAD_COLOR | flag) for flag in (0, cv2.IMREAD_IGNORE_ORIENTATION))
    (tmp_path / "a.jpg").write_bytes(content)
    assert header_hw(tmp_path / "a.jpg") == frame.shape[:2]
    assert hw_before_turning(content) == (None if np.array_equal(frame, stored) else stored.shape[:2])


# Copies ---------------------------------------------------------------------------------------------------------


def test_copies_within_a_split_and_across_are_told_apart(found):
    a, b, c = (jpeg(picture(n)) for n in (0, 1, 2))
    png = cv2.imencode(".png", cv2.imdecode(np.frombuffer(b, np.uint8), cv2.IMREAD_COLOR))[1].tobytes()
    findings = found([a, b, a, a], [c, png])  # other bytes, the same pixels
    assert [(f.key, f.severity, f.count) for f in findings.values()] == [
        ("val-in-train", "error", 1),
        ("copied-images", "warning", 2),
    ]
    assert str(findings["val-in-train"].examples[0]) == "val: val1.jpg is the same picture as train train1.jpg"
    assert [str(e) for e in findings["copied-images"].examples] == [
        "train: train2.jpg is train0.jpg",
        "train: train3.jpg is train0.jpg",
    ]
    assert findings["val-in-train"].examples[0].beside.path.name == "train1.jpg"


def test_a_file_that_is_listed_twice_is_found_without_opening_it(split, by_key):
    train, val = split("train", [[], [], []]), split("val", [[], []])
    listed = [*train.dataset.images, train.dataset.images[1]]
    train = Split("train", replace(train.dataset, images=tuple(listed)))
    assert check_listed(val, split("train", [[]])) == []
    val = Split("val", replace(val.dataset, images=(val.dataset.images[0], listed[2])))
    findings = by_key(check_listed(train, val))
    assert {f.key: (f.severity, f.count) for f in findings.values()} == {
        "val-in-train": ("error", 1),
        "copied-images": ("warning", 1),
    }
    assert findings["copied-images"].examples[0].text == "1.jpg is 1.jpg"


def test_blank_images_of_two_shapes_are_no_copies(tmp_path):
    hw = [(60, 100), (100, 60), (60, 100)]
    looks = [
        look_at_images(
            [image.path for image in split_of(tmp_path, "train", [jpeg(np.zeros((*s, 3), np.uint8))]).dataset.images]
        )
        for s in hw
    ]
    assert looks[0].prints.digests != looks[1].prints.digests
    assert looks[0].prints.digests == looks[2].prints.digests


def altered(frame, random):
    """Rescaled, a little brighter, and encoded again."""
    scale = random.uniform(0.6, 1.4)
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    changed = cv2.convertScaleAbs(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), alpha=1.03, beta=6)
    return cv2.imdecode(np.frombuffer(jpeg(changed, 70), np.uint8), cv2.IMREAD_COLOR)


def test_a_near_duplicate_is_found_from_file_to_finding(found):
    random = np.random.default_rng(1)
    frames = [picture(n, (120, 160)) for n in (0, 1, 2)]
    copy = cv2.resize(altered(frames[2], random), (160, 120))
    val = [jpeg(frames[0]), jpeg(picture(7, (120, 160))), jpeg(copy)]
    findings = found([jpeg(f) for f in frames], val, (120, 160))
    assert [(f.key, f.severity, f.count) for f in findings.values()] == [
        ("val-in-train", "error", 1),  # and not among the near ones as well
        ("near-duplicates", "warning", 1),
    ]
    assert findings["near-duplicates"].examples[0].text.startswith("val2.jpg looks nearly like train train2.jpg (")


def test_versions_of_one_photograph_in_both_parts_are_found_by_name_and_by_picture(tmp_path, by_key):
    def part(name, *files):
        made = split_of(tmp_path, name, [content for _, content in files])
        images = []
        for image, (file, _) in zip(made.dataset.images, files, strict=True):
            images.append(replace(image, path=image.path.rename(tmp_path / file)))
        return Split(name, replace(made.dataset, images=tuple(images)))

    train = part("train", ("a_jpg.rf.1.jpg", jpeg(picture(0))), ("frame_1.jpg", jpeg(picture(1))))
    val = part("val", ("a_jpg.rf.2.jpg", jpeg(picture(2))), ("frame_2.jpg", jpeg(np.roll(picture(1), 4, axis=1))))
    findings = by_key(check_images(train, val))
    assert {f.key: (f.severity, f.count) for f in findings.values()} == {
        "split-versions": ("warning", 1),
        "split-scenes": ("warning", 1),
    }
    assert findings["split-versions"].examples[0].beside.path.name == "a_jpg.rf.1.jpg"
    assert list(by_key(check_leaks(train, val))) == ["split-versions"]  # without opening a file


def test_unreadable_images_are_near_to_nothing(found):
    assert list(found([b"no", b"no"], [b"no", b"nothing"])) == ["unreadable-images"]
