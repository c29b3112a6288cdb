"""Pairs from JSONL: what a row becomes, and the sentence for each way in which one can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_chat.conversation import Turn
from llava_chat.errors import TrainingDataError
from llava_chat.image import read_picture
from llava_chat.training.adapter.preferences import read_preferences


def message(role: str, *parts: str) -> dict[str, Any]:
    content = [
        {"type": "image"} if part == "<image>" else {"type": "text", "text": part} for part in parts
    ]
    return {"role": role, "content": content}


ROW: dict[str, Any] = {
    "prompt": [
        message("user", "<image>", "What colour is it?"),
        message("assistant", "Red."),
        message("user", "<image>", "And this?"),
    ],
    "chosen": [message("assistant", "Blue.")],
    "rejected": [message("assistant", "Red.")],
    "images": ["pictures/a.png", "pictures/b.png"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows" / "pictures").mkdir(parents=True)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (4, 3), colour).save(tmp_path / "rows" / "pictures" / f"{name}.png")
    Image.new("RGB", (4, 3)).save(tmp_path / "outside.png")
    return tmp_path / "rows"


def write(folder: Path, *rows: Any) -> Path:
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return file


def test_a_row_becomes_a_conversation_and_two_replies(folder: Path) -> None:
    spoken = {**ROW, "prompt": [{"role": "system", "content": "Be brief."}, *ROW["prompt"]]}
    first, second = read_preferences(write(folder, ROW, spoken), read_picture)
    red, blue = (read_picture(folder / name) for name in ROW["images"])
    assert first.prompt.turns == (
        Turn("user", "What colour is it?", (red,)),
        Turn("assistant", "Red."),
        Turn("user", "And this?", (blue,)),
    )
    assert (first.chosen, first.rejected) == ("Blue.", "Red.")
    assert first.with_reply("Blue.").turns[-1] == Turn("assistant", "Blue.")
    assert (first.prompt.system, second.prompt.system) == (None, "Be brief.")
    assert second.prompt.turns == first.prompt.turns and second.where.endswith("line 2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": []}, "line 1, prompt: it must be a list of messages"),
        ({"prompt": ROW["prompt"][:2]}, "line 1, prompt: it must end with a message of the user"),
        ({"prompt": ROW["prompt"][1:]}, "line 1, prompt, message 0: it must be of the user"),
        ({"chosen": []}, "line 1, chosen: it must be a list of one message"),
        ({"chosen": [message("user", "Hi")]}, "line 1, chosen: it must be a text of the assistant"),
        ({"rejected": [message("assistant", " ")]}, "line 1, rejected: it must be a text of the"),
        ({"rejected": ROW["chosen"]}, "line 1: chosen and rejected are the same reply"),
        ({"images": ["pictures/a.png"]}, "message 2: it has an image part without a path"),
        ({"images": [*ROW["images"], "pictures/a.png"]}, "images: there are more than"),
        ({"images": "pictures/a.png"}, "line 1, images: it must be a list of paths"),
        ({"images": ["../outside.png", "pictures/b.png"]}, "leaves the folder of pictures"),
        ({"images": ["/etc/passwd", "pictures/b.png"]}, "leaves the folder of pictures"),
        ({"images": ["pictures/c.png", "pictures/b.png"]}, "line 1, images: there is no file"),
        ({"images": ["pairs.jsonl", "pictures/b.png"]}, 'images: The picture "pairs.jsonl"'),
        ({"chosen": [{"role": "assistant", "content": [{"type": "video"}]}]}, "a part must be an"),
        ({"extra": float("nan")}, "line 1, extra: nan is no JSON number"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(
    folder: Path, change: dict[str, Any], said: str
) -> None:
    file = write(folder, {**ROW, **change})
    with pytest.raises(TrainingDataError) as refused:
        read_preferences(file, read_picture)
    assert str(refused.value).startswith(f"{file}, line 1") and said in str(refused.value)


@pytest.mark.parametrize("text", ["", "\n", "[", "[1]", "\ud83d\n"])
def test_a_file_that_holds_no_rows_is_refused(folder: Path, text: str) -> None:
    file = folder / "pairs.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(TrainingDataError, match=r"pairs\.jsonl"):
        read_preferences(file, read_picture)


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "pictures" / "link.png").symlink_to(folder.parent / "outside.png")
    file = write(folder, {**ROW, "images": ["pictures/link.png", "pictures/b.png"]})
    with pytest.raises(TrainingDataError, match="is a link out of the folder"):
        read_preferences(file, read_picture)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"none\.jsonl cannot be read"):
        read_preferences(tmp_path / "none.jsonl", read_picture)
