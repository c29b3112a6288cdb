"""Ids, picture spans and labels: against the reference's rule, and against one another."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import TEMPLATES, Conversation, Turn, prompt
from llava_chat.errors import CheckpointError
from llava_chat.image import Picture
from llava_chat.tokens import IGNORED, Prompt, end_ids, next_ids, tokenize
from tests.model.published.words import Words, tokenizer_of

IMAGE_ID = 7
BYTE_LEVEL = ("mpt", "chatml_direct", "qwen_1_5", "llava_llama_3")
LLAMA_KIND = tuple(name for name in TEMPLATES if name not in BYTE_LEVEL)
KIND = [(name, "byte_level" if name in BYTE_LEVEL else "llama_with_marks") for name in TEMPLATES]


def tokens(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerFast,
    template: str,
    cue: bool = True,
    rows: Callable[[Picture], int] = lambda picture: picture.width,
) -> Prompt:
    return tokenize(
        conversation,
        tokenizer,
        template=template,
        picture_tokens=rows,
        image_token_id=IMAGE_ID,
        cue=cue,
    )


def talk(pictures: tuple[Picture, ...] = ()) -> Conversation:
    return Conversation(
        (
            Turn("user", "What is in the picture?", pictures[:2]),
            Turn("assistant", "A large red circle.\nAnd a star."),
            Turn("user", "And its colour?", pictures[2:]),
            Turn("assistant", "Red é 🦩."),
            Turn("user", "Where?"),
        )
    )


# Against what is known from outside (more of it in test_token_ids.py)


def by_the_references_rule(text: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Split at pictures and special tokens, tokenise each piece, strip every BOS but the first."""
    ids = [tokenizer.bos_token_id]
    for piece in re.split(r"(<image>|</?s>|<im_start>|<im_end>)", text):
        if piece == "<image>":
            ids.append(IMAGE_ID)
        elif piece in ("</s>", "<s>", "<im_start>", "<im_end>"):
            ids.append(tokenizer.convert_tokens_to_ids(piece))
        elif piece:
            ids += tokenizer(piece, add_special_tokens=False).input_ids
    return ids


@pytest.mark.parametrize("scheme", ["always", "first"])
@pytest.mark.parametrize("name", LLAMA_KIND)
def test_ids_are_those_of_whole_pieces(
    name: str,
    scheme: str,
    make_llama_tokenizer: Callable[..., PreTrainedTokenizerFast],
    pictures: tuple[Picture, ...],
) -> None:
    tokenizer = make_llama_tokenizer(scheme, added=["<im_start>", "<im_end>"])
    conversation = talk(pictures)
    found = tokens(conversation, tokenizer, name, rows=lambda picture: 1)
    assert list(found.ids) == by_the_references_rule(prompt(conversation, name), tokenizer)


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_ids_are_transformers_own(name: str, byte_level: PreTrainedTokenizerFast) -> None:
    text = prompt(talk(), name)
    expected = byte_level(text, add_special_tokens=False).input_ids
    assert list(tokens(talk(), byte_level, name).ids) == expected


# Labels, spans, and what was generated


@pytest.mark.parametrize(("name", "kind"), KIND)
def test_labels_are_the_replies_and_their_ends(
    name: str, kind: str, pictures: tuple[Picture, ...], request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    found = tokens(talk(pictures), tokenizer, name)
    assert len(found.ids) == len(found.labels)
    pairs = zip(found.ids, found.labels, strict=True)
    assert all(label in (IGNORED, token) for token, label in pairs)
    learned = re.findall(r"(?:\d+ )+", " ".join(map(str, found.labels)).replace("-100", ";") + " ")
    texts = [tokenizer.decode([int(each) for each in run.split()]) for run in learned]
    end = TEMPLATES[name].end
    expected = ["A large red circle.\nAnd a star." + end, "Red é 🦩." + end]
    assert [text.strip(" ") for text in texts] == [each.strip(" ") for each in expected]


def test_plain_learns_everything_but_the_picture(
    llama_like: PreTrainedTokenizerFast, pictures: tuple[Picture, ...]
) -> None:
    caption = Conversation((Turn("user", "Describe.", pictures[1:2]), Turn("assistant", "A star.")))
    found = tokens(caption, llama_like, "plain")
    assert found.ids[:3] == (llama_like.bos_token_id, IMAGE_ID, IMAGE_ID)
    assert found.labels == (IGNORED,) * 3 + found.ids[3:]
    assert llama_like.decode(list(found.ids[3:])) == "A star.\n"


def test_spans_lie_where_the_placeholders_are(
    llama_like: PreTrainedTokenizerFast, pictures: tuple[Picture, ...]
) -> None:
    found = tokens(talk(pictures), llama_like, "vicuna_v1", rows=lambda picture: 10 * picture.width)
    assert [span.picture for span in found.spans] == list(pictures)
    assert [span.length for span in found.spans] == [10, 20, 30]
    places = [i for i, token in enumerate(found.ids) if token == IMAGE_ID]
    assert places == [i for s in found.spans for i in range(s.start, s.start + s.length)]


@pytest.mark.parametrize(("name", "kind"), KIND)
def test_a_prompt_begins_what_is_trained_on(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    for reply in ("Yes.", "\nYes", " Yes", "#1", ""):
        asked = talk().turns[:3]
        trained = tokens(Conversation((*asked, Turn("assistant", reply))), tokenizer, name)
        cue = tokens(Conversation(asked), tokenizer, name)
        assert trained.ids[: len(cue.ids)] == cue.ids


@pytest.mark.parametrize(("name", "kind"), KIND)
def test_generated_ids_are_kept(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(kind)
    generated = tuple(range(40, 50))  # not what their text would be tokenised as
    asked = talk().turns[:3]
    cue = tokens(Conversation(asked), tokenizer, name)
    reply = Turn("assistant", tokenizer.decode(generated), token_ids=generated)
    followed = tokens(Conversation((*asked, reply, Turn("user", "Why?"))), tokenizer, name)
    assert followed.ids[: len(cue.ids) + 10] == cue.ids + generated
    assert followed.labels[len(cue.ids) :][:10] == generated


def test_the_space_before_an_end_is_not_doubled(llama_like: PreTrainedTokenizerFast) -> None:
    whole = tokens(Conversation(talk().turns[:2]), llama_like, "llava_llama_2")
    cue = tokens(Conversation(talk().turns[:1]), llama_like, "llava_llama_2")
    generated = whole.ids[len(cue.ids) : -1]  # as it was learned: with the space, without </s>
    reply = Turn("assistant", talk().turns[1].text, token_ids=generated)
    again = tokens(Conversation((talk().turns[0], reply)), llama_like, "llava_llama_2")
    assert again == whole


# Tokenizers differ


@pytest.mark.parametrize("adds_bos", [False, True])
def test_one_bos_whether_or_not_the_tokenizer_adds_it(
    adds_bos: bool, make_llama_tokenizer: Callable[..., PreTrainedTokenizerFast]
) -> None:
    tokenizer = make_llama_tokenizer("always", adds_bos)
    ids = tokens(talk(), tokenizer, "vicuna_v1").ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    chatml = tokens(talk(), tokenizer, "mpt").ids
    assert chatml.count(tokenizer.bos_token_id) == adds_bos


def test_llama_3_has_one_bos(byte_level: PreTrainedTokenizerFast) -> None:
    ids = tokens(talk(), byte_level, "llava_llama_3").ids
    assert ids[0] == byte_level.bos_token_id
    assert ids.count(byte_level.bos_token_id) == 1


def test_end_ids(llama_like: PreTrainedTokenizerFast, byte_level: PreTrainedTokenizerFast) -> None:
    assert end_ids(llama_like, "vicuna_v1") == end_ids(llama_like, "llava_llama_2") == {2}
    assert end_ids(llama_like, "llava_v0") == {2}
    ends = {byte_level.eos_token_id, byte_level.convert_tokens_to_ids("<|im_end|>")}
    assert end_ids(byte_level, "qwen_1_5") == ends


@pytest.mark.parametrize(("template", "kind"), KIND)
@pytest.mark.parametrize("text", ["Where?", "where", "?", " 1 ", "</s>", "é", "###"])
def test_what_follows_a_reply_is_known_before_it_is_asked(
    template: str, kind: str, text: str, request: pytest.FixtureRequest
) -> None:
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    reply = (100, 101, 102)
    asked = (Turn("user", "What is it?"), Turn("assistant", "It", token_ids=reply))
    ids = tokens(Conversation((*asked, Turn("user", text))), tokenizer, template).ids
    before = len(tokens(Conversation(asked[:1]), tokenizer, template).ids) + len(reply)
    assert ids[before - len(reply) : before] == reply
    known = next_ids(tokenizer, template)
    assert known and ids[before : before + len(known)] == known


@pytest.mark.parametrize(
    ("words", "template", "ends"),
    [
        ("llama_3", "llava_llama_3", ["<|eot_id|>", "<|end_of_text|>"]),
        ("yi", "chatml_direct", ["<|im_end|>"]),
        ("qwen", "qwen_1_5", ["<|im_end|>", "<|endoftext|>"]),
        ("mistral", "mistral_instruct", ["</s>"]),
    ],
)
def test_the_end_of_a_text_ends_a_reply_too(words: Words, template: str, ends: list[str]) -> None:
    """Llama 3 and Qwen end a turn with one token and a text with another."""
    tokenizer = tokenizer_of(words)
    assert end_ids(tokenizer, template) == {tokenizer.get_vocab()[end] for end in ends}


def test_eos_ends_a_reply_where_there_is_no_such_token(byte_level: PreTrainedTokenizerFast) -> None:
    found = tokens(Conversation(talk().turns[:2]), byte_level, "vicuna_v1")
    assert found.labels[-1] == byte_level.eos_token_id


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    class Slow:
        bos_token_id, eos_token_id, backend_tokenizer = 1, 2, None

    with pytest.raises(CheckpointError, match=r"a Slow without a tokenizer.json"):
        tokens(talk(), Slow(), "vicuna_v1")  # type: ignore[arg-type]


def test_threads_may_share_a_tokenizer(llama_like: PreTrainedTokenizerFast) -> None:
    talks = [Conversation((Turn("user", f"What is {n}?" * 20),)) for n in range(200)]
    alone = [tokens(each, llama_like, "vicuna_v1") for each in talks]

    def both(place: int) -> Prompt:
        llama_like("</s>", split_special_tokens=bool(place % 2))  # switches the tokenizer itself
        return tokens(talks[place], llama_like, "llava_v1" if place % 3 else "vicuna_v1")

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(both, range(200)))
    assert together[::3] == alone[::3]
