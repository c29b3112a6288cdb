"""Servers of the tests' own and engines in front of them; all are closed in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Failed, GenerationSettings
from llava_chat.engine.remote import RemoteEngine, Timeouts, open_engine
from llava_chat.errors import LlavaChatError
from tests.engine.remote.server import ScriptedServer

MakeServer = Callable[..., ScriptedServer]
MakeEngine = Callable[..., RemoteEngine]

ASKED = Conversation((Turn("user", "Hello"),))
SETTINGS = GenerationSettings(temperature=0)


def failure(events: Any) -> LlavaChatError:
    *_, last = events
    assert isinstance(last, Failed), last
    assert last.error.__traceback__ is None
    return last.error


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Build a server that answers as a test says."""
    servers: list[ScriptedServer] = []

    def make(*args: Any, **options: Any) -> ScriptedServer:
        servers.append(ScriptedServer(*args, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_engine() -> Iterator[MakeEngine]:
    """Build an engine in front of some servers. Options as for open_engine and Timeouts."""
    engines: list[RemoteEngine] = []

    def make(*servers: ScriptedServer, **options: Any) -> RemoteEngine:
        times = {name: options.pop(name) for name in Timeouts.__match_args__ if name in options}
        urls = [server.url for server in servers]
        engines.append(open_engine(urls, timeouts=Timeouts(**times), **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close(grace_s=0)
