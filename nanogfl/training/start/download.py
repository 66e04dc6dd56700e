"""A file named by a path or a URL: a URL's file is downloaded once, with pooch, into the cache folder."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nanogfl.errors import UserError
from nanogfl.io.cache_folder import cache_folder, expand_user
from nanogfl.io.read_file import is_file
from nanogfl.training.reports.progress import DownloadBar
from nanogfl.training.start.kept import HASH_IN_NAME

if TYPE_CHECKING:
    from requests import Response

TIMEOUT_S = 30.0
"""the longest silence of a server"""
SLOWEST = 1000.0
"""bytes per second on average, after TIMEOUT_S; a slower server is given up"""
TRIES, PAUSE_S = 3, 1.0
"""a download that breaks off is asked for again, from where it stopped if the server can do that"""
_MOST_BYTES = 2_000_000_000
"""of a file of weights: ResNet-101's has 180 million, and a server may send without end"""
_HEADERS = {"User-Agent": "nanogfl", "Accept-Encoding": "identity"}


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


def fetch(key: str, source: str, sha256: str | None, *, title: str = "", by_hand: str = "") -> Fetched:
    """The file that `source` names: a path, or an http, https or file URL. `key`: the config's, named in errors.

    `title` is shown beside the bar, by default the URL's file name. `by_hand` ends the sentence of a failed download
    with another way to get the file.

    The file's sha256 is checked where it is given or a part of the URL's name, in the cache as well. Raises UserError
    for a missing or unreachable file, a wrong hash, a web page in place of a file, and a cache that cannot be written.
    """
    if not re.match("https?:", source, re.IGNORECASE):
        is_url = source.lower().startswith("file:")
        path = Path(url2pathname(urlsplit(source).path)) if is_url else expand_user(source, key)
        if not is_file(path):
            raise UserError(f"{key} {source} does not exist: expected a file, or an http, https or file URL")
        if sha256 is not None and (actual := file_hash(path)) != sha256:
            raise UserError(f"{key} {source} has sha256 {actual}, expected {sha256}: it is another or a damaged file")
        return Fetched(path, str(path))

    target, expected = cached_as(source, sha256)
    if target.is_file() and (expected is None or file_hash(target).startswith(expected)):
        return Fetched(target, f"{target} (downloaded before from {source})", downloaded=False)
    by_hand = by_hand or f"put the file at {target} by hand, or give its path as {key}"
    resumed = _download(source, target, expected, title or _name(source), f"; or {by_hand}")
    again = ", resumed after it broke off" if resumed else ""
    size = target.stat().st_size / 1e6
    return Fetched(target, f"{target} (downloaded from {source}, {size:.1f} MB{again})", downloaded=True)


def cached_as(url: str, sha256: str | None) -> tuple[Path, str | None]:
    """Where a URL's file is kept, and the beginning of the sha256 that it must have, if that is known.

    The name ends in a hash: the one in the URL's own name, else the beginning of the sha256, else the URL's.
    """
    name = _name(url)
    in_name = HASH_IN_NAME.search(name)
    if in_name and (sha256 is None or sha256.startswith(in_name[1])):
        return cache_folder("weights") / name, sha256 or in_name[1]
    tag = sha256 or hashlib.sha256(url.encode()).hexdigest()
    return cache_folder("weights") / f"{Path(name).stem}-{tag[:10]}{Path(name).suffix}", sha256


def _download(url: str, target: Path, expected: str | None, title: str, by_hand: str) -> bool:
    """The target then holds the whole, checked file; on any error there is none. Returns whether it was resumed."""
    import pooch  # type: ignore[import-untyped]
    from requests.exceptions import ChunkedEncodingError, ConnectionError, RequestException

    resumed = False

    def get(_url: str, temporary: str, _pooch: object) -> None:
        nonlocal resumed
        with Path(temporary).open("wb") as file, _WatchedBar(title) as bar:
            for attempt in range(1, TRIES + 1):
                already = file.tell()
                try:
                    with bar.answers(file) as hooks:
                        options = {"timeout": TIMEOUT_S, "headers": _HEADERS | bar.rest(already), "hooks": hooks}
                        pooch.HTTPDownloader(bar, **options)(url, file, None)
                    break
                except (ChunkedEncodingError, ConnectionError):
                    if attempt == TRIES or file.tell() <= already:
                        raise
                time.sleep(PAUSE_S)
            resumed = bar.offset > 0
        _check(Path(temporary), bar.whole, expected)

    pooch.get_logger().setLevel("WARNING")
    try:
        target.unlink(missing_ok=True)  # it is damaged, and pooch would take it
        pooch.retrieve(url, None, target.name, target.parent, downloader=get)
    except _DownloadError as error:
        raise UserError(f"{url} {error}: nothing was kept; check the URL, the hash and the network{by_hand}") from None
    except RequestException as error:
        answer = error.response
        if answer is None or answer.is_redirect:  # the last of too many
            reason = _reason(error)
        else:
            reason = f"HTTP {answer.status_code} {answer.reason}"
        raise UserError(f"{url} cannot be downloaded ({reason}): check the URL and the connection{by_hand}") from None
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # no URL
        raise UserError(f"{url} cannot be downloaded ({error}): check the URL{by_hand}") from None
    return resumed


class _DownloadError(Exception):
    """What is wrong with a download."""


class _WatchedBar(DownloadBar):
    """Ends a download that is too large or too slow, and knows which part of the file an answer has."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._done, self._began = 0, time.monotonic()
        self._version = ""
        self.offset = 0
        """bytes of the file before the present answer"""
        self.whole = 0
        """bytes of the file, as the server says; 0: it does not"""

    @contextmanager
    def answers(self, file: BinaryIO) -> Iterator[dict[str, Callable[..., None]]]:
        """The hook for requests that looks at an answer before its content is written into `file`."""
        with ExitStack() as stack:

            def look(response: "Response", **_: object) -> None:
                stack.callback(response.close)
                if response.status_code == 416:
                    raise _DownloadError(f"broke off after {file.tell():,} of {self.whole:,} bytes")
                if not response.ok or response.is_redirect:
                    return
                self.offset = file.tell() if response.status_code == 206 else 0
                stated = response.headers.get("Content-Range", "")
                if self.offset and not stated.startswith(f"bytes {self.offset}-"):
                    raise _DownloadError(f"sent {stated or 'an unnamed part'} where the rest of the file was asked for")
                file.seek(self.offset)
                file.truncate()
                length = int(response.headers.get("Content-Length", 0))
                self.whole = length and self.offset + length
                # A part of another version of the file must not be put behind this one: no version, no rest.
                version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                is_exact = not version.startswith("W/") and "Content-Encoding" not in response.headers
                self._version = version if is_exact else ""

            yield {"response": look}

    def rest(self, start: int) -> dict[str, str]:
        """The headers that ask for what follows byte `start`, if the file is still the same; else for all of it."""
        return {"Range": f"bytes={start}-", "If-Range": self._version} if start and self._version else {}

    def update(self, count: int) -> None:
        self.total = self.whole  # pooch sets it to the length of the present answer
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
    actual = file_hash(path)
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


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """In hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
