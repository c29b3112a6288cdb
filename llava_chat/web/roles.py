"""What somebody may do: annotate, lead projects, or everything. Decided here, at every call.

With a sign-in a name has a role: that of the file of people, or a higher one by `--leads` and
`--hosts`. Without one, everybody on a page for this machine alone is its host, and everybody on a
public one annotates. Imports accounts, errors, settings, the store's Member, web.people and
web.session; no gradio.
"""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llava_chat.accounts import Role, at_least
from llava_chat.errors import RoleError
from llava_chat.settings import Settings
from llava_chat.store import Member
from llava_chat.web.people import People
from llava_chat.web.session import SessionError


class Roles:
    """Of one server."""

    def __init__(self, people: People, settings: Settings) -> None:
        self._people = people
        self._hosts, self._leads = frozenset(settings.hosts), frozenset(settings.leads)
        self._anybody: Role = "annotator" if settings.public else "host"

    def member_of(self, request: Any, least: Role = "annotator") -> Member:
        """Who asks: a gr.Request, or a Starlette one.

        Raises SessionError where nobody is known, and RoleError where they may not do what `least`
        may.
        """
        sign_in = self._people.sign_in
        name = sign_in.name_of(request)
        if name is None and sign_in.kind != "none":
            raise SessionError("Sign in first.")
        role = self._role_of(name)
        if not at_least(role, least):
            raise RoleError(f"This is for {_PLURALS[least]}. Ask whoever runs this page.")
        return Member(self._people.owner_of(request), name or "", role)

    def _role_of(self, name: str | None) -> Role:
        if name is None:
            return self._anybody
        if name in self._hosts:
            return "host"
        told = self._people.sign_in.role_of(name)
        return "lead" if name in self._leads and told == "annotator" else told


_PLURALS: dict[Role, str] = {"annotator": "annotators", "lead": "leads", "host": "hosts"}


def role_routes(roles: Roles, people: People) -> list[Route]:
    """`/who`: the name and the role of whoever asks, and how this page lets people sign in.

    `role` is null for those who could sign in and have not.
    """

    async def who(request: Request) -> Response:
        told: dict[str, str | None] = {"sign_in": people.sign_in.kind, "name": "", "role": None}
        try:
            member = await run_in_threadpool(roles.member_of, request)
            told |= {"name": member.name, "role": member.role}
        except SessionError:
            pass
        return JSONResponse(told, headers={"cache-control": "no-store"})

    return [Route("/who", who)]
