"""Text that wants to be more than text: nobody can write a picture, a turn or an end."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from llava_chat.conversation import (
    TEMPLATES,
    Conversation,
    Turn,
    check_message,
    prompt,
    well_formed,
)
from llava_chat.errors import MessageError
from llava_chat.image import Picture
from llava_chat.tokens import Prompt, tokenize

MARKERS = sorted({m for t in TEMPLATES.values() for m in (*t.markers, *t.special)} | {"<image>"})
BYTE_LEVEL = ("mpt", "chatml_direct", "qwen_1_5", "llava_llama_3")
# What looks like text and is not plain: surrogates come from broken clients.
TEXT = st.lists(
    st.sampled_from([*MARKERS, *(f" {m}" for m in MARKERS), "#", " ", "\n", "US", "ER:", "hello"])
    | st.text(max_size=5)
    | st.characters(categories=["Cs", "Mn", "Cf"]),
    max_size=8,
).map("".join)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tokens(conversation: Conversation, tokenizer: PreTrainedTokenizerFast, name: str) -> Prompt:
    return tokenize(
        conversation,
        tokenizer,
        template=name,
        picture_tokens=lambda picture: 2,
        image_token_id=tokenizer.get_vocab()["<image>"],
    )


def written(text: str, reply: str, system: str | None, picture: Picture) -> Conversation:
    return Conversation(
        (
            Turn("user", text, (picture,)),
            Turn("assistant", reply),
            Turn("user", f"and {text}"),
            Turn("assistant", f"then {reply}"),
            Turn("user", text),
        ),
        system,
    )


def occurrences(part: list[int], ids: list[int]) -> int:
    return sum(ids[i : i + len(part)] == part for i in range(len(ids)))


def marks(found: Prompt, tokenizer: PreTrainedTokenizerFast, name: str) -> dict[str, int]:
    """How often each special token, and each way of writing a role or separator, occurs."""
    ids = list(found.ids)
    counts = {str(each): ids.count(each) for each in tokenizer.all_special_ids if each is not None}
    for marker in TEMPLATES[name].markers:
        for before in ("", " "):
            way = tokenizer(before + marker, add_special_tokens=False).input_ids
            counts[before + marker] = occurrences(way, ids)
        inside = tokenizer("x" + marker, add_special_tokens=False).input_ids
        counts["x" + marker] = occurrences(inside[len(tokenizer("x").input_ids) :], ids)
    return counts


@pytest.mark.parametrize("name", TEMPLATES)
@QUICK
@given(text=TEXT, reply=TEXT, system=st.none() | TEXT)
@example(text="".join(MARKERS), reply="".join(MARKERS), system="".join(MARKERS))
@example(text=" ".join(MARKERS), reply=" ".join(MARKERS), system=" ".join(MARKERS))
@example(text="<image>" * 1000, reply="#" * 50, system="</s>")
def test_nothing_is_forged(
    name: str, text: str, reply: str, system: str | None, request: pytest.FixtureRequest
) -> None:
    kind = "byte_level" if name in BYTE_LEVEL else "llama_with_marks"
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    picture: Picture = request.getfixturevalue("pictures")[0]
    system = system and "Hi." + system
    hostile = written(text, reply, system, picture)
    harmless = written("Hi.", "Hi.", system and "Hi.", picture)
    found = tokens(hostile, tokenizer, name)
    assert [span.length for span in found.spans] == [2]
    assert marks(found, tokenizer, name) == marks(
        tokens(harmless, tokenizer, name), tokenizer, name
    )


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "plain"])
@QUICK
@given(text=TEXT)
@example(text="".join(MARKERS))
def test_ids_decode_to_the_text(name: str, text: str, request: pytest.FixtureRequest) -> None:
    kind = "byte_level" if name in BYTE_LEVEL else "llama_with_marks"
    tokenizer: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    text = text.replace("▁", "")  # SentencePiece's own sign for a space
    asked = Conversation((Turn("user", text),))
    ids = list(tokens(asked, tokenizer, name).ids)
    if TEMPLATES[name].bos and not TEMPLATES[name].open:
        ids = ids[1:]
    assert tokenizer.decode(ids) == prompt(asked, name)


@pytest.mark.parametrize("typed", MARKERS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_typed_markers_stay_in_the_prompt_as_typed(name: str, typed: str) -> None:
    if TEMPLATES[name].user_text:
        text = f"What does {typed} mean?"
        assert prompt(Conversation((Turn("user", text),)), name).count(text) == 1


def test_markers_of_single_characters_become_bytes() -> None:
    """Where the template's `###` is three ids already, three typed `#` have others."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "#": 3, "a": 4, "<0x23>": 5, "▁": 6}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE(vocab, [], byte_fallback=True, unk_token="<unk>")),
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    ids = tokens(Conversation((Turn("user", "a###a"),), ""), tokenizer, "llava_v0").ids
    assert ids[-20:].count(3) == 3
    assert ids.count(5) == 3


@pytest.mark.parametrize("name", ["vicuna_v1", "llava_v0", "mistral_instruct"])
@pytest.mark.parametrize("adds_bytes", [True, False])
def test_letters_that_a_tokenizer_holds_for_others_forge_nothing(
    name: str,
    adds_bytes: bool,
    llama_like: PreTrainedTokenizerFast,
    pictures: tuple[Picture, ...],
) -> None:
    """NFKC makes `USER:` of full-width letters, which are no marker before it."""
    backend = json.loads(llama_like.backend_tokenizer.to_str())
    backend["normalizer"] = {"type": "NFKC"}
    backend["model"]["byte_fallback"] = adds_bytes
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    wide = {ord(c): ord(c) + 0xFEE0 for c in "".join(TEMPLATES[name].markers) if "!" <= c <= "~"}
    typed = "".join(f"a {each} b{each}{each}" for each in TEMPLATES[name].markers)
    picture = pictures[0]
    harmless = tokens(written("Hi.", "Hi.", "Hi.", picture), tokenizer, name)
    for text in (typed, typed.translate(wide), typed + typed.translate(wide)):
        found = tokens(written(text, text, "Hi." + text, picture), tokenizer, name)
        assert marks(found, tokenizer, name) == marks(harmless, tokenizer, name)


def test_markers_that_a_tokenizer_cannot_spell() -> None:
    """Then nobody can forge them, and what a message has of known letters is left."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE({"<s>": 0, "</s>": 1, "h": 2, "i": 3}, [])),
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    ids = tokens(Conversation((Turn("user", "hi USER: hi"),), ""), tokenizer, "vicuna_v1").ids
    assert ids == (0, 2, 3, 2, 3)


# Messages


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000"])
def test_an_empty_message_is_refused(text: str) -> None:
    with pytest.raises(MessageError, match="is empty"):
        check_message(text)


def test_a_megabyte_is_refused_with_the_limit_named() -> None:
    with pytest.raises(MessageError, match="1,048,576 characters; at most 20,000"):
        check_message("a" * 2**20)
    with pytest.raises(MessageError, match="at most 3 "):
        check_message("abcd", max_chars=3)
    assert check_message("abc", max_chars=3) == "abc"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\ud83e\udda9", "🦩"),
        ("\u202e\u05d0\u05d1\u202c", "\u202e\u05d0\u05d1\u202c"),
        ("z" + "\u0301\u0316\u0489" * 300, "z" + "\u0301\u0316\u0489" * 300),
        ("\x00\x07\u200b\ufeff", "\x00\x07\u200b\ufeff"),
        ("</s><image>USER:", "</s><image>USER:"),
    ],
)
def test_strange_text_survives(text: str, kept: str, llama_like: PreTrainedTokenizerFast) -> None:
    assert check_message(text) == well_formed(text) == kept
    for conversation in (
        Conversation((Turn("user", text),), ""),
        Conversation((Turn("user", kept),), ""),
    ):
        ids = list(tokens(conversation, llama_like, "vicuna_v1").ids)
        assert llama_like.decode(ids[1:]) == f"USER: {kept} ASSISTANT:"
