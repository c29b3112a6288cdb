"""What those do who lead: make projects, fill them, see how far they are and what was said.

Every method takes who asks, and raises RoleError for an annotator. Imports the store, the other
modules here, and errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from llava_chat.errors import FeedbackError, RoleError
from llava_chat.feedback.annotation.form import checked_form
from llava_chat.feedback.annotation.kept import MAX_ADDED, KeptFilter, items_from_kept
from llava_chat.feedback.annotation.pictures import Find, ItemPictures
from llava_chat.feedback.annotation.tables import read_items
from llava_chat.feedback.words import checked_text
from llava_chat.image import PictureLimits
from llava_chat.store import (
    ConversationStore,
    Member,
    NewItem,
    Project,
    ProjectPlan,
    Projects,
    Result,
    Standing,
)

MAX_NAME_CHARS = 120
MAX_GUIDELINES_CHARS = 40_000
MAX_CODE_CHARS = 200
MAX_OVERLAP = 100
MAX_GOLD_EVERY = 1_000
LEASE_S = (10.0, 7 * 24 * 3600.0)
"""From the shortest that a page can renew by its drafts to a week."""
DEFAULT_LEASE_S = 30 * 60.0
"""A page renews it with every draft; half an hour is a break after the last one."""


class Leading:
    """The projects of a store, for leads and hosts. All methods may be called from any thread.

    Raise RoleError for anybody else, NotFoundError for what is not there, FeedbackError naming the
    field, and StoreError when the database fails.
    """

    def __init__(self, store: ConversationStore, projects: Projects) -> None:
        self._store = store
        self._projects = projects

    @classmethod
    def of(cls, store: ConversationStore) -> Self:
        """The projects of a store."""
        return cls(store, Projects(store))

    def create(self, member: Member, document: Mapping[str, Any]) -> Project:
        """Make a project of `name`, `guidelines`, `form`, `overlap`, `lease_s`, `gold_every` and
        `completion_code`, of which all but the name and the form may be missing."""
        _check_leads(member)
        for unknown in document.keys() - PLAN_FIELDS:
            raise FeedbackError(f"{str(unknown)[:40]}: a project has no such field.")
        plan = ProjectPlan(
            name=_name(document.get("name")),
            guidelines=_guidelines(document.get("guidelines", "")),
            form=checked_form(document.get("form")),
            overlap=_count("overlap", document.get("overlap", 1), 1, MAX_OVERLAP),
            lease_s=_lease_s(document.get("lease_s", DEFAULT_LEASE_S)),
            gold_every=_count("gold_every", document.get("gold_every", 0), 0, MAX_GOLD_EVERY),
            completion_code=_code(document.get("completion_code")),
        )
        return self._projects.create(plan, member.owner)

    def change(self, member: Member, project_id: str, document: Mapping[str, Any]) -> Project:
        """Change any of `open`, `overlap`, `guidelines` and `completion_code`."""
        _check_leads(member)
        news: dict[str, Any] = {}
        for name, value in document.items():
            if name not in _CHANGES:
                raise FeedbackError(f"{str(name)[:40]}: this cannot be changed.")
            news[name] = _CHANGES[name](value)
        return self._projects.change(project_id, **news)

    def add(
        self,
        member: Member,
        project_id: str,
        format: str,
        text: str,
        find: Find,
        limits: PictureLimits,
        name: str = "rows",
    ) -> int:
        """Add the items of a file's text, all or none; returns how many.

        find: where a picture is that a row names. name: the file's. The rows are checked before
        any picture is read.
        """
        _check_leads(member)
        project = self._projects.project(project_id)
        pictures = ItemPictures(self._store, find, limits)
        items = [
            NewItem(
                content=read.content.document(),
                pictures=tuple(pictures.kept(picture, read.where) for picture in read.pictures),
                gold=read.gold,
            )
            for read in read_items(project.form, format, text, name)
        ]
        return self._projects.add(project_id, items)

    def add_kept(self, member: Member, project_id: str, filter: Any, limit: Any) -> int:
        """Add items of kept replies, which are not in the project yet; returns how many."""
        _check_leads(member)
        project = self._projects.project(project_id)
        most = _count("limit", limit, 1, MAX_ADDED)
        wanted = KeptFilter.of(filter)
        return self._projects.add(
            project_id, items_from_kept(self._store, project.form, wanted, most)
        )

    def projects(self, member: Member, name: str) -> list[Project]:
        """Those of this name or id, the oldest first."""
        _check_leads(member)
        return self._projects.named(name)

    def standing(self, member: Member, project_id: str) -> Standing:
        """How far a project is."""
        _check_leads(member)
        return self._projects.standing(project_id)

    def results(self, member: Member, project_id: str) -> tuple[Project, Iterator[Result]]:
        """A project and all annotations of it, item by item."""
        _check_leads(member)
        return self._projects.project(project_id), self._projects.results(project_id)

    def remove(self, member: Member, project_id: str) -> int:
        """Delete a project with all that was said in it; returns how many items it had."""
        _check_leads(member)
        return self._projects.remove(project_id)


def _check_leads(member: Member) -> None:
    if not member.leads:
        raise RoleError("This is for those who lead projects: ask the host for it.")


def _name(value: Any) -> str:
    name = " ".join(checked_text("name", value, MAX_NAME_CHARS).split())
    if not name:
        raise FeedbackError("name: a project needs a name.")
    return name


def _guidelines(value: Any) -> str:
    return checked_text("guidelines", value, MAX_GUIDELINES_CHARS)


def _code(value: Any) -> str | None:
    return None if value is None else checked_text("completion_code", value, MAX_CODE_CHARS) or None


def _count(field: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise FeedbackError(f"{field}: it must be a whole number from {least} to {most}.")
    return value


def _lease_s(value: Any) -> float:
    least, most = LEASE_S
    if type(value) not in (int, float) or not least <= value <= most:
        raise FeedbackError(f"lease_s: it must be {least:.0f} to {most:.0f} seconds.")
    return float(value)


def _open(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FeedbackError("open: it must be true or false.")
    return value


PLAN_FIELDS = frozenset(ProjectPlan.__dataclass_fields__)
_CHANGES = {
    "open": _open,
    "overlap": lambda value: _count("overlap", value, 1, MAX_OVERLAP),
    "guidelines": _guidelines,
    "completion_code": _code,
}
