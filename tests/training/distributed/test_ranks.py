"""Two processes that train as one: the same pictures, the same gradient, one state, and none waits for ever."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml

from nanogfl.config import LossConfig
from nanogfl.data.loader import Loader
from nanogfl.errors import UserError
from nanogfl.model.checkpoint import load_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.training.datasets import load_data
from nanogfl.training.distributed import launch
from nanogfl.training.distributed.launch import Place, run_ranks
from nanogfl.training.distributed.meeting import joined
from nanogfl.training.distributed.ranks import Ranks
from nanogfl.training.step import share_statistics
from tests.thinned import thinned
from tests.training.distributed import rank_checks
from tests.training.test_loop import fingerprint

ROOT, HERE = Path(__file__).parents[3], Path(__file__).parent
CPU = torch.device("cpu")

pytestmark = pytest.mark.slow  # every start is two processes with torch


@pytest.fixture(scope="module", autouse=True)
def _environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / folder) for folder in (".", "export", "deploy")))
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def both(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What rank_checks.py found in rank 0 and in rank 1."""
    out = tmp_path_factory.mktemp("ranks")
    assert run_ranks([sys.executable, str(HERE / "rank_checks.py"), str(shapes), str(out)], 2) == 0
    return [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def joint(shapes: Path):
    """(config, data, the batch of 4) of one process."""
    config = rank_checks.make_config(shapes)
    data = load_data(config)
    return config, data, Loader(data.train, config, data.train_frames).batch(0, 0)


def test_two_processes_see_the_pictures_of_one(both, joint):
    config, data, _ = joint
    alone = rank_checks.pictures(config, data, Ranks())
    assert len(alone) == 4  # 2 epochs of 9 images by 4
    for number, batch in enumerate(alone):
        images, colour, boxes = ([rank["pictures"][number][part] for rank in both] for part in range(3))
        assert torch.equal(torch.cat(images), batch.images)
        assert torch.equal(torch.cat(colour), batch.colour)
        assert torch.equal(torch.cat(boxes), batch.truth.boxes)
        assert len(images[0]) == len(images[1]) == 2


@pytest.mark.parametrize("case", rank_checks.CASES)
def test_the_gradient_is_that_of_the_joint_batch(both, joint, case):
    config, _, batch = joint
    batch = rank_checks.without_objects(batch, 2) if case == "no objects in rank 1" else batch
    alone, (first, second) = rank_checks.learn(case, config, batch), (rank[case] for rank in both)
    largest = max(gradient.abs().max() for gradient in alone["gradients"])
    assert len(first["gradients"]) == len(alone["gradients"]) > 50
    assert largest > 1e-3
    for found, expected in zip(first["gradients"], alone["gradients"], strict=True):
        assert (found - expected).abs().max() < 1e-6 * largest
    for name in ("gradients", "weights"):
        assert all(torch.equal(a, b) for a, b in zip(first[name], second[name], strict=True))
    assert first["read"] == second["read"]
    assert first["read"][0] == pytest.approx(alone["read"][0], rel=1e-5)
    if alone["account"] is not None:
        torch.testing.assert_close(first["account"], alone["account"], rtol=1e-6, atol=0)
        assert torch.equal(first["account"], second["account"])


def test_batch_norms_keep_the_mean_of_what_the_processes_saw(both, joint):
    config, _, batch = joint
    for ours, theirs in zip(both[0]["trained"], both[1]["trained"], strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    apart = []
    for half in (slice(0, 2), slice(2, 4)):
        step = rank_checks.make_step(config)
        step.detector.train()
        step.forward(batch.images[half], batch.colour[half], False)
        apart.append(step.detector.state_dict())
    names = [name for name in apart[0] if name.endswith(("running_mean", "running_var"))]
    assert len(names) > 50
    assert any((apart[0][name] - apart[1][name]).abs().max() > 0.01 for name in names)
    for name in names:
        expected = (apart[0][name] + apart[1][name]) / 2
        torch.testing.assert_close(both[0]["trained"][0][name], expected, rtol=1e-6, atol=1e-7)


def test_both_plan_by_what_the_first_has_measured_and_neither_has_learned_from_it(both):
    (costs, unchanged), other = both[0]["costs"], both[1]["costs"]
    assert (costs, unchanged) == other
    assert unchanged
    assert all(seconds > 0 for seconds in costs)


def test_a_loss_that_is_no_number_in_one_process_stops_both(both):
    for rank in both:
        assert rank["bad"]["read"] == 1
        first, second, third = rank["bad"]["weights"]
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(first, third, strict=True))


def test_the_validation_is_shared_and_scored_in_the_images_order(both, joint, monkeypatch):
    config, data, _ = joint
    for name in ("BATCH", "score"):
        monkeypatch.setattr(rank_checks.validate_module, name, getattr(rank_checks.validate_module, name))
    alone, _ = rank_checks.detect_all(config, data, Ranks())
    assert len(both[0]["detections"]) == len(alone) == 3
    assert both[1]["detections"] == []  # rank 0 scores
    assert both[0]["report"] == both[1]["report"] == (0.5, 3)
    for found, expected in zip(both[0]["detections"], alone, strict=True):
        assert len(found[0]) > 0
        assert all((ours == theirs).all() for ours, theirs in zip(found, expected, strict=True))


def test_rank_0_alone_writes_what_all_know(both):
    assert both[0]["ended"] == (["best.pt", "last.pt", "log.jsonl"], 0.5, 1)
    assert both[1]["ended"] == ([], 0.5, 1)


def test_a_signal_to_one_process_is_agreed_on(both):
    for rank in both:
        assert rank["signal"] == ["", True, "stopped", signal.SIGTERM]


def test_what_processes_tell_each_other(both):
    assert both[0]["told"] == [["rank 0", "rank 1"], 0, [0, 1], [1, 0]]
    assert both[1]["told"] == [["rank 0", "rank 1"], 0, [], [1, 0]]
    for rank in both:
        assert rank["other"] == "rank 1 has another data set than rank 0: give every machine the same files"


def test_who_does_not_come_is_named_in_time(both):
    assert re.match(
        r"rank 0 of 2 waited in vain, at most 0\.01 minutes: rank 1 did not come to: the test \(.*\); see what that"
        r" rank says, raise train\.timeout_minutes if it was only slow, and go on",
        both[0]["vain"],
    )
    assert "\n" not in both[0]["vain"]


# Whole runs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 epochs of 4 batches of 2, updates after every two."""
    config = rank_checks.make_config(shapes)
    train = replace(config.train, batch_size=2, accumulate=2, eval_every=1, threads=1, timeout_minutes=1.0)
    path = tmp_path_factory.mktemp("recipe") / "c.yaml"
    config = replace(config, train=train, loss=LossConfig(classification="eqfl"))
    path.write_text(yaml.safe_dump(config.to_dict()))
    return path


def nanogfl(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def descendants(process: int) -> list[int]:
    """Processes that this one started, theirs as well."""
    children = Path(f"/proc/{process}/task/{process}/children")
    try:
        own = [int(word) for word in children.read_text().split()]
    except OSError:
        return []
    return [*own, *(each for child in own for each in descendants(child))]


def listening(process: int) -> set[str]:
    """The addresses that it waits for connections on, as the kernel writes them: 0100007F is 127.0.0.1."""
    found = set()
    try:
        links = [os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()]
        tables = [Path(f"/proc/{process}/net/{kind}").read_text() for kind in ("tcp", "tcp6")]
    except OSError:  # it has ended
        return set()
    for words in (line.split() for table in tables for line in table.splitlines()):
        if words[3] == "0A" and f"socket:[{words[9]}]" in links:
            found.add(words[1].partition(":")[0])
    return found


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, set[str]]:
    """The run folder of a run of two processes, what they said, and the addresses that they listened on."""
    run = tmp_path_factory.mktemp("whole") / "run"
    command = [sys.executable, "-m", "nanogfl", "train", str(recipe), "--run-dir", str(run), "--devices", "2"]
    addresses: set[str] = set()
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as started:
        while started.poll() is None:
            addresses.update(*(listening(each) for each in [started.pid, *descendants(started.pid)]))
            time.sleep(0.05)
        out, err = started.communicate()
    assert started.returncode == 0, err
    return run, out, addresses


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux' /proc")
def test_processes_of_one_machine_listen_on_the_loopback_interface_only(whole):
    assert whole[2] == {"0100007F"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux' /proc")
def test_processes_whose_launcher_is_killed_save_and_end(recipe, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "nanogfl", "train", str(recipe), "--run-dir", str(run), "--devices", "2"]
    with subprocess.Popen([*command, "--set", "train.epochs=5000"], stdout=-1, text=True) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            if line.startswith("epoch 2/"):
                break
        ranks = descendants(launcher.pid)
        launcher.kill()
    assert len(ranks) == 2
    until = time.monotonic() + 60
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < until
        time.sleep(0.1)
    log = load_checkpoint(run / "last.pt").training["log"]
    assert len(log) >= 2
    assert not (run / "train.lock").exists()


def on_two_machines(*arguments: list[object]) -> list[tuple[int, str]]:
    """The exit code and the stderr of two trainings that meet as torchrun's processes do, each with its arguments."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "nanogfl", "train", *map(str, own)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        )
        for rank, own in enumerate(arguments)
    ]
    return [(process.returncode, err) for process in processes for _, err in [process.communicate(timeout=120)]]


def test_settings_that_differ_between_machines_are_named_by_both(recipe, tmp_path):
    run = tmp_path / "run"
    other = ["--set", "train.lr=.125", "--set", "train.seed=5", "--set", "train.epochs=3", "--set", "data.workers=1"]
    ended = on_two_machines([recipe, "--run-dir", run], [recipe, "--run-dir", run, *other])
    assert {code for code, _ in ended} == {2}
    lines = [err.splitlines()[-1] for _, err in ended]
    assert lines[0] == lines[1]
    for words in ("train.lr is 0.125 on rank 1 and 0.01 on rank 0", "train.seed is 5 on", "train.epochs is 3 on"):
        assert words in lines[0]
    assert "data.workers is" not in lines[0]
    assert not run.exists()


@pytest.mark.parametrize("cache", thinned(["memory", "off"], "memory"))
def test_other_pixels_under_the_same_names_are_seen_by_both(shapes, recipe, tmp_path, cache):
    shutil.copytree(shapes, tmp_path / "other")
    picture = tmp_path / "other/val/1.png"
    pixels = cv2.imread(str(picture))
    pixels[5, 7] ^= 1
    cv2.imwrite(str(picture), pixels)
    run, how = tmp_path / "run", ["--set", f"data.cache='{cache}'"]
    ended = on_two_machines(
        [recipe, "--run-dir", run, *how], [recipe, "--run-dir", run, *how, "--set", f"data.root={tmp_path / 'other'}"]
    )
    assert {code for code, _ in ended} == {2}
    for _, err in ended:
        assert "rank 1 has another picture" in err.splitlines()[-1]
    assert not run.exists()


def test_two_processes_write_one_run_and_speak_with_one_voice(whole):
    run, said, _ = whole
    pictures = {"curves.png", "gamma.png", "validation.png"}
    states = {"best.pt", "last.pt", "previous.pt", "config.yaml", "log.jsonl"}
    assert {path.name for path in run.iterdir()} == pictures | states
    checkpoint = load_checkpoint(run / "last.pt")
    assert [entry["epoch"] for entry in checkpoint.training["log"]] == [1, 2]
    assert all(entry["ap"] is not None for entry in checkpoint.training["log"])
    assert len((run / "log.jsonl").read_text().splitlines()) == 2
    assert said.count("processes: 2, each with 1 of 2 images") == 1
    assert said.count("epoch 2/2") == said.count("best AP") == 1


def test_a_signal_to_one_rank_stops_both_and_torchrun_goes_on_to_the_same_end(recipe, whole, tmp_path, capfd):
    run = tmp_path / "run"
    start = [sys.executable, str(HERE / "rank_run.py"), "1:7:SIGTERM", "train", str(recipe), "--run-dir", str(run)]
    assert run_ranks(start, 2) == 143
    said = capfd.readouterr()
    assert said.err.count("stopped") == 1
    assert "stopped in epoch 2 of 2, after batch 4 of 4" in said.err or "stopped after epoch" in said.err
    assert load_checkpoint(run / "last.pt").training["epoch"] == 1
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "nanogfl")
    done = nanogfl(*torchrun, "train", recipe, "--run-dir", run, "--resume")
    assert done.returncode == 0, done.stderr
    for line in ("resuming in epoch 2", "epoch 2/2", "best AP", "next: nanogfl export"):
        assert done.stdout.count(line) == 1  # torchrun shows what every rank says
    assert fingerprint(run) == fingerprint(whole[0])


def test_torchrun_restarts_a_killed_rank_and_the_run_ends_as_one_that_was_left_alone(recipe, whole, tmp_path):
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "--max-restarts", 1)
    script = HERE.parent / "checkpointing/restarted_run.py"
    done = nanogfl(*torchrun, script, recipe, tmp_path / "run", 3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming after epoch 1" in done.stdout
    assert fingerprint(tmp_path / "run") == fingerprint(whole[0])


def test_a_rank_that_is_killed_ends_the_run_with_its_name(recipe, tmp_path, capfd):
    run = tmp_path / "run"
    start = [sys.executable, str(HERE / "rank_run.py"), "1:3:SIGKILL", "train", str(recipe), "--run-dir", str(run)]
    with pytest.raises(UserError, match=r"^rank 1 of 2 was ended by SIGKILL, and the other ranks were ended: mend"):
        run_ranks(start, 2)
    said = capfd.readouterr().err
    assert "nanogfl: rank 0 of 2 waited in vain, at most 1 minutes: another rank ended or stood still" in said
    assert "Traceback" not in said
    assert not (run / "train.lock").exists()


@pytest.mark.exhaustive  # it waits; test_who_does_not_come_is_named_in_time has the same limit
def test_a_rank_that_stands_still_is_not_waited_for_for_ever(recipe, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(launch, "GRACE_S", 0.5)
    start = [sys.executable, str(HERE / "rank_run.py"), "1:3:SIGSTOP", "train", str(recipe)]
    where = ["--run-dir", str(tmp_path / "run"), "--set", "train.timeout_minutes=0.1"]
    assert run_ranks([*start, *where], 2) == 2
    said = capfd.readouterr().err
    assert "nanogfl: rank 0 of 2 waited in vain, at most 0.1 minutes: rank 1 ended or stood still" in said
    assert "Traceback" not in said


# In one process ------------------------------------------------------------------------------------------------


def test_a_batch_without_equal_shares_is_refused(joint):
    config, data, _ = joint
    with pytest.raises(
        UserError, match=r"^3 processes cannot share batches of 4 images equally: set train.batch_size to"
    ):
        Loader(data.train, config, data.train_frames, rank=0, world=3)
    few = replace(config, train=replace(config.train, batch_size=100))
    with pytest.raises(UserError, match="batches of 9 images, as many as the training set has, equally"):
        Loader(data.train, few, data.train_frames, rank=0, world=2)
    assert Loader(data.train, few, data.train_frames, rank=2, world=3).batch(0, 0).images.shape[0] == 3


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("mps", "train.device mps cannot be shared by 4 processes"),
        ("cuda:1", "train.device cuda:1 cannot be shared by 4 processes"),
        ("cuda", "rank 3 is process 2 of this machine, which has 1 GPUs: start at most 1 a"),
    ],
)
def test_a_device_that_the_processes_cannot_have_is_refused(device, sentence, monkeypatch):
    place = {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
    for key, value in place.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=f"^{sentence}"), joined(torch.device(device), 1):
        pass


def test_batch_norms_on_gpus_see_the_whole_batch_unless_told_otherwise(joint):
    config, _, _ = joint
    apart = replace(config, train=replace(config.train, sync_batch_norm=False))
    gpus, cpus = Ranks(torch.device("cuda"), Place(1, 2, 1)), Ranks(CPU, Place(1, 2, 1))
    for unchanged in ((config, cpus), (apart, gpus), (config, Ranks(torch.device("cuda")))):
        detector = build_detector(config.model, 2)
        assert share_statistics(detector, *unchanged) is detector
    detector = build_detector(config.model, 2)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    picture = torch.randint(0, 256, (1, *config.model.input.hw, 3), dtype=torch.uint8)
    expected = detector.eval()(picture)
    shared = share_statistics(detector, config, gpus)
    norms = [module for module in shared.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 30
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    assert shared.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())
    assert torch.equal(shared.eval()(picture).cls_logits, expected.cls_logits)
    assert gpus.lines(config) == ["processes: 2, each with 2 of 4 images; batch norms see all together"]
    assert Ranks().lines(config) == []
