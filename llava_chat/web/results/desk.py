"""What the Results tab asks for, done for those who lead; anybody else is refused, every time.

Imports feedback, store, errors and the modules beside it; no gradio.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast, get_args

from llava_chat.errors import InputError, NotFoundError
from llava_chat.feedback import Filter
from llava_chat.feedback.annotation import Since, export_project
from llava_chat.feedback.export import FORMATS, export_feedback
from llava_chat.feedback.results import Report, Wanted, models_of, report
from llava_chat.feedback.results.gathering import gather, names_of
from llava_chat.feedback.results.reading import Reading, read
from llava_chat.feedback.results.volume import Event, Place
from llava_chat.store import ConversationStore, Projects

MAX_NAME_CHARS = 500
"""Of a filter's value: a contestant's name is that of a model and of what was put on it."""

MaySee = Callable[[Any], object]
"""Takes a request; raises SessionError or RoleError unless its sender leads or hosts."""


class ResultsDesk:
    """The results of one server. may_see: checks who asks; nothing is read before it has."""

    def __init__(self, store: ConversationStore, may_see: MaySee) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)  # a person keeps their hash while the server runs
        self.may_see = may_see

    def choices(self, request: Any) -> tuple[list[tuple[str, str]], list[str]]:
        """Projects as (name, id), and models."""
        self.may_see(request)
        found = Projects(self._store).summaries("", all=True)
        projects = [(one.project.name, one.project.id) for one in found]
        return projects, models_of(gather(self._store, key=self._key).events)

    def report(self, request: Any, wanted: Wanted) -> Report:
        """Every figure of what is wanted."""
        self.may_see(request)
        return report(self._store, wanted, self._key)

    def behind(
        self, request: Any, wanted: Wanted, by: str, name: str
    ) -> tuple[Sequence[Event], dict[str, str]]:
        """What a row counts: the events of one model, person or reason; and people's names."""
        self.may_see(request)
        found = gather(self._store, wanted, self._key)
        counted: Callable[[Event], bool] = {
            "model": lambda event: name in event.models,
            "person": lambda event: name == event.person,
            "reason": lambda event: name in event.reasons,
        }.get(by, lambda event: False)
        return [event for event in found.events if counted(event)], found.names

    def read(self, request: Any, place: str, id: str) -> tuple[Reading, dict[str, str]]:
        """One conversation, comparison or item; and people's names. Raises NotFoundError."""
        self.may_see(request)
        if place not in get_args(Place):
            raise NotFoundError("There is nothing of this kind to read.")
        names = names_of(Projects(self._store), self._key)
        return read(self._store, cast(Place, place), id, self._key, names), names

    def picture_id(self, request: Any, place: str, id: str, number: int) -> str:
        """The id of one picture of what `read` gives. Raises NotFoundError."""
        pictures = self.read(request, place, id)[0].picture_ids
        if not 0 <= number < len(pictures):
            raise NotFoundError("There is no such picture.")
        return pictures[number]

    def counts(self, request: Any, form: str, wanted: Wanted) -> dict[str, Any]:
        """The manifest of an export that is not written."""
        self.may_see(request)
        return self._exported(form, wanted, Path("feedback that is not there"), dry_run=True)

    def export(self, request: Any, form: str, wanted: Wanted, folder: Path) -> None:
        """Write an export into a new folder."""
        self.may_see(request)
        self._exported(form, wanted, folder, dry_run=False)

    def _exported(
        self, form: str, wanted: Wanted, folder: Path, *, dry_run: bool
    ) -> dict[str, Any]:
        """Of a project what annotators said, else what people said in chats and comparisons."""
        form, since, until = checked_format(form), wanted.since, wanted.until
        if wanted.project is None:
            told = Filter(since=since, until=until, model=wanted.model)
            return export_feedback(self._store, form, folder, told, dry_run=dry_run)
        if wanted.model is not None:
            raise InputError("model: a project is exported with all models; choose All.")
        project = Projects(self._store).project(wanted.project)
        when = Since(since, until)
        return export_project(self._store, project, form, folder, when, dry_run=dry_run)


def checked_format(form: Any) -> str:
    """A format of an export. Raises InputError."""
    if form not in FORMATS:
        raise InputError(f"format: it must be one of {', '.join(FORMATS)}.")
    return str(form)


def wanted_of(project: Any, model: Any, since: Any, until: Any) -> Wanted:
    """What the filters say; `until` is a day that belongs to it. Raises InputError.

    >>> wanted_of(None, "scenes", "2026-01-31", "2026-01-31").until.isoformat()
    '2026-02-01T00:00:00+00:00'
    >>> wanted_of("", "", "soon", None)
    Traceback (most recent call last):
    llava_chat.errors.InputError: since: it must be a day like 2026-01-31.
    """
    last = _day("until", until)
    return Wanted(
        _name("project", project),
        _day("since", since),
        None if last is None else last + timedelta(days=1),
        _name("model", model),
    )


def _name(field: str, value: Any) -> str | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS:
        raise InputError(f"{field}: it must be a name of at most {MAX_NAME_CHARS} characters.")
    return value


def _day(field: str, value: Any) -> datetime | None:
    if value in (None, ""):
        return None
    try:
        return datetime.strptime(str(value).strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{field}: it must be a day like 2026-01-31.") from None
