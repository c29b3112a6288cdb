"""What the terminal is told of a server: where it is, that its model answers, what it has room for.

Imports the engine that switches, its interface and errors.
"""

from __future__ import annotations

import threading

from llava_chat.engine.base import EngineLoad, Opening
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import EngineClosedError


class Announced:
    """Says in the terminal where the page is, and then that the model answers.

    problem: why the first model does not; then there is nothing to serve.
    """

    def __init__(
        self, engine: SwitchingEngine, address: str, told_to_stop: threading.Event
    ) -> None:
        self.problem: Exception | None = None
        self._engine = engine
        self._address = address
        self._told_to_stop = told_to_stop
        if isinstance(engine.state, Opening):
            print(f"The page is at {address}; {engine.state.name} is loading", flush=True)
        threading.Thread(target=self._first, name="announcing", daemon=True).start()

    def _first(self) -> None:
        try:
            model = self._engine.wait()
        except EngineClosedError:
            return
        except Exception as error:
            self.problem = error
            self._told_to_stop.set()
        else:
            print(f"{model.id} answers at {self._address} (Ctrl-C stops it)", flush=True)
            if room := room_in_words(self._engine.load()):
                print(room, flush=True)


def room_in_words(load: EngineLoad) -> str:
    """What an engine has reserved, for the terminal; "" of one that reserves nothing itself.

    >>> room_in_words(EngineLoad(0, 0, slots=16, capacity_tokens=16384, reserved_bytes=226492416))
    '226 MB hold 16 conversations of 1,024 tokens, as many of which are answered at once'
    """
    if not load.slots or not load.reserved_bytes:
        return ""
    tokens = load.capacity_tokens // load.slots
    if load.slots == 1:
        return f"{in_bytes(load.reserved_bytes)} hold one conversation of {tokens:,} tokens"
    return (
        f"{in_bytes(load.reserved_bytes)} hold {load.slots} conversations of {tokens:,} tokens, "
        "as many of which are answered at once"
    )


def in_bytes(count: int) -> str:
    """A number of bytes as people read it.

    >>> in_bytes(226_492_416), in_bytes(34_359_738_368)
    ('226 MB', '34.4 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
