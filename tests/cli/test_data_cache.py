"""`nanogfl data cache` shows the stores and clears what nobody uses."""

import pytest
from click.testing import CliRunner

from nanogfl.cli.data import data
from nanogfl.config import DataConfig
from nanogfl.contract.input_spec import InputSpec
from nanogfl.data.cache.frames import open_frames
from nanogfl.errors import UserError
from tests.data.image_sets import SPEC, data_set, image_files


def run(*arguments):
    result = CliRunner().invoke(data, ["cache", *map(str, arguments)])
    if result.exception is None:
        assert result.exit_code == 0
        return [" ".join(line.split()) for line in result.output.splitlines()]
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


def test_each_store_is_shown_and_cleared_unless_it_is_in_use(tmp_path, monkeypatch):
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path))
    assert run() == [f"frame cache {tmp_path / 'frames'}", "empty"]
    images = data_set(image_files(tmp_path / "images", 3))
    frames = open_frames(images, SPEC, DataConfig())[1]
    open_frames(images, InputSpec(hw=(640, 640), resize="letterbox"), DataConfig())
    (tmp_path / "frames/320x320-stretch-opencv4.9-v1").mkdir()
    (tmp_path / "frames/320x320-stretch-opencv4.9-v1/slots-1.u8").write_bytes(bytes(5_000_000))
    (tmp_path / "frames/mine.txt").write_text("mine")
    lines = run()
    assert len(lines) == 5
    (large,) = (line for line in lines if line.startswith("640 x 640 letterbox"))
    assert "3 images 4 MB last used 20" in large
    assert "in use" not in large
    (small,) = (line for line in lines if line.startswith("96 x 64 stretch"))
    assert small.endswith("in use now")
    assert any("OpenCV 4.9, format 1 5 MB" in line for line in lines)
    assert lines[-1].startswith("9 MB of 20.0 GB")

    assert len(run("--clear")) == 4
    assert [path.name for path in sorted((tmp_path / "frames").iterdir())] == [
        next((tmp_path / "frames").glob("96x64-*")).name,
        "lock",
        "mine.txt",
    ]
    assert frames.get(0).shape == (64, 96, 3)
    del frames
    run(tmp_path / "frames", "--clear")
    assert run()[-1] == "empty"
    assert open_frames(images, SPEC, DataConfig())[1].decoded == 3


@pytest.mark.parametrize("option", [(), ("--clear",)])
def test_a_cache_that_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, option):
    assert "is no folder" in run(tmp_path / "nowhere", *option)
    (tmp_path / "96x64-stretch-opencv5.0-v3").mkdir()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nanogfl.data.cache.limit._read", refuse)
    assert "Permission denied" in run(tmp_path, *option)
    monkeypatch.setenv("NANOGFL_CACHE_LIMIT_GB", "many")
    assert "NANOGFL_CACHE_LIMIT_GB" in run(tmp_path, *option)
