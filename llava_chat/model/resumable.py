"""Large files of the Hub, resumed: what came before a process or a connection ended is kept.

huggingface_hub writes to a temporary file of each process and deletes it when that stops (in 2.x
and the later 1.x): gigabytes of a shard would have to come again. Here a file comes over plain HTTP
with Range requests into a part that lies in the cache under the SHA-256 of the whole. When it has
that, it becomes `blobs/<sha256>`, where huggingface_hub finds it and only makes the link. Its
token, endpoint, proxies, timeout and locks hold here too.

Given up are Xet's chunks, which come in parallel and are shared between files. By plain HTTP the
Hub gives what is stored in Xet too, up to 50 GB a file; and where a stream stopped is known from
the length of what came, while a file that Xet stopped writing has holes. Imports errors, and
huggingface_hub when it is called.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llava_chat.errors import CheckpointError

LARGE_BYTES = 64 * 2**20  # from here on: less comes again in the time of a few requests
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 8.0)  # between tries of which none brought a byte
_READ_BYTES = 2**20
_MAY_PASS = (408, 429)  # of the statuses below 500: Request Timeout, Too Many Requests


@dataclass(frozen=True)
class LargeFile:
    """A file of Git LFS on the Hub, and its places in the cache.

    name: for people. url: of its content in one commit. size in bytes, sha256 in hex: as the Hub
    lists them. target: where the whole is put. part: what has come so far, from the first byte on.
    lock: huggingface_hub's own for this content.
    """

    name: str
    url: str
    size: int
    sha256: str
    target: Path
    part: Path
    lock: Path

    @property
    def held(self) -> int:
        """Bytes that the part holds; none if it is longer than the file can be."""
        length = self.part.stat().st_size if self.part.exists() else 0
        return length if length <= self.size else 0


def download(file: LargeFile, counted: int, tell: Callable[[int], None]) -> None:
    """Get what a part lacks, and put the whole in its place.

    tell: takes how many bytes more are there (fewer when a server made it begin again) than the
    `counted` it knows of. While another process downloads the file, this one waits for it. Raises
    CheckpointError when the content is not what the Hub lists, and whatever the client or the disk
    raise when it does not come; the part is kept then.
    """
    from huggingface_hub.utils import WeakFileLock

    def at(length: int) -> None:
        nonlocal counted
        tell(length - counted)
        counted = length

    for path in (file.lock, file.part, file.target):
        path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(file.lock):
        if not file.target.exists():
            _complete(file, at)
            os.replace(file.part, file.target)
    at(file.size)


def _complete(file: LargeFile, at: Callable[[int], None]) -> None:
    """Write what the part lacks, and compare the SHA-256 of the whole."""
    held = file.held
    file.part.touch()
    # Not in append mode: where locks do not hold (some network file systems), two processes write
    # the same bytes to the same places.
    with file.part.open("r+b") as part:
        part.truncate(held)
        digest = hashlib.sha256()
        while piece := part.read(_READ_BYTES):
            digest.update(piece)
        with closing(_pieces(file, held)) as pieces:
            for start, piece in pieces:
                if start < part.tell():
                    part.seek(start)
                    part.truncate()
                    digest = hashlib.sha256()
                part.write(piece)
                part.flush()  # whatever happens to this process now, it is kept
                digest.update(piece)
                at(part.tell())
        os.fsync(part.fileno())  # in its place it is never compared again
    if digest.hexdigest() != file.sha256:
        file.part.unlink()
        raise CheckpointError(
            f"{file.name} came with other content than the Hub lists (its SHA-256 differs); what "
            "came is deleted: start the download again."
        )


def _pieces(file: LargeFile, start: int) -> Generator[tuple[int, bytes], None, None]:
    """The bytes from `start` on, each piece with its place: 0 again where ranges are not known.

    What ends a connection lies outside: it is made again after a pause, as long as that brings the
    file further, and some times more.
    """
    place = furthest = start
    failures = 0
    while place < file.size:
        failure: Exception = ConnectionError("the server ended the file before its end")
        try:
            for offset, piece in _answer(file, place):
                yield offset, piece
                place = offset + len(piece)
        # The client of huggingface_hub is httpx or httpx2, with exceptions of its own each.
        except Exception as error:
            if not _may_pass(error):
                raise
            failure = error
        if place >= file.size:
            return
        if place > furthest:
            furthest, failures = place, 0
        if failures == len(_PAUSES_S):
            raise failure
        time.sleep(_PAUSES_S[failures])
        failures += 1


def _answer(file: LargeFile, start: int) -> Iterator[tuple[int, bytes]]:
    """What one request brings. The client takes the token off where it is sent to another host."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    headers = build_hf_headers() | {"accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", file.url, headers=headers, timeout=timeout_s) as response:
        hf_raise_for_status(response)
        length = _whole_length(response.status_code, response.headers)
        if length not in (None, file.size):  # a proxy's page, say: the part is not given up for it
            raise CheckpointError(
                f"{file.name} has {file.size} bytes on the Hub, and what answered has {length}; "
                "see whether a proxy or a login page is in between, and start the download again."
            )
        offset = start if response.status_code == 206 else 0
        for piece in response.iter_bytes():
            yield offset, piece
            offset += len(piece)


def _whole_length(status: int, headers: Mapping[str, str]) -> int | None:
    """Bytes of the whole file that an answer gives, or gives a range of; None if it does not say.

    >>> _whole_length(200, {"content-length": "9"})
    9
    >>> _whole_length(206, {"content-length": "4", "content-range": "bytes 5-8/9"})
    9
    """
    if headers.get("content-encoding", "identity") != "identity":
        return None
    if status == 206:
        length = headers.get("content-range", "").rpartition("/")[2]
    else:
        length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _may_pass(error: Exception) -> bool:
    """Whether a failed request may succeed when it is made again: no refusal, no wrong content."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status >= 500 or status in _MAY_PASS
    return not isinstance(error, CheckpointError)
