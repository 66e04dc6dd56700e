"""The weights that a training can start from by name. Without torch, so that listing them needs none."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder

MIRROR = "NANOGFL_WEIGHTS_URL"
"""environment variable: the URL or folder of a mirror that has the files under the table's names"""


@dataclass(frozen=True)
class Published:
    """A detector that was trained on COCO's 80 classes."""

    name: str
    file: str
    """nanodet: the file's name at its source and on a mirror; shipped: its path in the package"""
    url: str
    page: str
    """for a browser"""
    ap: float
    """on COCO val2017 in percent, as its author published it"""
    megabytes: float
    """of the file at its source"""
    side: int
    """pixels of the square input that it was trained with; another size can be trained from it"""
    recipe: str
    """a shipped recipe of the same network"""
    variant: str = ""
    """nanodet: the network, as model/nanodet/weights.py names it"""
    digest: str | None = None
    """of the file, such as "sha256:...", where somebody published it; None: learned when it is first downloaded"""
    kind: Literal["nanodet", "shipped"] = "nanodet"
    """nanodet: a file of RangiLyu/nanodet, which is imported; shipped: a checkpoint that comes with the package"""
    author: str = "RangiLyu/nanodet"
    licence: str = "Apache-2.0"

    @property
    def path(self) -> Path:
        """The checkpoint on this machine, where it is at hand: in the package, or in the cache folder."""
        return _PACKAGE / self.file if self.kind == "shipped" else cache_folder("weights") / f"{self.name}.pt"

    @property
    def pin(self) -> Path:
        """Where the sha256 of the first download is kept, in the format of sha256sum."""
        return cache_folder("weights") / f"{self.name}.sha256"

    @property
    def address(self) -> str:
        """Where the file is downloaded from."""
        mirror = os.environ.get(MIRROR)
        return f"{mirror.rstrip('/')}/{self.file}" if mirror else self.url

    @property
    def fetch_command(self) -> str:
        return f"nanogfl weights fetch {self.name}"

    def __str__(self) -> str:
        return f"{self.name} (COCO AP {self.ap:.1f}, {self.author}, {self.licence})"


_PACKAGE = Path(__file__).parents[2]


# The files, AP and Google Drive ids are those that the README of RangiLyu/nanodet lists. It states no hashes. What is
# attached to its release is fetched from there; the older networks are on Google Drive only.
def _release(name: str, file: str, ap: float, megabytes: float) -> Published:
    release = "https://github.com/RangiLyu/nanodet/releases"
    page, url = f"{release}/tag/v1.0.0-alpha-1", f"{release}/download/v1.0.0-alpha-1/{file}"
    variant, _, side = name.rpartition("-")
    return Published(name, file, url, page, ap, megabytes, int(side), _recipe(variant, side), variant)


def _drive(key: str, name: str, file: str, ap: float, megabytes: float, digest: str | None = None) -> Published:
    # confirm=t: yes, also where Google has not scanned the file for viruses, about which it asks on a page otherwise
    url = f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t"
    page = f"https://drive.google.com/file/d/{key}/view"
    variant, side = name.removesuffix("-416"), "416" if name.endswith("-416") else "320"
    recipe = _recipe(variant, "320" if variant == "nanodet-m-1.5x" else side)  # which has no recipe at 416
    return Published(name, file, url, page, ap, megabytes, int(side), recipe, variant, digest)


def _recipe(variant: str, side: str) -> str:
    return f"configs/nanodet/{variant}_{side}.yaml"


# By Intel's Open Model Zoo for this very id: models/public/nanodet-m-1.5x-416/model.yml.
_M15_416 = "sha384:805c55b8db2ddc872b6e50b5c9a038e69aaf3023a9e11af288c9c9791920c5294d01c927847790b210fc4215fd324b29"

PUBLISHED = (
    _release("nanodet-plus-m-416", "nanodet-plus-m_416_checkpoint.ckpt", 30.4, 35.5),
    _release("nanodet-plus-m-320", "nanodet-plus-m_320_checkpoint.ckpt", 27.0, 35.5),
    _release("nanodet-plus-m-1.5x-416", "nanodet-plus-m-1.5x_416_checkpoint.ckpt", 34.1, 64.6),
    _release("nanodet-plus-m-1.5x-320", "nanodet-plus-m-1.5x_320_checkpoint.ckpt", 29.9, 64.6),
    _drive("1ZkYucuLusJrCb_i63Lid0kYyyLvEiGN3", "nanodet-m", "nanodet_m.ckpt", 20.6, 4.0),
    _drive("1jY-Um2VDDEhuVhluP9lE70rG83eXQYhV", "nanodet-m-416", "nanodet_m_416.ckpt", 23.5, 4.0),
    _drive("1rMHkD30jacjRpslmQja5jls86xd0YssR", "nanodet-m-0.5x", "nanodet_m_0.5x.ckpt", 13.5, 1.2),
    _drive("1_n1cAWy622LV8wbUnXImtcvcUVPOhYrW", "nanodet-m-1.5x", "nanodet_m_1.5x.ckpt", 23.5, 8.5),
    _drive("1CCYgwX3LWfN7hukcomhEhGWN-qcC3Tv4", "nanodet-m-1.5x-416", "nanodet_m_1.5x_416.ckpt", 26.8, 8.5, _M15_416),
)
"""The sizes of nanodet-m, -416, -0.5x and -1.5x are computed from their tensors. A detector that comes with the package
is an entry of kind `shipped`."""


def find_published(name: str) -> Published | None:
    return next((weights for weights in PUBLISHED if weights.name == name), None)


def require_published(name: str) -> Published:
    """Raises UserError, which names similar ones."""
    found = find_published(name)
    if found is None:
        raise UserError(f"there are no weights called {name}: {did_you_mean(name)}")
    return found


def did_you_mean(name: str) -> str:
    """The names that `name` may be meant to be."""
    names = [weights.name for weights in PUBLISHED]
    close = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "`nanogfl weights` lists them"
