"""What was uploaded goes: its EXIF says where somebody was."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from llava_chat.web.uploads import forget, forget_leftovers

SECRET_MARKS = (b"Exif\0", b"Secret Camera")


def telling(folder: Path) -> list[Path]:
    """Files that hold EXIF."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(mark in path.read_bytes() for mark in SECRET_MARKS)]


def test_the_picture_has_a_secret_to_keep(draw: Callable[[str], Path]) -> None:
    assert telling(draw("red").parent)


def test_no_original_stays_once_it_was_sent(
    server: str, data_dir: Path, draw: Callable[[str], Path]
) -> None:
    client = Client(server, verbose=False)
    client.predict("Look", [handle_file(str(draw("teal")))], api_name="/chat")
    assert list(data_dir.glob("pictures/*/*.png"))
    assert telling(data_dir) == []


def test_an_upload_waits_in_the_data_folder_and_can_be_sent_after_a_refusal(
    server: str, data_dir: Path, draw: Callable[[str], Path]
) -> None:
    files = {"files": ("cat.jpg", draw("olive").read_bytes())}
    (path,) = httpx.post(f"{server}gradio_api/upload", files=files).json()
    assert Path(path).is_relative_to(data_dir / "uploads")
    client = Client(server, verbose=False)
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="empty"):
        client.predict(" ", [picture], api_name="/chat")
    assert Path(path).exists()
    client.predict("Look", [picture], api_name="/chat")
    assert not Path(path).exists()


def test_what_an_earlier_run_left_goes_by_age(tmp_path: Path) -> None:
    old, young = tmp_path / "a" / "old.jpg", tmp_path / "b" / "young.jpg"
    outside = tmp_path.parent / "outside.jpg"
    outside.touch()
    for path in (old, young):
        path.parent.mkdir()
        path.touch()
    (old.parent / "link").symlink_to(outside)
    for path in (old, old.parent / "link", old.parent):
        os.utime(path, (0, 0), follow_symlinks=False)
    forget_leftovers(tmp_path, age_s=60)
    assert young.exists() and outside.exists()
    assert not old.exists() and not (old.parent / "link").is_symlink()
    forget_leftovers(tmp_path / "missing")


def test_forgetting_twice_is_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.touch()
    forget([file, file])
    assert not file.exists()
