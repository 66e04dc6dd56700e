"""Reading YOLO's layout: what becomes an object, what is listed, what is refused."""

import numpy as np
import pytest

from nanogfl.data.readers.read import load_split
from nanogfl.data.readers.yolo import labels_folder
from nanogfl.data.readers.yolo_yaml import read_data_yaml
from nanogfl.errors import UserError
from tests.data.voc_set import draw_image
from tests.data.yolo_set import write_yolo, yolo_copy
from tests.hostile.configs import LAUGHS
from tests.shared_data import shared


def test_normalised_centres_become_corners_in_pixels(tmp_path):
    dataset = load_split(*write_yolo(tmp_path, {"a": "1 0.5 0.5 0.2 0.5\n0 0.25 0.75 0.5 0.5\n"}))
    (image,) = dataset.images
    np.testing.assert_allclose(image.boxes, [[40, 15, 60, 45], [0, 30, 50, 60]], atol=1e-5)
    np.testing.assert_allclose(image.areas, [600, 1500], rtol=1e-6)
    assert (image.hw, image.labels.tolist(), image.crowd.tolist()) == ((60, 100), [1, 0], [False, False])
    assert (dataset.classes, dataset.category_ids, dataset.problems) == (("cat", "dog"), (0, 1), ())
    assert (image.boxes.dtype, image.labels.dtype) == (np.float32, np.int64)


def test_a_polygon_becomes_its_hull(tmp_path):
    (image,) = load_split(*write_yolo(tmp_path, {"a": "0 0.3 0.5 0.1 0.25 0.2 0.75\n"})).images
    np.testing.assert_allclose(image.boxes, [[10, 15, 30, 45]], atol=1e-5)


def test_missing_and_empty_label_files_mean_no_objects(tmp_path):
    dataset = load_split(*write_yolo(tmp_path, {"a": None, "b": "", "c": " \r\n\r\n"}))
    assert [image.boxes.shape for image in dataset.images] == [(0, 4)] * 3
    assert dataset.problems == ()
    assert "3 images without objects" in dataset.summary()


def test_a_label_file_without_image_is_listed_but_for_labelimgs_class_names(tmp_path):
    file, images = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2", "b": "0 .5 .5 .2 .2"})
    (images / "b.png").unlink()
    (tmp_path / "labels/train/classes.txt").write_text("cat\ndog\n")
    dataset = load_split(file, images)
    (problem,) = dataset.problems
    assert problem.where == "b.txt"
    assert dataset.problem_summary() == "1 x label file without image"
    with pytest.raises(UserError, match=r"b\.txt: label file without image"):
        load_split(file, images, strict=True)


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path):
    data = b"\xef\xbb\xbfnc: 2\r\nnames:\r\n- cat\r\n- dog\r\n"
    dataset = load_split(*write_yolo(tmp_path, {"a": b"\xef\xbb\xbf1 .5 .5 .2 .2\r\n\t0 .5 .5 .1 .1 \r\n"}, data))
    assert dataset.images[0].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("names: [cat, dog]", {0: "cat", 1: "dog"}),
        ("names: {0: cat, 1: dog}\nnc: 2", {0: "cat", 1: "dog"}),
        ("names: {5: cat, 2: dog}", {2: "dog", 5: "cat"}),
        ("names: [yes, no, 1, ~, 'null']", {0: "yes", 1: "no", 2: "1", 3: "~", 4: "null"}),  # not True, False, None
        ("names: ['traffic light', Löwe]\ntrain: [a, b]\nroboflow: {url: x}", {0: "traffic light", 1: "Löwe"}),
    ],
)
def test_names_are_a_list_or_a_mapping_and_stay_as_they_are_written(tmp_path, data, expected):
    file = tmp_path / "data.yaml"
    file.write_text(data, encoding="utf-8")
    assert list(read_data_yaml(file).names.items()) == list(expected.items())


def test_class_numbers_with_gaps_become_dense_labels(tmp_path):
    dataset = load_split(
        *write_yolo(tmp_path, {"a": "5 .5 .5 .2 .2\n2 .5 .5 .1 .1\n5.0 .5 .5 .1 .1"}, "names: {5: a, 2: b}")
    )
    assert (dataset.classes, dataset.category_ids) == (("b", "a"), (2, 5))
    assert dataset.images[0].labels.tolist() == [1, 0, 1]


def test_a_models_classes_are_found_by_name(tmp_path):
    files = write_yolo(tmp_path, {"a": "1 .5 .5 .2 .2\n0 .5 .5 .1 .1"})
    dataset = load_split(*files, class_ids=(18,), class_names=("dog",))
    assert (dataset.classes, dataset.category_ids) == (("dog",), (18,))
    assert dataset.images[0].labels.tolist() == [0]
    assert dataset.images[0].boxes[0].tolist() == pytest.approx([40, 24, 60, 36])
    with pytest.raises(UserError, match="no class 'fox', which the model was trained on: its classes are cat, dog"):
        load_split(*files, class_ids=(1, 2), class_names=("dog", "fox"))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("/a/images/train", "/a/labels/train"),
        ("/images/a/images", "/images/a/labels"),
        ("/a/train/images", "/a/train/labels"),
        ("/a/images_2/train", "/a/images_2/train"),
        ("/a/b", "/a/b"),
    ],
)
def test_the_last_folder_called_images_becomes_labels(tmp_path, images, labels):
    assert labels_folder(tmp_path / images[1:]) == tmp_path / labels[1:]


def test_a_relative_folder_is_found_from_where_the_command_runs(tmp_path, monkeypatch):
    write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"})
    monkeypatch.chdir(tmp_path / "images")
    assert len(load_split("../data.yaml", "train").images[0].boxes) == 1
    monkeypatch.chdir(tmp_path)
    assert len(load_split("data.yaml", ".").images[0].boxes) == 1  # the root: images and labels lie in it
    assert load_split("data.yaml", ".").problems == ()


def test_labels_beside_the_images_and_images_in_subfolders_are_found(tmp_path):
    for name in ("b/y.jpg", "a/x.png", "a/z.w.bmp"):
        draw_image(tmp_path / "photos" / name)
    (tmp_path / "photos/a/z.w.txt").write_text("0 .5 .5 .2 .2")
    (tmp_path / "photos/b/y.txt").write_text("1 .5 .5 .2 .2")
    (tmp_path / "data.yml").write_text("names: [cat, dog]")
    dataset = load_split(tmp_path / "data.yml", tmp_path / "photos")
    assert [image.path.name for image in dataset.images] == ["x.png", "z.w.bmp", "y.jpg"]
    assert [image.labels.tolist() for image in dataset.images] == [[], [0], [1]]
    assert [image.id for image in dataset.images] == [1, 2, 3]


BAD_LINE = {
    "three numbers": ("0 .5 .5 .2", "bad line: 'class cx cy w h' or a class and a polygon expected, got '0 .5 .5 .2'"),
    "a confidence": ("0 .5 .5 .2 .2 .9", "bad line"),
    "half a point": ("0 .1 .1 .2 .2 .3 .3 .4", "bad line"),
    "text": ("0 .5 .5 .2 wide", "bad line"),
    "a class by name": ("cat .5 .5 .2 .2", "bad line"),
    "nan": ("0 nan .5 .2 .2", "bad box: finite numbers of 0 .. 1, parts of the image, expected, got '0 nan .5 .2 .2'"),
    "too large for a float": ("0 .5 1e999 .2 .2", "bad box"),
    "pixels": ("0 50 30 20 10", "bad box"),
    "above 1": ("0 1.02 .5 .2 .2", "bad box"),
    "a negative centre": ("0 -0.2 .5 .2 .2", "bad box"),
    "no width": ("0 .5 .5 0 .2", "empty box: width 0, height 12"),
    "a polygon that is a line": ("0 .1 .2 .1 .3 .1 .4", "empty box: width 0, height 12"),
    "a polygon outside": ("0 .1 .2 .1 .3 .1 4", "bad box"),
    "outside within the slack": ("0 1.008 .5 .002 .2", "box outside its image"),
}


@pytest.mark.parametrize("name", BAD_LINE)
def test_a_line_that_cannot_be_used_is_left_out_and_listed(tmp_path, name):
    line, reason = BAD_LINE[name]
    files = write_yolo(tmp_path, {"a": f"{line}\n1 .5 .5 .2 .5\n"})
    dataset = load_split(*files)
    assert dataset.images[0].labels.tolist() == [1]
    (problem,) = dataset.problems
    assert problem.where == "a.txt, line 1"
    assert problem.reason.startswith(reason)
    with pytest.raises(UserError, match=r"a\.txt, line 1"):
        load_split(*files, strict=True)


def test_a_box_that_reaches_outside_is_clipped_and_listed_beyond_a_pixel(tmp_path):
    dataset = load_split(*write_yolo(tmp_path, {"a": "0 .9 .5 .3 .2\n0 .05 .5 .11 .2\n"}))
    np.testing.assert_allclose(dataset.images[0].boxes[:, 0::2], [[75, 100], [0, 10.5]], atol=1e-4)
    (problem,) = dataset.problems
    assert problem.where == "a.txt, line 1"
    assert problem.reason.startswith("box reaches outside its image, clipped: '0 .9 .5 .3 .2' in 100 x 60")


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("2 .5 .5 .2 .2", r"a\.txt, line 1: class 2 has no name in .*data\.yaml, whose 2 classes are 0 cat, 1 dog"),
        ("\n-1 .5 .5 .2 .2", "line 2: class -1 has no name"),
        ("0.5 .5 .5 .2 .2", "class 0.5 has no name"),
        ("nan .5 .5 .2 .2", "class nan has no name"),
        ("1e300 .5 .5 .2 .2", r"class 1e\+300 has no name"),
        (b"\x89PNG\xff", r"label file .*a\.txt is not text in UTF-8"),
        (b"0 .5 .5\0 .2 .2", r"label file .*a\.txt is a binary file"),
    ],
)
def test_unknown_classes_and_binary_label_files_are_refused(tmp_path, label, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        load_split(*write_yolo(tmp_path, {"a": label}))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "must hold keys and values"),
        ("- cat\n- dog\n", "must hold keys and values"),
        ("nc: 2", "has no 'names'"),
        ("names: cat", "names must be a list"),
        ("names: []", "names no classes"),
        ("names: [cat, cat]", "two classes have the name 'cat'"),
        ("names: {0: cat, 7: cat}", "two classes have the name 'cat'"),
        ("names: {0: cat, 00: dog}", "two classes have the number 0"),
        ("names: [cat, '']", "class 1 has no name"),
        ("names: [cat, [dog]]", "class 1 has no name"),
        ("names: {first: cat}", "names has the key 'first': class numbers from 0 are expected"),
        ("names: [cat]\nnc: 2", "nc is '2', but 1 classes have names"),
        ("names: [cat]\nnc: [1]", "nc is no number"),
        ("names: [cat", "not valid YAML in line 1"),
        ("names: [cat]\n\t- x", "not valid YAML in line 2"),
        ('"\\UFFFFFFFF"', "not valid YAML"),
        ("[" * 500, "nested too deeply"),
        (b"names: [cat]\0", "is a binary file"),
        (b"\xff\xfen\0", "is not text in UTF-8"),
        (LAUGHS + "names: *i\n", "not valid YAML in line .*more than 100,000 values, aliases written out"),
        ("names: &n [*n]", "not valid YAML in line 1"),
        ("? [a]\n: b\n", "not valid YAML"),
    ],
)
def test_a_bad_data_yaml_is_refused_with_one_sentence(tmp_path, data, sentence):
    files = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"}, data)
    with pytest.raises(UserError, match=sentence) as raised:
        load_split(*files)
    assert "\n" not in str(raised.value)
    assert "data.yaml" in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_tag_is_not_obeyed(tmp_path):
    gone = tmp_path / "gone"
    (tmp_path / "data.yaml").write_text(f"names: !!python/object/apply:os.mkdir ['{gone}']")
    assert read_data_yaml(tmp_path / "data.yaml").names == {0: str(gone)}
    assert not gone.exists()


def test_missing_files_and_folders_and_images_that_share_a_label_file_are_named(tmp_path):
    file, images = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"})
    with pytest.raises(UserError, match=r"none\.yaml does not exist"):
        load_split(tmp_path / "none.yaml", images)
    with pytest.raises(UserError, match=r"image folder .*none does not exist"):
        load_split(file, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no label files \(\.txt\)"):
        load_split(file, tmp_path / "empty")
    draw_image(images / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg and a\.png have the same label file"):
        load_split(file, images)
    for image in images.iterdir():
        image.unlink()
    with pytest.raises(UserError, match="no usable image"):
        load_split(file, images)


def test_a_damaged_image_is_listed(tmp_path):
    file, images = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2", "b": "0 .5 .5 .2 .2"})
    (images / "a.png").write_bytes(b"no image")
    dataset = load_split(file, images)
    assert [(image.id, image.path.name) for image in dataset.images] == [(2, "b.png")]
    assert dataset.problem_summary() == "1 x unreadable image"


@pytest.mark.parametrize("name", ["bccd", "coco_mini"])
def test_a_copy_of_a_real_data_set_gives_its_boxes_back(tmp_path, name):
    theirs = load_split(shared(f"data/{name}/val.json"), shared(f"data/{name}/val"))
    ours = load_split(*yolo_copy(theirs, tmp_path))
    assert ours.classes == theirs.classes
    assert ours.problems == ()
    by_name = {image.path.name: image for image in ours.images}
    assert len(by_name) == len(theirs.images)
    for image in theirs.images:
        other, objects = by_name[image.path.name], ~image.crowd
        assert other.hw == image.hw
        np.testing.assert_allclose(other.boxes, image.boxes[objects], atol=2e-5)
        assert other.labels.tolist() == image.labels[objects].tolist()


BOX = ".4 .5 .4 .6"
POSE = {
    "[4, 2]": f"{BOX} .25 .3 .55 .3 .55 .75 .25 .75",
    "[2, 2]": f"{BOX} .25 .3 .55 .75",
    "[3, 2]": f"{BOX} .25 .3 0 0 .55 .75",
    "[4, 3]": f"{BOX} .25 .3 2 .55 .3 1 0 0 0 .25 .75 2",
    "[3, 3]": f"{BOX} .25 .3 1 .55 .3 1 .25 .75 1",
    "[1, 2]": f"{BOX} .25 .3",
    "[1, 3]": f"{BOX} .25 .3 1",
}


@pytest.mark.parametrize("shape", POSE)
def test_keypoints_behind_a_box_are_ignored(tmp_path, shape):
    lines = {"a": f"0 {POSE[shape]}\n1 {BOX}\n", "b": f"1 {POSE[shape]}\n"}
    data = load_split(*write_yolo(tmp_path, lines, f"names: [cat, dog]\nkpt_shape: {shape}\n"), strict=True)
    np.testing.assert_allclose(np.concatenate([i.boxes for i in data.images]), [[20, 12, 60, 48]] * 3, atol=1e-4)
    assert [image.labels.tolist() for image in data.images] == [[0, 1], [1]]


def test_a_line_that_contradicts_kpt_shape_is_listed(tmp_path):
    lines = {"a": f"0 {BOX} .25 .3\n0 {POSE['[4, 2]']}\n"}
    data = load_split(*write_yolo(tmp_path, lines, "names: [cat]\nkpt_shape: [4, 2]"))
    assert len(data.images[0].boxes) == 1
    assert "8 numbers of keypoints" in data.problems[0].reason


@pytest.mark.parametrize("shape", sorted(set(POSE) - {"[2, 2]", "[1, 2]"}))  # of four corners, and a triangle
def test_without_kpt_shape_keypoints_are_recognised_and_listed(tmp_path, shape):
    data = load_split(*write_yolo(tmp_path, {"a": f"0 {POSE[shape]}\n", "b": "", "c": f"1 {POSE[shape]}\n"}))
    np.testing.assert_allclose(np.concatenate([i.boxes for i in data.images]), [[20, 12, 60, 48]] * 2, atol=1e-4)
    (problem,) = data.problems
    assert "keypoints" in problem.reason
    assert "kpt_shape" in problem.reason


POLYGONS = {
    "counts that differ": ("0 .3 .5 .1 .25 .2 .75\n0 .3 .5 .1 .25 .2 .75 .3 .8 .35 .7", 0),
    "a box among them": (f"0 .3 .5 .1 .25 .2 .75\n0 {BOX}", 0),
    "four corners": ("0 .3 .5 .6 .5 .6 .75 .3 .75", 0),
    "triangles only": ("0 .3 .5 .1 .25 .2 .75", 1),
    "far from what would be the box": ("0 .1 .8 .2 .8 .25 .9 .2 .95 .1 .95", 1),
}


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_stay_polygons_and_doubtful_ones_are_listed(tmp_path, name):
    lines, told = POLYGONS[name]
    files = write_yolo(tmp_path, {"a": lines})
    data = load_split(*files)
    points = np.array(lines.split("\n")[0].split()[1:], dtype=float).reshape(-1, 2) * (100, 60)
    np.testing.assert_allclose(data.images[0].boxes[0], [*points.min(axis=0), *points.max(axis=0)], atol=1e-4)
    assert len(data.problems) == told
    files[0].write_text("names: [cat, dog]\nkpt_shape: [0, 0]\n")  # there are none
    assert load_split(*files).problems == ()


@pytest.mark.parametrize("shape", ["[4]", "[4, 4]", "[a, 2]", "17", "[99999999, 2]"])
def test_a_bad_kpt_shape_is_refused(tmp_path, shape):
    files = write_yolo(tmp_path, {"a": f"0 {BOX}"}, f"names: [cat]\nkpt_shape: {shape}")
    with pytest.raises(UserError, match="kpt_shape"):
        load_split(*files)


@pytest.mark.parametrize(("folder", "labels"), [("Images", "labels"), ("IMAGES", "Labels"), ("JPEGImages", "labels")])
def test_image_folders_of_other_names_have_their_labels_in_labels(tmp_path, folder, labels):
    draw_image(tmp_path / folder / "train/a.png")
    (tmp_path / labels / "train").mkdir(parents=True)
    (tmp_path / labels / "train/a.TXT").write_text("0 .5 .5 .2 .2")
    (tmp_path / "data.yaml").write_text("names: [cat]")
    data = load_split(tmp_path / "data.yaml", tmp_path / folder / "train", strict=True)
    assert len(data.images[0].boxes) == 1


def test_two_label_files_of_one_name_are_refused(tmp_path):
    file, images = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"})
    (tmp_path / "labels/train/a.TXT").write_text("0 .5 .5 .3 .3")
    with pytest.raises(UserError, match=r"a\.txt"):
        load_split(file, images)


@pytest.mark.parametrize("suffix", [".gif", ".HEIC"])
def test_pictures_in_other_formats_are_listed(tmp_path, suffix):
    file, images = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"})
    for name in ("b", "c"):
        (images / f"{name}{suffix}").write_bytes(b"GIF89a")
    (tmp_path / "labels/train/b.txt").write_text("0 .5 .5 .2 .2")
    told = {problem.where: problem.reason for problem in load_split(file, images).problems}
    assert set(told) == {f"b{suffix}", f"c{suffix}", "b.txt"}
    assert f"b{suffix}" in told["b.txt"]


def test_a_missing_folder_is_named_with_the_paths_of_data_yaml(tmp_path):
    file, _ = write_yolo(tmp_path, {"a": "0 .5 .5 .2 .2"}, "names: [cat]\ntrain: ../train/images\nval: [x, y]")
    with pytest.raises(UserError, match=r"none does not exist.*train: \.\./train/images, val: x and y"):
        load_split(file, tmp_path / "none")


def test_further_folders_of_a_split_are_listed(tmp_path):
    data = "names: [cat]\npath: PATH\ntrain: [images/train, images/more]\nval: images/val\ntest: ''\n"
    for path in (".", "/nowhere"):
        file, images = write_yolo(tmp_path / path.strip("/"), {"a": "0 .5 .5 .2 .2"}, data.replace("PATH", path))
        told = [problem.reason for problem in load_split(file, images).problems]
        assert ["images/more" in reason for reason in told] == ([True] if path == "." else [])


def test_lists_that_divide_a_folder_are_refused_and_others_listed(tmp_path):
    data = "names: [cat]\ntrain: train.txt\nval: val.txt\ntest: nowhere.txt\n"
    file, images = write_yolo(tmp_path, dict.fromkeys("abc", "0 .5 .5 .2 .2"), data)
    train, val = tmp_path / "train.txt", tmp_path / "val.txt"
    train.write_text("./images/train/a.png\nC:\\x\\b.png\n/x/c.png\n")
    val.write_text("./images/val/d.png\n")
    assert load_split(file, images).problems == ()  # the folder is the list
    train.write_text("./images/train/a.png\nC:\\x\\b.png\n")
    (problem,) = load_split(file, images).problems
    assert "2 of the 3" in problem.reason
    val.write_text("./images/train/c.png\n")
    with pytest.raises(UserError, match="train and val are lists that share"):
        load_split(file, images)
