import numpy as np
import pytest

from nanogfl.api.gate_images import gate_frames
from nanogfl.data.synthetic.dataset import draw_dataset
from nanogfl.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder, train=2, val=5)
    return folder


def test_a_folder_gives_at_most_so_many_images_spread_evenly(folder, tmp_path):
    names = sorted(path.name for path in (folder / "val").iterdir())
    origin, frames = gate_frames(tmp_path / "no.pt", folder / "val", 2)
    assert origin == "2 images of folder val"
    assert [name for name, _ in frames] == [names[0], names[2]]
    assert len(list(gate_frames(tmp_path / "no.pt", folder / "val", 99)[1])) == 5


def test_a_folders_image_that_cannot_be_read_is_left_out_and_named(folder, tmp_path):
    for path in (folder / "val").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    origin, frames = gate_frames(tmp_path / "no.pt", tmp_path, 99)
    assert origin.startswith("5 images")
    assert "broken.png" in origin
    assert len(list(frames)) == 5


def test_embedded_pictures_are_drawn_and_said_to_be(tmp_path):
    origin, frames = gate_frames(tmp_path / "no.pt", tmp_path.__class__("embedded"), 3)
    assert origin == "3 pictures of the embedded data set"
    pictures = [frame for _, frame in frames]
    assert len(pictures) == 3
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in pictures)


@pytest.mark.parametrize("count", [0, -1])
def test_no_images_is_no_comparison(folder, tmp_path, count):
    with pytest.raises(UserError, match="at least 1"):
        gate_frames(tmp_path / "no.pt", folder / "val", count)


def test_a_folder_without_images_and_a_missing_one_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no images"):
        gate_frames(tmp_path / "no.pt", tmp_path, 3)
    with pytest.raises(UserError, match="is not a folder"):
        gate_frames(tmp_path / "no.pt", tmp_path / "nowhere", 3)
