"""What a person can do in a conversation: ask, ask again, edit, undo. The store and the engine
meet here; whatever cannot be done raises a sentence and leaves the conversation as it was.

Imports the engine's interface, conversation, the store, images and their views, what people may
have, errors; no gradio.
"""

from __future__ import annotations

import asyncio
import filecmp
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from llava_chat.conversation import Conversation, Turn, check_message
from llava_chat.engine.base import (
    ChatEngine,
    ContextUse,
    Done,
    GenerationSettings,
    Stream,
    check_adapter,
)
from llava_chat.errors import (
    EngineOpeningError,
    LlavaChatError,
    MessageError,
    NotFoundError,
    PictureError,
)
from llava_chat.image import Picture, PictureLimits, read_picture
from llava_chat.store import (
    ConversationStore,
    KeptPictures,
    Message,
    StoredConversation,
    turns_of,
)
from llava_chat.web.allowances import Allowances
from llava_chat.web.chat.options import Options, lively
from llava_chat.web.chat.record import record_of
from llava_chat.web.chat.replies import LiveReply, Replies
from llava_chat.web.people import Person
from llava_chat.web.thumbnails import Thumbnails

Begun = TypeVar("Begun")

_PICTURE_ID = re.compile(r"[0-9a-f]{64}")

# A question may wait for a decoder or for a locked database for half a minute. Those who are behind
# so many wait for a thread as they would wait for the model.
ASKING_THREADS = 32


@dataclass(frozen=True)
class Limits:
    """What one message may bring. deadline_s: seconds for the reply to it."""

    picture: PictureLimits
    max_pictures: int
    max_message_chars: int
    deadline_s: float


class Turns:
    """The conversations of one server. Every method takes the owner and checks it by the store.

    They block, and raise NotFoundError, StoreError, InputError (the message, a picture, the
    context, a reply still being written), EngineBusyError and EngineClosedError.
    """

    def __init__(
        self,
        engine: ChatEngine,
        store: ConversationStore,
        replies: Replies,
        limits: Limits,
        thumbnails: Thumbnails,
        allowances: Allowances | None = None,
    ) -> None:
        self.engine = engine
        self.store = store
        self.replies = replies
        self.limits = limits
        self.thumbnails = thumbnails
        self.allowances = allowances or Allowances()
        self._asking = ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="asking")

    async def begun(self, person: Person, ask: Callable[[], LiveReply]) -> LiveReply:
        """The reply that `ask` starts for somebody: in a thread of a kind of its own.

        The loop's own few threads show everybody's words, and must not wait with the questions.
        Raises LimitError, before anything is asked, when they have used what one person may.
        """
        return await self.asked(partial(self.let_in, person, ask))

    async def asked(self, work: Callable[[], Begun]) -> Begun:
        """What `work` begins, in such a thread."""
        loop = asyncio.get_running_loop()
        inside = copy_context().run  # whose request it is, for what may depend on it
        return await loop.run_in_executor(self._asking, inside, work)

    def let_in(self, person: Person, ask: Callable[[], LiveReply]) -> LiveReply:
        """The reply that `ask` starts, counted as somebody's. Raises LimitError before it does."""
        ticket = self.allowances.begin(person)
        try:
            live = ask()
        except BaseException:
            ticket.end(0)
            raise
        live.over.add_done_callback(lambda over: ticket.end(over.result()))
        return live

    def ask(
        self,
        owner: str,
        conversation_id: str | None,
        text: str,
        files: Sequence[str | Path],
        options: Options,
    ) -> LiveReply:
        """Add a message, in a new conversation when there is none, and start the reply to it."""
        with self.replies.reserved(conversation_id):
            text = self._checked(text, len(files))
            stored = None if conversation_id is None else self.store.load(owner, conversation_id)
            pictures: Sequence[Picture] = [self._read(owner, Path(file)) for file in files]
            path = () if stored is None else stored.path
            if path and path[-1].role == "user":
                # An unanswered message is said anew; its pictures stay unless others came.
                pictures = pictures or self._pictures(path[-1])
                path = path[:-1]
            return self._begin(owner, stored, path, text, pictures, options)

    def edit(
        self, owner: str, conversation_id: str, message_id: str, text: str, options: Options
    ) -> LiveReply:
        """Say something else in place of an earlier message, and go on from there."""
        with self.replies.reserved(conversation_id):
            stored = self.store.load(owner, conversation_id)
            index, message = _find(stored, message_id, "user")
            text = self._checked(text, len(message.picture_ids))
            pictures = self._pictures(message)
            return self._begin(owner, stored, stored.path[:index], text, pictures, options)

    def regenerate(self, owner: str, conversation_id: str, options: Options) -> LiveReply:
        """Write another reply to the last message; the earlier ones stay as versions."""
        with self.replies.reserved(conversation_id):
            stored = self.store.load(owner, conversation_id)
            asked = [index for index, one in enumerate(stored.path) if one.role == "user"]
            if not asked:
                raise NotFoundError("There is no message to reply to in this conversation.")
            path = stored.path[: asked[-1] + 1]
            generation = options.generation
            if path[-1] is not stored.path[-1] and generation.seed is None:
                # The likeliest reply again would be no other version.
                generation = lively(generation)
            conversation = self._conversation(path, options)
            begun = self._stream(conversation, generation)
            return self._start(owner, path[-1], conversation, generation, *begun)

    def undo(self, owner: str, conversation_id: str) -> Message:
        """Take back the last message with its reply; returns it. Its pictures stay kept."""
        with self.replies.reserved(conversation_id):
            return self.store.undo(owner, conversation_id)

    def choose(self, owner: str, conversation_id: str, message_id: str) -> None:
        """Go to another version of a message."""
        with self.replies.reserved(conversation_id):
            self.store.choose(owner, conversation_id, message_id)

    def stop(self, owner: str, conversation_id: str) -> None:
        """End the reply that is being written and keep its words."""
        self.store.load(owner, conversation_id)
        live = self.replies.running(conversation_id)
        if live is not None:
            live.stop()

    def delete(self, owner: str, conversation_id: str) -> None:
        """Delete a conversation with its pictures; a reply that is being written ends."""
        self.stop(owner, conversation_id)
        for picture_id in self.store.delete(owner, conversation_id):
            self.thumbnails.discard(picture_id)

    def pictures(self, path: Sequence[Message]) -> KeptPictures:
        """The pictures of these messages by id; asking for a lost one raises NotFoundError."""
        return self.store.pictures(id for message in path for id in message.picture_ids)

    def context(
        self, stored: StoredConversation, options: Options, pictures: KeptPictures | None = None
    ) -> ContextUse | None:
        """How full the context is, and what was left out of it.

        pictures: the conversation's, where they are known. None while nothing was said, and where
        only the model's server can count.
        """
        if not stored.path:
            return None
        try:
            pictures = self.pictures(stored.path) if pictures is None else pictures
            conversation = _conversation(stored.path, options, pictures)
            return self.engine.context_use(conversation, options.generation.max_new_tokens)
        except LlavaChatError:
            return None  # the meter is a help; its failure must not hide the conversation

    def _begin(
        self,
        owner: str,
        stored: StoredConversation | None,
        before: Sequence[Message],
        text: str,
        pictures: Sequence[Picture],
        options: Options,
    ) -> LiveReply:
        """The engine is asked first: what it refuses never becomes part of the conversation."""
        earlier = self._conversation(before, options)
        turns = (*earlier.turns, Turn("user", text, tuple(pictures)))
        conversation = replace(earlier, turns=turns)
        stream, use = self._stream(conversation, options.generation)
        try:
            message = self.store.add_user(
                owner,
                None if stored is None else stored.id,
                text,
                pictures,
                parent_id=before[-1].id if before else None,
                options=options.to_keep(),
                kept=options.kept,
            )
        except BaseException:
            stream.cancel()
            raise
        return self._start(owner, message, conversation, options.generation, stream, use)

    def _start(
        self,
        owner: str,
        asked: Message,
        conversation: Conversation,
        generation: GenerationSettings,
        stream: Stream,
        use: ContextUse | None,
    ) -> LiveReply:
        def keep(done: Done) -> None:
            record = record_of(conversation, generation, done, done.model or self.engine.model)
            to = owner, asked.conversation_id, asked.id
            self.store.add_reply(*to, done.text, done.known_ids, done.finish, record)

        return self.replies.start(asked.conversation_id, stream, keep, use)

    def _stream(
        self, conversation: Conversation, generation: GenerationSettings
    ) -> tuple[Stream, ContextUse | None]:
        """A reply that begins, and how full the context is without it, where that is known."""
        use = None
        # Raises what would only come as Failed, too late; but for a model that is not there yet.
        with suppress(EngineOpeningError):
            use = self.engine.context_use(conversation, generation.max_new_tokens)
            if generation.adapter is not None:
                check_adapter(generation.adapter, self.engine.adapters())
        return self.engine.stream(conversation, generation), use

    def _conversation(self, path: Sequence[Message], options: Options) -> Conversation:
        return _conversation(path, options, self.pictures(path))

    def _pictures(self, message: Message) -> list[Picture]:
        kept = self.pictures((message,))
        return [kept[picture_id] for picture_id in message.picture_ids]

    def _read(self, owner: str, file: Path) -> Picture:
        """The picture in an upload.

        One that undo gave back is known by its name and its bytes: as a PNG it may be over the
        limit that the original kept.
        """
        if _PICTURE_ID.fullmatch(file.stem) and self.store.has_picture(owner, file.stem):
            kept = self.store.picture(file.stem)
            # A view of it that a browser saved, and somebody drew on, has the same name.
            if isinstance(kept.source, Path) and filecmp.cmp(file, kept.source, shallow=False):
                return kept
        return read_picture(file, self.limits.picture)

    def _checked(self, text: str, pictures: int) -> str:
        text = text.strip()
        if not text:
            wanted = "about the picture " if pictures else ""
            raise MessageError(f"The message is empty. Write a question {wanted}first.")
        text = check_message(
            text, max_chars=self.limits.max_message_chars, has_picture=bool(pictures)
        )
        if pictures > self.limits.max_pictures:
            raise PictureError(
                f"{pictures} pictures came; at most {self.limits.max_pictures} go with a message."
            )
        return text


def _find(stored: StoredConversation, message_id: str, role: str) -> tuple[int, Message]:
    for index, message in enumerate(stored.path):
        if message.id == message_id and message.role == role:
            return index, message
    raise NotFoundError("That message is no longer shown here. Reload the page.")


def _conversation(
    path: Sequence[Message], options: Options, pictures: KeptPictures
) -> Conversation:
    """What the engine is asked. Raises NotFoundError for a picture that was lost."""
    turns = turns_of(path, pictures.__getitem__)
    return Conversation(turns, system=options.system, template=options.template)
