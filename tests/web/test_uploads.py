"""What was uploaded goes: its EXIF says where somebody was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from llava_chat.store import ConversationStore
from llava_chat.web.uploads import SENT_GRACE_S, UNSENT_AGE_S, forget, sweep, sweeping
from tests.web.conftest import run

SECRET_MARKS = (b"Exif\0", b"Secret Camera")
# The age at which a file is swept now that would be swept when the grace of one just sent is over.
AFTER_GRACE_S = UNSENT_AGE_S - SENT_GRACE_S - 1


def telling(folder: Path) -> list[Path]:
    """Files that hold EXIF."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(mark in path.read_bytes() for mark in SECRET_MARKS)]


def test_the_picture_has_a_secret_to_keep(draw: Callable[[str], Path]) -> None:
    assert telling(draw("red").parent)


def upload(server: str, picture: Path, name: str = "cat.jpg") -> dict[str, object]:
    """Upload as a browser does; returns what it then sends."""
    files = {"files": (name, picture.read_bytes())}
    (path,) = httpx2.post(f"{server}gradio_api/upload", files=files).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_no_original_stays_long_once_it_was_sent(
    server: str, data_dir: Path, draw: Callable[[str], Path]
) -> None:
    client = Client(server, verbose=False)
    client.predict("Look", [handle_file(str(draw("teal")))], api_name="/chat")
    assert list(data_dir.glob("pictures/*/*.png"))
    sweep(data_dir / "uploads", AFTER_GRACE_S)
    assert telling(data_dir) == []


def test_an_upload_waits_in_the_data_folder_and_can_be_sent_after_a_refusal(
    server: str, data_dir: Path, draw: Callable[[str], Path]
) -> None:
    picture = upload(server, draw("olive"))
    path = Path(str(picture["path"]))
    assert path.is_relative_to(data_dir / "uploads")
    client = Client(server, verbose=False)
    with pytest.raises(AppError, match="empty"):
        client.predict(" ", [picture], api_name="/chat")
    sweep(data_dir / "uploads", AFTER_GRACE_S)
    assert path.exists()
    client.predict("Look", [picture], api_name="/chat")
    sweep(data_dir / "uploads", AFTER_GRACE_S)
    assert not path.exists()


@pytest.mark.parametrize("name", ["../../x.jpg", "a\0b.jpg", "x" * 400 + ".jpg", "\u202e.jpg"])
def test_a_file_is_kept_under_a_name_of_our_own(
    server: str, store: ConversationStore, data_dir: Path, draw: Callable[[str], Path], name: str
) -> None:
    drawing = draw("lime")
    before = {path for path in data_dir.parent.rglob("*") if path.is_file()}
    picture = upload(server, drawing, name)
    client = Client(server, verbose=False)
    client.predict("Look", [picture], api_name="/chat")
    added = {path for path in data_dir.parent.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(data_dir) for path in added)
    assert not [path for path in added if path.suffix == ".png" and len(path.stem) != 64]


def test_two_people_can_send_the_same_file(server: str, draw: Callable[[str], Path]) -> None:
    drawn = draw("navy")
    mine, theirs = upload(server, drawn), upload(server, drawn)
    assert mine == theirs  # the same content under the same name is one file
    for picture in (mine, theirs):
        Client(server, verbose=False).predict("Look", [picture], api_name="/chat")


def test_uploading_a_file_again_keeps_it_from_going(
    server: str, data_dir: Path, draw: Callable[[str], Path]
) -> None:
    picture = upload(server, draw("lime"))
    forget([Path(str(picture["path"]))])
    assert upload(server, draw("lime")) == picture
    sweep(data_dir / "uploads", AFTER_GRACE_S)
    assert Path(str(picture["path"])).exists()


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
    sweep(tmp_path, age_s=60)
    assert young.exists() and outside.exists()
    assert not old.exists() and not (old.parent / "link").is_symlink()
    sweep(tmp_path / "missing")


async def swept_by_a_server(folder: Path, file: Path) -> None:
    """Run the lifespan until the file is gone."""
    async with asyncio.timeout(60), sweeping(folder, every_s=0)(None):
        while file.exists():
            await asyncio.sleep(0)


def test_a_server_sweeps_from_its_start_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.touch()
    forget([file], grace_s=-1)
    run(swept_by_a_server(tmp_path, file))
    assert not file.exists()


def test_forgetting_twice_or_what_is_gone_is_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.touch()
    forget([file, file, tmp_path / "missing.jpg"])
    sweep(tmp_path, AFTER_GRACE_S)
    assert not file.exists()
