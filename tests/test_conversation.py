"""Prompts, held to the character against what is written down here; messages; truncation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llava_chat.conversation import (
    TEMPLATES,
    Conversation,
    Turn,
    check_message,
    conversation_from_json,
    fit,
    prompt,
    segments,
)
from llava_chat.errors import ContextFullError, LlavaChatError, MessageError, UsageError
from llava_chat.image import Picture
from llava_chat.templates import with_picture_marks

A = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions."
)
B = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
C = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant is able "
    "to understand the visual content that the user provides, and assist the user with a variety "
    "of tasks using natural language.The visual content will be provided with the following "
    "format: <Image>visual content</Image>."
)
D = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)
MPT = (
    "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and "
    "honest answers."
)
L3 = "<|start_header_id|>{}<|end_header_id|>\n\n"
L3_USER, L3_ASSISTANT = L3.format("user"), L3.format("assistant")
START, END = "<|im_start|>", "<|im_end|>"

# {1} and {2}: what the pictures of the first and of the second message add before its words.
EXPECTED = {
    "llava_v0": A + "###Human: {1}Q1###Assistant: A1###Human: {2}Q2###Assistant:",
    "v0_mmtag": C + "###Human: {1}Q1###Assistant: A1###Human: {2}Q2###Assistant:",
    "llava_v1": A + " USER: {1}Q1 ASSISTANT: A1</s>USER: {2}Q2 ASSISTANT:",
    "v1_mmtag": C + " USER: {1}Q1 ASSISTANT: A1</s>USER: {2}Q2 ASSISTANT:",
    "vicuna_v1": B + " USER: {1}Q1 ASSISTANT: A1</s>USER: {2}Q2 ASSISTANT:",
    "llava_llama_2": (
        f"[INST] <<SYS>>\n{D}\n<</SYS>>\n\n" + "{1}Q1 [/INST] A1 </s><s>[INST] {2}Q2 [/INST]"
    ),
    "mistral_instruct": "[INST] {1}Q1 [/INST] A1 </s>[INST] {2}Q2 [/INST]",
    "mpt": (
        f"{START}system\n{MPT}{END}{START}user\n" + "{1}Q1" + f"{END}{START}assistant\nA1{END}"
        f"{START}user\n" + "{2}Q2" + f"{END}{START}assistant\n"
    ),
    "chatml_direct": (
        f"{START}system\nAnswer the questions.{END}{START}user\n" + "{1}Q1"
        f"{END}{START}assistant\nA1{END}{START}user\n" + "{2}Q2" + f"{END}{START}assistant\n"
    ),
    "qwen_1_5": (
        f"{START}system\nYou are a helpful assistant.{END}\n{START}user\n" + "{1}Q1"
        f"{END}\n{START}assistant\nA1{END}\n{START}user\n" + "{2}Q2" + f"{END}\n{START}assistant\n"
    ),
    "llava_llama_3": (
        "<|begin_of_text|>" + L3.format("system") + D + "<|eot_id|>" + L3_USER + "{1}Q1<|eot_id|>"
        + L3_ASSISTANT + "A1<|eot_id|>" + L3_USER + "{2}Q2<|eot_id|>" + L3_ASSISTANT
    ),
    "plain": "{1}A1\n{2}",
}  # fmt: skip
MARKED = ("llava_v0", "v0_mmtag", "llava_v1", "v1_mmtag", "vicuna_v1")
EXPECTED |= {f"{name}_im_start_end": EXPECTED[name] for name in MARKED}
RECEIVED = {
    "v0_mmtag": "###Assistant: Received.###Human: ",
    "v1_mmtag": " ASSISTANT: Received.</s>USER: ",
}


def before_words(template: str, pictures: int) -> str:
    base = template.removesuffix("_im_start_end")
    picture = "<image>" if template == base else "<im_start><image><im_end>"
    if base == "plain":
        return picture * pictures
    if base in RECEIVED:
        return (f"<Image>{picture}</Image>" * pictures + RECEIVED[base]) if pictures else ""
    return f"{picture}\n" * pictures


def two_turns(pictures: tuple[Picture, ...], first: int, second: int) -> Conversation:
    return Conversation(
        (
            Turn("user", "Q1", pictures[:first]),
            Turn("assistant", "A1"),
            Turn("user", "Q2", pictures[:second]),
        )
    )


def test_every_template_is_written_down_here() -> None:
    assert EXPECTED.keys() == TEMPLATES.keys()


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 2)])
@pytest.mark.parametrize("name", EXPECTED)
def test_prompt_is_exact(name: str, first: int, second: int, pictures: tuple[Picture, ...]) -> None:
    expected = EXPECTED[name].replace("{1}", before_words(name, first))
    expected = expected.replace("{2}", before_words(name, second))
    assert prompt(two_turns(pictures, first, second), name) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_pictures_have_marks_where_they_had_in_training(name: str) -> None:
    base = name.removesuffix("_im_start_end")
    if base in MARKED:
        assert with_picture_marks(name) == f"{base}_im_start_end"
    else:
        with pytest.raises(UsageError, match=rf"'{name}' has no variant .* vicuna_v1 have one"):
            with_picture_marks(name)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("llava_v0", "Assistant: A1###"),
        ("vicuna_v1", "ASSISTANT: A1</s>"),
        ("llava_llama_2", "[/INST] A1 </s>"),
        ("mpt", "assistant\nA1<|im_end|>"),
        ("qwen_1_5", "assistant\nA1<|im_end|>\n"),
        ("plain", "A1\n"),
    ],
)
def test_no_cue_after_a_reply(name: str, end: str) -> None:
    answered = Conversation((Turn("user", "Q1"), Turn("assistant", "A1")))
    assert prompt(answered, name).endswith(end)


def test_training_asks_for_no_cue() -> None:
    asked = Conversation((Turn("user", "Q1"),), system="")
    assert "".join(part.text for part in segments(asked, cue=False)) == "USER: Q1 "


@pytest.mark.parametrize(
    ("name", "own", "none"),
    [
        ("vicuna_v1", "Be brief. USER: Q1 ASSISTANT:", "USER: Q1 ASSISTANT:"),
        ("llava_v0", "Be brief.###Human: Q1###Assistant:", "Human: Q1###Assistant:"),
        (
            "mistral_instruct",
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nQ1 [/INST]",
            "[INST] Q1 [/INST]",
        ),
        (
            "qwen_1_5",
            f"{START}system\nBe brief.{END}\n{START}user\nQ1{END}\n{START}assistant\n",
            f"{START}user\nQ1{END}\n{START}assistant\n",
        ),
    ],
)
def test_system_message_of_ones_own_or_none(name: str, own: str, none: str) -> None:
    asked = Conversation((Turn("user", "Q1"),))
    assert prompt(replace(asked, system="Be brief."), name) == own
    assert prompt(replace(asked, system=""), name) == none


def test_the_conversations_template_goes_before_the_models() -> None:
    asked = Conversation((Turn("user", "Q1"),), template="mistral_instruct")
    assert prompt(asked, "vicuna_v1") == "[INST] Q1 [/INST]"


def test_llama_3_trims_messages_as_its_tokenizers_template_does() -> None:
    asked = Conversation((Turn("user", "  Q1\n"),), system="")
    assert f"\n\nQ1<|eot_id|>{L3_ASSISTANT}" in prompt(asked, "llava_llama_3")


def test_turns_that_do_not_alternate_are_refused() -> None:
    with pytest.raises(UsageError, match="Turn 2 is the user's"):
        prompt(Conversation((Turn("user", "a"), Turn("user", "b"))))


def test_an_unknown_template_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"'vicuna'.*vicuna_v1"):
        prompt(Conversation((Turn("user", "a"),)), "vicuna")


# Conversations from JSON


def no_picture(path: Path) -> Picture:
    raise AssertionError(f"{path} was read")


def test_json_conversation(tmp_path: Path, pictures: tuple[Picture, ...]) -> None:
    files = {tmp_path / "a.png": pictures[0], tmp_path / "b" / "c.png": pictures[1]}
    data = {
        "system": "",
        "turns": [
            {"role": "user", "text": "Q1", "images": ["a.png", "b/c.png"]},
            {"role": "assistant", "text": "A1"},
            {"role": "user", "text": "Q2"},
        ],
    }
    read = conversation_from_json(data, tmp_path, files.__getitem__)
    assert prompt(read) == "USER: <image>\n<image>\nQ1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:"
    assert read.turns[0].images == pictures[:2]


USER = {"role": "user", "text": "Q"}
WRONG_JSON: list[tuple[object, type[LlavaChatError], str]] = [
    ([], UsageError, "must be a JSON object, not list"),
    ({}, UsageError, "has no 'turns'"),
    ({"turns": []}, UsageError, "at least one turn"),
    ({"turns": {}}, UsageError, "must be a list"),
    ({"turns": [USER], "sytem": ""}, UsageError, "'sytem'.*system, turns"),
    ({"turns": [USER], "system": 1}, UsageError, "'system' must be text"),
    ({"turns": ["Q"]}, UsageError, "Turn 1 must be a JSON object"),
    ({"turns": [{"role": "user"}]}, UsageError, "Turn 1 has no 'text'"),
    ({"turns": [USER | {"text": None}]}, UsageError, "Turn 1: 'text'"),
    ({"turns": [USER | {"role": "system"}]}, UsageError, "Turn 1 .* not 'system'"),
    ({"turns": [USER, USER]}, UsageError, "Turn 2 must have the role 'assistant'"),
    ({"turns": [USER | {"images": "a.png"}]}, UsageError, "Turn 1: 'images'"),
    ({"turns": [USER | {"images": [1]}]}, UsageError, "Turn 1: 'images'"),
    (
        {"turns": [USER, {"role": "assistant", "text": "A", "images": ["a.png"]}]},
        UsageError,
        "Turn 2: only the user's",
    ),
    ({"turns": [USER | {"text": " "}]}, MessageError, "Turn 1: The message is empty"),
]


@pytest.mark.parametrize(("data", "error", "sentence"), WRONG_JSON)
def test_wrong_json_is_named(data: object, error: type[LlavaChatError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        conversation_from_json(data, Path(), no_picture)


def test_a_picture_needs_no_words(pictures: tuple[Picture, ...]) -> None:
    data = {"turns": [{"role": "user", "text": "", "images": ["a.png"]}]}
    read = conversation_from_json(data, Path(), lambda path: pictures[0])
    assert prompt(replace(read, system="")) == "USER: <image>\n ASSISTANT:"
    assert check_message("", has_picture=True) == ""


# A full context


def words(conversation: Conversation) -> int:
    """Stands for a tokenizer: 10 to a picture, 3 for the system message, 1 to a character."""
    turns = conversation.turns
    return 3 + sum(len(turn.text) + 10 * len(turn.images) for turn in turns)


def talk(exchanges: int, *pictured: int, pictures: tuple[Picture, ...]) -> Conversation:
    """Messages of 5 and replies of 5 characters, then a message of 5."""
    turns: list[Turn] = []
    for place in range(exchanges):
        images = pictures[:1] if place in pictured else ()
        turns += [Turn("user", f"user{place % 10}", images), Turn("assistant", "reply")]
    return Conversation((*turns, Turn("user", "final")), system="sys")


def test_what_fits_is_left_alone(pictures: tuple[Picture, ...]) -> None:
    whole = talk(3, 0, pictures=pictures)
    assert fit(whole, words(whole) + 7, 7, words) == type(fit(whole, 999, 0, words))(whole, 0)


@pytest.mark.parametrize("missing", range(1, 60))
def test_the_oldest_exchanges_go_and_no_more_than_needed(
    missing: int, pictures: tuple[Picture, ...]
) -> None:
    whole = talk(6, pictures=pictures)
    fitted = fit(whole, words(whole) - missing + 7, 7, words)
    assert fitted.dropped_turns == 2 * -(-missing // 10)
    assert fitted.conversation == replace(whole, turns=whole.turns[fitted.dropped_turns :])


def test_the_picture_in_question_stays(pictures: tuple[Picture, ...]) -> None:
    whole = talk(6, 0, 2, pictures=pictures)
    fitted = fit(whole, 3 + 10 + 25, 0, words)
    assert fitted.dropped_turns == 8
    assert [len(turn.images) for turn in fitted.conversation.turns] == [1, 0, 0, 0, 0]
    assert fitted.conversation.turns[0].text == "user4"
    assert fitted.conversation.system == "sys"


def test_an_older_picture_goes_when_a_newer_is_kept(pictures: tuple[Picture, ...]) -> None:
    whole = talk(6, 0, 5, pictures=pictures)
    fitted = fit(whole, 3 + 10 + 25, 0, words)
    assert [len(turn.images) for turn in fitted.conversation.turns] == [0, 0, 1, 0, 0]


def test_a_message_too_long_by_itself_is_refused(pictures: tuple[Picture, ...]) -> None:
    whole = talk(6, 0, pictures=pictures)
    assert fit(whole, 18, 0, words).dropped_turns == 12
    with pytest.raises(ContextFullError, match=r"18 tokens.* 17 of the model's 20.* 3 kept"):
        fit(whole, 20, 3, words)
    with pytest.raises(ContextFullError, match="0 of the model's 2"):
        fit(whole, 2, 3, words)


def test_long_conversations_are_counted_a_few_times(pictures: tuple[Picture, ...]) -> None:
    calls: list[int] = []

    def count(conversation: Conversation) -> int:
        calls.append(len(conversation.turns))
        return words(conversation)

    fit(talk(500, 0, pictures=pictures), 200, 0, count)
    assert len(calls) <= 11
