"""From the body of a call to a reply in the making. Imports the engine's interface, the settings'
parts, web.allowances and the modules beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from llava_chat.assembly import generation_settings, picture_limits
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import ChatEngine, GenerationSettings, ModelInfo, Stream
from llava_chat.errors import EngineError
from llava_chat.settings import Settings
from llava_chat.web.allowances import Allowances
from llava_chat.web.openai.answers import Completion, name_of
from llava_chat.web.openai.body import read_body
from llava_chat.web.openai.errors import CallError
from llava_chat.web.openai.fetching import PictureFetcher
from llava_chat.web.openai.messages import Draft, PictureSource, drafts_of
from llava_chat.web.openai.pictures import Pictures
from llava_chat.web.openai.reading import Reading
from llava_chat.web.openai.request import ChatRequest, read_request
from llava_chat.web.openai.responses import ReplyResponse
from llava_chat.web.people import Person

# As many as the page's questions have; a picture may wait for a decoder for half a minute.
ASKING_THREADS = 32
# Of the texts: \\uXXXX twice for one character outside the BMP, and a long conversation's share.
_JSON_BYTES_PER_CHARACTER = 12
_OVERHEAD_BYTES = 2**20

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Question:
    """A conversation whose pictures are still to be read, and how its reply is to be sampled."""

    system: str | None
    drafts: Sequence[Draft]
    generation: GenerationSettings

    @property
    def sources(self) -> list[PictureSource]:
        """Of all turns."""
        return [source for draft in self.drafts for source in draft.pictures]


class Asker:
    """Answers calls with one engine, as the settings allow."""

    def __init__(
        self,
        engine: ChatEngine,
        settings: Settings,
        allowances: Allowances,
        fetcher: PictureFetcher | None = None,
    ) -> None:
        """fetcher: for pictures at addresses, by default of the hosts that the settings list."""
        self._engine = engine
        self._settings = settings
        self._allowances = allowances
        self._defaults = generation_settings(settings)
        limits = picture_limits(settings)
        together = limits.max_bytes * max(1, settings.max_pictures)
        fetcher = fetcher or PictureFetcher(settings.picture_hosts, limits.max_bytes)
        self._pictures = Pictures(limits, fetcher, max_fetched_bytes=together)
        text_bytes = _JSON_BYTES_PER_CHARACTER * settings.max_message_chars
        self._max_body_bytes = together * 4 // 3 + text_bytes + _OVERHEAD_BYTES
        self._threads = ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="openai-asking")

    @property
    def model(self) -> ModelInfo:
        """The model that answers. Raises CallError, 503, while there is none."""
        try:
            return self._engine.model
        except EngineError as error:
            raise CallError(str(error), status=503, code="model_not_ready") from None

    async def adapters(self) -> list[str]:
        """Those that fit the model, by name."""
        return await self._in_thread(self._adapters)

    def _adapters(self) -> list[str]:
        return [each.name for each in self._engine.adapters() if not each.problem]

    async def reply(self, request: Request, person: Person) -> ReplyResponse:
        """Begin the reply to a call. Raises LlavaChatError, ClientDisconnect."""
        model = self.model  # what comes while one is opened is not even read
        ticket = self._allowances.begin(person)
        try:
            body = await read_body(request, self._max_body_bytes)
            asked, question = await self._in_thread(partial(self._read, body, model))
            fetched = await self._pictures.fetched(question.sources)
            stream = await self._in_thread(partial(self._begin, question, fetched, person))
            reading = Reading(stream, ticket.end)
        except BaseException:
            ticket.end(0)
            raise
        named = name_of(model, question.generation.adapter)
        completion = Completion(named, asked.include_usage)
        return ReplyResponse(reading, completion, stream=bool(asked.stream))

    def _read(self, body: bytes, model: ModelInfo) -> tuple[ChatRequest, _Question]:
        """In a thread: a body may be a hundred megabytes."""
        asked = read_request(body)
        adapter = chosen_adapter(asked.model, model, self._adapters())
        system, drafts = drafts_of(
            asked.messages,
            max_chars=self._settings.max_message_chars,
            max_pictures=self._settings.max_pictures,
        )
        system = self._settings.system if system is None else system
        generation = replace(asked.generation(self._defaults), adapter=adapter)
        return asked, _Question(system, drafts, generation)

    def _begin(self, question: _Question, fetched: dict[str, bytes], person: Person) -> Stream:
        """In a thread: decoding waits for a child process, and the prompt is made here."""
        count = partial(self._allowances.upload, person)
        read = self._pictures.read(question.sources, fetched, person.id, count)
        turns = tuple(
            Turn(draft.role, draft.text, tuple(read[source] for source in draft.pictures))
            for draft in question.drafts
        )
        conversation = Conversation(turns, system=question.system)
        return self._engine.stream(conversation, question.generation)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def chosen_adapter(name: str | None, model: ModelInfo, adapters: Sequence[str]) -> str | None:
    """The adapter that a call's `model` names, None for the model itself; None is that, too.

    Raises CallError, 404, for another model's name, or an adapter that is not here.
    """
    known = {name_of(model, adapter): adapter for adapter in (None, *adapters)}
    if name is None:
        return None
    if name not in known:
        raise CallError(
            f"The model {name!r} does not exist here; {', '.join(known)} "
            f"{'answers' if len(known) == 1 else 'answer'}.",
            status=404,
            param="model",
            code="model_not_found",
        )
    return known[name]
