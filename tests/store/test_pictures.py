"""Pictures on the disk: whole, bare, shared, and gone with the last conversation that has them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import event

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.image import Picture, picture_from_image
from llava_chat.store import ConversationStore

OpenStore = Callable[..., ConversationStore]


def _files(database_file: Path) -> set[str]:
    folder = database_file.parent / "pictures"
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_a_kept_picture_is_a_bare_png_named_by_its_hash(
    store: ConversationStore, database_file: Path
) -> None:
    noted = PngImagePlugin.PngInfo()
    noted.add_text("Author", "somebody")
    exif = Image.Exif()
    exif[0x010E] = "a place"
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(
        file, "PNG", pnginfo=noted, exif=exif, icc_profile=b"profile"
    )
    picture = picture_from_image(Image.open(file))
    store.keep_picture(picture)
    assert _files(database_file) == {f"{picture.id[:2]}/{picture.id}.png"}
    content = (database_file.parent / "pictures" / _files(database_file).pop()).read_bytes()
    assert not any(kind in content for kind in (b"tEXt", b"eXIf", b"iCCP", b"tIME"))
    found = store.picture(picture.id)
    assert found == picture
    assert (found.width, found.height, found.notice) == (40, 30, None)
    assert isinstance(found.source, Path)
    assert found.rgb().tobytes() == picture.rgb().tobytes()


def test_a_notice_is_kept(store: ConversationStore, red: Picture) -> None:
    told = Picture(red.id, red.width, red.height, red.source, "Only the first frame is used.")
    store.keep_picture(told)
    store.keep_picture(red)
    assert store.picture(red.id).notice == told.notice


@pytest.mark.parametrize("picture_id", ["", "0" * 64, "../../../etc/passwd", "a" * 63, "A" * 64])
def test_unknown_pictures_are_refused(store: ConversationStore, picture_id: str) -> None:
    with pytest.raises(NotFoundError):
        store.picture(picture_id)


def test_others_can_write_while_a_picture_is_encoded(open_store: OpenStore, red: Picture) -> None:
    store, other = open_store(), open_store(busy_timeout_s=0.1)
    chat = store.create("ann").id

    class Observed(Picture):
        def rgb(self) -> Image.Image:
            other.create("bob", title="meanwhile")
            return super().rgb()

    store.add_user("ann", chat, "look", (Observed(red.id, red.width, red.height, red.source),))
    assert [summary.title for summary in other.list("bob")] == ["meanwhile"]
    assert store.picture(red.id).rgb().tobytes() == red.rgb().tobytes()


def test_a_picture_goes_with_the_last_conversation_that_has_it(
    store: ConversationStore, database_file: Path, red: Picture, blue: Picture
) -> None:
    ann, bob = store.create("ann").id, store.create("bob").id
    asked = store.add_user("ann", ann, "both", (red, blue))
    # A version that is not on the active path still counts.
    store.add_user("ann", ann, "edited", (), parent_id=asked.parent_id)
    store.add_user("bob", bob, "one", (red,))
    store.delete("ann", ann)
    assert store.picture(red.id) == red
    with pytest.raises(NotFoundError):
        store.picture(blue.id)
    store.delete("bob", bob)
    assert _files(database_file) == set()


def test_a_picture_waiting_to_be_sent_outlives_others_deletions(
    store: ConversationStore, red: Picture, blue: Picture
) -> None:
    store.keep_picture(blue)
    chat = store.create("ann").id
    store.add_user("ann", chat, "look", (red,))
    store.delete("ann", chat)
    assert store.picture(blue.id) == blue


def test_a_lost_file_comes_back_when_the_picture_is_sent_again(
    store: ConversationStore, database_file: Path, red: Picture
) -> None:
    store.keep_picture(red)
    (database_file.parent / "pictures" / _files(database_file).pop()).unlink()
    with pytest.raises(NotFoundError, match="send it again"):
        store.picture(red.id)
    chat = store.create("ann").id
    store.add_user("ann", chat, "look", (red,))
    assert store.picture(red.id).rgb().tobytes() == red.rgb().tobytes()


def test_what_a_refused_message_or_a_killed_program_left_goes_at_a_start(
    open_store: OpenStore, database_file: Path, red: Picture, blue: Picture
) -> None:
    store = open_store()
    store.keep_picture(red)
    folder = database_file.parent / "pictures" / "ab"
    folder.mkdir()
    old, half, young = folder / f"{blue.id}.png", folder / "x.part", folder / f"{'a' * 64}.png"
    for file in (old, half, young):
        file.touch()
    for file in (old, half, *database_file.parent.glob(f"pictures/*/{red.id}.png")):
        os.utime(file, (0, 0))
    again = open_store()
    assert not old.exists() and not half.exists()
    assert young.exists()
    assert again.picture(red.id) == red


def test_when_the_disk_refuses_a_picture_its_message_is_not_kept(
    store: ConversationStore, database_file: Path, red: Picture
) -> None:
    chat = store.create("ann").id
    in_the_way = database_file.parent / "pictures"
    in_the_way.write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be read or written"):
        store.add_user("ann", chat, "look", (red,))
    assert store.load("ann", chat).path == ()
    in_the_way.unlink()
    store.add_user("ann", chat, "look", (red,))
    assert store.picture(red.id) == red


def test_pictures_are_found_in_one_look_and_lost_ones_are_named_when_asked_for(
    store: ConversationStore, database_file: Path, red: Picture, blue: Picture
) -> None:
    store.keep_picture(red)
    store.keep_picture(blue)
    told: list[str] = []
    event.listen(
        store._database._engine, "before_cursor_execute", lambda *args: told.append(args[2])
    )
    found = store.pictures([red.id, blue.id, red.id, "0" * 64, "no hash"])
    assert dict(found) == {red.id: red, blue.id: blue}
    assert found[red.id].rgb().tobytes() == red.rgb().tobytes()
    assert len([query for query in told if query.startswith("SELECT")]) == 1
    (database_file.parent / "pictures" / red.id[:2] / f"{red.id}.png").unlink()
    left = store.pictures([red.id, blue.id])
    assert set(left) == {blue.id}
    with pytest.raises(NotFoundError, match="send it again"):
        left[red.id]


def test_a_message_and_its_pictures_are_committed_together(
    store: ConversationStore, red: Picture, blue: Picture
) -> None:
    commits: list[object] = []
    event.listen(store._database._engine, "commit", commits.append)
    asked = store.add_user("ann", None, "both", (red, blue))
    assert len(commits) == 1
    assert set(store.pictures(asked.picture_ids)) == {red.id, blue.id}
