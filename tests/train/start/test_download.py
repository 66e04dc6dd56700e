"""Downloading against a server of our own: whole, broken off, wrong, missing, refused, slow, and never twice."""

import hashlib
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nanogfl.errors import UserError
from nanogfl.train.start import download
from nanogfl.train.start.download import cached_as, fetch

BODY = bytes(range(256)) * 1000
SHA = hashlib.sha256(BODY).hexdigest()
KEY = "model.backbone.weights"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["User-Agent"]))
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/w.pth")
            self.end_headers()
            return
        if self.path.startswith("/drip-head"):
            while not self.server.stop_waiting.wait(0.05):
                self.wfile.write(b"H")
            return
        self.send_response(200)
        if self.path.startswith("/drip"):
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            while not self.server.stop_waiting.wait(0.05):
                self.wfile.write(b"x")
            return
        if self.path.startswith("/portal"):
            self.end_headers()
            self.wfile.write(b"\n<!DOCTYPE html><title>Log in</title>")
            return
        if not self.path.startswith("/unsized"):
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.path.startswith("/slow"):
            self.wfile.write(BODY[:1000])
            self.server.stop_waiting.wait(5)
            return
        self.wfile.write(BODY[:100_000] if self.path.startswith("/truncated") else BODY)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.stop_waiting = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stop_waiting.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def refused(source: str, sha256: str | None = None) -> str:
    with pytest.raises(UserError) as raised:
        fetch(KEY, source, sha256)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_download_is_the_whole_file_under_a_name_with_its_hash(server, cache):
    fetched = fetch(KEY, f"{server.url}/w.pth", SHA)
    assert fetched.path == cache / f"w-{SHA[:10]}.pth"
    assert fetched.path.read_bytes() == BODY
    assert files(cache) == [fetched.path.name]  # no temporary file
    assert "downloaded from http://127" in fetched.how
    assert server.asked == [("/w.pth", "nanogfl")]


@pytest.mark.parametrize("name", ["w.pth", f"w-{SHA[:8]}.pth", f"w-{SHA[:10]}.pth", "unsized.pth", "moved.pth?v=2"])
@pytest.mark.parametrize("sha256", [None, SHA])
def test_what_is_in_the_cache_is_not_downloaded_again(server, cache, name, sha256):
    first = fetch(KEY, f"{server.url}/{name}", sha256)
    asked = len(server.asked)
    assert asked == (2 if name.startswith("moved") else 1)
    again = fetch(KEY, f"{server.url}/{name}", sha256)
    assert again.path == first.path
    assert again.path.read_bytes() == BODY
    assert "downloaded before" in again.how
    assert len(server.asked) == asked
    assert files(cache) == [first.path.name]


def test_two_urls_of_one_name_are_two_files(server, cache):
    assert fetch(KEY, f"{server.url}/a/w.pth", None).path != fetch(KEY, f"{server.url}/b/w.pth", None).path
    assert len(files(cache)) == 2


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache):
    path = fetch(KEY, f"{server.url}/w.pth", SHA).path
    path.write_bytes(BODY[:-1])
    assert fetch(KEY, f"{server.url}/w.pth", SHA).path.read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_file_put_into_the_cache_by_hand_needs_no_network(server, cache):
    target = refused(f"{server.url}/missing-{SHA[:8]}.pth").split("put the file at ")[1].split(" by hand")[0]
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(BODY)
    server.asked.clear()
    assert fetch(KEY, f"{server.url}/missing-{SHA[:8]}.pth", None).path == Path(target)
    assert server.asked == []


def test_a_body_that_breaks_off_leaves_nothing(server, cache):
    message = refused(f"{server.url}/truncated.pth")
    assert "100,000 of 256,000 bytes" in message
    assert "by hand" in message
    assert files(cache) == []


@pytest.mark.parametrize(("name", "sha256"), [("w.pth", "0" * 64), ("w-00000000.pth", None), ("w-0123456789.pth", SHA)])
def test_a_wrong_hash_leaves_nothing_and_a_given_hash_goes_before_the_names(server, cache, name, sha256):
    if sha256 == SHA:  # such as weights-20240131.pth, which is a date
        assert fetch(KEY, f"{server.url}/{name}", sha256).path.read_bytes() == BODY
        return
    message = refused(f"{server.url}/{name}", sha256)
    assert f"has sha256 {SHA}, expected 0000" in message
    assert str(cache) in message
    assert files(cache) == []


def test_a_failed_download_leaves_the_file_that_was_there(server, cache):
    path = fetch(KEY, f"{server.url}/w.pth", SHA).path
    path.rename(cached_as(f"{server.url}/truncated.pth", SHA)[0])
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    refused(f"{server.url}/truncated.pth", SHA)
    assert kept.read_bytes() == b"damaged"


def test_a_missing_file_and_a_refused_connection_say_where_to_put_the_file_by_hand(server, cache):
    message = refused(f"{server.url}/missing.pth")
    assert "HTTP 404" in message
    assert f"put the file at {cache}/missing-" in message
    server.socket.close()
    with HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    message = refused(f"http://127.0.0.1:{port}/w.pth")
    assert "Connection refused" in message
    assert f"put the file at {cache}/w-" in message
    assert files(cache) == []


def test_a_server_that_falls_silent_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    assert "timed out" in refused(f"{server.url}/slow.pth")
    assert files(cache) == []


@pytest.mark.parametrize("name", ["drip.pth", "drip-head.pth"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(server, cache, monkeypatch, name):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.4)
    began = time.monotonic()
    message = refused(f"{server.url}/{name}")
    assert "slowly" in message or "timed out" in message
    assert "by hand" in message
    assert time.monotonic() - began < 5
    assert files(cache) == []
    server.stop_waiting.set()


def test_a_page_of_a_network_is_not_kept_and_the_file_itself_is_taken_afterwards(server, cache):
    assert "web page" in refused(f"{server.url}/portal.pth")
    assert files(cache) == []


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_file_url_of_no_file_is_not_waited_for(tmp_path, cache, kind):
    path = tmp_path / "own.pth"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert str(path) in refused(path.as_uri())
    assert files(cache) == []


@pytest.mark.parametrize("url", ["http://", "http:///w.pth", "http://[::1", "http://no space.invalid/w.pth"])
def test_a_url_that_is_none_is_one_sentence(url):
    refused(url)


def test_a_file_url_is_copied_and_a_path_is_used_as_it_is(tmp_path, cache):
    path = tmp_path / "own.pth"
    path.write_bytes(BODY)
    assert fetch(KEY, path.as_uri(), None).path.parent == cache
    assert fetch(KEY, str(path), None).path == path
    assert fetch(KEY, str(path), SHA).path == path
    assert f"has sha256 {SHA}, expected 000" in refused(str(path), "0" * 64)
    assert "own2.pth does not exist" in refused(str(tmp_path / "own2.pth"))
    assert "by hand" in refused((tmp_path / "own2.pth").as_uri())
    assert "does not exist: expected a file, or an http" in refused("ftp://host/own.pth")


def test_a_cache_that_cannot_be_written_is_one_sentence(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "file"))
    assert "cannot be written" in refused(f"{server.url}/w.pth")


def test_a_server_that_sends_without_an_end_is_stopped_and_nothing_kept(server, monkeypatch, cache):
    monkeypatch.setattr(download, "_MOST_BYTES", len(BODY) - 1)
    with pytest.raises(UserError, match=r"has more than 255,999 bytes, which no file of weights has: nothing was kept"):
        fetch(KEY, f"{server.url}/unsized.pth", None)
    target, _ = cached_as(f"{server.url}/unsized.pth", None)
    assert not list(target.parent.glob("*"))
