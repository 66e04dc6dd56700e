"""`nanogfl explain` and `detect --spread` as a user meets them; the models need neither torch nor onnx."""

import cv2
import numpy as np
import pytest

from tests.commands import ROOT, nanogfl, refused

MODEL = ROOT / "tests" / "golden" / "blank_distributions.onnx"
PLAIN = ROOT / "tests" / "golden" / "blank_detections.onnx"


def write(path, frame):
    path.write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    return path


@pytest.fixture
def photo(tmp_path):
    """Twice the input in both directions; cell 1 has blue 1 and green .2, cell 5 has red .8."""
    frame = np.zeros((128, 192, 3), np.uint8)
    frame[:64, 64:128] = (255, 51, 0)
    frame[64:, 128:] = (0, 0, 204)
    return write(tmp_path / "photo.png", frame)


def test_it_writes_a_picture_and_a_table_of_sides(tmp_path, photo):
    done = nanogfl(tmp_path, "explain", MODEL, photo)
    assert (done.returncode, done.stderr) == (0, "")
    heading, blue, red, last = done.stdout.splitlines()
    assert " ".join(heading.split()) == "# class score left (px) top (px) right (px) bottom (px)"
    # right: bin 3 with probability .2, else bin 1; 8 pixels a bin, twice that in the photo: 1.4 bins and .8 bins
    assert " ".join(blue.split()) == "1 blue 1.000 64.0 ± 0.0 0.0 ± 0.0 102.4 ± 12.8 64.0 ± 0.0"
    assert red.split()[:5] == ["2", "red", "0.800", "128.0", "±"]
    assert last == "2 detections of score 0.4 or more; saved photo_explained.png"
    picture = cv2.imread(str(tmp_path / "photo_explained.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 500


def test_only_the_best_are_shown_and_it_says_so(tmp_path, photo):
    done = nanogfl(tmp_path, "explain", MODEL, photo, "-o", "a.png", "--max-boxes", 1, "--threshold", 0.1)
    assert done.stdout.splitlines()[-1] == "3 detections of score 0.1 or more, the best 1 shown; saved a.png"
    assert len(done.stdout.splitlines()) == 3


def test_no_detections_are_said_and_the_picture_is_written(tmp_path):
    done = nanogfl(tmp_path, "explain", MODEL, write(tmp_path / "dark.png", np.zeros((64, 96, 3), np.uint8)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no detections of score 0.4 or more; saved dark_explained.png\n"
    assert (tmp_path / "dark_explained.png").exists()


def test_a_file_without_distributions_is_refused_before_the_image_is_read(tmp_path):
    line = refused(nanogfl(tmp_path, "explain", PLAIN, "nowhere.png"))
    assert line.endswith("blank_detections.onnx has no distributions: export it again with"
                         " `nanogfl export --distributions`")  # fmt: skip


def test_bad_arguments_are_one_line_and_leave_nothing(tmp_path, photo):
    before = sorted(tmp_path.iterdir())
    assert "image nowhere.png does not exist" in refused(nanogfl(tmp_path, "explain", MODEL, "nowhere.png"))
    assert "is not an image" in refused(nanogfl(tmp_path, "explain", MODEL, MODEL))
    assert "does not exist" in refused(nanogfl(tmp_path, "explain", "best.onnx", photo))
    assert "must be an image file" in refused(nanogfl(tmp_path, "explain", MODEL, photo, "-o", "a.pdf"))
    assert "would replace the image" in refused(nanogfl(tmp_path, "explain", MODEL, photo, "-o", photo))
    assert sorted(tmp_path.iterdir()) == before


def test_detect_draws_spread_where_it_is_asked_to(tmp_path, photo):
    for arguments in (("--save", "plain.png"), ("--save", "soft.png", "--spread")):
        done = nanogfl(tmp_path, "detect", PLAIN, photo, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    plain, soft = (cv2.imread(str(tmp_path / name)) for name in ("plain.png", "soft.png"))
    # the red box, 128 64 160 128: its right side's spread is 2.4 pixels of the input, 4.8 of the photo
    changed = (plain != soft).any(axis=2)
    assert changed[96, 161:169].all()
    assert not changed[:64, :50].any()


def test_spread_of_a_model_that_has_none_is_one_line(tmp_path, photo):
    content = PLAIN.read_bytes().replace(b'"has_spread": true,', b'"has_spread":false,')
    (tmp_path / "none.onnx").write_bytes(content)
    line = refused(nanogfl(tmp_path, "detect", "none.onnx", photo, "--spread", "--save", "a.png"))
    assert line == (
        "nanogfl: --spread needs the standard deviations of sides, none.onnx delivers none: leave --spread out, or take"
        " a model of model.head.box general+dfl or gaussian"
    )
    assert not (tmp_path / "a.png").exists()
    assert nanogfl(tmp_path, "detect", "none.onnx", photo, "--save", "a.png").returncode == 0


def test_info_says_whether_a_file_delivers_distributions(tmp_path):
    with_them, without = nanogfl(tmp_path, "info", MODEL), nanogfl(tmp_path, "info", PLAIN)
    assert "of each side, bins 0 to 3: `nanogfl explain` draws them" in with_them.stdout
    assert "probability of each bin, sides left, top, right, bottom" in with_them.stdout
    assert "not delivered: `nanogfl export --distributions` adds them" in without.stdout


@pytest.fixture
def checkpoints(tmp_path):
    """dirac.pt and gaussian.pt, untrained."""
    pytest.importorskip("torch", reason="a checkpoint is read by torch")
    from nanogfl.config import BackboneConfig, Config, HeadConfig, ModelConfig, NeckConfig
    from nanogfl.contract.input_spec import InputSpec
    from nanogfl.model.checkpoint import Checkpoint, save_checkpoint
    from nanogfl.model.detector import build_detector

    for name, head in (("dirac", HeadConfig(1, box="dirac")), ("gaussian", HeadConfig(1, box="gaussian"))):
        backbone, neck = BackboneConfig("0.5x"), NeckConfig(channels=8)
        config = Config(ModelConfig(InputSpec((64, 96)), backbone=backbone, neck=neck, head=head))
        weights = build_detector(config.model, 1).state_dict()
        save_checkpoint(tmp_path / f"{name}.pt", Checkpoint(config, ("thing",), (1,), weights))


@pytest.mark.usefixtures("checkpoints")
def test_a_checkpoint_without_spread_or_distributions_says_so_in_one_line(tmp_path, photo):
    before = sorted(tmp_path.iterdir())
    line = refused(nanogfl(tmp_path, "detect", "dirac.pt", photo, "--spread", "--save", "a.png"))
    assert "dirac.pt delivers none: leave --spread out" in line
    line = refused(nanogfl(tmp_path, "explain", "dirac.pt", photo))
    assert "the model's boxes have no distributions (model.head.box dirac): expected one trained with" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("checkpoints")
def test_a_gaussian_checkpoint_draws_its_spread(tmp_path, photo):
    arguments = ("--spread", "--threshold", "0.001", "--save", "a.png")
    done = nanogfl(tmp_path, "detect", "gaussian.pt", photo, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.png").exists()
