"""What annotators do: take the next item, fill in its form, send it, skip, flag, look again.

Who asks is told by whoever knows, as a Member; whose an item is the store decides. Whatever is told
to an annotator holds nothing of gold, of who wrote a reply, or of anybody else's work. Imports the
store, the form and the values here, and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from llava_chat.errors import FeedbackError
from llava_chat.feedback.annotation.content import Content
from llava_chat.feedback.annotation.values import (
    checked_draft,
    checked_seconds,
    checked_values,
)
from llava_chat.feedback.keeping import CONSENT_WORDING, saving
from llava_chat.feedback.words import MAX_COMMENT_CHARS, check_id, checked_text
from llava_chat.store import (
    ConversationStore,
    GivenItem,
    KeptAnnotation,
    Member,
    Project,
    Projects,
    ProjectSummary,
    Said,
    Share,
    Work,
)

MAX_LISTED = 200


@dataclass(frozen=True)
class Given:
    """An item before an annotator, its content read."""

    item: GivenItem
    content: Content


class Annotation:
    """The work of annotators on the projects of a store. All methods may be called from any thread.

    A method that has returned has committed. They raise NotFoundError for a project that is not
    there and an item that this person was not given, ConsentError where they have not agreed,
    FeedbackError, naming the field, for what is not as it must be, ConflictError where others have
    taken an item's last place, and StoreError, which begins with "Not saved.", when nothing was.
    """

    def __init__(self, projects: Projects, work: Work) -> None:
        self._projects = projects
        self._work = work

    @classmethod
    def of(cls, store: ConversationStore) -> Self:
        """The work on the projects of a store."""
        return cls(Projects(store), Work(store, CONSENT_WORDING))

    def projects(self, member: Member) -> list[tuple[ProjectSummary, Share]]:
        """The projects that this person may open, each with what there is for them."""
        summaries = self._projects.summaries(member.owner, all=member.leads)
        return [(one, self._work.share(member, one.project.id)) for one in summaries]

    def project(self, member: Member, project_id: str) -> tuple[Project, Share]:
        """One project, with what there is for this person."""
        return self._projects.project(project_id), self._work.share(member, project_id)

    def next(self, member: Member, project_id: str) -> tuple[Given | None, Share]:
        """The item that this person holds, else the next one, leased to them; None: none left."""
        with saving():
            item, share = self._work.next(member, project_id)
        return None if item is None else _given(item), share

    def draft(self, member: Member, item_id: str, values: Any, lead_time_s: Any) -> float | None:
        """Keep what is filled in so far; the seconds that the lease lasts now, None without one."""
        project, _ = self._work.project_of(item_id)
        draft = checked_draft(project.form, values)
        with saving():
            return self._work.draft(member, item_id, draft, checked_seconds(lead_time_s))

    def submit(self, member: Member, item_id: str, id: Any, values: Any, lead_time_s: Any) -> None:
        """Keep a form that is filled in, as this person's newest of the item."""
        project, item = self._work.project_of(item_id)
        content = Content.of(item.content, len(item.picture_ids))
        checked = checked_values(project.form, content, values)
        self._keep(member, item_id, Said(check_id(id), "answered", checked), lead_time_s)

    def skip(self, member: Member, item_id: str, id: Any, lead_time_s: Any, note: Any = "") -> None:
        """Leave the item to others; it is not given to this person again."""
        said = Said(check_id(id), "skipped", note=checked_text("note", note, MAX_COMMENT_CHARS))
        self._keep(member, item_id, said, lead_time_s)

    def flag(self, member: Member, item_id: str, id: Any, lead_time_s: Any, note: Any = "") -> None:
        """Say that something is wrong with the item itself; this counts as having judged it."""
        said = Said(check_id(id), "flagged", note=checked_text("note", note, MAX_COMMENT_CHARS))
        self._keep(member, item_id, said, lead_time_s)

    def release(self, member: Member, item_id: str) -> None:
        """Give the item back; the draft stays."""
        with saving():
            self._work.release(member, item_id)

    def open(self, member: Member, item_id: str) -> Given:
        """An item that this person holds or judged, with what they said of it."""
        return _given(self._work.open(member, item_id))

    def mine(
        self, member: Member, project_id: str, limit: Any = 50, before: Any = None
    ) -> list[tuple[str, int, KeptAnnotation]]:
        """What this person said last of each item: its id, its number from 1, what; newest first.

        before: a time in ISO 8601; only what was said before it.
        """
        if type(limit) is not int or not 1 <= limit <= MAX_LISTED:
            raise FeedbackError(f"limit: it must be 1 to {MAX_LISTED}.")
        found = self._work.mine(member, project_id, limit, _time(before))
        return [(item_id, position + 1, said) for item_id, position, said in found]

    def pictures(self, member: Member, item_id: str) -> tuple[str, ...]:
        """The ids of an item's pictures, for who was given it or leads."""
        return self._projects.item_pictures(item_id, member)

    def _keep(self, member: Member, item_id: str, said: Said, lead_time_s: Any) -> None:
        timed = Said(**{**vars(said), "lead_time_s": checked_seconds(lead_time_s)})
        with saving():
            self._work.keep(member, item_id, timed)


def _given(item: GivenItem) -> Given:
    return Given(item, Content.of(item.item.content, len(item.item.picture_ids)))


def _time(told: Any) -> datetime | None:
    if told is None:
        return None
    try:
        time = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        time = datetime.min
    if time.tzinfo is None:
        raise FeedbackError("before: it must be a time in ISO 8601 with a zone.")
    return time


def told_item(given: Given) -> Mapping[str, Any]:
    """The item as an annotator is told it, but for the pictures, which have addresses."""
    item, content = given.item, given.content
    return {
        "id": item.item.id,
        "project": item.item.project_id,
        "number": item.item.position + 1,
        "total": item.total,
        "turns": content.document()["turns"],
        "replies": [{"text": reply.text} for reply in content.replies],
        "draft": None if item.draft is None else vars(item.draft),
        "annotation": None
        if item.annotation is None
        else {
            name: getattr(item.annotation, name)
            for name in ("values", "outcome", "note", "lead_time_s")
        },
        "lease_s": item.lease_s,
    }
