"""One key signs the sessions of a server, at every start and in every process."""

from __future__ import annotations

import multiprocessing
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from llava_chat.errors import LlavaChatError
from llava_chat.settings import Settings, variables
from llava_chat.web.signing_key import signing_key


@pytest.fixture(autouse=True)
def no_key_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in variables("secret"):
        monkeypatch.delenv(variable, raising=False)


def test_a_key_that_is_set_is_the_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, secret=SecretStr("correct horse battery staple"))
    assert signing_key(settings) == "correct horse battery staple"
    assert list(tmp_path.iterdir()) == []


def test_the_signing_key_is_drawn_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data")
    key = signing_key(settings)
    assert len(key) >= 32
    assert signing_key(settings) == key
    files = list(settings.data_dir.iterdir())
    assert [file.name for file in files] == ["signing-key"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "\n", "0123456789abcde\n"])
def test_a_key_file_that_is_too_short_is_refused_and_left_as_it_is(
    content: str, tmp_path: Path
) -> None:
    file = tmp_path / "signing-key"
    file.write_text(content)
    wanted = rf"key in .*signing-key has {len(content.strip())} char.* delete .*LLAVA_CHAT_SECRET"
    with pytest.raises(LlavaChatError, match=wanted):
        signing_key(Settings(data_dir=tmp_path))
    assert file.read_text() == content


def test_the_key_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def observed(descriptor: int) -> None:
        fsync(descriptor)
        assert not (tmp_path / "signing-key").exists()
        synced.append(os.pread(descriptor, 100, 0).decode())

    monkeypatch.setattr(os, "fsync", observed)
    key = signing_key(Settings(data_dir=tmp_path))
    assert synced == [key]


def _key_of(folder: str) -> str:
    return signing_key(Settings(data_dir=Path(folder)))


def test_processes_that_start_together_agree_on_the_signing_key(tmp_path: Path) -> None:
    # New processes: a fork has the locks and signal handlers of whatever ran here before.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=fresh) as processes:
        assert len(set(processes.map(_key_of, [str(tmp_path)] * 16))) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LlavaChatError, match=r"signing-key cannot be kept .*--data-dir"):
        signing_key(Settings(data_dir=tmp_path / "file"))
