"""Downloads a file over HTTP: resumes what an earlier attempt left and tries again with growing pauses."""

from __future__ import annotations

import http
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, NoReturn

from ... import __version__
from ...errors import AssetError
from .manifest import chunks

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with what is being done, the bytes done so far, and the bytes in all (None: not known)."""

ATTEMPTS_WITHOUT_PROGRESS = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 5.0
MAX_ARCHIVE_BYTES = 4 << 30


class UnavailableError(AssetError):
    """A source cannot give what is asked of it; another one may."""


class NotThereError(UnavailableError):
    """The address answers that it has no such file."""


class _PassingError(Exception):
    """A failure that another attempt may not meet."""


def require_answer(url: str) -> None:
    """Ask once, and briefly, whether an address can be reached from here; what `download` tries for minutes.

    Raises:
        UnavailableError: It does not answer, or refuses.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"vlagym/{__version__}"}, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S).close()
    except (http.client.HTTPException, OSError) as error:
        raise UnavailableError(f"{url} does not answer ({_reason(error)}).") from error


def download(url: str, target: Path, progress: ProgressCallback) -> None:
    """Download `url` to `target`.

    What has arrived is kept beside it as ``NAME.part`` and continued by the next attempt or the next call. If the server says that
    the file has changed since, or cannot continue, the download starts over.

    Args:
        url: An http or https address.
        target: File to write; appears only when it is complete.
        progress: Told about every chunk.

    Raises:
        NotThereError: The server has no such file.
        AssetError: It refuses, or several attempts in a row brought nothing new.
    """
    part, validator = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.validator")
    failures, furthest = 0, part.stat().st_size if part.exists() else 0
    while True:
        try:
            _attempt(url, part, validator, lambda done, total: progress(f"downloading {target.name}", done, total))
            break
        except (_PassingError, http.client.HTTPException, OSError) as error:
            reached = part.stat().st_size if part.exists() else 0
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= ATTEMPTS_WITHOUT_PROGRESS:
                kept = f" {reached} bytes are kept; run the command again to go on from there." if reached else ""
                raise AssetError(
                    f"could not download {url}: {_reason(error)}, {failures} attempts in a row without progress.{kept} "
                    f"Without access to it, fetch from a folder that holds {target.name}: VLAGYM_ASSETS_MIRROR=FOLDER"
                ) from error
            time.sleep(min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S))
    part.replace(target)
    validator.unlink(missing_ok=True)


def _attempt(url: str, part: Path, validator: Path, progress: Callable[[int, int | None], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"vlagym/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text(encoding="ascii")
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        _raise_for_status(url, error, part)
    with response:
        start, total = _range_of(response, have)
        if start not in (0, have):
            part.unlink()
            raise _PassingError(f"the server continued at byte {start} instead of {have}")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if tag:
            validator.write_text(tag, encoding="ascii", errors="ignore")
        else:
            validator.unlink(missing_ok=True)
        done = start
        with _open_part(part, "ab" if start else "wb") as stream:
            for chunk in chunks(response):
                _write(stream, chunk)
                done += len(chunk)
                if done > MAX_ARCHIVE_BYTES:
                    raise AssetError(f"{url} is larger than {MAX_ARCHIVE_BYTES} bytes; it is not the archive that was expected.")
                progress(done, total)
    if total is not None and done != total:
        raise _PassingError(f"the connection ended after {done} of {total} bytes")


def _raise_for_status(url: str, error: urllib.error.HTTPError, part: Path) -> NoReturn:
    """Turn an HTTP status into a passing failure or an error."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink()
        raise _PassingError("the server cannot continue the download") from error
    if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise NotThereError(f"{url} does not exist (HTTP {error.code}).") from error
    if error.code < 500 and error.code not in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS):
        raise AssetError(f"{url} was refused: HTTP {error.code} {error.reason}.") from error
    raise _PassingError(f"HTTP {error.code} {error.reason}") from error


def _range_of(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """(first byte of the body, bytes of the whole file if known); the server may have ignored the range asked for."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None:
            return have, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _open_part(part: Path, mode: str) -> IO[bytes]:
    try:
        return part.open(mode)
    except OSError as error:
        raise _cannot_write(part, error) from error


def _write(stream: IO[bytes], chunk: bytes) -> None:
    try:
        stream.write(chunk)
    except OSError as error:
        raise _cannot_write(Path(stream.name), error) from error


def _cannot_write(part: Path, error: OSError) -> AssetError:
    # Not an OSError any more: the connection's failures are, and those are worth another attempt.
    return AssetError(f"cannot write {part}: {error.strerror}. Make room or choose another folder with VLAGYM_ASSETS_DIR.")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error or type(error).__name__)
