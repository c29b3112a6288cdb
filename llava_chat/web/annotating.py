"""What the page of annotation asks and sends, as JSON: `/annotate/...` for annotators.

Who asks, `web.roles` tells; what they may see and do, `feedback.annotation` decides. Imports
feedback, the store, errors, thumbnails, web.json_routes, web.prose and web.roles.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llava_chat.errors import FeedbackError, NotFoundError
from llava_chat.feedback import Feedback
from llava_chat.feedback.annotation import Annotation, Given, told_item
from llava_chat.store import ConversationStore, Member, Project, Share
from llava_chat.web.json_routes import Body, answered
from llava_chat.web.prose import prose
from llava_chat.web.roles import Roles
from llava_chat.web.thumbnails import Thumbnails, shown

# What Prolific puts into the address of a study (Prolific's help, "URL parameters").
STUDY_FIELDS = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
_STUDY_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnnotationDesk:
    """What is done for an annotator; each method takes who asks and a JSON object."""

    def __init__(self, store: ConversationStore, thumbnails: Thumbnails) -> None:
        self._store = store
        self._thumbnails = thumbnails
        self._feedback = Feedback.of(store)
        self.annotation = Annotation.of(store)

    def projects(self, member: Member, body: Body) -> Body:
        """Who somebody is, and the projects that they may open."""
        found = [
            {
                "id": one.project.id,
                "name": one.project.name,
                "open": one.project.open,
                "items": one.items,
                "overlap": one.project.overlap,
                "done": one.done,
                "mine": share.mine,
                "left": share.left,
                "leads": member.leads,
            }
            for one, share in self.annotation.projects(member)
        ]
        return {"role": member.role, "name": member.name, "projects": found}

    def project(self, member: Member, body: Body) -> Body:
        """`project`: its guidelines as safe HTML, its form, the code of who is done."""
        project, share = self.annotation.project(member, id_in(body, "project"))
        return {
            "id": project.id,
            "name": project.name,
            "guidelines": prose(project.guidelines),
            "form": project.form,
            "completion": _completion(project, share),
        }

    def next(self, member: Member, body: Body) -> Body:
        """`project`, `study`?: the item that this person holds, else the next one."""
        project_id = id_in(body, "project")
        given, share = self.annotation.next(
            replace(member, study=study_of(body.get("study"))), project_id
        )
        code = None
        if given is None:
            code = _completion(*self.annotation.project(member, project_id))
        return {
            "item": None if given is None else self._item(given),
            "mine": share.mine,
            "left": share.left,
            "later": share.later,
            "completion": code,
        }

    def draft(self, member: Member, body: Body) -> Body:
        """`item`, `values`, `lead_time_s`: keep what is filled in; seconds of the lease left."""
        item_id = id_in(body, "item")
        lease_s = self.annotation.draft(
            member, item_id, body.get("values"), body.get("lead_time_s", 0)
        )
        return {"saved": True, "lease_s": lease_s}

    def submit(self, member: Member, body: Body) -> Body:
        """`item`, `id`, `values`, `lead_time_s`: keep the form that is filled in."""
        id, values = body.get("id"), body.get("values")
        self.annotation.submit(member, id_in(body, "item"), id, values, body.get("lead_time_s"))
        return {"saved": id}

    def skip(self, member: Member, body: Body) -> Body:
        """`item`, `id`, `lead_time_s`, `note`: leave it to others."""
        self.annotation.skip(member, id_in(body, "item"), *_said(body))
        return {"saved": body["id"]}

    def flag(self, member: Member, body: Body) -> Body:
        """`item`, `id`, `lead_time_s`, `note`: say that something is wrong with the item."""
        self.annotation.flag(member, id_in(body, "item"), *_said(body))
        return {"saved": body["id"]}

    def release(self, member: Member, body: Body) -> Body:
        """`item`: give it back."""
        self.annotation.release(member, id_in(body, "item"))
        return {"released": True}

    def mine(self, member: Member, body: Body) -> Body:
        """`project`, `limit`, `before`?: what this person said last of each item."""
        project_id, limit = id_in(body, "project"), body.get("limit", 50)
        found = self.annotation.mine(member, project_id, limit, body.get("before"))
        return {
            "annotations": [
                {
                    "item": item_id,
                    "number": number,
                    "outcome": said.outcome,
                    "at": said.created_at.isoformat(),
                    "lead_time_s": said.lead_time_s,
                }
                for item_id, number, said in found
            ]
        }

    def open(self, member: Member, body: Body) -> Body:
        """`item`: one that this person holds or judged."""
        return {"item": self._item(self.annotation.open(member, id_in(body, "item")))}

    def picture(self, member: Member, item_id: str, index: str) -> Path:
        """The view of an item's picture. Raises NotFoundError."""
        pictures = self.annotation.pictures(member, item_id)
        if not index.isascii() or not index.isdigit() or int(index[:4]) >= len(pictures):
            raise NotFoundError("There is no such picture.")
        return self._thumbnails.path(self._store.picture(pictures[int(index[:4])]), "large")

    def consent(self, member: Member) -> bool | None:
        """What this person decided about what is kept of them."""
        return self._feedback.consent(member.owner)

    def _item(self, given: Given) -> Body:
        ids = given.item.item.picture_ids
        kept = self._store.pictures(ids)
        pictures = [
            {
                "url": f"/annotate/pictures/{given.item.item.id}/{index}",
                "width": kept[id].width,
                "height": kept[id].height,
            }
            for index, id in enumerate(ids)
        ]
        return {**told_item(given), "pictures": pictures}


def annotation_routes(
    roles: Roles, desk: AnnotationDesk, count: Callable[[Request], None]
) -> list[Route]:
    """`/annotate/...` for annotators, for `launch(app_kwargs={"routes": ...})`.

    count: takes each request, and raises LimitError where somebody asks too often.
    """

    def posted(work: Callable[[Member, Body], Body]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await answered(
                request,
                roles.member_of,
                work,
                count=count,
                consent=desk.consent,
            )

        return answer

    async def picture(request: Request) -> Response:
        item_id, index = request.path_params["item"], request.path_params["index"]
        return await shown(lambda: desk.picture(roles.member_of(request), item_id, index))

    works = (
        *(desk.projects, desk.project, desk.next, desk.draft, desk.submit, desk.skip, desk.flag),
        *(desk.release, desk.mine, desk.open),
    )
    return [
        *(Route(f"/annotate/{work.__name__}", posted(work), methods=["POST"]) for work in works),
        Route("/annotate/pictures/{item}/{index}", picture),
    ]


def id_in(body: Body, name: str) -> str:
    """An id in a body. Raises FeedbackError."""
    value = body.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise FeedbackError(f"{name}: it must be an id.")
    return value


def study_of(told: Any) -> dict[str, str] | None:
    """What somebody brought along from Prolific, None where they come from elsewhere.

    >>> study_of({"PROLIFIC_PID": "5f1a", "theme": "dark"})
    {'PROLIFIC_PID': '5f1a'}
    """
    if told is None:
        return None
    if not isinstance(told, dict):
        raise FeedbackError("study: it must be an object.")
    found = {name: told[name] for name in STUDY_FIELDS if name in told}
    for name, value in found.items():
        if not isinstance(value, str) or not _STUDY_ID.fullmatch(value):
            raise FeedbackError(f"study, {name}: it must be 1 to 100 letters and digits.")
    return found or None


def _said(body: Body) -> tuple[Any, Any, Any]:
    return body.get("id"), body.get("lead_time_s", 0), body.get("note", "")


def _completion(project: Project, share: Share) -> str | None:
    """The code for who did something and has nothing left."""
    return project.completion_code if share.mine and not share.left else None
