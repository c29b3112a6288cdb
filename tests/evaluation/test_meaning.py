"""Answers in words of their own, right and wrong."""

import pytest

from llava_chat.evaluation.meaning import means
from llava_chat.training.scenes.exchange import Meaning

RED = Meaning(words=("colour", ("red",)))
OVAL = Meaning(words=("shape", ("oval",)))
LARGE = Meaning(words=("size", ("large",)))
TOP_LEFT = Meaning(words=("place", ("at the top left",)))
TOP = Meaning(words=("place", ("at the top",)))
MIDDLE = Meaning(words=("place", ("in the middle",)))
THREE = Meaning(count=3)
NONE = Meaning(count=0)
YES, NO = Meaning(yes=True), Meaning(yes=False)
DENIED = Meaning(denied=True)
STAR = Meaning(objects=(("blue", "star"),))
BOTH = Meaning(objects=(("blue", "star"), ("red", "cross")))
NOTHING = Meaning(objects=())
DETAIL = Meaning(
    objects=(
        ("large", "blue", "star", "at the top left"),
        ("small", "gray", "circle", "in the middle"),
    )
)
TOPIC = Meaning(topic="the colour of the red star")

RIGHT = [
    (RED, "red"),
    (RED, "It is red!"),
    (RED, "The circle at the top is red."),
    (Meaning(words=("colour", ("gray",))), "Grey."),
    (OVAL, "An ellipse."),
    (OVAL, "The red object is an oval"),
    (Meaning(words=("shape", ("cross",))), "It is a plus sign."),
    (LARGE, "It's big."),
    (Meaning(words=("size", ("medium",))), "medium-sized"),
    (TOP_LEFT, "upper left"),
    (TOP_LEFT, "In the top left corner."),
    (TOP_LEFT, "top-left"),
    (TOP, "At the top, in the center."),
    (MIDDLE, "In the centre of the picture."),
    (THREE, "Three."),
    (THREE, "3"),
    (THREE, "I can see three of them."),
    (NONE, "There are none."),
    (NONE, "0"),
    (NONE, "No circles."),
    (YES, "Yes."),
    (YES, "yes, there are two red stars"),
    (NO, "No, there is no star."),
    (DENIED, "There isn't a green star."),
    (DENIED, "I do not see any green star."),
    (DENIED, "I don\u2019t see one."),
    (STAR, "A blue star."),
    (STAR, "a blue star is left of the red circle."),
    (STAR, "To the left of the red circle is a blue star."),
    (STAR, "The nearest object is a large blue star."),
    (BOTH, "A red cross and a blue star are above it."),
    (BOTH, "Above the pink heart are a blue star and a red plus sign."),
    (NOTHING, "Nothing is left of the red circle."),
    (NOTHING, "There is nothing."),
    (NOTHING, "No object is above the blue star."),
    (NOTHING, "The picture is empty."),
    (DETAIL, "A small grey circle in the middle, and a big blue star in the upper left."),
    (DETAIL, "A large blue star is at the top left. A small gray circle is in the middle."),
    (TOPIC, "About the colour of the red star."),
    (TOPIC, "You asked me about the red star's color."),
]
WRONG = [
    (RED, "blue"),
    (RED, "red or blue"),
    (RED, "It is a circle."),
    (RED, "I do not know."),
    (RED, "The picture was scored."),
    (OVAL, "a circle"),
    (OVAL, "an oval or a circle"),
    (LARGE, "medium"),
    (LARGE, "It is not small."),
    (TOP_LEFT, "at the top"),
    (TOP_LEFT, "at the top right"),
    (TOP_LEFT, "at the bottom left"),
    (TOP, "at the top left"),
    (MIDDLE, "in the middle on the left"),
    (MIDDLE, "at the bottom"),
    (THREE, "four"),
    (THREE, "There are circles."),
    (THREE, "13"),
    (THREE, "No, there are none."),
    (NONE, "One."),
    (YES, "No."),
    (YES, "There are stars, yes, or no."),
    (NO, "Yes, there is no star."),
    (NO, "Nothing."),
    (DENIED, "It is at the top."),
    (DENIED, "Nothing is left of the green star."),
    (STAR, "A red star."),
    (STAR, "A star."),
    (STAR, "Nothing is left of the blue star."),
    (STAR, "A red circle is left of the blue star."),
    (STAR, "A blue star and a blue star are left of it."),
    (STAR, "It is left of the blue star."),
    (BOTH, "A blue star is above it."),
    (BOTH, "A blue cross and a red star are above it."),
    (NOTHING, "A red circle is left of it."),
    (NOTHING, "It is empty but for a red circle."),
    (DETAIL, "A large blue star at the top left."),
    (DETAIL, "A large blue star in the middle and a small gray circle at the top left."),
    (DETAIL, "A small blue star at the top left and a large gray circle in the middle."),
    (DETAIL, "A blue star and a gray circle."),
    (TOPIC, "You asked about the size of the red star."),
    (TOPIC, "You asked about the colour of the red star and the blue star."),
    (TOPIC, "You asked about the red star."),
]


@pytest.mark.parametrize(("meaning", "answer"), RIGHT)
def test_right(meaning: Meaning, answer: str) -> None:
    assert means(answer, meaning)


@pytest.mark.parametrize(("meaning", "answer"), WRONG)
def test_wrong(meaning: Meaning, answer: str) -> None:
    assert not means(answer, meaning)


@pytest.mark.parametrize("answer", ["", " ", "???", "\ud800", "red " * 1000, "a" * 100_000])
def test_any_text_is_judged(answer: str) -> None:
    assert not means(answer, Meaning(objects=(("blue", "star"),)))
    assert not means(answer, Meaning(count=7))
