"""What happens when somebody does something in the Chat tab.

Handlers take ids and small values, never a history; who asks is read from the signed cookie and
checked by the store, whatever the client sends. Replies run in threads of their own: a handler
only shows their progress, and stops showing it when the page goes on to another conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from llava_chat.engine.base import Opening
from llava_chat.errors import InputError, LlavaChatError, NotFoundError
from llava_chat.web.chat.actions import Actions, Detail
from llava_chat.web.chat.catching_up import caught_up
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.following import FRAME_S, Following, Steps
from llava_chat.web.chat.layout import ChatParts
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.sending import Sending, Sent
from llava_chat.web.chat.showing import Showing, Updates, View
from llava_chat.web.chat.status import refusal
from llava_chat.web.chat.turns import Turns
from llava_chat.web.markdown import printable
from llava_chat.web.people import People
from llava_chat.web.security import refuse_foreign_paths
from llava_chat.web.session import SessionError

Values = Mapping[Any, Any]


class ChatHandlers:
    """The events of one Chat tab."""

    def __init__(
        self,
        parts: ChatParts,
        turns: Turns,
        showing: Showing,
        examples: tuple[Example, ...],
        people: People,
    ) -> None:
        self.parts = parts
        self.turns = turns
        self.showing = showing
        self.actions = Actions(turns, showing, examples)
        self.following = Following(turns, showing)
        self.sending = Sending(turns, showing, self.following)
        self.people = people
        # What shows one conversation: stale once the page has gone on to another.
        self._thread = {parts.thread, parts.live, parts.meter, parts.export}
        self.view = gr.State(View())

    def connect(self, page: gr.Blocks) -> None:
        """Attach the handlers to the components."""
        parts = self.parts
        fields = set(parts.settings.fields)
        common: dict[str, Any] = {
            "inputs": {self.view, *fields, parts.unkept},
            "outputs": [*parts.shown, *fields],
            "show_progress": "hidden",
            # The engine's own queue is the only one: Gradio's would hide a person's place in it.
            "concurrency_limit": None,
            # A long reply in one conversation must not swallow a click on another one.
            "trigger_mode": "multiple",
            "api_visibility": "private",
        }
        page.load(self.open_page, **common)
        sending = {
            "inputs": {self.view, parts.composer, parts.unkept, *fields},
            # What is sent before the page has heard of the last event's end waits for that.
            "trigger_mode": "always_last",
        }
        parts.composer.submit(self.send, **{**common, **sending})
        for source in (parts.model, parts.sidebar, parts.conversations, parts.thread):
            source.act(self.act, **common)
        # Without the settings: Gradio refuses an event before its handler sees a value that is
        # out of a field's range, and stopping has nothing to do with that.
        apart = {**common, "inputs": {self.view}}
        parts.composer.stop(self.stop, **apart)
        parts.watch.tick(self.watch, **{**apart, "trigger_mode": "once"})
        parts.settings.reset.click(self.reset, **apart)
        page.unload(self.leave)

    # ---- events ------------------------------------------------------------------------------

    async def open_page(self, values: Values, request: gr.Request) -> Steps:
        """Show the conversation that the address names, and what is being written in it."""
        async with aclosing(
            self._guarded(values, request, self._open_page(values, request))
        ) as steps:
            async for step in steps:
                yield step

    async def send(self, values: Values, request: gr.Request) -> Steps:
        """Take the composer's words and pictures to the model."""
        async with aclosing(self._guarded(values, request, self._send(values, request))) as steps:
            async for step in steps:
                yield step

    async def act(self, values: Values, event: gr.EventData, request: gr.Request) -> Steps:
        """Do what a control in the thread or in the sidebar asks for."""
        detail = {
            key: printable(str(value)) for key, value in event._data.items() if value is not None
        }
        act = self._act(values, request, detail)
        async with aclosing(self._guarded(values, request, act)) as steps:
            async for step in steps:
                yield step

    async def stop(self, values: Values, request: gr.Request) -> Updates:
        """End the reply of the shown conversation; whoever follows it shows the end."""
        try:
            view, owner = await self._page(values, request)
            view.stop_wanted = True
            if view.conversation_id is not None:
                await asyncio.to_thread(self.turns.stop, owner, view.conversation_id)
        except LlavaChatError as error:
            return self.showing.sentence(str(error))
        told = self.showing.told("")
        if not view.asking and self.turns.replies.running(view.conversation_id) is None:
            told |= self.showing.composer(running=False)  # nobody follows what has ended already
        return told

    async def watch(self, values: Values, request: gr.Request) -> Updates:
        """Show how far the model is; once it is there, what it makes of the conversation."""
        view: View = values[self.view]
        updates = self.showing.model(view)
        if isinstance(view.models, Opening):
            return updates
        updates |= await asyncio.to_thread(self.showing.adapters)
        problem = self.showing.models.problem(view.models)
        try:
            view, owner = await self._page(values, request)
            updates |= await asyncio.to_thread(self.showing.meter, owner, replace(view))
        except LlavaChatError as error:
            problem = problem or str(error)
        return updates | (self.showing.sentence(problem) if problem else {})

    def reset(self, values: Values) -> Updates:
        """Put the settings panel back to the server's defaults."""
        return self.showing.default_fields()

    def leave(self, request: gr.Request) -> None:
        """Remove the chats that were to live no longer than their page."""
        with suppress(SessionError):
            self.showing.unkept.leave(self.people.owner_of(request), request.session_hash or "")

    # ---- the steps of each -------------------------------------------------------------------

    async def _guarded(self, values: Values, request: gr.Request, steps: Steps) -> Steps:
        """Pass the steps on; what cannot be done becomes one sentence above the composer.

        The first one brings the model that is there now to a page that shows another; after the
        last one comes what is left to the person, where that is little.
        """
        view: View = values[self.view]
        self._name(view, request)
        model = {}
        if view.models != self.showing.models.state:
            model = await self._model(view)
        state = partial(self.following.state, view)
        steps = caught_up(steps, state, partial(self._now, values, request))
        try:
            async for step in steps:
                yield {**model, **step}
                model = {}
        except LlavaChatError as error:
            yield {**model, **self.showing.sentence(refusal(error))}
        with suppress(SessionError):
            if left := self.showing.allowances(self.people.of_request(request), view):
                yield left

    async def _now(self, values: Values, request: gr.Request, parts: Set[Any]) -> Updates:
        view, owner = await self._page(values, request)
        return await self.following.now(owner, view, parts)

    async def _model(self, view: View) -> Updates:
        """Which model there is, and the adapters that fit it."""
        return self.showing.model(view) | await asyncio.to_thread(self.showing.adapters)

    def _name(self, view: View, request: gr.Request) -> None:
        """Know the page; one that seemed to be left has only lost its connection for a while."""
        view.page = request.session_hash or ""
        with suppress(SessionError):
            self.showing.unkept.come_back(self.people.owner_of(request), view.page)

    async def _page(self, values: Values, request: gr.Request) -> tuple[View, str]:
        """What the page shows, and who asks.

        A page that this server has not seen was open when it started: its address tells.
        """
        view: View = values[self.view]
        owner = self.people.owner_of(request)
        if not view.known:
            wanted = dict(request.query_params).get("c")
            with suppress(NotFoundError):
                if wanted is not None:
                    await asyncio.to_thread(self.turns.store.load, owner, wanted)
                    if not view.known:  # another event of the page may have come in between
                        view.conversation_id = wanted
            view.known = True
        return view, owner

    async def _open_page(self, values: Values, request: gr.Request) -> Steps:
        view: View = values[self.view]
        owner = self.people.owner_of(request)
        # Whoever is quicker than the page sends their question before this, and it shows that.
        while view.asking:
            await asyncio.sleep(FRAME_S)
        if view.visit:
            yield {}  # with no step at all Gradio would empty every part of the page
            return
        async for step in self._open(owner, view, dict(request.query_params).get("c")):
            yield step

    async def _open(self, owner: str, view: View, wanted: str | None) -> Steps:
        """Show a conversation, a new one for None; the newest of several clicks counts."""
        visit, problem, was = view.leave(), None, view.conversation_id
        try:
            updates = await self._shown(owner, view, visit, wanted)
        except LlavaChatError as error:
            problem = error
            updates = await self._shown(owner, view, visit, None)
        if view.visit != visit:
            return
        if view.conversation_id is None and was is not None:
            updates |= self.showing.may_be_unkept()
        live = self.following.running(view)
        updates |= self.showing.composer(running=self.following.answering(view))
        yield {**updates, **self.showing.told("")}
        if problem is not None:
            raise problem
        if live is not None:
            async for step in self.following.follow(owner, view, visit, live, None):
                yield step

    async def _shown(self, owner: str, view: View, visit: int, wanted: str | None) -> Updates:
        """Make `wanted` what the page shows, once the store has agreed."""
        if wanted is not None:
            await asyncio.to_thread(self.turns.store.load, owner, wanted)
        if view.visit == visit:
            view.conversation_id, view.known = wanted, True
        shown = replace(view, conversation_id=wanted)
        return await asyncio.to_thread(self.showing.conversation, owner, shown, fields=True)

    async def _send(self, values: Values, request: gr.Request) -> Steps:
        view, owner = await self._page(values, request)
        message = values[self.parts.composer] or {}
        files = [refuse_foreign_paths(file) for file in message.get("files") or ()]
        sent, person = Sent(message.get("text") or "", files), self.people.of_request(request)
        async for step in self.sending.send(owner, person, view, sent, self._options(values)):
            yield step

    async def _act(self, values: Values, request: gr.Request, detail: Detail) -> Steps:
        view, owner = await self._page(values, request)
        action = detail.get("action", "")
        if action in ("open", "new"):
            steps = self._open(
                owner, view, detail.get("conversation") if action == "open" else None
            )
        elif action == "delete":
            steps = self._delete(owner, view, detail.get("conversation", ""))
        elif action == "look":
            yield await self._model(view)
            return
        elif action in self.actions.replying:
            person, options = self.people.of_request(request), self._options(values)
            begin = self.actions.replying[action]
            start = partial(begin, owner, replace(view), detail, options)
            steps = self.sending.reply(owner, person, view, start, options)
        elif action in self.actions.changing:
            steps = self._change(owner, view, action, detail)
        else:
            raise InputError("This page does not fit the server any more. Reload it.")
        async for step in steps:
            yield step

    async def _change(self, owner: str, view: View, action: str, detail: Detail) -> Steps:
        if action == "search":
            view.search = detail.get("text", "")
        visit = view.visit
        updates = await asyncio.to_thread(
            self.actions.changing[action], owner, replace(view), detail
        )
        if view.visit != visit:
            updates = {part: shown for part, shown in updates.items() if part not in self._thread}
        yield {**updates, **self.showing.told("")}

    async def _delete(self, owner: str, view: View, conversation_id: str) -> Steps:
        await asyncio.to_thread(self.turns.delete, owner, conversation_id)
        if view.conversation_id == conversation_id:
            async for step in self._open(owner, view, None):
                yield step
        else:
            listed = await asyncio.to_thread(self.showing.listed, owner, replace(view))
            yield {**listed, **self.showing.told("")}

    def _options(self, values: Values) -> Options:
        options = self.parts.settings.options(values, self.turns.limits.deadline_s)
        return replace(options, kept=not values[self.parts.unkept])
