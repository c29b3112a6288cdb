"""What happens when somebody does something in the Chat tab.

Handlers take ids and small values, never a history; who asks is read from the signed cookie and
checked by the store, whatever the client sends. Replies run in threads of their own: a handler
only shows their progress, and stops showing it when the page goes on to another conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from llava_chat.errors import InputError, LlavaChatError, StoreError
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.layout import ChatParts
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.showing import Showing, Updates, View
from llava_chat.web.chat.turns import Options, Turns
from llava_chat.web.security import refuse_foreign_paths
from llava_chat.web.uploads import forget

FRAME_S = 1 / 12  # a person sees no gain from more, and each frame costs every browser a redraw
SECOND_PICTURE = (
    "This model reads a chat's first picture best. For another picture, a new chat answers better."
)

Values = Mapping[Any, Any]
Steps = AsyncGenerator[Updates, None]


class ChatHandlers:
    """The events of one Chat tab."""

    def __init__(
        self,
        parts: ChatParts,
        turns: Turns,
        showing: Showing,
        examples: tuple[Example, ...],
        owner_of: Callable[[gr.Request], str],
    ) -> None:
        self.parts = parts
        self.turns = turns
        self.showing = showing
        self.examples = examples
        self.owner_of = owner_of
        self.view = gr.State(View())

    def connect(self, page: gr.Blocks) -> None:
        """Attach the handlers to the components."""
        parts = self.parts
        fields = set(parts.settings.fields)
        common: dict[str, Any] = {
            "inputs": {self.view, *fields},
            "outputs": [*parts.shown, *fields],
            "show_progress": "hidden",
            # The engine's own queue is the only one: Gradio's would hide a person's place in it.
            "concurrency_limit": None,
            # A long reply in one conversation must not swallow a click on another one.
            "trigger_mode": "multiple",
            "api_visibility": "private",
        }
        page.load(self.open_page, **common)
        sending = {"inputs": {self.view, parts.composer, *fields}, "trigger_mode": "once"}
        parts.composer.submit(self.send, **{**common, **sending})
        parts.composer.stop(self.stop, **common)
        for source in (parts.sidebar, parts.conversations, parts.thread):
            source.act(self.act, **common)
        parts.settings.reset.click(self.reset, **common)

    # ---- events ------------------------------------------------------------------------------

    async def open_page(self, values: Values, request: gr.Request) -> Steps:
        """Show the conversation that the address names, and what is being written in it."""
        wanted = dict(request.query_params).get("c")
        async with aclosing(self._guarded(self._open(values, request, wanted))) as steps:
            async for step in steps:
                yield step

    async def send(self, values: Values, request: gr.Request) -> Steps:
        """Take the composer's words and pictures to the model."""
        async with aclosing(self._guarded(self._send(values, request))) as steps:
            async for step in steps:
                yield step

    async def act(self, values: Values, event: gr.EventData, request: gr.Request) -> Steps:
        """Do what a control in the thread or in the sidebar asks for."""
        detail = {key: str(value) for key, value in event._data.items() if value is not None}
        async with aclosing(self._guarded(self._act(values, request, detail))) as steps:
            async for step in steps:
                yield step

    def stop(self, values: Values, request: gr.Request) -> Updates:
        """End the reply of the shown conversation; whoever follows it shows the end."""
        view: View = values[self.view]
        try:
            if view.conversation_id is not None:
                self.turns.stop(self.owner_of(request), view.conversation_id)
        except LlavaChatError as error:
            return self.showing.sentence(str(error))
        return self.showing.told("")

    def reset(self, values: Values) -> Updates:
        """Put the settings panel back to the server's defaults."""
        return self.showing.default_fields()

    # ---- the steps of each -------------------------------------------------------------------

    async def _guarded(self, steps: Steps) -> Steps:
        """Pass the steps on; what cannot be done becomes one sentence above the composer."""
        try:
            async for step in steps:
                yield step
        except LlavaChatError as error:
            yield self.showing.sentence(str(error))

    async def _open(self, values: Values, request: gr.Request, wanted: str | None) -> Steps:
        view: View = values[self.view]
        owner = self.owner_of(request)
        problem = None
        try:
            view.conversation_id = wanted
            updates = await asyncio.to_thread(self.showing.conversation, owner, view, fields=True)
        except LlavaChatError as error:
            view.conversation_id, problem = None, error
            updates = await asyncio.to_thread(self.showing.conversation, owner, view)
        live = self.turns.replies.running(view.conversation_id)
        updates |= self.showing.composer(running=live is not None)
        yield {**updates, **self.showing.told("")}
        if problem is not None:
            raise problem
        if live is not None:
            async for step in self._follow(owner, view, live, self._options(values)):
                yield step

    async def _send(self, values: Values, request: gr.Request) -> Steps:
        view: View = values[self.view]
        owner = self.owner_of(request)
        message = values[self.parts.composer] or {}
        files = [refuse_foreign_paths(file) for file in message.get("files") or ()]
        live, warning = await asyncio.to_thread(
            self._ask, owner, view, message.get("text") or "", files, self._options(values)
        )
        async for step in self._show_reply(values, owner, live, warning, sent=True):
            yield step

    def _ask(
        self, owner: str, view: View, text: str, files: list[Path], options: Options
    ) -> tuple[LiveReply, str]:
        shown_before = view.conversation_id
        warning = ""
        if files and shown_before is not None:
            stored = self.turns.store.load(owner, shown_before)
            warning = SECOND_PICTURE if any(one.picture_ids for one in stored.path) else ""
        live = self.turns.ask(owner, shown_before, text, files, options)
        forget(files)
        return live, warning

    async def _act(self, values: Values, request: gr.Request, detail: dict[str, str]) -> Steps:
        view: View = values[self.view]
        owner = self.owner_of(request)
        action = detail.get("action", "")
        replying = {"regenerate": self._regenerate, "edit": self._edit, "example": self._example}
        changing = {"undo": self._undo, "choose": self._choose, "rename": self._rename}
        listing = {"search": self._search, "delete": self._delete}
        if action in ("open", "new"):
            wanted = detail.get("conversation") if action == "open" else None
            async for step in self._open(values, request, wanted):
                yield step
        elif action in replying:
            live = await asyncio.to_thread(
                replying[action], owner, view, detail, self._options(values)
            )
            async for step in self._show_reply(values, owner, live, ""):
                yield step
        elif action in {**changing, **listing}:
            change = {**changing, **listing}[action]
            yield {
                **await asyncio.to_thread(change, owner, view, detail),
                **self.showing.told(""),
            }
        else:
            raise InputError("This page does not fit the server any more. Reload it.")

    async def _show_reply(
        self, values: Values, owner: str, live: LiveReply, warning: str, *, sent: bool = False
    ) -> Steps:
        view: View = values[self.view]
        view.conversation_id = live.conversation_id
        updates = await asyncio.to_thread(self.showing.conversation, owner, view)
        updates |= self.showing.composer(running=True, empty=sent)
        yield {**updates, **self.showing.progress(live.progress), **self.showing.told(warning)}
        async for step in self._follow(owner, view, live, self._options(values)):
            yield step

    async def _follow(self, owner: str, view: View, live: LiveReply, options: Options) -> Steps:
        """Show a reply until it ends, or until the page shows another conversation."""
        seen = -1
        try:
            while not live.ended and view.conversation_id == live.conversation_id:
                if live.progress.version != seen:
                    seen = live.progress.version
                    yield self.showing.progress(live.progress)
                await asyncio.sleep(FRAME_S)
        except (GeneratorExit, asyncio.CancelledError):
            live.stop()  # the browser has gone: its words are kept, the engine is free
            raise
        if view.conversation_id != live.conversation_id:
            # A piece that was on its way may have arrived after what the page went on to.
            yield self._progress_of(view)
        else:
            yield await asyncio.to_thread(self._ended, owner, view, live, options)

    def _ended(self, owner: str, view: View, live: LiveReply, options: Options) -> Updates:
        """The conversation after a reply. Words that could not be kept stay for this page alone."""
        updates, problem = {}, live.progress.error
        if live.progress.unsaved:
            updates = self.showing.unsaved(live.progress)
        else:
            try:
                updates = self.showing.conversation(owner, view, options)
            except StoreError as error:
                problem = problem or str(error)
        updates |= self.showing.composer(running=False)
        return updates | (self.showing.sentence(problem) if problem else {})

    def _progress_of(self, view: View) -> Updates:
        live = self.turns.replies.running(view.conversation_id)
        return self.showing.progress(live.progress if live is not None else None)

    # ---- what one action does; each runs in a thread of its own --------------------------------

    def _regenerate(
        self, owner: str, view: View, detail: dict[str, str], options: Options
    ) -> LiveReply:
        return self.turns.regenerate(owner, _open_one(view), options)

    def _edit(self, owner: str, view: View, detail: dict[str, str], options: Options) -> LiveReply:
        message_id, text = detail.get("message", ""), detail.get("text", "")
        return self.turns.edit(owner, _open_one(view), message_id, text, options)

    def _example(
        self, owner: str, view: View, detail: dict[str, str], options: Options
    ) -> LiveReply:
        number = detail.get("value", "")
        if not number.isdecimal() or int(number) >= len(self.examples):
            raise InputError("There is no such example. Reload the page.")
        example = self.examples[int(number)]
        return self.turns.ask(owner, None, example.question, [example.file], options)

    def _undo(self, owner: str, view: View, detail: dict[str, str]) -> Updates:
        message = self.turns.undo(owner, _open_one(view))
        files = [self.turns.store.picture(picture_id) for picture_id in message.picture_ids]
        return {
            **self.showing.conversation(owner, view),
            **self.showing.given_back(message.text, files),
        }

    def _choose(self, owner: str, view: View, detail: dict[str, str]) -> Updates:
        self.turns.choose(owner, _open_one(view), detail.get("message", ""))
        return self.showing.conversation(owner, view)

    def _rename(self, owner: str, view: View, detail: dict[str, str]) -> Updates:
        self.turns.store.rename(owner, detail.get("conversation", ""), detail.get("text", ""))
        return self.showing.listed(owner, view)

    def _search(self, owner: str, view: View, detail: dict[str, str]) -> Updates:
        view.search = detail.get("text", "")
        return self.showing.listed(owner, view)

    def _delete(self, owner: str, view: View, detail: dict[str, str]) -> Updates:
        conversation_id = detail.get("conversation", "")
        self.turns.delete(owner, conversation_id)
        if view.conversation_id != conversation_id:
            return self.showing.listed(owner, view)
        view.conversation_id = None
        return {
            **self.showing.conversation(owner, view),
            **self.showing.composer(running=False),
        }

    def _options(self, values: Values) -> Options:
        return self.parts.settings.options(values, self.turns.limits.deadline_s)


def _open_one(view: View) -> str:
    if view.conversation_id is None:
        raise InputError("No conversation is open here. Choose one, or ask something.")
    return view.conversation_id
