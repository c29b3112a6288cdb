"""VQA's official normalisation, held against what its published rules say of each case."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from llava_chat.evaluation.vqa.normalisation import MOST_PERIODS, normalise
from llava_chat.evaluation.vqa.official_words import ARTICLES, CONTRACTIONS, NUMBER_WORDS

CASES = {
    # lower case, white space
    "Yes": "yes",
    "YES": "yes",
    " yes\n": "yes",
    "ice cream\tcone": "ice cream cone",
    "on  the   table": "on table",
    # articles, as whole words only
    "a dog": "dog",
    "The cat": "cat",
    "A": "",
    "an": "",
    "then": "then",
    "half-a-dozen": "half dozen",
    # number words up to ten, as whole words only
    "two": "2",
    "Two dogs": "2 dogs",
    "none": "0",
    "zero": "0",
    "ten": "10",
    "eleven": "eleven",
    "one-way": "1 way",
    "anyone": "anyone",
    "[none]": "0",
    # a comma between digits deletes every mark; otherwise it depends on spaces beside the mark
    "1,000": "1000",
    "1,000,000": "1000000",
    "it's 1,5!": "it's 15",
    "1,000-2,000": "10002000",
    "red,white": "red white",
    "red, white": "red white",
    "red,white, blue": "redwhite blue",
    "red ,white": "red white",
    "black/white": "black white",
    "black / white": "black white",
    "t-shirt": "t shirt",
    "t-shirt - red": "tshirt red",
    "e-mail, t-shirt": "e mail t shirt",
    "what?": "what",
    "really? yes?no": "really yesno",
    "(red)": "red",
    "x{y}": "x y",
    '"stop"': "stop",
    "<b>": "b",
    "_": "",
    "c:\\temp": "c: temp",
    "me@home": "me home",
    "`code`": "code",
    "a+b=c;": "b c",
    # what is no punctuation to it
    "50%": "50%",
    "$5.00": "$5.00",
    "#1": "#1",
    "rock & roll": "rock & roll",
    "2:30": "2:30",
    "girl's": "girl's",
    "caf\u00e9": "caf\u00e9",
    # periods, unless a digit follows
    "yes.": "yes",
    "3.5": "3.5",
    ".5": ".5",
    "3.": "3",
    "no. 5": "no 5",
    "no.5": "no.5",
    "u.s.a.": "usa",
    "2:30 p.m.": "2:30 pm",
    "a. m.": "m",
    "t.h.e": "",
    "." * 33 + "x": ".x",
    # contractions
    "dont": "don't",
    "DONT": "don't",
    "don't": "don't",
    "wont, wouldnt": "won't wouldn't",
    "couldntve": "couldntve",
    "couldnt've": "couldn't've",
    "yall'd've": "y'all'd've",
    "ow's'at": "'ow's'at",
    "somebody'd": "somebodyd",
    "let's": "let's",
    "oclock": "o'clock",
    "Im": "im",
    "can-t": "can t",
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_an_answer_becomes_what_the_official_rules_make_of_it(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_the_lists_are_whole() -> None:
    assert len(CONTRACTIONS) == 120
    assert sorted(NUMBER_WORDS.values(), key=int) == ["0", *map(str, range(11))]
    assert {"a", "an", "the"} == ARTICLES
    for hasty, right in CONTRACTIONS.items():
        assert hasty.replace("'", "") == right.replace("'", "")
        if hasty == hasty.lower() and hasty != "somebody'd":
            assert normalise(hasty) == right


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(".,-'/? 012aAneothr"), max_size=40))
def test_once_is_enough_and_what_is_gone_is_gone(text: str) -> None:
    once = normalise(text)
    assert not set(once) & set(';/[]"{}()=+\\_-><@`,?!')
    assert not ARTICLES & set(once.split())
    assert once == once.lower()
    if text.count(".") <= MOST_PERIODS:
        assert re.search(r"\.(?!\d)", once) is None
        assert normalise(once) == once
