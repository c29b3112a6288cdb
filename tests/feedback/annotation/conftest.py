"""A project on a real store, and people who agreed that what they say of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from llava_chat.feedback import CONSENT_WORDING, Feedback
from llava_chat.feedback.annotation import Annotation, Leading
from llava_chat.image import Picture, PictureLimits
from llava_chat.store import ConversationStore, Member, Projects, Work
from tests.databases import (
    backend,
    blue,
    database_file,
    database_url,
    open_store,
    record,
    red,
    store,
)

__all__ = [
    "backend",
    "blue",
    "database_file",
    "database_url",
    "open_store",
    "record",
    "red",
    "store",
]

HOST = Member("host", "Hedy", "host")
FORM: list[dict[str, Any]] = [
    {"name": "good", "type": "scale", "label": "Good?", "min": 1, "max": 5, "required": True},
    {"name": "better", "type": "correction", "label": "Better"},
]


@dataclass
class Clock:
    """The time, which tests move."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)  # no two things happen at once
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Site:
    """Everything of one store, on one clock."""

    store: ConversationStore
    clock: Clock

    def __post_init__(self) -> None:
        self.feedback = Feedback.of(self.store)
        self.leading = Leading.of(self.store)
        work = Work(self.store, CONSENT_WORDING, self.clock)
        self.annotation = Annotation(Projects(self.store), work)

    def people(self, *names: str) -> list[Member]:
        for name in names:
            self.feedback.decide(name, True)
        return [Member(name) for name in names]

    def project(self, **more: Any) -> str:
        document = {"name": "Circles", "form": FORM, "overlap": 2, "lease_s": 60, **more}
        return self.leading.create(HOST, document).id

    def add(self, project: str, rows: str, pictures: Iterable[Picture] = ()) -> int:
        """Rows of JSONL; pictures: those that the rows name 0.png, 1.png and so on."""
        found = list(pictures)

        def find(name: str) -> bytes:
            from llava_chat.image import png_bytes

            return png_bytes(found[int(name.split(".")[0])])

        limits = PictureLimits()
        return self.leading.add(HOST, project, "jsonl", rows, find, limits, "rows.jsonl")

    def take(self, member: Member, project: str) -> str:
        """The id of the next item, which there must be."""
        given, _ = self.annotation.next(member, project)
        assert given is not None
        return given.item.item.id

    def number(self, member: Member, project: str) -> int | None:
        """The number of the next item, None where there is none."""
        given, _ = self.annotation.next(member, project)
        return None if given is None else given.item.item.position + 1

    def answer(self, member: Member, item: str, good: int = 4, **more: Any) -> str:
        id = uuid4().hex
        self.annotation.submit(member, item, id, {"good": good, **more}, 2.0)
        return id

    def answered(self, member: Member, project: str) -> str:
        item = self.take(member, project)
        self.answer(member, item)
        return item


def rows(count: int, **more: Any) -> str:
    import json

    row = {"question": "What is it?", "reply": "A circle.", **more}
    return "\n".join([json.dumps(row)] * count)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(store: ConversationStore, clock: Clock) -> Site:
    return Site(store, clock)


@pytest.fixture
def open_site(open_store: Callable[..., ConversationStore], clock: Clock) -> Callable[[], Site]:
    """Another program on the same database."""
    return lambda: Site(open_store(), clock)
