"""Steps of several events of one page, which may reach it in another order than they were made in.

A step is on its way for as long as Gradio prepares its parts, one by one: of a page that opens
those are twenty, and the few of a quick reply overtake them. An event hears when its step was sent,
and makes good what has come too late. Imports the chat's other modules; no gradio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Set
from typing import Any

from llava_chat.web.chat.following import Steps
from llava_chat.web.chat.showing import Updates

Now = Callable[[Set[Any]], Awaitable[Updates]]
"""These parts of the page as they ought to be."""


async def caught_up(steps: Steps, shown: Callable[[], Hashable], now: Now) -> Steps:
    """Pass the steps on; what the page went on from while they were on their way is shown anew.

    shown: what the page shows; another value, and it has gone on.
    """
    late: set[Any] = set()
    async for step in steps:
        before = shown()
        yield step
        late = late - step.keys() if shown() == before else late | step.keys()
    while late:
        before = shown()
        yield await now(late)
        if shown() == before:
            return
