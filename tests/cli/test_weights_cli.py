"""The table of named weights, what the cache folder holds of it, and `nanogfl weights`, without torch."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nanogfl.cli.main import nanogfl
from nanogfl.errors import UserError
from nanogfl.training.start.kept import kept_files, remove_kept
from nanogfl.training.start.published import MIRROR, PUBLISHED, find_published, require_published

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    return tmp_path / "cache" / "weights"


def shown(capsys, *arguments: str) -> str:
    nanogfl.main(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


def test_the_table_has_every_name_once_with_an_address_and_a_recipe():
    names = [weights.name for weights in PUBLISHED]
    assert len(set(names)) == len(names) == len({weights.url for weights in PUBLISHED})
    for weights in PUBLISHED:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", weights.name), "a name is also a file's name"
        assert re.fullmatch(r"[\w.-]+", weights.file)
        assert weights.url.startswith("https://")
        assert weights.page.startswith("https://")
        assert (ROOT / weights.recipe).is_file()
        assert weights.digest is None or re.fullmatch("sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}", weights.digest)
        assert find_published(weights.name) is weights


def test_the_published_coco_checkpoint_is_the_one_of_the_authors_readme():
    assert require_published("nanodet-plus-m-416").address == (
        "https://github.com/RangiLyu/nanodet/releases/download/v1.0.0-alpha-1/nanodet-plus-m_416_checkpoint.ckpt"
    )


@pytest.mark.parametrize("mirror", ["http://mirror/nanodet", "http://mirror/nanodet/", "/mnt/nanodet"])
def test_a_mirror_has_the_files_under_their_own_names(monkeypatch, mirror):
    monkeypatch.setenv(MIRROR, mirror)
    assert require_published("nanodet-m").address == f"{mirror.rstrip('/')}/nanodet_m.ckpt"


@pytest.mark.parametrize("name", ["nanodet", "Nanodet_Plus_M_416", "../nanodet-m", "nanodet-m.pt", "", "x\0", "zzz"])
def test_another_name_is_no_weights_and_is_one_sentence(name):
    assert find_published(name) is None
    with pytest.raises(UserError, match="there are no weights called"):
        require_published(name)


def test_a_misspelt_name_is_answered_with_similar_ones():
    with pytest.raises(UserError, match="did you mean nanodet-plus-m-416"):
        require_published("Nanodet_Plus_M_416")


def test_only_our_own_files_of_the_cache_folder_are_listed_and_cleared(cache, capsys):
    ours = [cache / "nanodet-m.pt", cache / "shufflenetv2_x1-5666bf0f80.pth"]
    others = [cache / "mine.pt", cache / "nanodet-m.sha256", cache / "notes.txt"]
    for path in (*ours, *others):
        path.write_bytes(b"x" * 1_500_000)
    assert kept_files() == ours
    listed = shown(capsys, "weights")
    assert re.search(r"^nanodet-m +20\.6 +4\.0 MB +1\.5 MB", listed, re.M)
    assert "also here: shufflenetv2_x1-5666bf0f80.pth" in listed
    assert f"cache: {cache}, 3.0 MB" in listed
    assert "nothing to remove" in shown(capsys, "weights", "clear", "nanodet-m-416")
    assert "nanodet-m.pt" in shown(capsys, "weights", "clear", "nanodet-m")
    assert kept_files() == ours[1:]
    shown(capsys, "weights", "clear")
    assert kept_files() == []
    assert all(path.is_file() for path in others)


def test_an_empty_or_missing_cache_folder_is_listed_as_empty(cache, capsys):
    assert shown(capsys, "weights").endswith("empty\n")
    cache.rmdir()
    assert shown(capsys, "weights").endswith("empty\n")
    assert remove_kept(cache / "nanodet-m.pt") == 0


def test_clearing_what_is_no_name_removes_nothing(cache):
    (cache / "nanodet-m.pt").write_bytes(b"x")
    for name in ("nanodet-m.pt", "../weights/nanodet-m", str(cache / "nanodet-m")):
        with pytest.raises(UserError, match="there are no weights called"):
            nanogfl.main(["weights", "clear", "nanodet-m", name], standalone_mode=False)
    assert kept_files() == [cache / "nanodet-m.pt"]
    with pytest.raises(click.UsageError):
        nanogfl.main(["weights", "nanodet-m"], standalone_mode=False)


def test_listing_loads_no_torch():
    command = [sys.executable, "-X", "importtime", "-m", "nanogfl", "weights"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "nanodet-plus-m-416" in done.stdout
    assert not {"torch", "yaml", "pydantic", "numpy"} & set(re.findall(r"\| +(\w+)$", done.stderr, re.M))
