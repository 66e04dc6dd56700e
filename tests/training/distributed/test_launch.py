"""Starting processes, watching them, ending them together: with bare Pythons in place of trainings."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nanogfl.cli.main import nanogfl
from nanogfl.errors import STOP_SIGNALS, UserError
from nanogfl.training.distributed import launch
from nanogfl.training.distributed.launch import MEETING_FILE, Place, count_processes, place_from_environment, run_ranks

ROOT = Path(__file__).parents[3]
FOREVER = "import time\nwhile True: time.sleep(0.1)"
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch, "GRACE_S", 0.3)


def of_rank(*codes: str) -> list[str]:
    """A command that runs the rank's own code."""
    return [sys.executable, "-c", f"import os, sys, signal\nexec({codes!r}[int(os.environ['RANK'])])"]


def test_every_process_is_told_its_place_and_the_same_meeting_point(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launch, "available_threads", lambda: 7)
    names = [*NAMES[:3], MEETING_FILE, "OMP_NUM_THREADS"]
    code = f"open(r'{tmp_path}/' + os.environ['RANK'], 'w').write(' '.join(os.environ[n] for n in {names}))"
    assert run_ranks(of_rank(code, code, code), 3) == 0
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [words[0] for words in told] == [words[2] for words in told] == ["0", "1", "2"]
    assert {(words[1], words[4]) for words in told} == {("3", "2")}
    (meeting,) = {words[3] for words in told}
    assert not Path(meeting).parent.exists()  # nothing is left of it


def test_only_rank_0_is_heard_where_all_goes_well(capfd):
    code = "print('said', os.environ['RANK']); print('warned', os.environ['RANK'], file=sys.stderr)"
    assert run_ranks(of_rank(code, code), 2) == 0
    heard = capfd.readouterr()
    assert (heard.out, heard.err) == ("said 0\n", "warned 0\n")


def test_the_sentence_of_another_rank_becomes_the_errors_and_the_rest_is_ended(capfd):
    with pytest.raises(UserError) as raised:
        run_ranks(of_rank(FOREVER, FOREVER, "print('nanogfl: no file x', file=sys.stderr); sys.exit(2)"), 3)
    assert str(raised.value) == (
        "rank 2 of 3 failed with exit code 2 (no file x), and the other ranks were ended: mend that, then go on from"
        " what was saved last with --resume"
    )
    assert capfd.readouterr().err == ""


def test_a_bug_in_another_rank_shows_its_traceback(capfd):
    with pytest.raises(UserError, match=r"^rank 1 of 2 failed with exit code 1, and"):
        run_ranks(of_rank(FOREVER, "raise IndexError('of rank 1')"), 2)
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert "IndexError: of rank 1" in said


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_whatever_the_others_say_of_it(rank, tmp_path):
    flag = f"r'{tmp_path / 'flag'}'"
    killed = f"open({flag}, 'w').close()\nos.kill(os.getpid(), signal.SIGKILL)"
    codes = [killed, f"import time\nwhile not os.path.exists({flag}): time.sleep(0.05)\nsys.exit(2)"]
    with pytest.raises(UserError, match=f"^rank {rank} of 2 was ended by SIGKILL, and the other ranks were ended"):
        run_ranks(of_rank(*(codes if rank == 0 else codes[::-1])), 2)


def test_what_rank_0_has_said_is_not_said_again(capfd):
    wrong = "print('nanogfl: no such key', file=sys.stderr); sys.exit(2)"
    assert run_ranks(of_rank(wrong, wrong), 2) == 2
    assert run_ranks(of_rank(wrong, FOREVER), 2) == 2
    assert capfd.readouterr().err == "nanogfl: no such key\n" * 2


def start_waiting_ranks(folder: Path) -> subprocess.Popen[bytes]:
    """A launcher with two ranks that write a file when they are told to end. Rank 0 takes longer to end than the grace
    that a failure would leave it. Both are ready."""
    code = (
        "import time\nfrom nanogfl.training.distributed.launch import end_with_launcher\n"
        "def end(*_):\n time.sleep(1.5 if os.environ['RANK'] == '0' else 0)\n"
        f" open(r'{folder}/' + os.environ['RANK'], 'w').close()\n sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\nsignal.signal(signal.SIGHUP, end)\nend_with_launcher()\n"
        f"open(r'{folder}/ready' + os.environ['RANK'], 'w').close()\n{FOREVER}"
    )
    start = "import sys\nfrom nanogfl.training.distributed import launch\nlaunch.GRACE_S = 0.3\n"
    start += f"sys.exit(launch.run_ranks({of_rank(code, code)!r}, 2))"
    process = subprocess.Popen([sys.executable, "-c", start], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not all((folder / f"ready{rank}").exists() for rank in range(2)):
        assert process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_goes_on_to_all_and_their_way_to_end_is_waited_for(tmp_path, number):
    process = start_waiting_ranks(tmp_path)
    process.send_signal(number)
    assert process.wait(60) == 143
    assert (tmp_path / "0").exists()
    assert (tmp_path / "1").exists()


def test_ranks_whose_launcher_is_killed_are_told_to_end(tmp_path):
    process = start_waiting_ranks(tmp_path)
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while not all((tmp_path / f"{rank}").exists() for rank in range(2)):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_launcher_that_ignores_hang_ups_stays_deaf_to_them(monkeypatch):
    """As under nohup."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    seen = []
    monkeypatch.setattr(signal, "signal", lambda *arguments: seen.append(arguments))
    run_ranks(of_rank("", ""), 2)
    assert seen == []


def test_a_signal_to_one_that_stops_all_in_order_is_no_failure(capfd):
    stopped = "print('nanogfl: stopped after epoch 1', file=sys.stderr); sys.exit(143)"
    assert run_ranks(of_rank(stopped, "sys.exit(143)"), 2) == 143
    assert capfd.readouterr().err == "nanogfl: stopped after epoch 1\n"


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    run_ranks(of_rank("", ""), 2)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_only_this_user_may_enter_the_folder_where_processes_meet(tmp_path):
    code = f"open(r'{tmp_path}/mode', 'w').write(oct(os.stat(os.path.dirname(os.environ[{MEETING_FILE!r}])).st_mode))"
    run_ranks(of_rank(code, ""), 2)
    assert (tmp_path / "mode").read_text().endswith("0700")


def test_the_place_comes_from_the_environment(monkeypatch):
    assert place_from_environment() is None
    for name, value in zip(NAMES, ("3", "4", "1", "host", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert place_from_environment() == Place(3, 4, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert place_from_environment() is None
    monkeypatch.setenv("WORLD_SIZE", "four")
    with pytest.raises(UserError, match="must be whole numbers"):
        place_from_environment()
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(UserError, match=r"has RANK but not WORLD_SIZE and MASTER_PORT: start"):
        place_from_environment()


def test_how_many_processes_are_asked_for(monkeypatch):
    assert count_processes("3", "cpu") == 3
    assert count_processes("auto", "cpu") == count_processes("auto", "cuda:1") == 1
    for wrong in ("0", "-1", "two", "1.5"):
        with pytest.raises(UserError, match=f"must be a number of processes or auto, got '{wrong}'"):
            count_processes(wrong, "cpu")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="which torchrun does already: leave it out"):
        count_processes("2", "cpu")


def test_the_command_is_passed_on_with_one_run_folder(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("train: {epochs: 2}\n")
    seen: list[object] = []
    monkeypatch.setattr(launch, "run_ranks", lambda *arguments: seen.append(arguments) or 7)
    monkeypatch.chdir(tmp_path)
    given = ["train", "c.yaml", "--set", "train.seed=3", "--device", "cpu", "--strict", "--init-from", "1e3"]
    result = CliRunner().invoke(nanogfl, [*given, "--devices", "2"])
    assert result.exit_code == 7
    keys = ["--set", "train.seed=3", "--set", "train.device=cpu", "--set", "data.strict=true"]
    again = ["train", "c.yaml", *keys, "--set", 'train.init_from="1e3"', "--run-dir", "runs/c"]
    assert seen == [([sys.executable, "-m", "nanogfl", *again], 2)]
