"""The page of wrong answers holds everything itself, and nothing in it is more than text."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from llava_chat.errors import BenchmarkError, PictureError
from llava_chat.evaluation.looking import PICTURE_SIDE_PX, Wrong, write_page
from llava_chat.image import Picture, picture_from_image

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_pictures_are_inside_and_small(tmp_path: Path) -> None:
    picture = picture_from_image(Image.new("RGB", (1200, 600), "red"))
    file = tmp_path / "wrong.html"
    write_page(file, "pope", [Wrong("7", "random", "Is it red?", "yes", "no", lambda: picture)])
    (image,) = Elements(file.read_text(encoding="utf-8")).named("img")
    head, data = str(image["src"]).split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (PICTURE_SIDE_PX, PICTURE_SIDE_PX // 2)


def test_whatever_it_shows_is_text(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    card = Wrong(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, notes={HOSTILE: HOSTILE})
    write_page(file, HOSTILE, [card], facts=[(HOSTILE, HOSTILE)])
    page = Elements(file.read_text(encoding="utf-8"))
    assert len(page.named("script")) == 1 and not page.named("img")
    assert all(not name.startswith("on") for _, attributes in page.found for name in attributes)
    assert "".join(page.text).count(HOSTILE) >= 8


def test_half_a_character_costs_no_page(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    write_page(file, "vqa", [Wrong("1", "other", "What?", "a smile", "\ud83d smile")])
    assert "? smile" in file.read_text(encoding="utf-8")


def test_it_asks_no_address(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    write_page(file, "vqa", [Wrong("1", "number", "How many?", "2", "3")])
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text.partition("<style>")[2])
    policy = str(Elements(text).named("meta")[1]["content"])
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_of_many_some_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    cards = [Wrong(f"q{number}", "other", "Why?", "this", "that") for number in range(1000)]
    write_page(file, "vqa", cards, most=10)
    page = Elements(file.read_text(encoding="utf-8"))
    assert len(page.named("article")) == 10
    assert "10 of 1,000 wrong answers, evenly taken." in page.text


def test_a_picture_that_is_gone_is_told(tmp_path: Path) -> None:
    def gone() -> Picture:
        raise PictureError("there is no file 7.png")

    file = tmp_path / "wrong.html"
    write_page(file, "pope", [Wrong("7", "random", "Is it red?", "yes", "", gone)])
    page = Elements(file.read_text(encoding="utf-8"))
    assert "No picture: there is no file 7.png" in page.text and "nothing" in page.text


def test_a_page_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="cannot be written: Is a directory"):
        write_page(tmp_path, "pope", [])
