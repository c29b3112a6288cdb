"""What the page asks and sends for those who lead projects, as JSON: `/annotate/...`.

Nothing of a body is read of somebody who does not lead: it may be large. Imports feedback, the
store, errors, web.annotating, web.json_routes and web.roles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llava_chat.errors import FeedbackError, LlavaChatError, RoleError
from llava_chat.feedback.annotation import PLAN_FIELDS, Leading, progress, told_result, uploaded
from llava_chat.image import PictureLimits
from llava_chat.store import Member
from llava_chat.web.annotating import id_in
from llava_chat.web.json_routes import MAX_BODY_BYTES, NOT_STORED, Body, answered, refused
from llava_chat.web.roles import Roles

MAX_ADDED_BYTES = 64 * 2**20
"""Of rows with their pictures, which are read whole; more come in several parts."""


class LeadDesk:
    """What is done for those who lead; each method takes who asks and a JSON object."""

    def __init__(self, leading: Leading, limits: PictureLimits) -> None:
        self._leading = leading
        self._limits = limits

    def create(self, member: Member, body: Body) -> Body:
        """A project's fields: make it."""
        return {"id": self._leading.create(member, body).id}

    def add(self, member: Member, body: Body) -> Body:
        """`project`, `format`, `text`, `pictures`, `file`?: add the items of a file."""
        format, text, name = (body.get(key, "") for key in ("format", "text", "file"))
        if not all(isinstance(told, str) for told in (format, text, name)):
            raise FeedbackError("text: it must be the text of a file.")
        find = uploaded(body.get("pictures", {}))
        place = (id_in(body, "project"), format, text, find, self._limits, name[:80] or "rows")
        return {"added": self._leading.add(member, *place)}

    def add_kept(self, member: Member, body: Body) -> Body:
        """`project`, `filter`, `limit`: add items of kept replies."""
        wanted, limit = body.get("filter", {}), body.get("limit", 100)
        return {"added": self._leading.add_kept(member, id_in(body, "project"), wanted, limit)}

    def settings(self, member: Member, body: Body) -> Body:
        """`project` and what of it is to change."""
        news = {name: value for name, value in body.items() if name != "project"}
        project = self._leading.change(member, id_in(body, "project"), news)
        names = sorted(PLAN_FIELDS | {"id", "open"})
        return {name: getattr(project, name) for name in names}

    def progress(self, member: Member, body: Body) -> Body:
        """`project`: counts by item and by annotator."""
        return progress(self._leading.standing(member, id_in(body, "project")))

    def results(self, member: Member, project_id: str) -> Iterator[bytes]:
        """All annotations of a project, as lines of JSON. Raises NotFoundError at once."""
        _, results = self._leading.results(member, project_id)
        return (
            json.dumps(told_result(result), ensure_ascii=False).encode() + b"\n"
            for result in results
        )


def lead_routes(roles: Roles, desk: LeadDesk, count: Callable[[Request], None]) -> list[Route]:
    """`/annotate/...` for leads and hosts, for `launch(app_kwargs={"routes": ...})`."""

    def lead(request: Request) -> Member:
        member = roles.member_of(request)
        if not member.leads:
            raise RoleError("This is for those who lead projects: ask the host for it.")
        return member

    def posted(
        work: Callable[[Member, Body], Body], max_bytes: int = MAX_BODY_BYTES
    ) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await answered(
                request, lead, work, count=count, consent=lambda _: None, max_bytes=max_bytes
            )

        return answer

    async def results(request: Request) -> Response:
        project_id = request.query_params.get("project", "")
        try:
            count(request)
            lines = await run_in_threadpool(desk.results, lead(request), project_id)
        except LlavaChatError as error:
            return refused(error)
        headers = NOT_STORED | {"content-disposition": 'attachment; filename="results.jsonl"'}
        return StreamingResponse(lines, media_type="application/jsonl", headers=headers)

    return [
        Route("/annotate/create", posted(desk.create), methods=["POST"]),
        Route("/annotate/add", posted(desk.add, MAX_ADDED_BYTES), methods=["POST"]),
        Route("/annotate/add-kept", posted(desk.add_kept), methods=["POST"]),
        Route("/annotate/settings", posted(desk.settings), methods=["POST"]),
        Route("/annotate/progress", posted(desk.progress), methods=["POST"]),
        Route("/annotate/results.jsonl", results),
    ]
