"""The boxes that a reply names, on the picture that it speaks of."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from PIL import Image

from llava_chat.image import picture_from_image
from llava_chat.store.stored import Message, ReplyRecord
from llava_chat.web.chat import thread
from llava_chat.web.chat.boxes import MAX_BOXES, boxed_picture, boxes_in, unpadded
from tests.web.test_page_views import HOSTILE, conversation, message

PICTURE = picture_from_image(Image.new("RGB", (200, 100), "white"))
OTHER = picture_from_image(Image.new("RGB", (100, 100), "black"))
PICTURES = {PICTURE.id: PICTURE, OTHER.id: OTHER}


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("[0.10, 0.20, 0.30, 0.40]", ((0.1, 0.2, 0.3, 0.4),)),
        ("at [.1,.2,1,1.0].", ((0.1, 0.2, 1.0, 1.0),)),
        ("[0, 0, 0.5, 0.5] and [0.5, 0.5, 1, 1]", ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1))),
        ("[0.3, 0.2, 0.1, 0.4]", ()),
        ("[0.1, 0.2, 0.3]", ()),
        ("[0.1, 0.2, 1.3, 0.4]", ()),
        ("[10, 20, 30, 40]", ()),
        ("[1](http://a.test), [a, b, c, d]", ()),
        (HOSTILE, ()),
    ],
)
def test_boxes_are_found_in_a_reply(text: str, boxes: tuple[object, ...]) -> None:
    assert boxes_in(text) == boxes


def test_a_reply_that_repeats_itself_has_an_end() -> None:
    assert len(boxes_in("[0.1, 0.2, 0.3, 0.4] " * 500)) == MAX_BOXES


@pytest.mark.parametrize(
    ("size", "padded", "own"),
    [
        ((200, 100), (0.0, 0.25, 0.5, 0.75), (0.0, 0.0, 0.5, 1.0)),
        ((100, 200), (0.25, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.5)),
        ((100, 100), (0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)),
        ((200, 100), (0.1, 0.1, 0.9, 0.9), (0.1, 0.0, 0.9, 1.0)),
    ],
)
def test_a_box_on_the_padded_square_comes_back_to_the_picture(
    size: tuple[int, int], padded: tuple[float, ...], own: tuple[float, ...]
) -> None:
    left, top, right, bottom = padded
    assert unpadded((left, top, right, bottom), *size) == pytest.approx(own)


def test_what_is_drawn_is_where_the_box_is() -> None:
    html = boxed_picture(PICTURE, ((0.1, 0.2, 0.4, 0.6),))
    assert f'data-full="pictures/{PICTURE.id}"' in html
    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</button>")])
    rects = [part.attrib for part in svg.iter("rect")]
    wanted = {"x": "0.1000", "y": "0.2000", "width": "0.3000", "height": "0.4000"}
    assert rects == [wanted, wanted]


def asked(*picture_ids: str) -> Message:
    return message("user", "Where?", picture_ids=picture_ids)


def test_the_last_picture_that_was_shown_is_the_one_in_question() -> None:
    reply = message("assistant", "[0.00, 0.25, 0.50, 0.75]")
    path = conversation(asked(PICTURE.id), reply, asked(OTHER.id), reply, asked(), reply)
    shown = thread.thread(path, PICTURES, replying=False).split("<li")
    assert [f"pictures/{PICTURE.id}" in shown[2], f"pictures/{OTHER.id}" in shown[2]] == [1, 0]
    assert all(f"pictures/{OTHER.id}" in item and "<rect" in item for item in (shown[4], shown[6]))


def test_boxes_of_the_padded_square_are_shown_on_the_picture() -> None:
    path = conversation(asked(PICTURE.id), message("assistant", "[0.00, 0.25, 0.50, 0.75]"))
    plain = thread.thread(path, PICTURES, replying=False)
    padded = thread.thread(path, PICTURES, replying=False, padded_boxes=True)
    assert 'y="0.2500" width="0.5000" height="0.5000"' in plain
    assert 'y="0.0000" width="0.5000" height="1.0000"' in padded


def test_a_reply_keeps_the_boxes_of_the_model_that_wrote_it() -> None:
    record = ReplyRecord("a", "1", "vicuna_v1", None, {}, 9, 3, None, 0.1, "0")
    for padded in (False, True):
        written = replace(record, padded_boxes=padded)
        reply = message("assistant", "[0.00, 0.25, 0.50, 0.75]", record=written)
        path = conversation(asked(PICTURE.id), reply)
        shown = [
            thread.thread(path, PICTURES, replying=False, padded_boxes=now)
            for now in (False, True, None)
        ]
        assert shown[0] == shown[1] == shown[2]
        assert ('height="1.0000"' in shown[0]) is padded
    unknown = message("assistant", "[0.00, 0.25, 0.50, 0.75]", record=record)
    path = conversation(asked(PICTURE.id), unknown)
    assert "<rect" not in thread.thread(path, PICTURES, replying=False, padded_boxes=None)


def test_without_a_picture_or_a_box_nothing_is_drawn() -> None:
    boxed = message("assistant", "[0.00, 0.25, 0.50, 0.75]")
    plain = message("assistant", "It is red.")
    for path in (conversation(asked(), boxed), conversation(asked(PICTURE.id), plain)):
        assert "<rect" not in thread.thread(path, PICTURES, replying=False)
