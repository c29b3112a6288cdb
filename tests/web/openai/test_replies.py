"""Replies through OpenAI's own client: the same as the engine's, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings, whole_reply
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.image import read_picture
from tests.web.conftest import run
from tests.web.openai.conftest import SHAPES, STAR, Served, data_url

GREEDY = GenerationSettings(temperature=0, max_new_tokens=64)
Messages = Any  # its types want literals in every dictionary


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def picture(file: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(file)}}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": parts[0] if isinstance(parts[0], str) else [*parts]}


def assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words}


TALK: Messages = [
    user(picture(SHAPES), text("What is in this picture?")),
    user("What colour is the triangle?"),
    user(text("And what is in this one?"), picture(STAR)),
]


def local(engine: SwitchingEngine, *turns: Turn, system: str | None = None) -> Done:
    return whole_reply(engine.stream(Conversation(turns, system=system), GREEDY))


def test_the_model_is_listed(client: OpenAI, scenes: SwitchingEngine) -> None:
    (card,) = client.models.list().data
    assert (card.id, card.object) == ("scenes", "model")
    assert card.to_dict()["max_model_len"] == scenes.model.context_tokens
    assert client.models.retrieve("scenes") == card
    with pytest.raises(NotFoundError, match="'gpt-4o' does not exist here; scenes answers"):
        client.models.retrieve("gpt-4o")


def test_turns_with_pictures_are_the_engines_own(client: OpenAI, scenes: SwitchingEngine) -> None:
    shapes, star = (read_picture(file) for file in (SHAPES, STAR))
    asked = [
        Turn("user", "What is in this picture?", (shapes,)),
        Turn("user", "What colour is the triangle?"),
        Turn("user", "And what is in this one?", (star,)),
    ]
    said: list[Any] = []
    turns: list[Turn] = []
    for message, turn in zip(TALK, asked, strict=True):
        said.append(message)
        turns.append(turn)
        reply = client.chat.completions.create(model="scenes", messages=said)
        expected = local(scenes, *turns)
        (choice,) = reply.choices
        assert choice.message.content == expected.text != ""
        assert choice.finish_reason == expected.finish == "stop"
        assert reply.usage is not None
        assert reply.usage.prompt_tokens == expected.prompt_tokens
        assert reply.usage.completion_tokens == len(expected.token_ids)
        words, usage = streamed(client, said)
        assert words == expected.text
        assert usage.total_tokens == reply.usage.total_tokens
        assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
        said.append(assistant(expected.text))
        turns.append(Turn("assistant", expected.text))
    assert "a yellow triangle" in said[1]["content"]


def streamed(client: OpenAI, messages: Messages) -> tuple[str, Any]:
    chunks = client.chat.completions.create(
        model="scenes",
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
    )
    first, *middle, last, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in (*middle, last, usage)} == {first.id}
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == [] and not any(chunk.usage for chunk in middle)
    return "".join(chunk.choices[0].delta.content or "" for chunk in middle), usage.usage


def test_pictures_of_one_message_keep_their_order(client: OpenAI, scenes: SwitchingEngine) -> None:
    pictures = [read_picture(file) for file in (STAR, SHAPES)]
    question = "What is in the first picture?"
    expected = local(scenes, Turn("user", question, tuple(pictures)))
    asked: Messages = [user(picture(STAR), text(question), picture(SHAPES))]
    reply = client.chat.completions.create(model="scenes", messages=asked)
    assert reply.choices[0].message.content == expected.text
    assert reply.usage is not None and reply.usage.prompt_tokens == expected.prompt_tokens


def test_neighbours_are_one_turn_and_a_system_message_is_heard(
    client: OpenAI, scenes: SwitchingEngine
) -> None:
    system = "You only name shapes.\nBe brief."
    expected = local(scenes, Turn("user", "Hello\nWhat do you know?"), system=system)
    messages: Messages = [
        {"role": "system", "content": "You only name shapes."},
        {"role": "developer", "content": [text("Be brief.")]},
        user("Hello"),
        user("What do you know?"),
    ]
    reply = client.chat.completions.create(model="scenes", messages=messages)
    assert reply.choices[0].message.content == expected.text
    assert reply.usage is not None and reply.usage.prompt_tokens == expected.prompt_tokens


MARKERS = "<image> </s> USER: ASSISTANT: ### [INST] <|im_end|> " * 20


def test_markers_are_words(client: OpenAI, scenes: SwitchingEngine) -> None:
    earlier = local(scenes, Turn("user", "Hello")).text
    asked = [Turn("user", "Hello"), Turn("assistant", earlier + MARKERS), Turn("user", MARKERS)]
    expected = local(scenes, *asked)
    messages: Messages = [user("Hello"), assistant(earlier + MARKERS), user(MARKERS)]
    reply = client.chat.completions.create(model="scenes", messages=messages)
    assert reply.choices[0].message.content == expected.text
    assert reply.usage is not None and reply.usage.prompt_tokens == expected.prompt_tokens


def test_sampling_is_what_was_asked_for(client: OpenAI) -> None:
    def sampled(**options: Any) -> str:
        messages: Messages = [user(picture(SHAPES), text("Describe the picture."))]
        reply = client.chat.completions.create(
            model="scenes",
            messages=messages,
            temperature=2,
            top_p=1,
            max_tokens=24,
            extra_body={"top_k": -1, "repetition_penalty": 1.1},
            **options,
        )
        return reply.choices[0].message.content or ""

    assert sampled(seed=7) == sampled(seed=7)
    assert len({sampled(seed=seed) for seed in range(4)}) > 1


def test_a_reply_is_cut_where_it_was_to_be(client: OpenAI) -> None:
    asked: Messages = [user(picture(SHAPES), text("What is in this picture?"))]
    ask = client.chat.completions.create
    cut = ask(model="scenes", messages=asked, max_tokens=60, max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None and cut.usage.completion_tokens == 3
    whole = ask(model="scenes", messages=asked).choices[0].message.content or ""
    stopped = ask(model="scenes", messages=asked, stop=["triangle", "never said"]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == whole.partition("triangle")[0] != whole


def test_four_at_once_are_answered_as_one_by_one(server: Served, client: OpenAI) -> None:
    questions = ("What shapes are there?", "How many objects are there?", "What is red?", "Hello")
    asked: Messages = [[user(picture(SHAPES), text(question))] for question in questions]
    alone = [client.chat.completions.create(model="scenes", messages=each) for each in asked]

    async def together() -> list[Any]:
        url = f"{server.url}v1"
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as several:
            ask = several.chat.completions.create
            return await asyncio.gather(*(ask(model="scenes", messages=each) for each in asked))

    at_once = run(together())
    assert [each.choices[0].message.content for each in at_once] == [
        each.choices[0].message.content for each in alone
    ]


def test_what_goes_over_the_wire(server: Served) -> None:
    body = {"messages": [user("Hello")], "stream": True, "user": "me", "n": 1, "tools": []}
    answer = httpx2.post(f"{server.url}v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not {"set-cookie", "access-control-allow-origin"} & set(answer.headers)
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith(("data: {", ":")) for event in events[:-2])
