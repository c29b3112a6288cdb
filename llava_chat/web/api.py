"""The endpoint `/chat` of Gradio's own API: a message, pictures and a conversation in, a reply out.

    client = gradio_client.Client("http://127.0.0.1:7860")
    reply, conversation_id = client.predict(
        "What is in the picture?", [gradio_client.handle_file("cat.png")], api_name="/chat"
    )
    reply, _ = client.predict("And its colour?", [], conversation_id, api_name="/chat")

A conversation belongs to the session that began it, and knowing its id opens nothing. A client is
given its session as a cookie when it connects, and keeps it; to go on in another program, hand the
cookies on: `Client(url, httpx_kwargs={"cookies": dict(client.cookies)})`. Imports gradio,
templates, errors, the chat's turns and replies, web.security and web.uploads.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.events

from llava_chat.errors import LlavaChatError, MessageError, PictureError
from llava_chat.templates import template_named
from llava_chat.web.chat.options import Options, options_of
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.status import refusal
from llava_chat.web.chat.turns import Turns
from llava_chat.web.people import People
from llava_chat.web.security import refuse_foreign_paths
from llava_chat.web.uploads import forget

FRAME_S = 1 / 12  # how often a client that listens is told the words so far
_DESCRIPTION = (
    "Ask about pictures. Returns the reply and the conversation's id, to be sent with the next "
    "message. What is left out stays as the conversation, or the server, has it."
)


@dataclass(frozen=True)
class _Call:
    """The arguments as they came: Gradio does not hold callers to the types that it announces."""

    message: object
    pictures: object
    conversation_id: object
    given: Mapping[str, Any]  # fields of GenerationSettings, None for what was left out
    system: object
    template: object


class ChatApi:
    """The endpoint of one server. defaults: what a new conversation starts with."""

    def __init__(self, turns: Turns, defaults: Options, people: People) -> None:
        self._turns = turns
        self._defaults = defaults
        self._people = people

    def register(self) -> None:
        """Add `/chat` to the surrounding gr.Blocks."""

        async def chat(
            message: str,
            request: gr.Request,  # Gradio's own argument: callers do not see it
            pictures: list[gr.FileData] | None = None,
            conversation_id: str | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            repetition_penalty: float | None = None,
            max_new_tokens: int | None = None,
            seed: int | None = None,
            system: str | None = None,
            template: str | None = None,
            top_k: int | None = None,
            stop: list[str] | None = None,
            adapter: str | None = None,
        ) -> AsyncGenerator[tuple[str, str]]:
            given = {
                "temperature": temperature,
                "top_p": top_p,
                "repetition_penalty": repetition_penalty,
                "max_new_tokens": max_new_tokens,
                "seed": seed,
                "top_k": top_k,
                "stop": stop,
                "adapter": adapter,
            }
            call = _Call(message, pictures, conversation_id, given, system, template)
            async with aclosing(self._told(request, call)) as told:
                async for words in told:
                    yield words

        # Gradio reads the outputs' types off the signature, and a generator's are its items'.
        chat.__signature__ = inspect.signature(chat).replace(  # type: ignore[attr-defined]
            return_annotation=tuple[str, str]
        )
        gradio.events.api(
            chat,
            api_name="chat",
            api_description=_DESCRIPTION,
            concurrency_limit=None,  # the engine has the only queue
        )

    async def _told(self, request: gr.Request, call: _Call) -> AsyncGenerator[tuple[str, str]]:
        try:
            person = self._people.of_request(request)
            live = await self._turns.begun(person, partial(self._ask, request, call))
            async with aclosing(_words(live)) as reply:
                async for words in reply:
                    yield words, live.conversation_id
        except LlavaChatError as error:
            # Whatever the server shows of other errors, this sentence is for the caller.
            raise gr.Error(refusal(error), print_exception=False) from error

    def _ask(self, request: gr.Request, call: _Call) -> LiveReply:
        owner = self._people.owner_of(request)
        conversation_id = _text("conversation_id", call.conversation_id) or None
        files = _files(call.pictures)
        options = self._options(owner, conversation_id, call)
        message = _text("message", call.message) or ""
        live = self._turns.ask(owner, conversation_id, message, files, options)
        forget(files)
        return live

    def _options(self, owner: str, conversation_id: str | None, call: _Call) -> Options:
        """What was asked for; else what the conversation goes on with, or a new one starts with."""
        system, template = _text("system", call.system), _text("template", call.template) or None
        if template is not None:
            template_named(template)  # an unknown one is refused before anything is kept
        options = self._defaults
        if conversation_id is not None:
            options = options_of(self._turns.store.load(owner, conversation_id), options)
        given = {name: value for name, value in call.given.items() if value is not None}
        if given.get("adapter") == "":  # as for the template: none, whatever the chat had
            given["adapter"] = None
        return Options(
            options.system if system is None else system,
            options.template if template is None else template,
            replace(options.generation, **given),
        )


async def _words(live: LiveReply) -> AsyncGenerator[str]:
    """The reply so far, then all of it. A caller who leaves ends it, unless a page shows it."""
    told = ""
    with live.followed() as follower:
        while not live.ended:
            if live.progress.text != told:
                told = live.progress.text
                yield told
            await follower.news(FRAME_S)
    if live.progress.error is not None:
        raise LlavaChatError(live.progress.error)
    yield live.progress.text


def _text(field: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise MessageError(f"{field} must be text, not {type(value).__name__}.")
    return value


def _files(pictures: object) -> list[Path]:
    if pictures is None:
        return []
    if not isinstance(pictures, list):
        raise PictureError("pictures must be a list of uploaded files.")
    return [
        refuse_foreign_paths(picture.get("path") if isinstance(picture, dict) else None)
        for picture in pictures
    ]
