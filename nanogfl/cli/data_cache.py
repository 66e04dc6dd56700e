"""`nanogfl data cache`."""

import time
from pathlib import Path

import click

from nanogfl.cli.say import say


@click.command("cache")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--clear", is_flag=True, help="Remove the images, but for those that a running training uses.")
def show_cache(folder: Path | None, clear: bool) -> None:
    """Show what the cache of decoded images holds, or clear it.

    Trainings keep decoded, resized images there, so that each is decoded once; every input size has a store of its
    own. FOLDER is a data.cache_dir; without it, the user's cache folder ($NANOGFL_CACHE moves it). Before a training
    adds images, those that were not used longest are evicted to stay under the limit: 20 GB, or what
    $NANOGFL_CACHE_LIMIT_GB says (inf: no limit). Cleared images are decoded again when they are needed.

    \b
    nanogfl data cache
    nanogfl data cache --clear
    """
    from nanogfl.errors import require

    require("eval", "filelock")
    from nanogfl.data.cache.index import is_used
    from nanogfl.data.cache.limit import LIMIT_VARIABLE, clear_stores, list_stores, read_limit, size_text
    from nanogfl.errors import UserError
    from nanogfl.io.cache_folder import cache_folder

    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder} is no folder: name a data.cache_dir, or nothing for the user's cache folder")
    root, limit = folder or cache_folder("frames"), read_limit()
    try:
        if clear:
            removed = left = 0
            for store, gone in clear_stores(root):
                removed += store.nbytes if gone else 0
                left += not gone
                say(f"{'removed' if gone else 'left, as it is in use:'} {store.title}, {size_text(store.nbytes)}")
            say(f"{root}: {size_text(removed)} removed" + (f", {left} stores left" if left else ""))
            return
        stores = list_stores(root)
        say(f"frame cache {root}")
        for store in stores:
            images = f"{store.images:>8} images" if store.readable else f"{'':>15}"
            used = time.strftime("%Y-%m-%d %H:%M", time.localtime(store.used))
            state = ", in use now" if is_used(store.folder) else ""
            say(f"  {store.title:<36}{images}{size_text(store.nbytes):>10}  last used {used}{state}")
        total = sum(store.nbytes for store in stores)
        say(f"{size_text(total)} of {size_text(limit)} ({LIMIT_VARIABLE})" if stores else "empty")
    except OSError as error:
        raise UserError(
            f"the frame cache {root} cannot be {'cleared' if clear else 'read'}"
            f" ({error.strerror or error}): check the folder's permissions"
        ) from None
