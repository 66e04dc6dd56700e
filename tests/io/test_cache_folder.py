import os
from pathlib import Path

import pytest

from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder, expand_user


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "own"))
    assert cache_folder("weights") == tmp_path / "own" / "weights"
    monkeypatch.delenv("NANOGFL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("weights") == tmp_path / "xdg" / "nanogfl" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("frames") == tmp_path / ".cache" / "nanogfl" / "frames"


@pytest.fixture
def homeless(monkeypatch):
    """As under `docker run --user 12345`: no HOME, and nobody of this number in passwd."""

    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("NANOGFL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(Path, "home", classmethod(no_home))


def test_a_user_without_a_home_is_told_what_to_set(homeless, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"NANOGFL_CACHE.* or else"):
        cache_folder("frames", " or else")
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path))
    assert cache_folder("frames") == tmp_path / "frames"


def test_an_unknown_home_is_named(homeless):
    for path in ("~/x", "~nobody77/x"):
        with pytest.raises(UserError, match=f"data.cache_dir {path} cannot be found"):
            expand_user(path, "data.cache_dir")
    assert expand_user("a/x", "data.cache_dir") == Path("a/x")
