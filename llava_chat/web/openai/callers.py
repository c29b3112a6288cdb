"""Who may call, and whom the limits count. Imports web.people and the errors beside it."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from llava_chat.web.openai.errors import CallError
from llava_chat.web.people import People, Person
from llava_chat.web.session import SessionError

_OTHER_SITES = ("cross-site", "same-site")


class Callers:
    """keys_wanted: whether a key of the API has to be sent, as `Authorization: Bearer`."""

    def __init__(self, people: People, *, keys_wanted: bool) -> None:
        self._people = people
        self._keys_wanted = keys_wanted

    def person(self, request: Request) -> Person:
        """The holder of a key; where none is wanted the browser's session, else an address.

        Raises CallError: 401 without a key that is known, or for who has not signed in where
        people do; 403 from a page of another site.
        """
        _refuse_other_sites(request)
        if self._keys_wanted:
            return self._holder(request)
        try:
            return self._people.of_request(request)
        except SessionError as error:
            if self._people.sign_in.wanted:
                sentence = "Only who has signed in may call, or who holds a key of this server."
                raise CallError(sentence, status=401, code="invalid_api_key") from error
            return self._people.of_address(request)

    def _holder(self, request: Request) -> Person:
        holder = self._people.key_holder(request)
        if holder is None:
            sent = "authorization" in request.headers
            problem = "This API key is not known here." if sent else "No API key was sent."
            sentence = f"{problem} Send one of the server's as `Authorization: Bearer KEY`."
            raise CallError(sentence, status=401, code="invalid_api_key")
        return holder


def _refuse_other_sites(request: Request) -> None:
    """A page that somebody visits must not use what their machine may reach."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = site in _OTHER_SITES
    if site is None and origin is not None:  # a browser too old to say it
        foreign = urlsplit(origin).netloc != request.headers.get("host")
    if foreign:
        raise CallError("Calls from pages of other sites are not answered.", status=403)
