"""Projects of annotation and what is said in them, as plain frozen values.

What a form, its values and the content of an item mean is `llava_chat.feedback`'s; here they are
JSON that is kept. Imports image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from llava_chat.image import Picture

RoleName = Literal["annotator", "lead", "host"]
Outcome = Literal["answered", "skipped", "flagged"]


@dataclass(frozen=True)
class Member:
    """Somebody who annotates, leads or hosts.

    owner: as in conversations. name: as they signed in, "" without a sign-in. study: what Prolific
    sent them with, None for everybody else.
    """

    owner: str
    name: str = ""
    role: RoleName = "annotator"
    study: Mapping[str, str] | None = None

    @property
    def leads(self) -> bool:
        """Whether they may see results and make projects."""
        return self.role != "annotator"


@dataclass(frozen=True)
class ProjectPlan:
    """What a project is made of, but its items; the fields are those of the table."""

    name: str
    guidelines: str
    form: Sequence[Mapping[str, Any]]
    overlap: int
    lease_s: float
    gold_every: int
    completion_code: str | None = None


@dataclass(frozen=True)
class Project(ProjectPlan):
    """A project as it is kept. Times in UTC."""

    id: str = ""
    open: bool = True
    created_at: datetime = datetime.min


@dataclass(frozen=True)
class ProjectSummary:
    """A project in a list, for one person.

    items: all of them. done: answers and flags of all people, no more of an item than its overlap.
    mine: items that this person answered or flagged.
    """

    project: Project
    items: int
    done: int
    mine: int


@dataclass(frozen=True)
class NewItem:
    """An item to be added. pictures: kept already, in the order that the content counts them."""

    content: Mapping[str, Any]
    pictures: tuple[Picture, ...] = ()
    gold: Mapping[str, Any] | None = None
    source_id: str | None = None


@dataclass(frozen=True)
class Item:
    """An item as it is kept. pictures: the ids, in the order that the content counts them."""

    id: str
    project_id: str
    position: int
    content: Mapping[str, Any]
    gold: Mapping[str, Any] | None
    picture_ids: tuple[str, ...]
    source_id: str | None = None


@dataclass(frozen=True)
class Draft:
    """What somebody has filled in so far."""

    values: Mapping[str, Any]
    lead_time_s: float


@dataclass(frozen=True)
class Said:
    """What somebody says of an item. id: made by the client, so that what is sent twice is one."""

    id: str
    outcome: Outcome
    values: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    lead_time_s: float = 0.0


@dataclass(frozen=True)
class KeptAnnotation(Said):
    """What was said, when it is kept. version: from 1, of one person's on one item."""

    version: int = 1
    created_at: datetime = datetime.min


@dataclass(frozen=True)
class GivenItem:
    """An item before somebody, with what is theirs of it alone.

    total: items of the project. lease_s: seconds left of their lease, None without one.
    """

    item: Item
    total: int
    draft: Draft | None = None
    annotation: KeptAnnotation | None = None
    lease_s: float | None = None


@dataclass(frozen=True)
class Share:
    """What a person did of a project and what there is for them.

    mine: items that they answered or flagged. left: items that they may still be given. later:
    there may be more when leases of others have run out.
    """

    mine: int
    left: int
    later: bool


@dataclass(frozen=True)
class Result:
    """One annotation with its item and who made it, for those who lead.

    newest: whether the same person said nothing of the item since. joined: the person's number
    among those who said something in the project, from 1, in the order that they came.
    """

    item: Item
    annotation: KeptAnnotation
    newest: bool
    annotator: Member
    joined: int


@dataclass(frozen=True)
class Standing:
    """How far a project is.

    items: each one's id, position, and whether it is gold. members: those who said something, each
    with their number as in Result. said: an item's position, a member's number, and what they said
    of it last.
    """

    project: Project
    items: Sequence[tuple[str, int, bool]]
    members: Sequence[tuple[int, Member]]
    said: Sequence[tuple[int, int, KeptAnnotation]]
