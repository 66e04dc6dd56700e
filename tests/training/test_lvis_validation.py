"""A federated validation set is scored as LVIS does, with 300 detections an image, by whoever scores it."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nanogfl.cli.evaluate import evaluate as eval_command
from nanogfl.config import Config, SplitConfig
from nanogfl.contract.detections import Detections, Selection
from nanogfl.data.cache.frames import open_frames
from nanogfl.data.readers.read import load_split as load_lvis
from nanogfl.evaluation.coco_ap import evaluate
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.predictor import Predictor, load_predictor
from nanogfl.training.datasets import load_data
from nanogfl.training.loop import train
from nanogfl.training.validate import validate
from tests.data.lvis_files import as_lvis

pytestmark = pytest.mark.slow  # all together longer than make check may take


@pytest.fixture
def predictor(tiny: Config) -> Predictor:
    """Untrained and without suppression: every point is a detection of each class."""
    torch.manual_seed(0)
    model = replace(tiny.model, selection=Selection(score=0.0, iou=1.0))
    detector = build_detector(model, 2)
    with torch.no_grad():
        for parameter in detector.head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return Predictor(detector, model, ("rectangle", "ellipse"))


@pytest.fixture
def beyond_a_hundred(predictor: Predictor, tmp_path: Path) -> Path:
    """An LVIS json with one picture, whose one object is the detector's own box number 120 or a later one."""
    frame = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), frame)
    found = predictor.keeping(300)(frame)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    rank = next(i for i in range(120, len(found)) if sides[i].min() > 4 and not _taken(found, i))
    x1, y1, x2, y2 = found.boxes[rank].tolist()
    image = {"id": 1, "coco_url": "http://example.org/x/1.png", "width": 96, "height": 64}
    category = (2, 7)[found.labels[rank]]
    box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
    content = {
        "images": [{**image, "neg_category_ids": [], "not_exhaustive_category_ids": [category]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": category, **box}],
        "categories": [
            {"id": 2, "name": "rectangle", "frequency": "r"},
            {"id": 7, "name": "ellipse", "frequency": "f"},
        ],
    }
    file = tmp_path / "lvis.json"
    file.write_text(json.dumps(content))
    return file


def _taken(found: Detections, rank: int) -> bool:
    """Whether one of the hundred best is so near that it would be right, too."""
    boxes = found.boxes[[*np.flatnonzero(found.labels[:100] == found.labels[rank]), rank]]
    low, high = np.maximum(boxes[:-1, :2], boxes[-1, :2]), np.minimum(boxes[:-1, 2:], boxes[-1, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return bool((shared / (areas[:-1] + areas[-1] - shared) > 0.45).any())


def test_a_predictor_can_keep_more_but_never_fewer(predictor: Predictor):
    frame = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    few, many = predictor(frame), predictor.keeping(300)(frame)
    assert len(few) == 100 < 200 < len(many)
    for name in ("boxes", "scores", "labels"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:100])
    assert predictor.keeping(7).config.selection == predictor.config.selection
    narrow = replace(predictor.config, selection=Selection(keep=20, candidates=50))
    wider = Predictor(predictor.detector, narrow, predictor.class_names).keeping(300)
    assert wider.config.selection == Selection(keep=300, candidates=300)


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_validation_counts_the_detections_beyond_the_hundredth(tiny, predictor, beyond_a_hundred, cache):
    data = load_lvis(beyond_a_hundred, beyond_a_hundred.parent)
    data, frames = open_frames(data, tiny.model.input, replace(tiny.data, cache=cache))
    assert validate(predictor, data, frames).ap == pytest.approx(1)
    assert validate(predictor, replace(data, federated=None), frames).ap == 0


def test_eval_of_a_checkpoint_does_so_too(tiny, predictor, beyond_a_hundred, tmp_path):
    file = tmp_path / "untrained.pt"
    config = replace(tiny, model=predictor.config)
    save_checkpoint(file, Checkpoint(config, predictor.class_names, (2, 7), predictor.detector.state_dict()))
    arguments = [file, "--data", beyond_a_hundred, "--images", tmp_path, "--json", tmp_path / "ap.json"]
    done = CliRunner().invoke(eval_command, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    figures = json.loads((tmp_path / "ap.json").read_text())
    assert figures["ap"] == pytest.approx(1)
    assert figures["federated"]["ap_frequent" if figures["classes"][1]["objects"] else "ap_rare"] == pytest.approx(1)
    assert "delivers at most" not in done.output
    assert "APr" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.0, 0.001])
def test_a_training_on_lvis_logs_the_groups_that_the_file_says(tiny, shapes, tmp_path, capsys, threshold):
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").write_text(json.dumps(as_lvis(shapes / f"{name}.json", name)))
    data = replace(
        tiny.data,
        root=str(tmp_path),
        train=SplitConfig("train.json", str(shapes)),
        val=SplitConfig("val.json", str(shapes / "val")),
        repeat_threshold=threshold,
    )
    config = replace(tiny, data=data, train=replace(tiny.train, epochs=2, eval_every=1))
    outcome = train(config, tmp_path / "run")
    shown = capsys.readouterr().out
    assert shown.count("APr") == 1
    assert "LVIS: a class is measured" in shown
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    rare, common, frequent = (group.ap for group in outcome.report.groups)
    assert (log[-1]["ap_rare"], log[-1]["ap_common"], log[-1]["ap_frequent"]) == (rare, common, frequent)
    assert (rare is None, common is None, frequent) == (False, False, None)  # two classes: r and c
    predictor = load_predictor(tmp_path / "run/last.pt").keeping(300)
    again = evaluate(predictor, load_data(load_checkpoint(tmp_path / "run/last.pt").config).val)
    assert replace(again, seconds=0) == replace(outcome.report, seconds=0)
