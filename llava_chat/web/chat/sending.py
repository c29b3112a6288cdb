"""A question on its way: from the composer, or from a control in the thread, to its reply.

Everything that a reply needs begins at once, in a thread of its own; the page is told meanwhile
that it does. Imports the chat's other modules, people and uploads; no gradio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from llava_chat.web.chat.following import Following, Steps
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.showing import Showing, View
from llava_chat.web.chat.turns import Turns
from llava_chat.web.people import Person
from llava_chat.web.uploads import forget


@dataclass(frozen=True)
class Sent:
    """What left the composer; it comes back when it is refused."""

    text: str
    files: list[Path]


class Sending:
    """Starts replies for one Chat tab, and shows them."""

    def __init__(self, turns: Turns, showing: Showing, following: Following) -> None:
        self._turns = turns
        self._showing = showing
        self._following = following

    async def send(
        self, owner: str, person: Person, view: View, sent: Sent, options: Options
    ) -> Steps:
        """Take the composer's words and pictures to the model."""
        start = partial(self._ask, owner, replace(view), sent, options)
        async for step in self.reply(owner, person, view, start, options, sent):
            yield step

    def _ask(self, owner: str, view: View, sent: Sent, options: Options) -> LiveReply:
        live = self._turns.ask(owner, view.conversation_id, sent.text, sent.files, options)
        if view.conversation_id is None and not options.kept:
            self._showing.unkept.note(owner, view.page, live.conversation_id)
        forget(sent.files)
        return live

    async def reply(
        self,
        owner: str,
        person: Person,
        view: View,
        start: Callable[[], LiveReply],
        options: Options,
        sent: Sent | None = None,
    ) -> Steps:
        """Have `start` begin a reply, and show it to its end. sent: what it is to."""
        visit, view.stop_wanted = view.visit, False
        view.asking += 1
        try:
            begun = asyncio.ensure_future(self._turns.begun(person, start))
            # It begins now, and not once the page has been told that it does.
            await asyncio.sleep(0)
            try:
                yield self._showing.composer(running=True, empty=sent is not None)
                live = await asyncio.shield(begun)
            except (GeneratorExit, asyncio.CancelledError):
                begun.add_done_callback(_stop)  # the page has gone; what was asked is kept
                raise
            except Exception:
                running = self._following.running(view) is not None
                if sent is None:
                    yield self._showing.composer(running=running)
                else:
                    yield self._showing.given_back(sent.text, sent.files, running=running)
                raise
            if view.visit != visit:  # the person did not wait for the first word
                listed = await asyncio.to_thread(self._showing.listed, owner, replace(view))
                another = view.asking > 1 or self._following.running(view) is not None
                yield listed | self._showing.composer(running=another)
                return
            visit, view.conversation_id = view.leave(), live.conversation_id
        finally:
            view.asking -= 1
        if view.stop_wanted:
            live.stop()
        brings_picture = sent is not None and bool(sent.files)
        updates = await asyncio.to_thread(
            partial(self._showing.begun, owner, replace(view), live, brings_picture=brings_picture)
        )
        seen = live.progress.version
        if view.visit == visit:
            updates |= self._showing.composer(running=True)
            yield {**updates, **await self._following.written(live)}
        async for step in self._following.follow(owner, view, visit, live, options, seen):
            yield step


def _stop(begun: asyncio.Future[LiveReply]) -> None:
    """End a reply that nobody waits for, as one is ended whose last reader leaves."""
    with suppress(Exception, asyncio.CancelledError):  # refused: there is none
        begun.result().stop()
