"""A file named by a path or a URL: a URL's file is downloaded once, with pooch, into the cache folder."""

import hashlib
import os
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder, expand_user
from nanogfl.io.read_file import is_file
from nanogfl.training.reports.progress import DownloadBar

TIMEOUT_S = 30.0
"""the longest silence of a server"""
SLOWEST = 1000.0
"""bytes per second on average, after TIMEOUT_S; a slower server is given up"""
_MOST_BYTES = 2_000_000_000
"""of a file of weights: ResNet-101's has 180 million, and a server may send without end"""
_HEADERS = {"User-Agent": "nanogfl", "Accept-Encoding": "identity"}

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
        """The error for unexpected content. A fresh download is removed; an older file is the user's to remove."""
        if self.downloaded:
            self.path.unlink(missing_ok=True)
            reason += "; what was downloaded is not kept: check the URL and the network"
        elif self.downloaded is False:
            reason += f"; remove {self.path} to have it downloaded again"
        return UserError(reason)


def fetch(key: str, source: str, sha256: str | None) -> Fetched:
    """The file that `source` names: a path, or an http, https or file URL. `key`: the config's, named in errors.

    The file's sha256 is checked where it is given or a part of the URL's name, in the cache as well. Raises UserError
    for a missing or unreachable file, a wrong hash, a web page in place of a file, and a cache that cannot be written.
    """
    if not re.match("https?:", source, re.IGNORECASE):
        is_url = source.lower().startswith("file:")
        path = Path(url2pathname(urlsplit(source).path)) if is_url else expand_user(source, key)
        if not is_file(path):
            raise UserError(f"{key} {source} does not exist: expected a file, or an http, https or file URL")
        if sha256 is not None and (actual := _sha256(path)) != sha256:
            raise UserError(f"{key} {source} has sha256 {actual}, expected {sha256}: it is another or a damaged file")
        return Fetched(path, str(path))

    target, expected = cached_as(source, sha256)
    if target.is_file() and (expected is None or _sha256(target).startswith(expected)):
        return Fetched(target, f"{target} (downloaded before from {source})", downloaded=False)
    _download(source, target, expected, f"; or put the file at {target} by hand, or give its path as {key}")
    size = target.stat().st_size / 1e6
    return Fetched(target, f"{target} (downloaded from {source}, {size:.1f} MB)", downloaded=True)


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


def _download(url: str, target: Path, expected: str | None, by_hand: str) -> None:
    """The target then holds the whole, checked file; on any error there is none."""
    import pooch  # type: ignore[import-untyped]
    from requests.exceptions import RequestException

    def get(_url: str, temporary: str, _pooch: object) -> None:
        with ExitStack() as stack:

            def close_at_the_end(response: Any, **_: object) -> None:
                stack.callback(response.close)

            bar = stack.enter_context(_WatchedBar(url))
            hooks = {"response": close_at_the_end}
            pooch.HTTPDownloader(bar, timeout=TIMEOUT_S, headers=_HEADERS, hooks=hooks)(url, temporary, None)
        _check(Path(temporary), bar.total, expected)

    pooch.get_logger().setLevel("WARNING")
    try:
        target.unlink(missing_ok=True)  # it is damaged, and pooch would take it
        pooch.retrieve(url, None, target.name, target.parent, downloader=get)
    except _DownloadError as error:
        raise UserError(f"{url} {error}: nothing was kept; check the URL, the hash and the network{by_hand}") from None
    except RequestException as error:
        answer = error.response
        reason = f"HTTP {answer.status_code} {answer.reason}" if answer is not None else _reason(error)
        raise UserError(f"{url} cannot be downloaded ({reason}): check the URL and the connection{by_hand}") from None
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # no URL
        raise UserError(f"{url} cannot be downloaded ({error}): check the URL{by_hand}") from None


class _DownloadError(Exception):
    """What is wrong with a download."""


class _WatchedBar(DownloadBar):
    """Ends a download that is too large or too slow."""

    def __init__(self, url: str) -> None:
        super().__init__(_name(url))
        self._done, self._began = 0, time.monotonic()

    def update(self, count: int) -> None:
        super().update(count)
        self._done += count
        if self._done > _MOST_BYTES:
            raise _DownloadError(f"has more than {_MOST_BYTES:,} bytes, which no file of weights has")
        seconds = time.monotonic() - self._began
        if seconds > TIMEOUT_S and self._done < SLOWEST * seconds:
            raise _DownloadError(f"sends too slowly, {self._done:,} bytes in {seconds:.0f} s")

    def reset(self) -> None:
        super().reset()
        self._done = 0


def _check(path: Path, stated: int, expected: str | None) -> None:
    with path.open("r+b") as file:
        if file.read(64).lstrip()[:1] == b"<":
            raise _DownloadError("gave a web page, not a file of weights (the log-in page of a network?)")
        os.fsync(file.fileno())
    if (size := path.stat().st_size) < stated:  # urllib3 1 does not say so
        raise _DownloadError(f"broke off after {size:,} of {stated:,} bytes")
    actual = _sha256(path)
    if expected is not None and not actual.startswith(expected):
        raise _DownloadError(f"has sha256 {actual}, expected {expected}{'...' if len(expected) < 64 else ''}")


def _reason(error: BaseException) -> str:
    """Requests wraps the system's own words: "Connection refused", "Name or service not known"."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        if isinstance(inner, TimeoutError):
            return f"timed out after {TIMEOUT_S:g} s"
        error, inner = inner, inner.__cause__ or inner.__context__
    return str(error)


def _name(url: str) -> str:
    return re.split("[?#]", url)[0].rpartition("/")[2] or "weights"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
