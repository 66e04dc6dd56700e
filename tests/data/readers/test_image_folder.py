"""Image names: exact, nearly right, leading out of the folder, used twice; and links, which are followed."""

import json
import os
import sys
import unicodedata

import pytest

from nanogfl.cli.main import main
from nanogfl.data.readers.files_below import files_below
from nanogfl.data.readers.read import load_split
from nanogfl.errors import UserError
from tests.data.any_format import LVIS, NAMING, write_named
from tests.data.voc_set import draw_image
from tests.data.yolo_set import write_yolo

NEARLY = {
    "Label Studio's upload": ("../../label-studio/media/upload/4/one.png", "one.png"),
    "Label Studio's own name": ("../media/upload/4/0a1b2c3d-one.png", "one.png"),
    "Label Studio's local file": ("/data/local-files/?d=shots/one.png", "one.png"),
    "an address": ("https://example.org/p/one.png?token=a/b", "one.png"),
    "Windows": ("shots\\one.png", "shots/one.png"),
    "an absolute name of Windows": ("C:\\work\\shots\\one.png", "shots/one.png"),
    "a folder too deep": ("train/one.png", "one.png"),
    "a folder too high": ("one.png", "train/one.png"),
    "quoted": ("shots/one%20more%C3%BC.png", "shots/one moreü.png"),
    "quoted on the disk": ("one more.png", "one%20more.png"),
    "decomposed": (unicodedata.normalize("NFD", "größe.png"), unicodedata.normalize("NFC", "größe.png")),
    "another case": ("Shots/One.png", "shots/one.png"),
    "no suffix": ("one", "one.png"),
    "dots": ("./shots/../shots/./two/one.png", "two/one.png"),
}


@pytest.mark.parametrize("name", NEARLY)
@pytest.mark.parametrize("kind", NAMING)
def test_an_image_under_a_similar_name_is_found_and_listed(tmp_path, kind, name):
    written, there = NEARLY[name]
    files = write_named(kind, tmp_path / "set", [written, "right.png"])
    for file in (there, "right.png"):
        draw_image(files[1] / file)
    data = load_split(*files)
    assert {image.path.relative_to(files[1]).as_posix() for image in data.images} == {there, "right.png"}
    assert [image.boxes.tolist() for image in data.images] == [[[5, 7, 25, 17]]] * 2
    if kind == "voc" and name in ("a folder too high", "no suffix"):
        assert data.problems == ()  # which is what VOC's <filename> means
        return
    (problem,) = data.problems
    assert "found" in problem.reason
    assert there in problem.reason
    assert written in problem.where
    assert data.problem_summary().startswith("1 x image found")
    with pytest.raises(UserError, match="found"):
        load_split(*files, strict=True)


@pytest.mark.parametrize("kind", NAMING)
def test_convert_lists_and_corrects_similar_names(tmp_path, monkeypatch, capsys, kind):
    file, folder = write_named(kind, tmp_path / "set", [f"..\\up\\{n}.PNG" for n in range(3)])
    for n in range(3):
        draw_image(folder / f"{n}.png")
    output = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["nanogfl", "data", "convert", str(file), str(folder), "-o", str(output)])
    main()
    printed = capsys.readouterr().out
    assert "3 x image found" in printed
    assert all(f"{n}.PNG" in printed for n in range(3))
    assert [entry["file_name"] for entry in json.loads(output.read_text())["images"]] == ["0.png", "1.png", "2.png"]
    assert load_split(output, folder, strict=True).problems == ()


@pytest.mark.parametrize("kind", ["coco", LVIS])
@pytest.mark.parametrize(
    ("names", "there", "told"),
    [
        (["x/a.png", "x/b.png"], ["a.png"], ["2 of 2", "1 are there", "x/a.png", "x/b.png"]),
        (["x/a.png", "x/b.png", "c.png"], ["a.png", "c.png"], ["2 of 3", "x/b.png"]),
        (["a.png"], ["x/a.png", "y/a.png"], ["not clear", "x/a.png", "y/a.png"]),
        (["x/a.png", "y/a.png"], ["a.png"], ["2 it is not clear", "x/a.png"]),
    ],
)
def test_partly_found_and_ambiguous_names_are_refused_with_examples(tmp_path, kind, names, there, told):
    files = write_named(kind, tmp_path, names)
    for name in there:
        draw_image(files[1] / name)
    with pytest.raises(UserError) as raised:
        load_split(*files)
    assert all(part in str(raised.value) for part in told)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", NAMING)
def test_an_image_of_another_folder_does_not_replace_a_missing_one(tmp_path, kind):
    files = write_named(kind, tmp_path, ["cam0/1.png", "cam1/1.png", "cam0/2.png"])
    for name in ("cam1/1.png", "cam2/2.png"):
        draw_image(files[1] / name)
    data = load_split(*files)
    assert [image.path.relative_to(files[1]).as_posix() for image in data.images] == ["cam1/1.png"]
    reasons = {problem.where: problem.reason for problem in data.problems}
    assert {name: reason.startswith("image is missing") for name, reason in reasons.items()} == {
        "cam0/1.png": True,
        "cam0/2.png": True,
    }


OUTSIDE = ["../secret.png", "ABOVE/secret.png", "images/../../secret.png", "link/../secret.png", "..\\secret.png"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", NAMING)
def test_no_name_leads_out_of_the_folder(tmp_path, kind, name):
    file, folder = write_named(kind, tmp_path / "set", [name.replace("ABOVE", str(tmp_path / "set")), "b.png"])
    for other in (tmp_path / "set/secret.png", tmp_path / "secret.png", folder / "b.png"):
        draw_image(other)
    (tmp_path / "deep/er").mkdir(parents=True)
    draw_image(tmp_path / "deep/secret.png")
    (folder / "link").symlink_to(tmp_path / "deep/er")  # link/.. is deep
    try:
        data = load_split(file, folder)
    except UserError as error:
        assert "outside" in str(error)  # noqa: PT017
        return
    assert [image.path.name for image in data.images] == ["b.png"]
    assert "secret.png" in data.problems[0].where
    assert "missing" in data.problems[0].reason


@pytest.mark.parametrize("kind", NAMING)
def test_absolute_names_within_the_folder_are_allowed(tmp_path, kind):
    folder = tmp_path / ("JPEGImages" if kind == "voc" else "images")
    files = write_named(kind, tmp_path, [f"{folder}/one.png"])
    draw_image(folder / "one.png")
    data = load_split(*files)
    assert [image.path for image in data.images] == [folder / "one.png"]
    assert data.problems == ()


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "b/" * 3000 + "a.png", "a\0.png", "\ud800.png", "", ".", "/"])
@pytest.mark.parametrize("kind", NAMING)
def test_an_impossible_name_is_refused_or_missing(tmp_path, kind, name):
    if kind == "voc" and not name.isprintable():
        pytest.skip("no xml holds it")
    files = write_named(kind, tmp_path, [name, "b.png"])
    draw_image(files[1] / "b.png")
    try:
        data = load_split(*files)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert [image.path.name for image in data.images] == ["b.png"]
        assert len(data.problems) == 1


@pytest.mark.parametrize("second", ["a.png", "./a.png", "x/../a.png", "A.png"])
@pytest.mark.parametrize("kind", NAMING)
def test_one_file_for_two_images_is_refused(tmp_path, kind, second):
    files = write_named(kind, tmp_path, ["a.png", second])
    draw_image(files[1] / "a.png")
    if second == "A.png" and kind != "voc":  # a file of its own that is missing
        assert [image.path.name for image in load_split(*files).images] == ["a.png"]
        return
    with pytest.raises(UserError, match=r"a\.png"):
        load_split(*files)


def linked_set(kind, root):
    """A data set whose images are links to a store beside it."""
    if kind == "yolo":
        file, folder = write_yolo(root / "set", {"a": "0 .5 .5 .2 .2", "b": "0 .5 .5 .2 .2"})
    else:
        file, folder = write_named(kind, root / "set", ["a.png", "b.png"])
    (root / "store").mkdir()
    for name in "ab":
        draw_image(root / f"store/{name}.png")
        (folder / f"{name}.png").unlink(missing_ok=True)
        (folder / f"{name}.png").symlink_to(root / f"store/{name}.png")
    return file, folder


@pytest.mark.parametrize("kind", [*NAMING, "yolo"])
def test_images_that_are_links_are_read_and_converted(tmp_path, kind):
    file, folder = linked_set(kind, tmp_path)
    data = load_split(file, folder, strict=True)
    assert [image.path for image in data.images] == [folder / "a.png", folder / "b.png"]
    assert [image.boxes.shape for image in data.images] == [(1, 4)] * 2
    (tmp_path / "store/b.png").unlink()
    data = load_split(file, folder)
    assert [image.path.name for image in data.images] == ["a.png"]
    assert any("b.png" in problem.where and "link" in problem.reason for problem in data.problems)


@pytest.mark.parametrize("kind", [*NAMING, "yolo"])
def test_folders_that_are_links_are_read(tmp_path, kind):
    if kind == "yolo":
        file, folder = write_yolo(tmp_path / "set", {"a": "0 .5 .5 .2 .2"})
        (tmp_path / "set/labels/train/cam").mkdir()
        (tmp_path / "set/labels/train/cam/b.txt").write_text("1 .5 .5 .2 .2")
    else:
        file, folder = write_named(kind, tmp_path / "set", ["a.png", "cam/b.png"])
        draw_image(folder / "a.png")
    draw_image(tmp_path / "store/b.png")
    (folder / "cam").symlink_to(tmp_path / "store")
    data = load_split(file, folder, strict=True)
    assert [image.path.relative_to(folder).as_posix() for image in data.images] == ["a.png", "cam/b.png"]
    assert [len(image.boxes) for image in data.images] == [1, 1]


def test_annotations_and_their_folders_may_be_links(tmp_path):
    file, folder = write_named("voc", tmp_path / "set", ["a.png"])
    draw_image(folder / "a.png")
    annotations = tmp_path / "set/Annotations"
    annotations.rename(tmp_path / "store")
    annotations.symlink_to(tmp_path / "store")
    assert len(load_split(file, folder, strict=True).images) == 1
    annotations.unlink()
    annotations.mkdir()
    (annotations / "xml0.xml").symlink_to(tmp_path / "store/xml0.xml")
    assert len(load_split(file, folder, strict=True).images) == 1


def test_circular_links_are_listed(tmp_path):
    for name in ("a/one", "b/two"):
        (tmp_path / "top" / name).mkdir(parents=True)
        (tmp_path / "top" / name / "file").write_text("")
    (tmp_path / "top/a/one/up").symlink_to(tmp_path / "top")
    (tmp_path / "top/a/one/above").symlink_to(tmp_path)
    (tmp_path / "top/a/one/everything").symlink_to("/")
    (tmp_path / "top/a/other").symlink_to(tmp_path / "top/b")
    (tmp_path / "top/b/other").symlink_to(tmp_path / "top/a")
    (tmp_path / "top/b/itself").symlink_to("itself")
    problems = []
    found = files_below(tmp_path / "top", problems)
    assert [path.relative_to(tmp_path / "top").as_posix() for path in found] == ["a/one/file", "b/two/file"]
    assert len(problems) == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_listed(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    problems = []
    assert files_below(tmp_path, problems) == []
    assert "closed" in problems[0].where
