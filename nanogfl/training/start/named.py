"""Weights by name: downloaded once, checked, imported, and kept as a checkpoint in the cache folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.cache_folder import cache_folder
from nanogfl.io.read_file import is_file
from nanogfl.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nanogfl.model.nanodet.coco_classes import COCO_CLASSES
from nanogfl.model.nanodet.weights import read_nanodet
from nanogfl.training.checkpointing.run_dir import NO_LOCKS
from nanogfl.training.start.download import Fetched, fetch, file_hash
from nanogfl.training.start.published import Published

Tell = Callable[[str], None]


def get_named(weights: Published, tell: Tell, file: Path | None = None) -> Checkpoint:
    """The checkpoint of `weights`: the one that is at hand, else a new one from the network, or from `file`, which
    replaces what is at hand. Nothing in a file is executed. `tell` gets a line for people where something is done.

    Raises UserError for a download that fails or is another file than before, for a file of another network, and
    where the cache folder cannot be written to.
    """
    if weights.kind == "shipped":
        return _shipped(weights, file)
    if file is None and (at_hand := _read(weights, tell)) is not None:
        return at_hand
    with _alone(weights, tell):
        # another process may have fetched it meanwhile
        if file is None and (at_hand := _read(weights, lambda _: None)) is not None:
            return at_hand
        checkpoint = _from_file(weights, file, tell) if file else _from_network(weights, tell)
        save_checkpoint(weights.path, checkpoint)
        tell(f"kept as {weights.path}")
        return checkpoint


def _shipped(weights: Published, file: Path | None) -> Checkpoint:
    if file is not None:
        raise UserError(f"{weights.name} comes with nanogfl and is not fetched: leave --from {file} out")
    return load_checkpoint(weights.path)


def _read(weights: Published, tell: Tell) -> Checkpoint | None:
    """What is at hand; None where nothing is, or where it is damaged."""
    if not is_file(weights.path):
        return None
    try:
        checkpoint = load_checkpoint(weights.path)
    except UserError as error:
        tell(f"fetching {weights.name} again: {error}")
        return None
    tell(f"{weights.path}, fetched before")
    return checkpoint


def _from_network(weights: Published, tell: Tell) -> Checkpoint:
    source = weights.address
    tell(f"fetching {weights.name}, {weights.megabytes:.1f} MB, from {source}")
    by_hand = f"download it from {weights.page} with a browser and give it to `{weights.fetch_command} --from FILE`"
    fetched = fetch(weights.name, source, None, title=weights.name, by_hand=by_hand)
    sha256 = _require_hash(weights, fetched)
    try:
        checkpoint = _imported(weights, fetched.path, sha256)
    except UserError as error:
        raise fetched.refusal(str(error)) from None
    if weights.digest is None and not weights.pin.exists():
        with atomic_path(weights.pin) as temporary:
            temporary.write_text(f"{sha256}  {weights.file}\n", encoding="ascii")
        tell(f"sha256 {sha256}: none was published, so this one is kept, and a later download must have it too")
    if fetched.downloaded is not None:
        fetched.path.unlink(missing_ok=True)  # the checkpoint has all of it that is needed
    return checkpoint


def _require_hash(weights: Published, fetched: Fetched) -> str:
    """The sha256. Raises UserError where the file is not the published one, or another one than before."""
    sha256 = file_hash(fetched.path)
    if weights.digest is not None:
        algorithm, _, expected = weights.digest.partition(":")
        if (actual := file_hash(fetched.path, algorithm)) != expected:
            raise fetched.refusal(
                f"{weights.address} has {algorithm} {actual}, expected {expected}: it is not the published file"
            )
    elif (before := _pinned(weights)) not in (None, sha256):
        raise fetched.refusal(
            f"{weights.address} has sha256 {sha256}, but {before} when it was first downloaded: it is another file now;"
            f" if that is right, remove {weights.pin}"
        )
    return sha256


def _pinned(weights: Published) -> str | None:
    try:
        words = weights.pin.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return words[0] if words else None


def _from_file(weights: Published, file: Path, tell: Tell) -> Checkpoint:
    if not is_file(file):
        raise UserError(f"--from {file} does not exist: expected the file that {weights.page} offers")
    try:
        sha256 = file_hash(file)
    except OSError as error:
        raise UserError(f"--from {file} cannot be read ({error.strerror}): check its permissions") from None
    checkpoint = _imported(weights, file, sha256)
    tell(f"took {file}, sha256 {sha256}")
    algorithm, _, expected = (weights.digest or f"sha256:{_pinned(weights) or sha256}").partition(":")
    if file_hash(file, algorithm) != expected:
        tell(f"it is another file than the one at {weights.page}, which has {algorithm} {expected}")
    return checkpoint


def _imported(weights: Published, file: Path, sha256: str) -> Checkpoint:
    found = read_nanodet(file, (weights.side, weights.side))
    if (found.variant, found.class_count) != (weights.variant, len(COCO_CLASSES)):
        raise UserError(
            f"{file} holds {found.variant} of {found.class_count} classes, but {weights.name} is {weights.variant} of"
            f" {len(COCO_CLASSES)}"
        )
    checkpoint = found.checkpoint(
        weights.file, name=weights.name, source=weights.page, licence=weights.licence, file_sha256=sha256
    )
    checkpoint.build()  # its numbers are finite
    return checkpoint


@contextmanager
def _alone(weights: Published, tell: Tell) -> Iterator[None]:
    """One process fetches, the others wait for it. The system releases the lock with the process."""
    from filelock import FileLock, Timeout

    folder = cache_folder("weights")
    lock = FileLock(folder / f"{weights.name}.lock", timeout=0, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            tell(f"waiting for another process, which fetches {weights.name}")
            lock.acquire(timeout=-1)
    except OSError as error:
        if error.errno not in NO_LOCKS:  # without locks both fetch it, and the last one's checkpoint stays
            raise UserError(
                f"{folder} cannot be written to ({error.strerror or error}): set NANOGFL_CACHE to a folder that can"
            ) from None
    try:
        yield
    finally:
        lock.release()
