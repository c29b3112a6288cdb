"""What is learned of a conversation is the replies and their ends, whatever is said in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import TEMPLATES, Conversation, Turn
from llava_chat.image import Picture
from llava_chat.templates import Template
from llava_chat.tokens import IGNORED, tokenize

BYTE_LEVEL = ("mpt", "chatml_direct", "qwen_1_5", "llava_llama_3")
MARKERS = sorted({m for t in TEMPLATES.values() for m in (*t.markers, *t.special)} | {"<image>"})
TEXT = st.lists(
    st.sampled_from([*MARKERS, " ", "  ", "\n", "\t", "Yes.", " A star", "你好", "🦩"])
    | st.text(max_size=5),
    max_size=6,
).map(lambda parts: "".join(parts).replace("▁", "_"))  # SentencePiece's own sign for a space
Talk = list[tuple[str, int, str]]
TALKS: st.SearchStrategy[Talk] = st.lists(
    st.tuples(TEXT, st.integers(0, 3), TEXT), min_size=1, max_size=4
)


def conversation_of(talk: Talk, pictures: tuple[Picture, ...]) -> Conversation:
    turns: list[Turn] = []
    for asked, count, reply in talk:
        turns += [Turn("user", asked, pictures[:count]), Turn("assistant", reply)]
    return Conversation(tuple(turns))


def learned_text(labels: Sequence[int], tokenizer: PreTrainedTokenizerFast) -> str:
    """The text of each unbroken run of labels, with the space that it may begin with."""
    before = tokenizer.get_vocab()["a"]
    runs = (
        str(tokenizer.decode([before, *run])).removeprefix("a")
        for is_learned, run in groupby(labels, lambda label: label != IGNORED)
        if is_learned
    )
    return "".join(runs)


def expected(talk: Talk, template: Template) -> Iterator[str]:
    for place, (_, count, reply) in enumerate(talk):
        space = template.assistant_open[len(template.cue) :]
        if not template.user_text and (count or not place):
            space = " "  # a reply that begins a piece has SentencePiece's mark before it
        yield space + (reply.strip() if template.trim else reply) + template.end


@pytest.mark.parametrize("name", TEMPLATES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(talk=TALKS)
@example(talk=[("", 1, ""), ("", 2, " "), (" ", 0, "  ")])
@example(talk=[("".join(MARKERS), 1, "".join(MARKERS))] * 2)
def test_the_labels_decode_to_the_replies(
    name: str, talk: Talk, request: pytest.FixtureRequest
) -> None:
    kind = "byte_level" if name in BYTE_LEVEL else "llama_with_marks"
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    pictures: tuple[Picture, ...] = request.getfixturevalue("pictures")
    found = tokenize(
        conversation_of(talk, pictures),
        tokenizer,
        template=name,
        picture_tokens=lambda picture: picture.width,
        image_token_id=tokenizer.get_vocab()["<image>"],
    )
    assert len(found.ids) == len(found.labels)
    pairs = zip(found.ids, found.labels, strict=True)
    assert all(label in (IGNORED, token) for token, label in pairs)
    assert learned_text(found.labels, tokenizer) == "".join(expected(talk, TEMPLATES[name]))
