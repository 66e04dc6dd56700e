"""A run that an error ends: a camera's results are kept, a file's are not."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanogfl.api.model import Model
from nanogfl.cli.detect_run import Run
from nanogfl.cli.ending import Ending
from nanogfl.contract.detections import Detections
from nanogfl.errors import UserError
from nanogfl_deploy.sinks.pictures import DetectionsFile, VideoFile
from nanogfl_deploy.sources.capture import Source

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class Frames(Source):
    """Ten of them, a tenth of a second apart."""

    def __iter__(self):
        for index in range(10):
            self.seconds = index / 10
            yield f"{self.name}#{index:06d}", np.zeros((64, 96, 3), np.uint8)


def model(fails_at, error):
    """A detector that finds nothing, until it fails."""
    count = 0

    def detect(_):
        nonlocal count
        count += 1
        if count == fails_at:
            raise error
        return NOTHING

    return Model(Path("a.onnx"), detect, ("a",), (1,), has_spread=False, keep=100)


@pytest.mark.parametrize("error", [UserError("the model is tired"), KeyboardInterrupt(), RuntimeError("a bug")])
@pytest.mark.parametrize("live", [True, False])
def test_an_error_in_the_middle_keeps_what_was_recorded(tmp_path, capsys, error, live):
    saver, listing = VideoFile(tmp_path / "out.mkv", 10), DetectionsFile(tmp_path / "out.json", ("a",))
    frames = Frames("camera 0", None, 10, live)
    run = Run(model(6, error), frames, 0.4, False, saver, listing, None)
    with pytest.raises(type(error)):
        run.to_the_end(Ending())
    if not live:
        assert list(tmp_path.iterdir()) == []
        return
    assert [entry["seconds"] for entry in json.loads(listing.path.read_text())] == [0, 0.1, 0.2, 0.3, 0.4]
    capture = cv2.VideoCapture(str(saver.path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    said = "".join(capsys.readouterr())
    assert "out.mkv" in said
    assert "out.json" in said


def test_one_result_that_cannot_be_closed_does_not_cost_the_other(tmp_path, monkeypatch, capsys):
    saver, listing = VideoFile(tmp_path / "out.mkv", 10), DetectionsFile(tmp_path / "out.json", ("a",))

    def fail(_):
        raise UserError("the disk is full")

    monkeypatch.setattr(saver, "close", fail)
    run = Run(model(0, None), Frames("camera 0", None, 10, True), 0.4, False, saver, listing, None)
    with pytest.raises(UserError, match="the disk is full"):
        run.to_the_end(Ending())
    assert len(json.loads(listing.path.read_text())) == 10
    said = capsys.readouterr().out
    assert "10 frames" in said
    assert "out.json" in said
    assert "out.mkv" not in said
