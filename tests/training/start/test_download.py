"""Downloads from a server of our own: whole, cut short, wrong, missing, refused, slow, and never twice."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nanogfl.errors import UserError
from nanogfl.training.start import download
from nanogfl.training.start.download import cached_as, fetch

BODY = bytes(range(256)) * 1000
SHA = hashlib.sha256(BODY).hexdigest()
KEY = "model.backbone.weights"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["User-Agent"]))
        name = self.path.rpartition("/")[2]
        if name.startswith("missing"):
            self.send_error(404)
            return
        if name.startswith("moved"):
            self.send_response(302)
            self.send_header("Location", "/w.pth")
            self.end_headers()
            return
        self.send_response(200)
        if not name.startswith(("unsized", "portal")):
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if name.startswith("portal"):
            self.wfile.write(b"\n<!DOCTYPE html><title>Log in</title>")
        elif name.startswith("slow"):
            self.wfile.write(BODY[:5000])
            self.server.stop_waiting.wait(5)
        elif name.startswith("drip"):
            while not self.server.stop_waiting.wait(0.02):
                self.wfile.write(BODY[:1024])
        else:
            self.wfile.write(BODY[:100_000] if name.startswith("truncated") else BODY)

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
    monkeypatch.setattr(download, "PAUSE_S", 0)
    return tmp_path / "cache" / "weights"


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def refused(source: str, sha256: str | None = None) -> str:
    with pytest.raises(UserError) as raised:
        fetch(KEY, source, sha256)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_download_is_the_whole_file_under_a_name_with_its_hash(server, cache, capfd):
    fetched = fetch(KEY, f"{server.url}/w.pth", SHA)
    assert fetched.path == cache / f"w-{SHA[:10]}.pth"
    assert fetched.path.read_bytes() == BODY
    assert files(cache) == [fetched.path.name]  # no temporary file
    assert "downloaded from http://127" in fetched.how
    assert server.asked == [("/w.pth", "nanogfl")]
    assert capfd.readouterr().err == ""  # pooch says nothing of its own


@pytest.mark.parametrize("name", ["w.pth", f"w-{SHA[:8]}.pth", "unsized.pth", "moved.pth?v=2"])
@pytest.mark.parametrize("sha256", [None, SHA])
def test_a_file_in_the_cache_is_not_downloaded_again(server, cache, name, sha256):
    first = fetch(KEY, f"{server.url}/{name}", sha256)
    asked = len(server.asked)
    again = fetch(KEY, f"{server.url}/{name}", sha256)
    assert again.path == first.path
    assert again.path.read_bytes() == BODY
    assert "downloaded before" in again.how
    assert len(server.asked) == asked == (2 if name.startswith("moved") else 1)
    assert files(cache) == [first.path.name]


def test_two_urls_of_one_name_are_two_files(server, cache):
    assert fetch(KEY, f"{server.url}/a/w.pth", None).path != fetch(KEY, f"{server.url}/b/w.pth", None).path


@pytest.mark.parametrize(("name", "sha256"), [("w.pth", SHA), (f"w-{SHA[:8]}.pth", None)])
def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache, name, sha256):
    path = fetch(KEY, f"{server.url}/{name}", sha256).path
    path.write_bytes(BODY[:-1])
    assert fetch(KEY, f"{server.url}/{name}", sha256).path.read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_file_put_into_the_cache_by_hand_needs_no_network(server, cache):
    url = f"{server.url}/missing-{SHA[:8]}.pth"
    target = cached_as(url, None)[0]
    assert f"put the file at {target} by hand" in refused(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(BODY)
    server.asked.clear()
    assert fetch(KEY, url, None).path == target
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "sha256", "words"),
    [
        ("truncated.pth", None, "156000 more expected"),
        ("missing.pth", None, "HTTP 404"),
        ("portal.pth", None, "web page"),
        ("w.pth", "0" * 64, f"has sha256 {SHA}, expected 0000"),
        ("w-00000000.pth", None, f"has sha256 {SHA}, expected 0000"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_where_to_put_the_file(server, cache, name, sha256, words):
    message = refused(f"{server.url}/{name}", sha256)
    assert words in message
    assert str(cache) in message
    assert files(cache) == []


def test_a_given_hash_goes_before_one_in_the_name(server):
    """weights-20240131.pth has a date in its name."""
    assert fetch(KEY, f"{server.url}/w-20240131.pth", SHA).path.read_bytes() == BODY


def test_a_refused_connection_and_an_unknown_host_are_one_sentence(server, cache):
    with HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    assert "(Connection refused)" in refused(f"http://127.0.0.1:{port}/w.pth")
    assert "cannot be downloaded" in refused("http://no-such-host.invalid/w.pth")
    assert files(cache) == []


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    assert fetch(KEY, "http://no-such-host.invalid/w.pth", SHA).path.read_bytes() == BODY
    assert server.asked[0][0] == "http://no-such-host.invalid/w.pth"


@pytest.mark.parametrize(("name", "words"), [("slow.pth", "timed out"), ("drip.pth", "slowly")])
def test_a_server_that_falls_silent_or_sends_too_slowly_is_given_up(server, cache, monkeypatch, name, words):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(download, "SLOWEST", 1e6 if name == "drip.pth" else 0)
    assert words in refused(f"{server.url}/{name}")
    assert files(cache) == []


def test_a_server_that_sends_without_end_is_stopped(server, monkeypatch, cache):
    monkeypatch.setattr(download, "_MOST_BYTES", 100_000)
    assert "more than 100,000 bytes" in refused(f"{server.url}/unsized.pth")
    assert files(cache) == []


@pytest.mark.parametrize("url", ["http://", "http:///w.pth", "http://[::1", "http://no space.invalid/w.pth"])
def test_a_url_that_is_none_is_one_sentence(url):
    refused(url)


def test_a_path_and_a_file_url_name_the_file_itself(tmp_path, cache):
    path = tmp_path / "own.pth"
    path.write_bytes(BODY)
    for source in (path.as_uri(), str(path)):
        assert fetch(KEY, source, None).path == fetch(KEY, source, SHA).path == path
        assert f"has sha256 {SHA}, expected 000" in refused(source, "0" * 64)
    os.mkfifo(tmp_path / "pipe")  # which would be waited for
    for missing in (tmp_path / "own2.pth", tmp_path, tmp_path / "pipe"):
        assert str(missing) in refused(missing.as_uri())
    assert "does not exist: expected a file, or an http" in refused("ftp://host/own.pth")
    assert files(cache) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "file"))
    assert "cannot be written" in refused(f"{server.url}/w.pth")
