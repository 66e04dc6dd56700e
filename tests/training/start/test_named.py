"""Weights by name, from a server of our own: fetched once, checked, imported; and what auto takes."""

import hashlib
import io
import os
import pickle
import threading
from dataclasses import replace
from functools import cache as cached
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from nanogfl import fetch_weights
from nanogfl.ablate.run import Run
from nanogfl.config import BackboneConfig, Config, TrainConfig
from nanogfl.errors import UserError
from nanogfl.model.backbones.build import build_backbone
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.detector import build_detector
from nanogfl.model.nanodet.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from nanogfl.model.nanodet.weights import VARIANTS, model_config, read_nanodet
from nanogfl.recipe import load_recipe
from nanogfl.training.start import choose, download, published
from nanogfl.training.start.choose import best_at_hand
from nanogfl.training.start.named import get_named
from nanogfl.training.start.published import MIRROR, PUBLISHED, Published, require_published
from nanogfl.training.start.weights import read_start
from tests.nanodet_reference import random_tensors, shapes

NAME, OTHER = "nanodet-m-0.5x", "nanodet-m"
SMALL = next(variant for variant in VARIANTS if variant.name == NAME)
MODEL = model_config(SMALL, 7, (64, 96))  # another input than that of the published one


@cached
def nanodet(variant: str = NAME, classes: int = 80, seed: int = 0) -> bytes:
    """A file as NanoDet publishes them."""
    state = {f"model.{key}": value for key, value in random_tensors(shapes(variant, classes), seed).items()}
    buffer = io.BytesIO()
    torch.save({"epoch": 1, "state_dict": state}, buffer)
    return buffer.getvalue()


@pytest.fixture
def body() -> bytes:
    return nanodet()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.body` under every name, in the way that `server.manner` says."""

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((self.path, asked))
        body, first = server.body, len(server.asked) == 1
        if server.manner == "missing":
            self.send_error(404)
            return
        if server.manner == "redirects" and not self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere" + self.path)
            self.end_headers()
            return
        if server.manner == "loops":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
            return
        start = 0
        ranges = server.manner in ("cuts", "changes", "claims more")
        if ranges and asked and self.headers.get("If-Range", server.tag) == server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if asked and start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if ranges:
            self.send_header("ETag", server.tag)
        lie = {"claims more": 1000, "claims less": -1000}.get(server.manner, 0)
        self.send_header("Content-Length", str(len(body) - start + lie))
        self.end_headers()
        if first and server.manner == "changes":
            server.tag, server.body = '"v2"', server.next_body
        cut = server.manner in ("cuts", "changes", "cuts always") and (first or server.manner == "cuts always")
        self.wfile.write(body[start : len(body) // 2] if cut else body[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, body):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.manner, server.body, server.tag = [], "plain", body, '"v1"'
        monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", MIRROR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "PAUSE_S", 0)
    return tmp_path / "cache" / "weights"


def get(name: str = NAME, file: Path | None = None) -> tuple[Checkpoint, list[str]]:
    lines: list[str] = []
    return get_named(require_published(name), lines.append, file), lines


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.exists() else []


def refused(name: str = NAME, file: Path | None = None) -> str:
    with pytest.raises(UserError) as raised:
        get(name, file)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Fetching ------------------------------------------------------------------------------------------------------


def test_a_name_is_downloaded_once_imported_and_then_needs_no_network(server, cache, monkeypatch, tmp_path, body):
    checkpoint, lines = get()
    (tmp_path / "file.ckpt").write_bytes(body)
    expected = read_nanodet(tmp_path / "file.ckpt")
    assert all(torch.equal(checkpoint.weights[key], value) for key, value in expected.weights.items())
    assert (checkpoint.classes, checkpoint.category_ids) == (COCO_CLASSES, COCO_CATEGORY_IDS)
    sha256 = hashlib.sha256(body).hexdigest()
    assert checkpoint.facts["file_sha256"] == sha256
    assert (cache / f"{NAME}.sha256").read_text() == f"{sha256}  nanodet_m_0.5x.ckpt\n"
    assert any(sha256 in line and "none was published" in line for line in lines)
    assert kept(cache) == [f"{NAME}.pt", f"{NAME}.sha256"]  # the file itself is not needed any more

    monkeypatch.setenv(MIRROR, "http://no-such-host.invalid")
    again, lines = get()
    assert again.facts == checkpoint.facts
    assert lines == [f"{cache / NAME}.pt, fetched before"]
    assert [path for path, _ in server.asked] == ["/nanodet_m_0.5x.ckpt"]


def test_python_gets_the_path_of_a_checkpoint_and_hears_nothing(server, cache, capsys):
    assert fetch_weights(NAME) == cache / f"{NAME}.pt"
    assert load_checkpoint(cache / f"{NAME}.pt").config.model.input.hw == (320, 320)
    assert capsys.readouterr().out == ""


def test_a_later_download_must_be_the_same_file(server, cache, body):
    get()
    (cache / f"{NAME}.pt").unlink()
    server.body = nanodet(seed=1)
    before, now = (hashlib.sha256(content).hexdigest() for content in (body, server.body))
    message = refused()
    assert f"has sha256 {now}, but {before}" in message
    assert f"remove {cache / NAME}.sha256" in message
    assert kept(cache) == [f"{NAME}.sha256"]
    (cache / f"{NAME}.sha256").unlink()
    assert get()[0].facts["file_sha256"] == now


@pytest.mark.parametrize("algorithm", ["sha256", "sha384"])
def test_a_published_hash_is_checked(server, cache, monkeypatch, body, algorithm):
    def published_with(digest: str) -> Published:
        return replace(require_published(NAME), digest=f"{algorithm}:{digest}")

    with pytest.raises(UserError, match=r"expected 000.*is not the published file"):
        get_named(published_with("0" * 64), print)
    assert kept(cache) == []
    get_named(published_with(hashlib.new(algorithm, body).hexdigest()), print)
    assert kept(cache) == [f"{NAME}.pt"]  # nothing has to be learned


class Calls:
    def __reduce__(self):
        return (os.mkdir, ("called",))


BAD = {
    "a web page": (lambda: b"\n<!DOCTYPE html><title>Sign in</title>", "web page"),
    "nothing": (lambda: b"", "not a file of weights"),
    "other bytes": (lambda: b"x" * 5000, "not a file of weights"),
    "half a file": (lambda: nanodet()[:-100_000], "not a file of weights, or it is truncated"),
    "another network": (lambda: nanodet(OTHER), f"holds {OTHER} of 80 classes, but {NAME} is {NAME} of 80"),
    "other classes": (lambda: nanodet(classes=3), f"holds {NAME} of 3 classes"),
    "code": (lambda: pickle.dumps(Calls()), "not a file of weights"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_download_of_anything_else_is_one_sentence_and_leaves_nothing(server, cache, tmp_path, kind):
    make, words = BAD[kind]
    server.body = make()
    assert words in refused()
    assert kept(cache) == []
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("missing", "HTTP 404"),
        ("loops", "redirects"),
        ("cuts always", "more expected"),
        ("claims more", "broke off after 4,096 of 5,096 bytes"),
        ("claims less", "truncated"),
    ],
)
def test_a_failing_server_is_one_sentence_with_a_way_out(server, cache, manner, words):
    server.manner = manner
    if manner == "claims more":
        server.body = b"x" * 4096
    message = refused()
    assert words in message
    if manner != "claims less":  # whose file is wrong, not its server
        assert f"`nanogfl weights fetch {NAME} --from FILE`" in message
        assert require_published(NAME).page in message
    assert kept(cache) == []


def test_a_redirected_download_is_followed(server):
    server.manner = "redirects"
    get()
    assert [path for path, _ in server.asked] == ["/nanodet_m_0.5x.ckpt", "/elsewhere/nanodet_m_0.5x.ckpt"]


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, body):
    server.manner = "cuts"
    assert get()[0].facts["file_sha256"] == hashlib.sha256(body).hexdigest()
    (_, first), (_, second) = server.asked
    assert first is None
    assert len(body) // 2 - 1024 < int(second.removeprefix("bytes=").removesuffix("-")) <= len(body) // 2


def test_the_rest_of_another_version_is_not_put_behind_the_first_half(server):
    server.manner, server.next_body = "changes", nanodet(seed=1)
    assert get()[0].facts["file_sha256"] == hashlib.sha256(server.next_body).hexdigest()
    assert len(server.asked) == 2


def test_of_two_at_once_one_downloads(server):
    found = []
    threads = [threading.Thread(target=lambda: found.append(get())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(server.asked) == 1


def test_a_damaged_checkpoint_in_the_cache_is_fetched_again(server, cache):
    get()
    path = cache / f"{NAME}.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    _, lines = get()
    assert "again" in lines[0]
    load_checkpoint(path).build()


def test_a_mirror_may_be_a_folder_whose_files_stay(cache, monkeypatch, tmp_path, body):
    (tmp_path / "nanodet_m_0.5x.ckpt").write_bytes(body)
    monkeypatch.setenv(MIRROR, str(tmp_path))
    get()
    assert (tmp_path / "nanodet_m_0.5x.ckpt").read_bytes() == body
    assert "does not exist" in refused(OTHER)


def test_a_cache_that_cannot_be_written_is_one_sentence(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANOGFL_CACHE", str(tmp_path / "file"))
    assert "set NANOGFL_CACHE to a folder that can" in refused()


def test_a_file_that_is_here_already_needs_no_network(cache, tmp_path, body):
    file = tmp_path / "my download (1).ckpt"
    file.write_bytes(body)
    get(file=file)
    assert kept(cache) == [f"{NAME}.pt"]
    assert file.read_bytes() == body
    (cache / f"{NAME}.sha256").write_text(f"{'0' * 64}  x\n")
    file.write_bytes(nanodet(seed=1))
    checkpoint, lines = get(file=file)  # which replaces the one before
    assert checkpoint.facts["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert any("another file than" in line for line in lines)


def test_a_wrong_file_is_one_sentence_and_leaves_what_was_there(cache, tmp_path, body):
    (tmp_path / "good").write_bytes(body)
    get(file=tmp_path / "good")
    before = (cache / f"{NAME}.pt").read_bytes()
    (tmp_path / "other").write_bytes(nanodet(OTHER))
    (tmp_path / "page").write_text("<html>")
    save_checkpoint(tmp_path / "ours.pt", load_checkpoint(cache / f"{NAME}.pt"))
    for file, words in (
        ("none", "does not exist"), ("other", "but nanodet-m-0.5x is"), ("page", "not a file of weights"),
        ("ours.pt", "already a checkpoint of nanogfl"), (".", "does not exist"),
    ):  # fmt: skip
        assert words in refused(file=tmp_path / file)
    assert (cache / f"{NAME}.pt").read_bytes() == before


# The table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", PUBLISHED, ids=lambda weights: weights.name)
def test_a_name_fits_its_recipe_which_has_its_published_ap(weights):
    config, about = load_recipe(weights.recipe)
    assert choose._fits(weights, config.model)
    if config.model.input.hw == (weights.side, weights.side):
        assert about.published_ap == weights.ap


# Choosing ------------------------------------------------------------------------------------------------------


def put(cache: Path, name: str) -> None:
    """A checkpoint in the cache, as if it had been fetched."""
    variant = next(v for v in VARIANTS if v.name == require_published(name).variant)
    model = model_config(variant, 7)
    (cache / f"{name}.pt").parent.mkdir(parents=True, exist_ok=True)
    weights = build_detector(model, 80).state_dict()
    save_checkpoint(cache / f"{name}.pt", Checkpoint(Config(model), COCO_CLASSES, COCO_CATEGORY_IDS, weights))


def start(init_from: str, model=MODEL):
    return read_start(Config(model, train=TrainConfig(init_from=init_from)))


def test_a_training_starts_from_a_name_at_another_input_size(server):
    read = start(NAME)
    assert read.init_from == NAME
    assert read.checkpoint is not None
    assert NAME in read.lines[0]
    assert "13.5" in read.lines[0]


def test_a_file_of_the_same_name_goes_before_the_name_and_it_is_said(cache, tmp_path):
    put(cache, NAME)
    for name in (NAME, "auto"):
        (cache / f"{NAME}.pt").rename(tmp_path / name)
        read = start(name)
        assert read.init_from == name
        assert f"{tmp_path / name} is a file here" in read.lines[1]
        (tmp_path / name).rename(cache / f"{NAME}.pt")
    (tmp_path / NAME).mkdir()  # a folder is no checkpoint
    assert "published" in start(NAME).lines[0] or "fetched before" in start(NAME).lines[1]


@pytest.mark.parametrize("name", ["nanodet-m-05x", "../nanodet-m", "nanodet-m.pt", "1e3"])
def test_what_is_neither_a_file_nor_a_name_is_one_sentence(name):
    with pytest.raises(UserError, match=r"checkpoint .* does not exist: expected a \.pt file .* or the name"):
        start(name)


def test_auto_takes_the_best_of_the_same_network_that_is_here_and_names_a_better_one(cache):
    cache.mkdir(parents=True)
    plus = model_config(next(variant for variant in VARIANTS if variant.name == "nanodet-plus-m"), 7, (64, 96))
    best, good = require_published("nanodet-plus-m-416"), require_published("nanodet-plus-m-320")
    require_published("nanodet-plus-m-1.5x-416").path.touch()  # a better one, but of another network
    assert best_at_hand(plus) == (None, best)
    good.path.touch()
    assert best_at_hand(plus) == (good, best)
    best.path.touch()
    assert best_at_hand(plus) == (best, None)


def test_auto_says_what_it_took_and_how_to_get_a_better_one(cache):
    larger = model_config(next(variant for variant in VARIANTS if variant.name == OTHER), 7, (64, 96))
    read = start("auto", larger)
    assert (read.checkpoint, read.init_from) == (None, None)
    assert len(read.lines) == 1
    assert "from scratch" in read.lines[0]
    assert "`nanogfl weights fetch nanodet-m-416`" in read.lines[0]
    put(cache, OTHER)
    read = start("auto", larger)
    assert read.init_from == OTHER
    assert "`nanogfl weights fetch nanodet-m-416`" in read.lines[-1]


def test_auto_is_from_scratch_where_no_published_network_is_the_same(cache):
    put(cache, NAME)
    relu = replace(MODEL, activation="relu")
    assert "no published weights of this network" in start("auto", relu).lines[0]


def test_auto_takes_what_comes_with_the_package(cache, monkeypatch, tmp_path):
    put(cache, NAME)
    (tmp_path / "package").mkdir()
    (cache / f"{NAME}.pt").rename(tmp_path / "package" / "ours.pt")
    ours = Published("ours", "ours.pt", "", "", 20.0, 1.0, 320, "", kind="shipped", author="nanogfl")
    monkeypatch.setattr(published, "_PACKAGE", tmp_path / "package")
    for module in (choose, published):
        monkeypatch.setattr(module, "PUBLISHED", (*PUBLISHED, ours))
    assert start("auto").init_from == "ours"
    assert start("ours").init_from == "ours"
    with pytest.raises(UserError, match="comes with nanogfl"):
        get("ours", tmp_path / "x")
    (tmp_path / "package" / "ours.pt").unlink()
    assert start("auto").init_from is None


def test_auto_leaves_a_backbone_of_ones_own_alone(tmp_path):
    torch.save(build_backbone(MODEL.backbone, "relu").state_dict(), tmp_path / "trunk.pth")
    own = replace(MODEL, backbone=BackboneConfig("0.5x", weights=str(tmp_path / "trunk.pth")))
    read = start("auto", own)
    assert read.trunk is not None
    assert read.init_from is None
    with pytest.raises(UserError, match="set one of them to none"):
        start(NAME, own)


def test_an_ablation_with_auto_goes_on_with_what_it_came_to():
    auto, named, other = (Config(MODEL, train=TrainConfig(init_from=name)) for name in ("auto", NAME, OTHER))
    Run("a", 0, auto, Path("x")).require_same(named)
    Run("a", 0, auto, Path("x")).require_same(auto)
    with pytest.raises(UserError, match="init_from"):
        Run("a", 0, named, Path("x")).require_same(other)
