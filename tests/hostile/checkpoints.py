"""Checkpoints, and other files in torch's formats."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from tests.hostile.bad import Bad, Content, checkpoint_content, good_checkpoint, pipe, saved

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
    """The first storage of more than 255 values claims 2^31 - 1 of them."""
    if not name.endswith("data.pkl"):
        return data
    at = data.index(b"tq", data.index(b"cpuq"))
    start = data.rindex(b"K", 0, at) if data[at - 2 : at - 1] == b"K" else at - 3
    return data[:start] + b"J" + struct.pack("<i", 2**31 - 1) + data[at:]


def overlapping(path: Path) -> None:
    """Ten entries for the same bytes of the archive."""
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


def calling_of_old(path: Path) -> None:
    """In the format that torch wrote before 1.6."""
    torch.save({"state_dict": _Calls()}, path, _use_new_zipfile_serialization=False)


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


COMPRESSED = repacked(_padded, zipfile.ZIP_DEFLATED)
BYTES = b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x0f\x85R."  # bytearray(2^28 - 1)
PARTS = "best.pt is a nanogfl checkpoint whose"
TRAIN = "train recipe.yaml --run-dir run"

CHECKPOINTS = [
    info("a text", "I am a text", NOT_OURS),
    info("broken off", lambda path: path.write_bytes(good_checkpoint()[:50_000]), NOT_OURS),
    info("a pipe", pipe, "does not exist or is no file"),
    info("a pickle that runs a command", plain_pickle, NOT_OURS),
    info("a command among the facts", calling, NOT_OURS),
    info("compressed", COMPRESSED, NOT_OURS),
    info("records over one another", overlapping, NOT_OURS),
    info("a storage that claims too much", repacked(_claiming), NOT_OURS),
    info("a pickle without an end", repacked(lambda n, d: d[:-1] if n.endswith("data.pkl") else d), NOT_OURS),
    info("a bytearray of 256 MB", repacked(lambda n, d: BYTES if n.endswith("data.pkl") else d), NOT_OURS),
    info("another program's", lambda path: path.write_bytes(saved({"state_dict": {}})), NOT_OURS),
    info("classes that are numbers", changed(classes=[3]), f"{PARTS} classes"),
    info("classes without end", changed(classes=["a"] * 30_001, category_ids=[1] * 30_001), "classes are 30,001"),
    info("ids that are missing", changed(category_ids=[]), f"{PARTS} category_ids"),
    info("weights that are lists", changed(weights={"a": [1]}), f"{PARTS} weights"),
    info("weights without values", changed(weights={"a": torch.empty(10**12, device="meta")}), f"{PARTS} weights"),
    info("sparse weights", changed(weights={"a": torch.zeros(10**6, 10**6, layout=torch.sparse_coo)}), PARTS),
    info("a weight that is one number 10^12 times",
         changed(weights={**checkpoint_content()["weights"], "mean": torch.zeros(1).expand(10**12)}),
        "do not fit its config"),
    info("facts that multiply", changed(facts={"ap": shared_lists()}), f"{PARTS} facts"),
    info("a config that multiplies", changed(config={"model": shared_lists()}), "this is not a recipe"),
    info("a config of tensors", changed(config={"model": torch.zeros(2)}), "best.pt: model"),
    info("an input without end", with_config("input", hw=[10**9, 10**9]), "height and width.* 4096"),
    info("training that is a text", changed(training="x"), PARTS),
    Bad("eval: a checkpoint that runs a command", "eval best.pt", NOT_OURS, {"best.pt": calling}),
    Bad("export: a bomb", "export best.pt --images embedded", NOT_OURS, {"best.pt": COMPRESSED}),
    Bad("detect: a checkpoint of numbers", "detect best.pt photo.png", PARTS, {"best.pt": changed(classes=3)}),
    Bad("train: starts from a command", f"{TRAIN} --init-from best.pt", NOT_OURS, {"best.pt": calling}),
    Bad("train: a backbone that is a command", f"{TRAIN} --set model.backbone.weights=b.pth",
        "is not a plain state dict", {"b.pth": plain_pickle}),
    Bad("train: a backbone that is a bomb", f"{TRAIN} --set model.backbone.weights=b.pth",
        "is not a plain state dict", {"b.pth": COMPRESSED}),
    nanodet("a pipe", pipe, "does not exist"),
    nanodet("a command", plain_pickle, "would run code|not a file of weights"),
    nanodet("a command in torch's format", calling, "would run code when loaded"),
    nanodet("a command in torch's old format", calling_of_old, "would run code|not a file of weights"),
    nanodet("a bomb", COMPRESSED, "is not a file of weights"),
    nanodet("one of ours", lambda path: path.write_bytes(good_checkpoint()), "needs no import"),
]  # fmt: skip
