"""Showing a reply while it is written: frame by frame, until it ends or the page goes elsewhere.

Imports the chat's other modules and errors; no gradio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Set
from dataclasses import replace
from functools import partial
from typing import Any

from llava_chat.errors import StoreError
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.showing import Showing, Updates, View
from llava_chat.web.chat.turns import Turns

FRAME_S = 1 / 12  # a person sees no gain from more, and each frame costs every browser a redraw

Steps = AsyncGenerator[Updates, None]


class Following:
    """What is shown of replies that run in threads of their own."""

    def __init__(self, turns: Turns, showing: Showing) -> None:
        self._turns = turns
        self._showing = showing

    async def follow(
        self,
        owner: str,
        view: View,
        visit: int,
        live: LiveReply,
        options: Options | None,
        seen: int = -1,
    ) -> Steps:
        """Show a reply until it ends, or until the page goes on to show something else.

        seen: the version of its progress that the page shows already.
        """
        with live.followed() as follower:
            while not live.ended and view.visit == visit:
                if live.progress.version != seen:
                    seen = live.progress.version
                    yield await self.written(live)
                await follower.news(FRAME_S)
        if view.visit == visit:
            updates = await asyncio.to_thread(self.ended, owner, replace(view), live, options)
            if view.visit == visit:
                yield updates
                return
        # A piece that was on its way may have arrived after what the page went on to.
        yield await self.written(self.running(view))

    async def written(self, live: LiveReply | None) -> Updates:
        """The words so far; a long reply's Markdown would hold up the loop that serves everyone."""
        progress = None if live is None else live.progress
        if progress is None or not progress.text:  # nothing that takes longer than a thread's start
            return self._showing.progress(progress)
        return await asyncio.to_thread(self._showing.progress, progress)

    def ended(self, owner: str, view: View, live: LiveReply, options: Options | None) -> Updates:
        """The conversation after a reply. Words that could not be kept stay for this page alone."""
        updates, problem = {}, live.progress.error
        if live.progress.unsaved:
            updates = self._showing.unsaved(live.progress)
        else:
            try:
                updates = self._showing.conversation(owner, view, options)
            except StoreError as error:
                problem = problem or str(error)
        updates |= self._showing.composer(running=False)
        return updates | (self._showing.sentence(problem) if problem else {})

    def running(self, view: View) -> LiveReply | None:
        """The reply in the making to what is shown, which the store gave to whoever sees it."""
        return self._turns.replies.running(view.conversation_id)

    def answering(self, view: View) -> bool:
        """Whether a reply to what is shown is being written, or about to be."""
        return view.asking > 0 or self.running(view) is not None

    def state(self, view: View) -> tuple[int, bool]:
        """Another one, and what was shown before is no longer so."""
        return view.visit, self.answering(view)

    async def now(self, owner: str, view: View, parts: Set[Any]) -> Updates:
        """Those of these parts that show a conversation, as they ought to be."""
        shown = await asyncio.to_thread(
            partial(self._showing.conversation, owner, replace(view), fields=True)
        )
        shown |= self._showing.composer(running=self.answering(view))
        shown |= await self.written(self.running(view))
        return {part: value for part, value in shown.items() if part in parts}
