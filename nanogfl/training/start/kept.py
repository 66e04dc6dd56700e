"""What the cache folder of weights holds. Without torch."""

import re
from pathlib import Path

from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder
from nanogfl.io.read_file import is_file
from nanogfl.training.start.published import PUBLISHED, Published

# torch.hub's convention: the beginning of the file's sha256 ends its name, as in shufflenetv2_x1-5666bf0f80.pth.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def kept_files(names: tuple[Published, ...] = ()) -> list[Path]:
    """The checkpoints of `names` that are in the cache folder. Without names: all, and the backbones that
    model.backbone.weights downloaded. Files that others put there are not among them.

    Raises UserError for a folder that cannot be read.
    """
    named = [weights.path for weights in names or PUBLISHED if weights.kind != "shipped"]
    found = [path for path in named if is_file(path)]
    folder = cache_folder("weights")
    if names or not folder.is_dir():
        return found
    try:
        return found + sorted(path for path in folder.iterdir() if HASH_IN_NAME.search(path.name) and is_file(path))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None


def remove_kept(path: Path) -> int:
    """Removes a file of `kept_files`. Returns its bytes. Raises UserError."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise UserError(f"{path} cannot be removed ({error.strerror}): check the folder's permissions") from None
    return size
