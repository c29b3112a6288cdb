"""What people say of replies is kept, for them alone, and only when they agreed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from llava_chat.errors import ConsentError, FeedbackError, NotFoundError, StoreError
from llava_chat.feedback import REASONS, Correction, Feedback, Filter, Ranking, Rating
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord, remove_unkept
from tests.feedback.conftest import Talk, begin_talk, new_id


def test_a_vote_is_one_vote_however_often_it_is_sent(feedback: Feedback, talk: Talk) -> None:
    vote = Rating(new_id(), False, ("wrong_count",), "There are three.")
    for _ in range(3):
        feedback.rate("ann", talk.id, talk.reply.id, vote)
    rating = feedback.of_conversation("ann", talk.id)[talk.reply.id].rating
    assert rating is not None
    assert (rating.liked, rating.reasons, rating.comment) == (False, vote.reasons, vote.comment)
    assert rating.created_at == rating.updated_at
    assert len(feedback.mine("ann")["ratings"]) == 1


def test_a_new_vote_takes_the_place_of_the_old_which_may_still_arrive(
    feedback: Feedback, talk: Talk
) -> None:
    first, second = Rating(new_id(), False, ("style",)), Rating(new_id(), True)
    for vote in (first, second, first):
        feedback.rate("ann", talk.id, talk.reply.id, vote)
    rating = feedback.of_conversation("ann", talk.id)[talk.reply.id].rating
    assert rating is not None and rating.id == second.id and rating.liked
    assert rating.reasons == () and rating.updated_at > rating.created_at


def test_reasons_may_follow_under_the_same_id(feedback: Feedback, talk: Talk) -> None:
    id = new_id()
    feedback.rate("ann", talk.id, talk.reply.id, Rating(id, False))
    feedback.rate("ann", talk.id, talk.reply.id, Rating(id, False, ("refusal",), "why?\x00"))
    rating = feedback.of_conversation("ann", talk.id)[talk.reply.id].rating
    assert rating is not None and (rating.reasons, rating.comment) == (("refusal",), "why?\ufffd")


def test_a_vote_is_taken_back_and_a_correction_stays(feedback: Feedback, talk: Talk) -> None:
    feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    feedback.correct("ann", talk.id, talk.reply.id, Correction(new_id(), "A red square."))
    feedback.take_back("ann", talk.id, talk.reply.id)
    feedback.take_back("ann", talk.id, talk.reply.id)
    said = feedback.of_conversation("ann", talk.id)[talk.reply.id]
    assert said.rating is None and said.correction is not None


def test_the_newest_correction_counts_and_the_reply_stays(
    feedback: Feedback, talk: Talk, store: ConversationStore
) -> None:
    first, second = Correction(new_id(), "Red."), Correction(new_id(), "A red picture.")
    for correction in (first, second, first, second):
        feedback.correct("ann", talk.id, talk.reply.id, correction)
    correction_kept = feedback.of_conversation("ann", talk.id)[talk.reply.id].correction
    assert correction_kept is not None and correction_kept.text == "A red picture."
    assert len(feedback.mine("ann")["corrections"]) == 2
    store.choose("ann", talk.id, talk.reply.id)
    assert store.load("ann", talk.id).path[-1].text == "reply 0"


def test_replies_to_one_message_are_ranked(feedback: Feedback, talk: Talk) -> None:
    first, second = (reply.id for reply in talk.replies)
    feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), (first, second)))
    newest = Ranking(new_id(), (second, first))
    feedback.rank("ann", talk.id, talk.asked.id, newest)
    feedback.rank("ann", talk.id, talk.asked.id, newest)
    ranking = feedback.of_conversation("ann", talk.id)[talk.asked.id].ranking
    assert ranking is not None and ranking.reply_ids == (second, first)
    with pytest.raises(StoreError, match=r"Not saved\. Only replies to this message"):
        feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), (first, talk.asked.id)))


def _attempts(feedback: Feedback) -> dict[str, Callable[[str, str, str], None]]:
    return {
        "rate": lambda owner, chat, message: feedback.rate(
            owner, chat, message, Rating(new_id(), True)
        ),
        "correct": lambda owner, chat, message: feedback.correct(
            owner, chat, message, Correction(new_id(), "x")
        ),
        "rank": lambda owner, chat, message: feedback.rank(
            owner, chat, message, Ranking(new_id(), ("a", "b"))
        ),
    }


@pytest.mark.parametrize("kind", ["rate", "correct", "rank"])
def test_what_may_not_be_judged_is_refused_with_a_sentence(
    kind: str, feedback: Feedback, talk: Talk, store: ConversationStore, record: ReplyRecord
) -> None:
    attempt = _attempts(feedback)[kind]
    feedback.decide("eve", True)
    wrong_kind, right_kind = (
        (talk.asked, talk.reply) if kind != "rank" else (talk.reply, talk.asked)
    )
    with pytest.raises(NotFoundError, match="no such conversation"):
        attempt("eve", talk.id, right_kind.id)
    for unknown in ("0" * 32, "", "'; --", "\ud800", "a\x00b"):
        with pytest.raises(NotFoundError, match="no such message"):
            attempt("ann", talk.id, unknown)
        with pytest.raises(NotFoundError, match="no such conversation"):
            attempt("ann", unknown, right_kind.id)
    with pytest.raises(StoreError, match=r"Not saved\. Only "):
        attempt("ann", talk.id, wrong_kind.id)
    theirs = begin_talk(store, "eve", record)
    with pytest.raises(NotFoundError, match="no such message"):
        attempt("eve", theirs.id, right_kind.id)
    unkept = begin_talk(store, "ann", record, kept=False)
    message = unkept.asked if kind == "rank" else unkept.reply
    with pytest.raises(StoreError, match=r"Not saved\. This chat is not kept"):
        attempt("ann", unkept.id, message.id)
    assert list(feedback.rows()) == []


@pytest.mark.parametrize("kind", ["rate", "correct", "rank"])
def test_nothing_is_kept_without_consent(kind: str, feedback: Feedback, talk: Talk) -> None:
    attempt = _attempts(feedback)[kind]
    message = talk.asked if kind == "rank" else talk.reply
    feedback.decide("ann", False)
    with pytest.raises(ConsentError, match="You decided that your feedback is not kept"):
        attempt("ann", talk.id, message.id)
    assert (feedback.consent("ann"), feedback.consent("bob")) == (False, None)


def test_who_was_not_asked_is_told_to_decide(
    feedback: Feedback, store: ConversationStore, record: ReplyRecord
) -> None:
    talk = begin_talk(store, "bob", record)
    with pytest.raises(ConsentError, match="say yes or no"):
        feedback.rate("bob", talk.id, talk.reply.id, Rating(new_id(), True))
    feedback.decide("bob", True)
    feedback.rate("bob", talk.id, talk.reply.id, Rating(new_id(), True))
    assert feedback.consent("bob") is True


def test_a_new_wording_is_asked_again(
    feedback: Feedback, talk: Talk, monkeypatch: pytest.MonkeyPatch, store: ConversationStore
) -> None:
    monkeypatch.setattr("llava_chat.feedback.keeping.CONSENT_WORDING", "2")
    later = Feedback.of(store)
    assert later.consent("ann") is None
    with pytest.raises(ConsentError):
        later.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    later.decide("ann", True)
    later.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))


def test_an_id_of_something_else_is_refused(
    feedback: Feedback, talk: Talk, store: ConversationStore, record: ReplyRecord
) -> None:
    feedback.decide("bob", True)
    theirs = begin_talk(store, "bob", record)
    id = new_id()
    feedback.rate("ann", talk.id, talk.reply.id, Rating(id, True))
    with pytest.raises(StoreError, match=r"Not saved\. .* id already"):
        feedback.rate("bob", theirs.id, theirs.reply.id, Rating(id, False))
    with pytest.raises(StoreError, match=r"Not saved\. .* id already"):
        feedback.rate("ann", talk.id, talk.replies[1].id, Rating(id, True))


def test_all_that_is_kept_of_a_person_is_shown_and_deleted(
    feedback: Feedback, talk: Talk, store: ConversationStore, record: ReplyRecord, blue: Picture
) -> None:
    feedback.decide("bob", True)
    theirs = begin_talk(store, "bob", record, blue)
    feedback.rate("bob", theirs.id, theirs.reply.id, Rating(new_id(), True))
    feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    feedback.correct("ann", talk.id, talk.reply.id, Correction(new_id(), "Red."))
    order = tuple(reply.id for reply in talk.replies)
    feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), order))

    mine = json.loads(json.dumps(feedback.mine("ann")))
    assert mine["consent"]["keep"] is True
    assert [len(mine[kind]) for kind in ("ratings", "corrections", "rankings")] == [1, 1, 1]
    (chat,) = mine["conversations"]
    assert [message["text"] for message in chat["messages"]] == [
        "What is it?", "reply 0", "reply 1",
    ]  # fmt: skip
    assert chat["messages"][0]["pictures"] == list(record.picture_ids)
    assert chat["messages"][1]["record"]["model_id"] == "scenes"

    assert feedback.delete_mine("ann") == {
        "ratings": 1, "corrections": 1, "rankings": 1, "consents": 1, "comparisons": 0,
        "comparison_votes": 0,
        "messages": 3, "conversations": 1, "pictures": 1,
        "annotations": 0, "drafts": 0, "leases": 0, "members": 0,
    }  # fmt: skip
    empty = feedback.mine("ann")
    assert empty.pop("consent") is None and not any(empty.values())
    with pytest.raises(NotFoundError):
        store.picture(record.picture_ids[0])
    assert store.picture(blue.id) == blue
    assert len(list(feedback.rows())) == 1


def test_rows_show_a_host_everything_but_who_it_was(
    feedback: Feedback, talk: Talk, store: ConversationStore, record: ReplyRecord
) -> None:
    second = begin_talk(store, "ann", None, text="And this?")
    feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), False, ("style",), "long"))
    feedback.correct("ann", talk.id, talk.reply.id, Correction(new_id(), "Red."))
    order = tuple(reply.id for reply in reversed(talk.replies))
    feedback.rank("ann", talk.id, talk.asked.id, Ranking(new_id(), order))
    feedback.rate("ann", second.id, second.reply.id, Rating(new_id(), True))
    rows = list(feedback.rows())
    assert [row.reply.id for row in rows] == [*(r.id for r in talk.replies), second.reply.id]
    judged, ranked, liked = rows
    assert [message.text for message in judged.path] == ["What is it?", "reply 0"]
    assert judged.picture_ids == record.picture_ids and judged.reply.record == record
    assert judged.rating is not None and judged.rating.comment == "long"
    assert judged.correction is not None and judged.ranking is None
    assert ranked.ranking is not None and [m.text for m in ranked.ranked] == ["reply 1", "reply 0"]
    assert len({row.owner for row in rows}) == 1 and "ann" not in rows[0].owner
    assert rows[0].owner != next(feedback.rows()).owner

    def found(**wanted: object) -> int:
        return len(list(feedback.rows(Filter(**wanted))))  # type: ignore[arg-type]

    assert (found(liked=True), found(liked=False), found(reason="style")) == (1, 1, 1)
    assert (found(model="scenes"), found(adapter="manners"), found(model="x")) == (2, 2, 0)
    assert (found(has_correction=True), found(has_correction=False)) == (1, 2)
    assert (found(since=liked.said_at), found(until=liked.said_at)) == (1, 2)


def test_rows_come_in_order_however_many_are_read_together(
    feedback: Feedback, talk: Talk, store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_chat.store.opinion_rows.BATCH_CONVERSATIONS", 2)
    talks = [talk, *(begin_talk(store, "ann", None) for _ in range(4))]
    for one in reversed(talks):
        feedback.rate("ann", one.id, one.reply.id, Rating(new_id(), True))
    rows = list(feedback.rows())
    assert [row.conversation_id for row in rows] == [one.id for one in talks]
    assert len({row.owner for row in rows}) == 1


def test_who_changes_their_mind_and_what_is_not_kept_disappears_from_a_hosts_view(
    feedback: Feedback, talk: Talk, store: ConversationStore
) -> None:
    feedback.rate("ann", talk.id, talk.reply.id, Rating(new_id(), True))
    assert len(list(feedback.rows())) == 1
    feedback.decide("ann", False)
    assert list(feedback.rows()) == []
    feedback.decide("ann", True)
    assert len(list(feedback.rows())) == 1
    store.keep("ann", talk.id, False)
    assert list(feedback.rows()) == []
    store.keep("ann", talk.id, True)
    assert feedback.mine("ann")["ratings"] == []  # they went when the chat was not to be kept
    store.keep("ann", talk.id, False)
    assert store.load("ann", talk.id).kept is False
    assert remove_unkept(store, owner="bob") == 0
    assert remove_unkept(store) == 1
    assert store.list("ann") == []


def test_votes_that_come_together_leave_one(
    feedback: Feedback, talk: Talk, open_store: Callable[[], ConversationStore]
) -> None:
    both = (feedback, Feedback.of(open_store()))

    def vote(number: int) -> None:
        for _ in range(5):
            both[number % 2].rate("ann", talk.id, talk.reply.id, Rating(new_id(), number < 2))
            both[number % 2].decide("ann", True)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(vote, range(4)))
    assert len(feedback.mine("ann")["ratings"]) == 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Rating("short", True), "id: "),
        (lambda: Rating("x" * 65, True), "id: "),
        (lambda: Rating("../../etc/passwd", True), "id: "),
        (lambda: Rating(new_id(), "yes"), "liked: "),  # type: ignore[arg-type]
        (lambda: Rating(new_id(), True, ("ugly",)), "reasons: there is no reason 'ugly'"),
        (lambda: Rating(new_id(), True, "style"), "reasons: "),  # type: ignore[arg-type]
        (lambda: Rating(new_id(), True, (), "x" * 2001), "comment: it has 2,001"),
        (lambda: Correction(new_id(), " \n"), "text: the correction is empty"),
        (lambda: Correction(new_id(), "x" * 20_001), "text: it has 20,001"),
        (lambda: Ranking(new_id(), ("a",)), "reply_ids: "),
        (lambda: Ranking(new_id(), tuple(map(str, range(33)))), "reply_ids: "),
    ],
)
def test_what_is_no_feedback_names_its_field(make: Callable[[], object], told: str) -> None:
    with pytest.raises(FeedbackError, match=told):
        make()


def test_reasons_are_those_that_are_promised() -> None:
    assert list(REASONS) == [
        "hallucinated_object", "wrong_count", "wrong_attribute", "wrong_place", "misread_text",
        "refusal", "style", "other",
    ]  # fmt: skip
