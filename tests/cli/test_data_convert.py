"""`nanogfl data convert`, and the commands that read a data set, with one in another format."""

from click.testing import CliRunner

from nanogfl.cli.main import nanogfl as cli
from nanogfl.data.readers.read import load_split
from tests.data.voc_set import box, thing, write_voc, xml
from tests.data.yolo_set import write_yolo


def convert(*arguments):
    return CliRunner().invoke(cli, ["data", "convert", *map(str, arguments)])


def test_voc_is_written_as_coco_and_what_is_left_out_is_printed(tmp_path):
    split, images = write_voc(
        tmp_path / "voc", {"a": xml(thing(), thing(inside=box(5, 5, 5, 5))), "b": xml(thing("dog"))}
    )
    result = convert(split, images, "-o", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert "2 images, 2 boxes of 2 classes" in result.output
    assert "left out or mended: 1 x empty box" in result.output
    assert "a.xml, object 2: empty box: width 0, height 0" in result.output
    assert load_split(tmp_path / "out.json", images).classes == ("cat", "dog")


def test_an_existing_file_is_overwritten_only_by_force(tmp_path):
    file, images = write_yolo(tmp_path / "yolo", {"a": "0 .5 .5 .2 .2"})
    output = tmp_path / "out.json"
    output.write_text("mine")
    result = convert(file, images, "-o", output)
    assert "is already there: give --force" in str(result.exception)
    assert output.read_text() == "mine"
    assert convert(file, images, "-o", output, "--force").exit_code == 0
    assert len(load_split(output, images).images[0].boxes) == 1


def test_a_problem_with_strict_and_a_bad_file_leave_nothing_behind(tmp_path):
    file, images = write_yolo(tmp_path / "yolo", {"a": "0 .5 .5 .2"})
    result = convert(file, images, "-o", tmp_path / "out/out.json", "--strict")
    assert "bad line" in str(result.exception)
    (tmp_path / "yolo/labels/train/a.txt").write_text("9 .5 .5 .2 .2")
    result = convert(file, images, "-o", tmp_path / "out/out.json")
    assert "class 9 has no name" in str(result.exception)
    assert not (tmp_path / "out").exists()
