"""Checkpoints and other files of torch's."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from tests.hostile.bad import Bad, Content, checkpoint_content, endless, folder, good_checkpoint, pipe, saved

NOT_OURS = r"best\.pt is not a nanogfl checkpoint"


class _Calls:
    """A pickle that runs a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def changed(**parts: object) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(saved({**checkpoint_content(), **parts}))  # type: ignore[func-returns-value]


def with_config(section: str, **values: object) -> Callable[[Path], None]:
    config = checkpoint_content()["config"]
    part = {**config["model"], section: {**config["model"][section], **values}}
    return changed(config={**config, "model": part})


def repacked(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(good_checkpoint())) as old, zipfile.ZipFile(path, "w", compression) as new:
            for name in old.namelist():
                new.writestr(name, change(name, old.read(name)))

    return write


def _padded(name: str, data: bytes) -> bytes:
    """100 MB of zeros behind the pickle, which take 100 kB compressed."""
    return data + bytes(100_000_000) if name.endswith("data.pkl") else data


def _claiming(name: str, data: bytes) -> bytes:
    """The first storage of more than 255 values says that it has 2^31 - 1 of them."""
    if not name.endswith("data.pkl"):
        return data
    at = data.index(b"tq", data.index(b"cpuq"))
    start = data.rindex(b"K", 0, at) if data[at - 2 : at - 1] == b"K" else at - 3
    return data[:start] + b"J" + struct.pack("<i", 2**31 - 1) + data[at:]


def overlapping(path: Path) -> None:
    """Ten names for the same bytes of the archive."""
    repacked(lambda _, data: data)(path)
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    size, start = struct.unpack_from("<II", content, end + 12)
    entries = content[start : start + size] * 10
    count = 10 * struct.unpack_from("<H", content, end + 10)[0]
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
    path.write_bytes(content[:start] + entries + tail)


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Calls()))


def calling(path: Path) -> None:
    path.write_bytes(saved({**checkpoint_content(), "facts": _Calls()}))


def shared_lists() -> list:
    """2^60 values in 60 lists."""
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]
    return nested


def info(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"checkpoint: {name}", "info best.pt", sentence, {"best.pt": content})


def nanodet(name: str, content: Content, sentence: str) -> Bad:
    return Bad(f"nanodet: {name}", "import-nanodet m.ckpt -o out.pt", sentence, {"m.ckpt": content})


BYTES = b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."  # bytearray(2^31 - 1)
PARTS = "best.pt is a nanogfl checkpoint whose"

CHECKPOINTS = [
    info("empty", b"", NOT_OURS),
    info("a text", "I am a text", NOT_OURS),
    info("broken off", lambda path: path.write_bytes(good_checkpoint()[:50_000]), NOT_OURS),
    info("a folder", folder, "does not exist or is no file"),
    info("a pipe", pipe, "does not exist or is no file"),
    info("a device", endless, "does not exist or is no file"),
    Bad("checkpoint: a name that no system takes", f"info {'a' * 5000}.pt", "does not exist or is no file", {}),
    info("a pickle that runs a command", plain_pickle, NOT_OURS),
    info("a command among the facts", calling, NOT_OURS),
    info("compressed", repacked(_padded, zipfile.ZIP_DEFLATED), NOT_OURS),
    info("records over one another", overlapping, NOT_OURS),
    info("a storage that claims too much", repacked(_claiming), NOT_OURS),
    info("a pickle without an end", repacked(lambda n, d: d[:-1] if n.endswith("data.pkl") else d), NOT_OURS),
    info("a bytearray of 2 GB", repacked(lambda n, d: BYTES if n.endswith("data.pkl") else d), NOT_OURS),
    info("another program's", lambda path: path.write_bytes(saved({"state_dict": {}})), NOT_OURS),
    info("classes that are a number", changed(classes=3), f"{PARTS} classes are not a list of names"),
    info("classes that are numbers", changed(classes=[3]), f"{PARTS} classes are not a list of names"),
    info("no classes", changed(classes=[], category_ids=[]), f"{PARTS} classes are 0"),
    info("classes without end", changed(classes=["a"] * 30_001, category_ids=[1] * 30_001), "classes are 30,001"),
    info("ids that are missing", changed(category_ids=[]), f"{PARTS} category_ids are not one whole number per class"),
    info("weights that are a list", changed(weights=[1]), f"{PARTS} weights are not tensors by name"),
    info("weights that are lists", changed(weights={"a": [1]}), f"{PARTS} weights are not tensors by name"),
    info("weights without values", changed(weights={"a": torch.empty(10**12, device="meta")}),
        "weights are not tensors"),
    info("sparse weights", changed(weights={"a": torch.zeros(10**6, 10**6, layout=torch.sparse_coo)}),
        "weights are not"),
    info("no weights", changed(weights={}), "weights do not fit its config"),
    info("a weight that is one number a million times",
         changed(weights={**checkpoint_content()["weights"], "mean": torch.zeros(1).expand(10**12)}),
        "do not fit its config"),
    info("facts that are a list", changed(facts=[]), f"{PARTS} facts are not plain values by name"),
    info("facts that multiply", changed(facts={"ap": shared_lists()}), f"{PARTS} facts are not plain values"),
    info("a config that multiplies", changed(config={"model": shared_lists()}), "this is not a recipe"),
    info("a config that is a list", changed(config=[1]), "best.pt"),
    info("a config of tensors", changed(config={"model": torch.zeros(2)}), "best.pt: model"),
    info("a config without end", with_config("head", convs=10**9), "convs must be at most 16"),
    info("an input without end", with_config("input", hw=[10**9, 10**9]), "height and width must be at most 4096"),
    info("an input of infinity", with_config("input", hw=[float("inf"), 64]), "model.input.hw"),
    info("training that is a text", changed(training="x"), f"{PARTS} training is not a state"),
    Bad("eval: a checkpoint that runs a command", "eval best.pt", NOT_OURS, {"best.pt": calling}),
    Bad("export: a checkpoint that is a pipe", "export best.pt", "does not exist", {"best.pt": pipe}),
    Bad("export: a bomb", "export best.pt --images embedded", NOT_OURS,
        {"best.pt": repacked(_padded, zipfile.ZIP_DEFLATED)}),
    Bad("detect: a checkpoint whose classes are a number", "detect best.pt photo.png", PARTS,
        {"best.pt": changed(classes=3)}),
    Bad("explain: a checkpoint that is a device", "explain best.pt photo.png", "does not exist", {"best.pt": endless}),
    Bad("train: starts from a command", "train recipe.yaml --run-dir run --init-from best.pt", NOT_OURS,
        {"best.pt": calling}),
    Bad("train: starts from a pipe", "train recipe.yaml --run-dir run --init-from best.pt", "does not exist",
        {"best.pt": pipe}),
    Bad("train: a backbone that is a pipe", "train recipe.yaml --run-dir run --set model.backbone.weights=b.pth",
        "b.pth does not exist", {"b.pth": pipe}),
    Bad("train: a backbone that is a command", "train recipe.yaml --run-dir run --set model.backbone.weights=b.pth",
        "is not a plain state dict", {"b.pth": plain_pickle}),
    Bad("train: a backbone that is a bomb", "train recipe.yaml --run-dir run --set model.backbone.weights=b.pth",
        "is not a plain state dict", {"b.pth": repacked(_padded, zipfile.ZIP_DEFLATED)}),
    nanodet("empty", b"", "is not a file of weights"),
    nanodet("a text", "I am a text", "is not a file of weights"),
    nanodet("a pipe", pipe, "does not exist"),
    nanodet("a command", plain_pickle, "would run code|not a file of weights"),
    nanodet("a command in torch's format", calling, "would run code when loaded"),
    nanodet("a bomb", repacked(_padded, zipfile.ZIP_DEFLATED), "is not a file of weights"),
    nanodet("one of ours", lambda path: path.write_bytes(good_checkpoint()), "needs no import"),
]  # fmt: skip
