"""What a language model would answer, and what servers in front of one do to it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from llava_chat.training.generation.prompts import load_prompts
from tests.engine.remote.server import Heard, Wire

MODEL = "writer"
KIND_OF = {prompt.system: kind for kind, prompt in load_prompts().asked.items()}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}

Key = tuple[str, str]  # type, context


def good(kind: str, context: str) -> str:
    """A reply as it should be, another one for each picture."""
    first = context.splitlines()[0]
    boxes = context.partition("\n\n")[2].splitlines()
    asked = [
        ("What is to be seen?", first),
        ("How many things stand out?", f"There are {len(boxes)}, where {first.lower()}"),
    ]
    if kind == "detail":
        return f"{first} Around it there is more: {len(boxes)} things in all."
    pairs = asked if kind == "conversation" else asked[:1]
    return "\n===\n".join(f"Question:\n{q}\n===\nAnswer:\n{a}" for q, a in pairs)


UNFIT: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "cut off": lambda kind, context: (good(kind, context)[:20], "length"),
    "filtered": lambda kind, context: ("", "content_filter"),
    "empty": lambda kind, context: (" \n", "stop"),
    "gives the notes away": lambda kind, context: ("Question:\nWhy?\n===\nAnswer:\nAs the "
                                                   "captions say.", "stop"),
    "unwilling": lambda kind, context: (
        "I'm sorry, but no." if kind == "detail"
        else "Question:\nWhy?\n===\nAnswer:\nI cannot see that.", "stop"),
}  # fmt: skip


class Model:
    """Call it as the Answer of a ScriptedServer.

    troubles: what happens instead, in turn, to the requests for one row; then all is well. A name
    of UNFIT is such a reply. usage: whether tokens are counted. before: called with the number of
    each request before it is answered.

    said: how many replies of each key went out whole. requests: how many came.
    """

    def __init__(
        self,
        troubles: Callable[[Key], list[str]] = lambda key: [],
        *,
        usage: bool = True,
        before: Callable[[int], None] = lambda number: None,
        says: Callable[[str, str], str] = good,
    ) -> None:
        self.url = ""
        self.requests = 0
        self.at_once = 0
        self.most_at_once = 0
        self.said = Counter[Key]()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.troubles = troubles
        self._left: defaultdict[Key, list[str]] = defaultdict(list)
        self._known = set[Key]()
        self._usage = usage
        self._before = before
        self._says = says

    async def __call__(self, heard: Heard, wire: Wire) -> None:
        self.requests += 1
        self._before(self.requests)
        self.bodies.append(heard.fields)
        self.headers.append(heard.headers)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0)  # so that others can come meanwhile
        try:
            await self._answer(heard, wire)
        finally:
            self.at_once -= 1

    async def _answer(self, heard: Heard, wire: Wire) -> None:
        messages = heard.fields["messages"]
        key = KIND_OF[messages[0]["content"]], messages[-1]["content"]
        if key not in self._known:
            self._known.add(key)
            self._left[key] = list(self.troubles(key))
        trouble = self._left[key].pop(0) if self._left[key] else "well"
        if trouble in BROKEN:
            await BROKEN[trouble](wire)
            return
        text, finish = UNFIT[trouble](*key) if trouble in UNFIT else (self._says(*key), "stop")
        body: dict[str, Any] = {
            "choices": [{"message": {"content": text}, "finish_reason": finish}],
            **({"usage": USAGE} if self._usage else {}),
        }
        if trouble == "late":
            await asyncio.sleep(0.02)
        self.said[key] += 1
        await wire.json(200, body)


async def _half(wire: Wire) -> None:
    await wire.head(kind="application/json")
    await wire.raw(b'{"choices": [{"message"')


async def _slammed(wire: Wire) -> None:
    pass


BROKEN: dict[str, Callable[[Wire], Awaitable[None]]] = {
    "429": lambda wire: wire.json(429, {"error": "busy"}, "retry-after: 0\r\n"),
    "500": lambda wire: wire.json(500, {"error": "oops"}),
    "400": lambda wire: wire.json(400, {"error": {"message": "not nice"}}),
    "401": lambda wire: wire.json(401, {}),
    "half": _half,
    "slammed": _slammed,
}
