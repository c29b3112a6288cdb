"""What the page sends about replies, and what a person asks about their own data, as JSON.

Routes of our own and no events of Gradio's: a vote changes one mark, where an event would bring the
whole conversation anew, and a write that failed has to come back as what it is, to be tried again.
Whose a conversation is the store decides. Imports feedback, the store, errors, replies, thumbnails,
web.json_routes and web.session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llava_chat.errors import FeedbackError, LlavaChatError
from llava_chat.feedback import (
    Comparisons,
    Correction,
    Explanation,
    Feedback,
    Ranking,
    Rating,
    Vote,
)
from llava_chat.store import ConversationStore
from llava_chat.web.chat.replies import Replies
from llava_chat.web.json_routes import NOT_STORED, Body, answered, refused
from llava_chat.web.outside import Outside
from llava_chat.web.session import Owners
from llava_chat.web.thumbnails import Thumbnails, discard_lost

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Work = Callable[[str, Body], Body]


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
        self._comparisons = Comparisons.of(store)

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

    def withdraw(self, owner: str, body: Body) -> Body:
        """`conversation`, `message`: forget the correction."""
        self.feedback.withdraw(owner, *_place(body))
        return {"saved": None}

    def versions(self, owner: str, query: Body) -> Body:
        """`conversation`, `message`, a reply: its versions with the ranking of them, best first."""
        conversation_id, message_id = _place(query)
        found = self._store.versions(owner, conversation_id, message_id)
        if found[0].role != "assistant":
            raise FeedbackError("message: it must be a reply.")
        said = self.feedback.of_conversation(owner, conversation_id).get(found[0].parent_id or "")
        ranking = None if said is None else said.ranking
        return {
            "asked": found[0].parent_id,
            "replies": [{"id": one.id, "text": one.text} for one in found],
            "ranking": None if ranking is None else list(ranking.reply_ids),
        }

    def rank(self, owner: str, body: Body) -> Body:
        """`conversation`, `message` of the person's own, `id`, `replies`, best first."""
        ranking = Ranking(body.get("id"), tuple(_list(body, "replies")))  # type: ignore[arg-type]
        self.feedback.rank(owner, *_place(body), ranking)
        return {"saved": ranking.id}

    def choose(self, owner: str, body: Body) -> Body:
        """`comparison`, `id`, `turn`, `choice`, `lead_time_s`: keep a vote; tells the names."""
        vote = Vote(
            body.get("id"),  # type: ignore[arg-type]
            body.get("turn"),  # type: ignore[arg-type]
            body.get("choice"),  # type: ignore[arg-type]
            body.get("lead_time_s"),
        )
        told = self._comparisons.vote(owner, _id(body, "comparison"), vote)
        return {"saved": vote.id, "left": told.left_name, "right": told.right_name}

    def explain(self, owner: str, body: Body) -> Body:
        """`comparison`, `id` of the vote, `reasons`, `comment`: keep why."""
        reasons, comment = tuple(_list(body, "reasons")), body.get("comment", "")
        why = Explanation(body.get("id"), reasons, comment)  # type: ignore[arg-type]
        self._comparisons.explain(owner, _id(body, "comparison"), why)
        return {"saved": why.id}

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
        stores = (self._store, self._store.sides())
        for conversation in (one for store in stores for one in store.list(owner, limit=1_000_000)):
            if (live := self._replies.running(conversation.id)) is not None:
                live.stop()
        deleted = self.feedback.delete_mine(owner)
        self.outside.forgotten()
        discard_lost(self._thumbnails, self._store)
        return {"deleted": deleted}


def feedback_routes(
    people: Owners, desk: FeedbackDesk, count: Callable[[Request], None]
) -> list[Route]:
    """`/feedback/...`, for `launch(app_kwargs={"routes": ...})`.

    count: takes each thing that is said, and raises LimitError where somebody says too much.

    Answers are JSON: what was saved, or `error`, a sentence; where consent is missing also
    `consent`, null while the person was not asked.
    """
    feedback = desk.feedback

    def posted(work: Work) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return await answered(
                request,
                people.owner_of,
                work,
                count=count,
                consent=feedback.consent,
                loss=desk.outside.loss,
            )

        return answer

    async def consent(request: Request) -> Response:
        return await _told(request, desk.consent)

    async def versions(request: Request) -> Response:
        return await _told(request, lambda owner: desk.versions(owner, dict(request.query_params)))

    async def mine(request: Request) -> Response:
        answer = await _told(request, feedback.mine)
        if answer.status_code == 200:
            answer.headers["content-disposition"] = 'attachment; filename="my-llava-chat-data.json"'
        return answer

    async def _told(request: Request, read: Callable[[str], Any]) -> Response:
        try:
            found = await run_in_threadpool(read, people.owner_of(request))
            text = await run_in_threadpool(json.dumps, found, ensure_ascii=False, indent=2)
        except LlavaChatError as error:
            return refused(error)
        return Response(text + "\n", media_type="application/json", headers=NOT_STORED)

    return [
        Route("/feedback/rate", posted(desk.rate), methods=["POST"]),
        Route("/feedback/take-back", posted(desk.take_back), methods=["POST"]),
        Route("/feedback/correct", posted(desk.correct), methods=["POST"]),
        Route("/feedback/withdraw", posted(desk.withdraw), methods=["POST"]),
        Route("/feedback/versions", versions),
        Route("/feedback/rank", posted(desk.rank), methods=["POST"]),
        Route("/feedback/choose", posted(desk.choose), methods=["POST"]),
        Route("/feedback/explain", posted(desk.explain), methods=["POST"]),
        Route("/feedback/consent", posted(desk.decide), methods=["POST"]),
        Route("/feedback/delete", posted(desk.delete), methods=["POST"]),
        Route("/feedback/consent", consent),
        Route("/feedback/mine.json", mine),
    ]


def _place(body: Body) -> tuple[str, str]:
    """The conversation and the message that something is said of."""
    return _id(body, "conversation"), _id(body, "message")


def _id(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise FeedbackError(f"{name}: it must be an id.")
    return value


def _list(body: Body, name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise FeedbackError(f"{name}: it must be a list.")
    return value
