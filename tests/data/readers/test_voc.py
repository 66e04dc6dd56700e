"""Reading Pascal VOC: what becomes an object, what is listed, what is refused."""

import numpy as np
import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.data.voc_set import BOX, SIZE, box, draw_image, thing, write_voc, xml
from tests.shared_data import shared


def test_corner_points_are_taken_as_they_are_written(tmp_path):
    files = {"a": xml(thing(inside=box(5, 7, 25, 17)), thing("dog", box("1.5", "2", "30.25", "8e0")))}
    dataset = load_split(*write_voc(tmp_path, files))
    (image,) = dataset.images
    assert image.boxes.tolist() == [[5, 7, 25, 17], [1.5, 2, 30.25, 8]]
    assert image.areas.tolist() == [200, 28.75 * 6]
    assert (image.hw, image.id, image.path.name) == ((60, 100), 1, "a.png")
    assert (image.boxes.dtype, image.labels.dtype, image.crowd.dtype) == (np.float32, np.int64, np.bool_)
    assert dataset.problems == ()


def test_a_voc_database_counts_inclusive_pixels_from_one(tmp_path):
    files = {"a": xml(thing(inside=box(1, 1, 100, 60)), thing(inside=box(9, 9, 9, 9)), database="The VOC2007 Database")}
    dataset = load_split(*write_voc(tmp_path, files))
    assert dataset.images[0].boxes.tolist() == [[0, 0, 100, 60], [8, 8, 9, 9]]  # the second: one pixel
    assert dataset.problems == ()


@pytest.mark.parametrize("database", ["Unknown", "", "my VOC export", "roboflow.com"])
def test_any_other_database_has_corner_points(tmp_path, database):
    dataset = load_split(*write_voc(tmp_path, {"a": xml(thing(inside=box(1, 1, 100, 60)), database=database)}))
    assert dataset.images[0].boxes.tolist() == [[1, 1, 100, 60]]


def test_a_difficult_object_is_neither_an_object_nor_background(tmp_path):
    files = {"a": xml(*(thing(inside=f"<difficult>{flag}</difficult><truncated>1</truncated>{BOX}") for flag in "01"))}
    dataset = load_split(*write_voc(tmp_path, files))
    assert dataset.images[0].crowd.tolist() == [False, True]
    assert "1 boxes of 1 classes" in dataset.summary()


def test_classes_are_the_sorted_names_of_the_whole_folder(tmp_path):
    files = {"a": xml(thing("wolf")), "b": xml(thing("cat"), thing("ape")), "c": xml()}
    split, images = write_voc(tmp_path, files, ["a"])
    other = split.with_name("val.txt")
    other.write_text("b\nc\n")
    train, val = load_split(split, images), load_split(other, images)
    assert train.classes == val.classes == ("ape", "cat", "wolf")
    assert train.category_ids == val.category_ids == (1, 2, 3)
    assert train.images[0].labels.tolist() == [2]
    assert [image.labels.tolist() for image in val.images] == [[1, 0], []]
    assert [image.id for image in val.images] == [1, 2]
    assert "1 images without objects" in val.summary()


def test_a_models_classes_are_found_by_name(tmp_path):
    files = write_voc(tmp_path, {"a": xml(thing("cat"), thing("dog"), thing("ape"))})
    dataset = load_split(*files, class_ids=(7, 3, 9), class_names=("dog", "fox", "cat"))
    assert (dataset.classes, dataset.category_ids) == (("dog", "fox", "cat"), (7, 3, 9))
    assert dataset.images[0].labels.tolist() == [2, 0]  # no ape, which the model does not know
    with pytest.raises(UserError, match=r"none of the classes that the model was trained on \(fox\).* ape, cat, dog"):
        load_split(*files, class_ids=(1,), class_names=("fox",))


def test_without_names_a_models_classes_are_found_by_their_ids(tmp_path):
    files = write_voc(tmp_path, {"a": xml(thing("cat"), thing("dog"))})
    assert load_split(*files, class_ids=(2,)).images[0].labels.tolist() == [0]
    with pytest.raises(UserError, match="no category with id 3"):
        load_split(*files, class_ids=(3,))


def test_parts_of_an_object_are_ignored(tmp_path):
    part = f"<part><name>head</name>{box(6, 7, 8, 9)}</part>"
    dataset = load_split(*write_voc(tmp_path, {"a": xml(thing("person", BOX + part))}))
    assert dataset.classes == ("person",)
    assert dataset.images[0].boxes.tolist() == [[5, 7, 25, 17]]


@pytest.mark.parametrize(
    "size", ["", "<size/>", SIZE.replace("100", "0"), SIZE.replace("60", "tall"), SIZE.replace("100", "99.5")]
)
def test_a_missing_or_bad_size_is_the_images(tmp_path, size):
    split, images = write_voc(tmp_path, {"a": xml(thing(), size=size)}, draw=False)
    draw_image(images / "a.png", width=80, height=31)
    (image,) = load_split(split, images).images
    assert image.hw == (31, 80)


def test_the_image_is_found_by_filename_or_stem_in_subfolders_too(tmp_path):
    files = {
        "a": xml(thing(), filename="other.png"),
        "b": xml(filename="b"),
        "c": xml(filename="C:\\photos\\c.jpg"),
        "d": xml(filename="inner/x.png"),
        "e": xml(filename="renamed.png"),
    }
    split, images = write_voc(tmp_path, files, draw=False)
    for name in ("other.png", "val/b.jpg", "train/c.png", "inner/x.png", "a.png", "e.png", "val/renamed.png"):
        draw_image(images / name)
    dataset = load_split(split, images)
    assert [image.path.relative_to(images).as_posix() for image in dataset.images] == [
        "other.png",
        "val/b.jpg",
        "train/c.png",
        "inner/x.png",
        "val/renamed.png",
    ]
    draw_image(images / "train/b.bmp")
    with pytest.raises(UserError, match=r"could both be the image of b\.xml"):
        load_split(split, images)


def test_windows_line_ends_byte_order_marks_blank_lines_and_suffixes_are_accepted(tmp_path):
    files = {name: xml(thing()) for name in ("a b", "c.d", "e", "f")}
    split, images = write_voc(tmp_path, files, b"\xef\xbb\xbfa b\r\n\r\n c.d \r\ne.jpg\r\nf.xml")
    assert [image.path.name for image in load_split(split, images).images] == ["a b.png", "c.d.png", "e.png", "f.png"]


@pytest.mark.parametrize(
    "lines",
    [
        "JPEGImages/a.png\nJPEGImages/in/b.png",
        "./JPEGImages/a.png ./Annotations/a.xml\n./JPEGImages/b.png\t./Annotations/in/b.xml",
        "Annotations/a.xml\nAnnotations/in/b.xml",
        "/home/somebody/VOC/JPEGImages/a.png\n/home/somebody/VOC/JPEGImages/in/b.png",
        "JPEGImages\\a.png Annotations\\a.xml\nJPEGImages\\in\\b.png Annotations\\in\\b.xml",
        "VOC/JPEGImages/a\nVOC/JPEGImages/in/b",
    ],
)
def test_lines_of_a_list_may_be_paths_or_pairs_of_them(tmp_path, lines):
    split, images = write_voc(tmp_path, {"a": xml(thing())}, lines)
    (tmp_path / "Annotations/in").mkdir()
    (tmp_path / "Annotations/in/b.xml").write_text(xml(thing("dog")))
    draw_image(images / "in/b.png")
    data = load_split(split, images, strict=True)
    assert [(image.path.name, image.labels.tolist()) for image in data.images] == [("a.png", [0]), ("b.png", [1])]


def test_two_paths_that_mean_one_xml_are_refused(tmp_path):
    files = write_voc(tmp_path, {"a": xml(thing())}, "one/a.png\ntwo/a.png")
    with pytest.raises(UserError, match=r"two/a\.png twice"):
        load_split(*files)


ENCODINGS = [("gbk", "猫"), ("Shift_JIS", "ソ表"), ("Big5", "功許"), ("euc-kr", "고양이")]


@pytest.mark.parametrize(("encoding", "name"), ENCODINGS)
def test_an_xml_may_be_in_a_multi_byte_encoding_that_it_declares(tmp_path, encoding, name):
    text = f"<?xml version='1.0' encoding='{encoding}'?>\n{xml(thing(name))}"
    data = load_split(*write_voc(tmp_path, {"a": text.encode(encoding)}), strict=True)
    assert data.classes == (name,)


@pytest.mark.parametrize(("encoding", "name"), [*ENCODINGS, ("utf-7", "a")])
def test_entities_are_refused_in_every_encoding(tmp_path, encoding, name):
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE a [<!ENTITY b '{name}'>]><annotation>&b;</annotation>"
    split, images = write_voc(tmp_path, {"a": text.encode(encoding), "b": xml(thing())})
    (problem,) = load_split(split, images).problems
    assert problem.where == "a.xml"
    assert problem.reason.startswith("unusable xml")


def test_bytes_that_are_not_in_the_declared_encoding_are_named(tmp_path):
    broken = b"<?xml version='1.0' encoding='gbk'?><annotation>\x81</annotation>"
    (problem,) = load_split(*write_voc(tmp_path, {"a": broken, "b": xml(thing())})).problems
    assert "gbk" in problem.reason


def test_an_xml_may_be_in_utf_16_or_start_with_a_byte_order_mark(tmp_path):
    text = f'<?xml version="1.0" encoding="UTF-16"?>{xml(thing("Löwe"))}'
    files = {"a": text.encode("utf-16"), "b": b"\xef\xbb\xbf" + xml(thing(" Löwe \n")).replace(">", ">\r\n").encode()}
    dataset = load_split(*write_voc(tmp_path, files))
    assert dataset.classes == ("Löwe",)
    assert [len(image.boxes) for image in dataset.images] == [1, 1]


def test_the_list_may_lie_beside_annotations_or_below_image_sets(tmp_path):
    split, images = write_voc(tmp_path, {"a": xml(thing())})
    for place in ("list.txt", "ImageSets/list.txt", "ImageSets/Segmentation/list.txt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(split.read_bytes())
        assert len(load_split(tmp_path / place, images).images) == 1


ENTITY_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b0 "ha">'
    + "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 10))
    + f"]>{xml(thing('&b9;'))}"
)
BAD_BOX = {
    "nan": (box("nan", 7, 25, 17), "bad box: <bndbox> with four finite numbers xmin ymin xmax ymax expected, got"),
    "no number": (box(5, 7, "wide", 17), r"bad box: .* got \(5, 7, wide, 17\)"),
    "no xmin": (BOX.replace("<xmin>5</xmin>", ""), r"bad box: .* got \(nothing, 7, 25, 17\)"),
    "no bndbox": ("<polygon><x1>3</x1></polygon>", r"bad box: .* got \(nothing, nothing, nothing, nothing\)"),
    "inverted": (box(25, 7, 5, 17), "empty box: width -20, height 10"),
    "outside": (box(200, 7, 225, 17), r"box outside its image: \(200, 7, 225, 17\) in 100 x 60"),
}


@pytest.mark.parametrize("name", BAD_BOX)
def test_a_box_that_cannot_be_used_is_left_out_and_listed(tmp_path, name):
    inside, reason = BAD_BOX[name]
    files = write_voc(tmp_path, {"a": xml(thing(inside=inside), thing())})
    dataset = load_split(*files)
    assert dataset.images[0].boxes.tolist() == [[5, 7, 25, 17]]
    (problem,) = dataset.problems
    assert problem.where == "a.xml, object 1"
    with pytest.raises(UserError, match=reason):
        load_split(*files, strict=True)


BAD_FILE = {
    "not well-formed": ("<annotation><object>", "unusable xml: not well-formed: no element found"),
    "empty": ("", "unusable xml: not well-formed: no element found"),
    "not UTF-8": (b"<annotation>\xff</annotation>", "unusable xml: not well-formed"),
    "an unknown encoding": ('<?xml version="1.0" encoding="klingon"?><annotation/>', "unusable xml: not well-formed"),
    "another root": ("<html><object/></html>", "unusable xml: <annotation> expected, got <html>"),
    "an entity bomb": (ENTITY_BOMB, "unusable xml: it declares a DOCTYPE or an ENTITY"),
    "a bomb in UTF-16": (
        ENTITY_BOMB.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"),
        "it declares a DOCTYPE",
    ),
    "an entity that is a file": (
        '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation>&f;</annotation>',
        "unusable xml: it declares a DOCTYPE",
    ),
    "an entity from nowhere": ("<annotation>&f;</annotation>", "unusable xml: not well-formed: undefined entity"),
    "too large": (b"<annotation>" + b" " * 8_000_000 + b"</annotation>", "has more than 8,000,000 bytes"),
    "missing": (None, "annotation is missing: no such file in the folder"),
}


@pytest.mark.parametrize("name", BAD_FILE)
def test_the_image_of_an_unusable_file_is_left_out_and_listed(tmp_path, name):
    content, reason = BAD_FILE[name]
    files = {"bad": content, "good": xml(thing())} if content is not None else {"good": xml(thing())}
    split, images = write_voc(tmp_path, files, ["bad", "good"])
    draw_image(images / "bad.png")
    dataset = load_split(split, images)
    assert [image.path.name for image in dataset.images] == ["good.png"]
    (problem,) = dataset.problems
    assert problem.where == "bad.xml"
    assert reason in problem.reason
    with pytest.raises(UserError, match=r"bad\.xml: .*or leave --strict out"):
        load_split(split, images, strict=True)


def test_objects_without_a_class_and_missing_or_damaged_images_are_listed(tmp_path):
    files = {"a": xml(thing(), f"<object>{BOX}</object>"), "b": xml(thing()), "c": xml(thing(), size="")}
    split, images = write_voc(tmp_path, files)
    (images / "b.png").unlink()
    (images / "c.png").write_bytes(b"no image")
    dataset = load_split(split, images)
    assert [(image.path.name, len(image.boxes)) for image in dataset.images] == [("a.png", 1)]
    reasons = {problem.where: problem.reason for problem in dataset.problems}
    assert reasons["a.xml, object 2"].startswith("no class")
    assert reasons["b"].startswith("image is missing")
    assert reasons["c.png"].startswith("unreadable image")


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ("", "is empty: expected a VOC split list"),
        ("a\na\n", "lists a twice"),
        ("a\na.jpg\n", r"lists a\.jpg twice"),
        ("../../../etc/passwd\n", r"image \.\./\.\./\.\./etc/passwd\.xml lies outside of"),
        ("a\x01b\n", "not a name that a file can have"),
        ("a  1\n", "is the list of one class"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not text in UTF-8"),
        (b"a\0b", "is a binary file"),
        ("b\n" * 1, r"no usable image in .*: 1 are listed there \(b\.xml: annotation is missing"),
    ],
)
def test_a_bad_split_list_is_refused_with_one_sentence(tmp_path, listed, sentence):
    files = write_voc(tmp_path, {"a": xml(thing())}, listed)
    with pytest.raises(UserError, match=sentence) as raised:
        load_split(*files)
    assert "\n" not in str(raised.value)
    assert "train.txt" in str(raised.value)


@pytest.mark.parametrize("filename", ["../../../etc/passwd", "/etc/passwd", "../b.png"])
def test_a_filename_that_leads_out_of_the_folder_is_never_read(tmp_path, filename):
    split, images = write_voc(tmp_path, {"a": xml(thing(), filename=filename)})
    data = load_split(split, images)
    assert [image.path.name for image in data.images] == ["a.png"]  # by the xml's own name
    assert filename in data.problems[0].where
    (images / "a.png").unlink()
    with pytest.raises(UserError, match="lies outside of"):
        load_split(split, images)


def test_two_annotations_of_one_image_are_refused(tmp_path):
    files = write_voc(tmp_path, {"a": xml(thing(), filename="b.png"), "b": xml(thing())})
    with pytest.raises(UserError, match=r"a\.xml and b\.xml name the same image b\.png"):
        load_split(*files)


def test_missing_files_and_folders_are_named(tmp_path):
    split, images = write_voc(tmp_path / "set", {"a": xml(thing())})
    with pytest.raises(UserError, match=r"none\.txt does not exist"):
        load_split(split.with_name("none.txt"), images)
    with pytest.raises(UserError, match=r"image folder .*none does not exist"):
        load_split(split, tmp_path / "none")
    with pytest.raises(UserError, match="no folder 'Annotations'"):
        load_split(tmp_path / "list.txt", images)
    (tmp_path / "dir.txt").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(UserError, match=r"dir\.txt cannot be read"):
        load_split(tmp_path / "dir.txt", images)
    (tmp_path / "list.txt").write_text("a\n")
    with pytest.raises(UserError, match="no object with a class in any of its 0 xml files"):
        load_split(tmp_path / "list.txt", images)


@pytest.mark.parametrize(("voc", "coco", "bad"), [("trainval", "train", ["00338", "00343"]), ("test", "val", [])])
def test_bccd_from_voc_and_from_coco_has_the_same_boxes_but_for_two_without_a_size(voc, coco, bad):
    ours = load_split(shared(f"data/bccd_voc/ImageSets/Main/{voc}.txt"), shared("data/bccd"))
    theirs = load_split(shared(f"data/bccd/{coco}.json"), shared(f"data/bccd/{coco}"))
    assert ours.classes == ("Platelets", "RBC", "WBC")
    assert [problem.where[:20] for problem in ours.problems] == [f"BloodImage_{number}.xml" for number in bad]
    assert {problem.reason for problem in ours.problems} <= {"empty box: width 0, height 0"}
    by_name = {image.path.name: image for image in theirs.images}
    assert len(ours.images) == len(by_name)
    for image in ours.images:
        other = by_name[image.path.name]
        assert (image.hw, image.path) == (other.hw, other.path)
        np.testing.assert_array_equal(image.boxes, other.boxes)
        np.testing.assert_array_equal(image.areas, other.areas)
        names = [ours.classes[label] for label in image.labels]
        assert names == [theirs.classes[label] for label in other.labels]
