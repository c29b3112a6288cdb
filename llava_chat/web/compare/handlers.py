"""What happens when somebody does something in the Compare tab.

As in the chat, handlers take ids and small values; who asks is read from the signed cookie and
checked by the store. Votes do not come here: `web.feedback` takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from llava_chat.errors import InputError, LlavaChatError
from llava_chat.web.chat.following import FRAME_S
from llava_chat.web.chat.status import refusal
from llava_chat.web.compare.contestants import Choice
from llava_chat.web.compare.layout import CompareParts
from llava_chat.web.compare.pairs import Pair, Pairs
from llava_chat.web.compare.showing import CompareShowing, CompareView, Updates
from llava_chat.web.people import People
from llava_chat.web.security import refuse_foreign_paths
from llava_chat.web.uploads import forget

Values = Mapping[Any, Any]
Steps = AsyncGenerator[Updates, None]


class CompareHandlers:
    """The events of one Compare tab."""

    def __init__(self, parts: CompareParts, pairs: Pairs, people: People) -> None:
        self.parts = parts
        self.pairs = pairs
        self.people = people
        self.showing = CompareShowing(parts, pairs)
        self.view = gr.State(CompareView())

    def connect(self, page: gr.Blocks) -> None:
        """Attach the handlers to the components."""
        parts = self.parts
        common: dict[str, Any] = {
            "inputs": {self.view},
            "outputs": parts.shown,
            "show_progress": "hidden",
            "concurrency_limit": None,
            "trigger_mode": "multiple",
            "api_visibility": "private",
        }
        page.load(self.open_page, **common)
        sending = {
            "inputs": {self.view, parts.composer, *parts.fields},
            "trigger_mode": "always_last",  # as in the chat
        }
        parts.composer.submit(self.send, **{**common, **sending})
        parts.composer.stop(self.stop, **common)
        for source in (parts.thread, parts.anew):
            source.act(self.act, **common)

    # ---- events ------------------------------------------------------------------------------

    async def open_page(self, values: Values, request: gr.Request) -> Steps:
        """Show the comparison that the address names, and what is being written in it."""
        view: CompareView = values[self.view]
        wanted = dict(request.query_params).get("compare")
        steps = self._open(self._owner(request), view, wanted)
        async with aclosing(self._guarded(steps)) as guarded:
            async for step in guarded:
                yield step

    async def send(self, values: Values, request: gr.Request) -> Steps:
        """Take the composer's words and pictures to both contestants."""
        async with aclosing(self._guarded(self._send(values, request))) as steps:
            async for step in steps:
                yield step

    async def act(self, values: Values, event: gr.EventData, request: gr.Request) -> Steps:
        """Begin another comparison, have a side try again, delete, or show what a vote revealed."""
        action = str(event._data.get("action", ""))
        async with aclosing(self._guarded(self._act(values, request, action))) as steps:
            async for step in steps:
                yield step

    async def stop(self, values: Values, request: gr.Request) -> Updates:
        """End both replies; whoever follows them shows the end."""
        view: CompareView = values[self.view]
        view.stop_wanted = True
        try:
            owner = self._owner(request)
            if view.comparison_id is not None:
                await asyncio.to_thread(self.pairs.stop, owner, view.comparison_id)
        except LlavaChatError as error:
            return self.showing.sentence(str(error))
        return self.showing.sentence("")

    # ---- the steps of each -------------------------------------------------------------------

    async def _guarded(self, steps: Steps) -> Steps:
        try:
            async for step in steps:
                yield step
        except LlavaChatError as error:
            yield self.showing.sentence(refusal(error))

    def _owner(self, request: gr.Request) -> str:
        return self.people.owner_of(request)

    async def _open(self, owner: str, view: CompareView, wanted: str | None) -> Steps:
        visit, problem = view.leave(), None
        view.failures = {}
        shown = replace(view, comparison_id=wanted)
        try:
            updates = await asyncio.to_thread(self.showing.comparison, owner, shown)
        except LlavaChatError as error:
            problem, wanted = error, None
            shown = replace(view, comparison_id=None)
            updates = await asyncio.to_thread(self.showing.comparison, owner, shown)
        if view.visit != visit:
            return
        view.comparison_id = wanted
        pair = await asyncio.to_thread(self._running, owner, wanted)
        yield {
            **updates,
            **self.showing.composer(running=pair is not None),
            **self.showing.sentence(""),
        }
        if problem is not None:
            raise problem
        if pair is not None:
            async for step in self._follow(owner, view, visit, pair):
                yield step

    def _running(self, owner: str, comparison_id: str | None) -> Pair | None:
        if comparison_id is None:
            return None
        pair = self.pairs.running(self.pairs.comparisons.load(owner, comparison_id))
        return pair if pair.writing else None

    async def _send(self, values: Values, request: gr.Request) -> Steps:
        view: CompareView = values[self.view]
        owner, person = self._owner(request), self.people.of_request(request)
        message = values[self.parts.composer] or {}
        text = message.get("text") or ""
        files = [refuse_foreign_paths(file) for file in message.get("files") or ()]
        if view.comparison_id is None:
            begin = partial(self.pairs.begin, owner, person, text, files, self._choices(values))
        else:
            begin = partial(self.pairs.ask, owner, person, view.comparison_id, text, files)

        def sent() -> Pair:
            pair = begin()
            forget(files)
            return pair

        async for step in self._begun(owner, view, sent, (text, files)):
            yield step

    async def _act(self, values: Values, request: gr.Request, action: str) -> Steps:
        view: CompareView = values[self.view]
        owner = self._owner(request)
        if action == "new":
            steps = self._open(owner, view, None)
        elif action == "delete" and view.comparison_id is not None:
            await asyncio.to_thread(self.pairs.delete, owner, view.comparison_id)
            steps = self._open(owner, view, None)
        elif action == "look":
            steps = self._look(owner, view)
        elif action == "again" and view.comparison_id is not None:
            person, id = self.people.of_request(request), view.comparison_id
            steps = self._begun(owner, view, partial(self.pairs.again, owner, person, id))
        else:
            raise InputError("This page does not fit the server any more. Reload it.")
        async for step in steps:
            yield step

    async def _look(self, owner: str, view: CompareView) -> Steps:
        visit = view.visit
        updates = await asyncio.to_thread(self.showing.comparison, owner, replace(view))
        if view.visit == visit:
            yield updates

    async def _begun(
        self,
        owner: str,
        view: CompareView,
        begin: Callable[[], Pair],
        sent: tuple[str, list[Path]] | None = None,
    ) -> Steps:
        """Have `begin` start replies, and show them to their end. sent: what they are to."""
        visit, view.stop_wanted = view.visit, False
        view.asking += 1
        try:
            begun = asyncio.ensure_future(self.pairs.turns.asked(begin))
            await asyncio.sleep(0)  # it begins now, and not once the page has been told
            try:
                yield self.showing.composer(running=True, empty=sent is not None)
                pair = await asyncio.shield(begun)
            except (GeneratorExit, asyncio.CancelledError):
                begun.add_done_callback(_stop)  # the page has gone; what was asked is kept
                raise
            except Exception:
                given = self.showing.composer(running=False)
                yield given if sent is None else self.showing.given_back(*sent)
                raise
            if view.visit != visit:
                return
            visit, view.comparison_id = view.leave(), pair.comparison.id
            view.failures = {}
        finally:
            view.asking -= 1
        if view.stop_wanted:
            for live in pair.writing:
                live.stop()
        updates = await asyncio.to_thread(self.showing.comparison, owner, replace(view))
        if view.visit == visit:
            running = self.showing.composer(running=True)
            yield {**updates, **running, **self.showing.sentence("")}
        async for step in self._follow(owner, view, visit, pair):
            yield step

    async def _follow(self, owner: str, view: CompareView, visit: int, pair: Pair) -> Steps:
        """Show both replies until both have ended, or the page goes on to something else."""
        seen: tuple[int, ...] = ()
        with ExitStack() as stack:
            followers = [stack.enter_context(live.followed()) for live in pair.writing]
            while not all(live.ended for live in pair.writing) and view.visit == visit:
                versions = tuple(live.progress.version for live in pair.writing)
                if versions != seen:
                    seen = versions
                    yield await asyncio.to_thread(self.showing.written, pair)
                await asyncio.gather(*(follower.news(FRAME_S) for follower in followers))
        if view.visit != visit:
            return
        view.failures = {
            live.conversation_id: live.progress.error
            for live in pair.writing
            if live.progress.error is not None
        }
        updates = await asyncio.to_thread(self.showing.comparison, owner, replace(view))
        if view.visit == visit:
            yield {**updates, **self.showing.composer(running=False)}

    def _choices(self, values: Values) -> tuple[Choice, Choice]:
        first, second = (
            Choice(*(values[field] for field in part.fields)) for part in self.parts.contestants
        )
        return first, second


def _stop(begun: asyncio.Future[Pair]) -> None:
    """End replies that nobody waits for, as they are ended when the last reader leaves."""
    with suppress(Exception, asyncio.CancelledError):  # refused: there are none
        for live in begun.result().writing:
            live.stop()
