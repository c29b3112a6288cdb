"""Tars of rows and of pictures, read by offset and never unpacked.

WebDataset's convention (https://github.com/webdataset/webdataset): members that stand together and
share what is before the first dot of their names are one sample: `KEY.jpg` and `KEY.json`, a row
without its picture, or `KEY.txt`, a caption. Imports numpy, image, errors and the modules beside.
"""

from __future__ import annotations

import hashlib
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from llava_chat.errors import PictureError, TrainingDataError
from llava_chat.image import check_name
from llava_chat.training.data.sources import Absent, Member, Pictures, Source
from llava_chat.training.data.strict import MAX_ROW_BYTES, RowProblem, check_size, parsed

Kind = Literal["json", "txt", "picture"]
_KINDS: tuple[Kind, ...] = ("json", "txt", "picture")
_KIND_OF: dict[str, Kind] = {
    ".json": "json",
    ".txt": "txt",
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".gif"), "picture"),
}


class TarFile:
    """The samples of one tar, as rows. It keeps 24 bytes a member."""

    def __init__(self, path: Path) -> None:
        self.path = path
        digest = hashlib.sha256()
        firsts, members = array("q"), array("q")
        last_key: tuple[str, str] | None = None
        for name, member in tar_members(path):
            kind = _KIND_OF.get(PurePosixPath(name).suffix.lower())
            key = _key(name)
            if kind is None or not key[1]:
                continue
            if key != last_key:
                firsts.append(len(members) // 3)
                last_key = key
            members.extend((_KINDS.index(kind), member.start, member.size))
            digest.update(f"{name}\0{member.size}\0".encode(errors="surrogateescape"))
            if kind != "picture":
                digest.update(member.read(MAX_ROW_BYTES))
        if not firsts:
            raise TrainingDataError(f"{path}: the tar holds no KEY.json or KEY.txt with a KEY.jpg")
        self.fingerprint = digest.hexdigest()[:16]
        self._members = np.frombuffer(members, np.int64).reshape(-1, 3)
        self._firsts = np.append(np.frombuffer(firsts, np.int64), len(self._members))

    def __len__(self) -> int:
        return len(self._firsts) - 1

    def row(self, number: int, where: str) -> Any:
        """A sample as a row of the instruction format."""
        found: dict[Kind, list[Member]] = {kind: [] for kind in _KINDS}
        for kind, start, size in self._members[self._firsts[number] : self._firsts[number + 1]]:
            found[_KINDS[kind]].append(Member(self.path, int(start), int(size)))
        row = parsed(_text(found["json"][0], where), where) if found["json"] else None
        if isinstance(row, dict) and "conversations" not in row:
            row = _captioned(row.get("caption"), found) if not found["txt"] else None
        if row is None and found["txt"]:
            row = _captioned(_text(found["txt"][0], where).decode(errors="replace"), found)
        if row is None:
            sentence = f"{where}: there is no KEY.json with conversations, and no KEY.txt"
            raise RowProblem("no text", sentence)
        if isinstance(row, dict):
            if "id" not in row:
                row["id"] = _key((found["json"] or found["txt"])[0].name)[1]
            if found["picture"]:
                row["image"] = tuple(found["picture"])
        return row


def _captioned(caption: Any, found: dict[Kind, list[Member]]) -> dict[str, Any] | None:
    """A caption as a row: what the picture shows, asked without a word."""
    if not isinstance(caption, str):
        return None
    asked = {"from": "human", "value": "<image>" * len(found["picture"])}
    return {"conversations": [asked, {"from": "gpt", "value": caption.strip()}]}


def _text(member: Member, where: str) -> bytes:
    check_size(member.size, where)
    try:
        return member.read(member.size)
    except PictureError as error:
        raise TrainingDataError(f"{where}: {error}") from error


def _key(name: str) -> tuple[str, str]:
    """The folder of a member, and its key.

    >>> _key("coco/000001.left.jpg")
    ('coco', '000001')
    """
    path = PurePosixPath(name)
    return str(path.parent), path.name.partition(".")[0]


def tar_members(path: Path) -> Iterator[tuple[str, Member]]:
    """The name and place of every file in a tar.

    Raises TrainingDataError for what is no plain, whole tar, for a name that leads out of a folder
    and for a link; OSError.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            while (found := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep a kilobyte of each
                if found.isdir():
                    continue
                if not found.isreg() or found.issparse():
                    raise TrainingDataError(f"{path}, {found.name!r}: it is a link, not a file")
                check_name(found.name)
                yield found.name, Member(path, found.offset_data, found.size)
    except PictureError as error:
        raise TrainingDataError(f"{path}: {error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise TrainingDataError(
            f"{path}: it is no tar, a compressed one (unpack it to .tar) or one that is cut off "
            f"({error})"
        ) from error


class TarPictures:
    """Pictures in tars, by the names of their members; looked for elsewhere where none has one.

    It keeps 32 bytes a picture: a hash of the name, the tar and the place in it.
    """

    def __init__(self, tars: Sequence[Path], elsewhere: Pictures | None = None) -> None:
        self._tars = tars
        self._elsewhere = elsewhere
        hashes, places = array("Q"), array("q")
        for number, tar in enumerate(tars):
            for name, member in tar_members(tar):
                hashes.append(_hash(name))
                places.extend((number, member.start, member.size))
        order = np.argsort(np.frombuffer(hashes, np.uint64), kind="stable")
        self._hashes = np.frombuffer(hashes, np.uint64)[order]
        self._places = np.frombuffer(places, np.int64).reshape(-1, 3)[order]

    def find(self, name: str) -> Source:
        """The member of that name, Absent where there is none. Raises PictureError."""
        check_name(name)
        wanted = np.uint64(_hash(name))
        place = int(np.searchsorted(self._hashes, wanted))
        if place < len(self._hashes) and self._hashes[place] == wanted:
            tar, start, size = map(int, self._places[place])
            return Member(self._tars[tar], start, size)
        if self._elsewhere is not None:
            return self._elsewhere.find(name)
        return Absent(f"there is no {name!r} in {', '.join(map(str, self._tars))}")


def _hash(name: str) -> int:
    """64 bits: among a million names two are the same once in forty million times."""
    plain = str(PurePosixPath(name)).encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(plain, digest_size=8).digest(), "little")
