"""A file named by a path or a URL, on this machine: a URL is downloaded once into a cache folder."""

import hashlib
import http.client
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from nanogfl.errors import UserError
from nanogfl.io.atomic import atomic_path
from nanogfl.io.cache_folder import cache_folder, expand_user
from nanogfl.io.read_file import is_file
from nanogfl.train.reports.progress import show_download

TIMEOUT_S = 30.0
"""without the beginning of the file or a further byte"""
SLOWEST = 1000.0
"""bytes a second on average, after TIMEOUT_S: a server that sends less is given up"""
_CHUNK = 1 << 16
_MOST_BYTES = 2_000_000_000
"""of a file of weights: ResNet-101's has 180 million, and a server may send without end"""

# torch.hub's convention: the beginning of the file's sha256 ends its name, as in shufflenetv2_x1-5666bf0f80.pth.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


@dataclass(frozen=True)
class Fetched:
    path: Path
    how: str
    """where the file came from, for people"""
    downloaded: bool | None = None
    """now (True) or before (False); None for a file that was given by its path"""

    def refusal(self, reason: str) -> UserError:
        """What to raise where the content is another than expected. A fresh download is not kept; an older file is the
        user's to remove."""
        if self.downloaded:
            self.path.unlink(missing_ok=True)
            reason += "; what was downloaded is not kept: check the URL and the network"
        elif self.downloaded is False:
            reason += f"; remove {self.path} to have it downloaded again"
        return UserError(reason)


def fetch(key: str, source: str, sha256: str | None) -> Fetched:
    """`source`, a path or an http, https or file URL, as a file. `key` is the config's, named in errors.

    A file whose sha256 is given or stands in its URL's name is checked, in the cache as well. Raises UserError.
    """
    if not re.match("(https?|file):", source, re.IGNORECASE):
        path = expand_user(source, key)
        if not is_file(path):
            raise UserError(f"{key} {source} does not exist: expected a file, or an http, https or file URL")
        if sha256 is not None and (actual := _sha256(path)) != sha256:
            raise UserError(f"{key} {source} has sha256 {actual}, expected {sha256}: it is another or a damaged file")
        return Fetched(path, str(path))

    target, expected = cached_as(source, sha256)
    by_hand = f"; or put the file at {target} by hand, or give its path as {key}"
    if target.is_file() and (expected is None or _sha256(target).startswith(expected)):
        return Fetched(target, f"{target} (downloaded before from {source})", downloaded=False)
    size = _download(source, target, expected, by_hand)
    return Fetched(target, f"{target} (downloaded from {source}, {size / 1e6:.1f} MB)", downloaded=True)


def cached_as(url: str, sha256: str | None) -> tuple[Path, str | None]:
    """Where a URL's file is kept, and the beginning of the sha256 that it must have, if that is known.

    The name ends in a hash: the one in the URL's own name, else the beginning of the sha256, else the URL's.
    """
    name = _name(url)
    in_name = _HASH_IN_NAME.search(name)
    if in_name and (sha256 is None or sha256.startswith(in_name[1])):
        return cache_folder("weights") / name, sha256 or in_name[1]
    tag = sha256 or hashlib.sha256(url.encode()).hexdigest()
    return cache_folder("weights") / f"{Path(name).stem}-{tag[:10]}{Path(name).suffix}", sha256


def _download(url: str, target: Path, expected: str | None, by_hand: str) -> int:
    """Bytes written. The target holds the whole file, or what it held before."""
    digest, size = hashlib.sha256(), 0
    with atomic_path(target) as temporary:
        with temporary.open("wb") as file:
            for chunk in _read(url, by_hand):
                if not size and chunk.lstrip()[:1] == b"<":
                    raise UserError(
                        f"{url} gave a web page, not a file of weights (the log-in page of a network?): nothing was"
                        f" kept; check the URL and the network{by_hand}"
                    )
                digest.update(chunk)
                size += file.write(chunk)
        actual = digest.hexdigest()
        if expected is not None and not actual.startswith(expected):
            raise UserError(
                f"{url} has sha256 {actual}, expected {expected}{'...' if len(expected) < 64 else ''}:"
                f" nothing was kept; check the URL and the hash{by_hand}"
            )
    return size


def _read(url: str, by_hand: str) -> Iterator[bytes]:
    """The body in chunks. What the network does wrong is a UserError here, so that the rest is the disk's."""
    done, length, began = 0, None, time.monotonic()
    try:
        with _open(url) as response:
            stated = response.headers.get("Content-Length") or ""
            length = int(stated) if stated.isdigit() else None
            with show_download(_name(url), length) as advance:
                while chunk := response.read1(_CHUNK):  # what is there: `read` would wait for all of it
                    done += len(chunk)
                    if done > _MOST_BYTES:
                        raise UserError(
                            f"{url} has more than {_MOST_BYTES:,} bytes, which no file of weights has: nothing was kept"
                            f"{by_hand}"
                        )
                    seconds = time.monotonic() - began
                    if seconds > TIMEOUT_S and done < SLOWEST * seconds:
                        raise UserError(
                            f"{url} sends too slowly, {done:,} bytes in {seconds:.0f} s: nothing was kept; try again"
                            f"{by_hand}"
                        )
                    advance(len(chunk))
                    yield chunk
    except HTTPError as error:
        error.close()
        raise UserError(f"{url} cannot be downloaded: HTTP {error.code} {error.reason}: check it{by_hand}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        after = f" after {done:,} bytes" if done else ""
        raise UserError(
            f"{url} cannot be downloaded{after} ({reason or type(error).__name__}): check the connection and the URL"
            f"{by_hand}"
        ) from None
    if length is not None and done < length:
        raise UserError(f"{url} broke off after {done:,} of {length:,} bytes: nothing was kept; try again{by_hand}")


def _open(url: str) -> Any:
    """urlopen, which waits TIMEOUT_S for each line of an answer's head; here for the whole head."""
    if url.lower().startswith("file:") and not is_file(Path(url2pathname(urlsplit(url).path))):
        raise OSError("there is no such file")  # a pipe would be waited for
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(urlopen(Request(url, headers={"User-Agent": "nanogfl"}), timeout=TIMEOUT_S))
        except (OSError, http.client.HTTPException, ValueError) as error:  # raised where it is waited for
            answers.append(error)

    asking = threading.Thread(target=ask, name="download", daemon=True)
    asking.start()
    asking.join(TIMEOUT_S)
    answer = answers[0] if answers else TimeoutError(f"timed out: no whole answer in {TIMEOUT_S:g} s")
    if isinstance(answer, Exception):
        raise answer
    return answer


def _name(url: str) -> str:
    return re.split("[?#]", url)[0].rpartition("/")[2] or "weights"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
