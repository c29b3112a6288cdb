"""What the page sends about replies, and what a person asks about their own data, as JSON.

Routes of our own and no events of Gradio's: a vote changes one mark, where an event would bring the
whole conversation anew, and a write that failed has to come back as what it is, to be tried again.
Only this page may call them: a body of JSON, from the same origin, with the session's cookie; whose
a conversation is the store decides. Imports feedback, the store, errors, replies, thumbnails and
web.session; no gradio.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llava_chat.errors import (
    ConsentError,
    FeedbackError,
    LimitError,
    LlavaChatError,
    NotFoundError,
    StoreError,
)
from llava_chat.feedback import Correction, Feedback, Ranking, Rating
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.outside import Outside
from llava_chat.web.session import SessionError, Sessions
from llava_chat.web.thumbnails import Thumbnails, discard_lost

MAX_BODY_BYTES = 256 * 1024  # 20,000 characters, each \\uXXXX\\uXXXX, and the rest
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATUS: tuple[tuple[type[LlavaChatError], int], ...] = (
    (SessionError, 401),
    (ConsentError, 403),
    (NotFoundError, 404),
    (LimitError, 429),
    (FeedbackError, 422),
    (StoreError, 503),
)

Body = dict[str, Any]
Work = Callable[[str, Body], Body]

_log = logging.getLogger(__name__)


class _Refusal(LlavaChatError):
    """A request that this page does not send. status: of HTTP."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class FeedbackDesk:
    """What is done for the owner whom a session proves; each takes the owner and a JSON object.

    outside: where what is said survives this machine, and what people have to know of that.
    """

    def __init__(
        self,
        store: ConversationStore,
        replies: Replies,
        thumbnails: Thumbnails,
        outside: Outside | None = None,
    ) -> None:
        self._store = store
        self._replies = replies
        self._thumbnails = thumbnails
        self.outside = outside or Outside()
        self.feedback = Feedback.of(store)

    def consent(self, owner: str) -> Body:
        """`keep`: what was decided; `loss`, where a restart loses something: what, in words."""
        loss = self.outside.loss
        return {"keep": self.feedback.consent(owner)} | ({} if loss is None else {"loss": loss})

    def rate(self, owner: str, body: Body) -> Body:
        """`conversation`, `message`, `id`, `liked`, `reasons`, `comment`: keep a vote."""
        reasons, comment = tuple(_list(body, "reasons")), body.get("comment", "")
        rating = Rating(body.get("id"), body.get("liked"), reasons, comment)  # type: ignore[arg-type]
        self.feedback.rate(owner, *_place(body), rating)
        return {"saved": rating.id}

    def take_back(self, owner: str, body: Body) -> Body:
        """`conversation`, `message`: forget the vote."""
        self.feedback.take_back(owner, *_place(body))
        self.outside.forgotten()
        return {"saved": None}

    def correct(self, owner: str, body: Body) -> Body:
        """`conversation`, `message`, `id`, `text`: keep what the reply should have said."""
        correction = Correction(body.get("id"), body.get("text"))  # type: ignore[arg-type]
        self.feedback.correct(owner, *_place(body), correction)
        return {"saved": correction.id}

    def rank(self, owner: str, body: Body) -> Body:
        """`conversation`, `message` of the person's own, `id`, `replies`, best first."""
        ranking = Ranking(body.get("id"), tuple(_list(body, "replies")))  # type: ignore[arg-type]
        self.feedback.rank(owner, *_place(body), ranking)
        return {"saved": ranking.id}

    def decide(self, owner: str, body: Body) -> Body:
        """`keep`: whether feedback may be kept."""
        keep = body.get("keep")
        if not isinstance(keep, bool):
            raise FeedbackError("keep: it must be true or false.")
        self.feedback.decide(owner, keep)
        if not keep:
            self.outside.forgotten()
        return {"keep": keep}

    def delete(self, owner: str, body: Body) -> Body:
        """`everything`, true: delete all that is kept; how many there were of each."""
        if body.get("everything") is not True:
            raise FeedbackError("everything: it must be true; nothing was deleted.")
        self.outside.check_read_in()
        for conversation in self._store.list(owner, limit=1_000_000):
            if (live := self._replies.running(conversation.id)) is not None:
                live.stop()
        deleted = self.feedback.delete_mine(owner)
        self.outside.forgotten()
        discard_lost(self._thumbnails, self._store)
        return {"deleted": deleted}


def feedback_routes(
    sessions: Sessions, desk: FeedbackDesk, count: Callable[[Request], None]
) -> list[Route]:
    """`/feedback/...`, for `launch(app_kwargs={"routes": ...})`.

    count: takes each thing that is said, and raises LimitError where somebody says too much.

    Answers are JSON: what was saved, or `error`, a sentence; where consent is missing also
    `consent`, null while the person was not asked.
    """
    feedback = desk.feedback

    def posted(work: Work) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await _answered(request, sessions, desk, work, count)

        return answer

    async def consent(request: Request) -> Response:
        return await _told(request, desk.consent)

    async def mine(request: Request) -> Response:
        answer = await _told(request, feedback.mine)
        if answer.status_code == 200:
            answer.headers["content-disposition"] = 'attachment; filename="my-llava-chat-data.json"'
        return answer

    async def _told(request: Request, read: Callable[[str], Any]) -> Response:
        try:
            found = await run_in_threadpool(read, sessions.owner_of(request))
            text = await run_in_threadpool(json.dumps, found, ensure_ascii=False, indent=2)
        except LlavaChatError as error:
            return _refused(error)
        headers = {"cache-control": "no-store"}
        return Response(text + "\n", media_type="application/json", headers=headers)

    return [
        Route("/feedback/rate", posted(desk.rate), methods=["POST"]),
        Route("/feedback/take-back", posted(desk.take_back), methods=["POST"]),
        Route("/feedback/correct", posted(desk.correct), methods=["POST"]),
        Route("/feedback/rank", posted(desk.rank), methods=["POST"]),
        Route("/feedback/consent", posted(desk.decide), methods=["POST"]),
        Route("/feedback/delete", posted(desk.delete), methods=["POST"]),
        Route("/feedback/consent", consent),
        Route("/feedback/mine.json", mine),
    ]


async def _answered(
    request: Request,
    sessions: Sessions,
    desk: FeedbackDesk,
    work: Work,
    count: Callable[[Request], None],
) -> Response:
    try:
        _check_origin(request)
        owner = sessions.owner_of(request)
        body = await _body(request)
        count(request)
        done = await run_in_threadpool(work, owner, body)
    except ConsentError as error:
        try:
            decided = await run_in_threadpool(desk.consent, owner)
        except StoreError as trouble:
            return _refused(trouble)
        return _refused(error, consent=decided.pop("keep"), **decided)
    except LlavaChatError as error:
        return _refused(error)
    return JSONResponse(done, headers={"cache-control": "no-store"})


def _refused(error: LlavaChatError, **more: Any) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
    if isinstance(error, _Refusal):
        status = error.status
    if status == 503:
        _log.warning("feedback could not be kept: %s", error)
    headers = {"cache-control": "no-store"}
    return JSONResponse({"error": str(error), **more}, status_code=status, headers=headers)


def _check_origin(request: Request) -> None:
    """Refuse what another site's page sends with this browser's cookie.

    Gradio's CORS lets other sites' preflights through, and on a Space the cookie is SameSite=None.
    Browsers leave Sec-Fetch-Site out for pages without https; Origin they always send.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    elif origin is not None:
        hosts = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
        own = urlsplit(origin).netloc in hosts
    else:
        own = True  # no browser
    if not own:
        raise _Refusal(403, "Only the page itself may say this.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refusal(415, "This takes JSON.")


async def _body(request: Request) -> Body:
    """The JSON object in a body of at most MAX_BODY_BYTES."""
    text = bytearray()
    async for piece in request.stream():
        text.extend(piece)
        if len(text) > MAX_BODY_BYTES:
            raise _Refusal(413, f"This is too long: at most {MAX_BODY_BYTES:,} bytes are taken.")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Refusal(422, "The body is not JSON.") from error
    if not isinstance(body, dict):
        raise _Refusal(422, "The body is not a JSON object.")
    return body


def _place(body: Body) -> tuple[str, str]:
    """The conversation and the message that something is said of."""
    found = []
    for name in ("conversation", "message"):
        value = body.get(name)
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise FeedbackError(f"{name}: it must be an id.")
        found.append(value)
    return found[0], found[1]


def _list(body: Body, name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise FeedbackError(f"{name}: it must be a list.")
    return value
