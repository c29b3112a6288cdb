"""Who may annotate, who leads, who hosts: the one place that decides it.

Imports the store's Member, web.people and nothing else of ours.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from llava_chat.errors import RoleError
from llava_chat.store import Member
from llava_chat.web.people import People


class Roles:
    """Who somebody is, for annotation.

    public: whether others than this machine's users reach the page. Where they do not, whoever is
    there hosts it; elsewhere a session is an annotator's.
    """

    def __init__(self, people: People, *, public: bool) -> None:
        self._people = people
        self._public = public

    def member_of(self, request: Request) -> Member:
        """Who sends this request. Raises SessionError where there is no session."""
        owner = self._people.owner_of(request)
        return Member(owner, role="annotator" if self._public else "host")

    def lead(self, request: Any) -> Member:
        """The same of those who lead. Raises RoleError for anybody else."""
        member = self.member_of(request)
        if not member.leads:
            raise RoleError("This is for those who lead projects: ask the host for it.")
        return member
