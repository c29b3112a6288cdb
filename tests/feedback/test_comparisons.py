"""Two replies side by side: who may vote, what is hidden until then, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from llava_chat.errors import ConsentError, FeedbackError, NotFoundError, StoreError
from llava_chat.feedback import (
    Comparisons,
    Explanation,
    Feedback,
    Filter,
    Rating,
    Vote,
    contestant_name,
    votes,
)
from llava_chat.image import Picture
from llava_chat.store import Comparison, ConversationStore, ReplyRecord, remove_old
from tests.feedback.conftest import new_id

WARM = {"temperature": 1.1}


@dataclass
class Compared:
    """One comparison of a person's, asked and answered on both sides."""

    owner: str
    store: ConversationStore
    comparisons: Comparisons
    record: ReplyRecord
    kept: Comparison

    @property
    def id(self) -> str:
        return self.kept.id

    def ask(
        self, text: str, *pictures: Picture, answered: tuple[str, ...] = ("left", "right")
    ) -> None:
        sides = self.store.sides()
        for name, id in (("left", self.kept.left_id), ("right", self.kept.right_id)):
            asked = sides.add_user(self.owner, id, text, pictures)
            if name in answered:
                settings = WARM if name == "right" else {}
                record = replace(self.record, settings={**self.record.settings, **settings})
                sides.add_reply(self.owner, id, asked.id, f"{name} says", (1,), "stop", record)

    def vote(self, turn: int, choice: str, id: str | None = None) -> Comparison:
        return self.comparisons.vote(self.owner, self.id, Vote(id or new_id(), turn, choice, 2.5))


def begin(
    store: ConversationStore, record: ReplyRecord, owner: str, *pictures: Picture
) -> Compared:
    comparisons = Comparisons.of(store)
    compared = Compared(owner, store, comparisons, record, comparisons.begin(owner, "one", "two"))
    compared.ask("What is it?", *pictures)
    return compared


@pytest.fixture
def compared(
    store: ConversationStore, feedback: Feedback, record: ReplyRecord, red: Picture
) -> Iterator[Compared]:
    """Ann's, about a red picture; she agreed."""
    feedback.decide("ann", True)
    yield begin(store, record, "ann", red)


def test_a_vote_is_one_vote_and_reveals_the_names(compared: Compared) -> None:
    assert not compared.comparisons.load("ann", compared.id).revealed
    vote = Vote(new_id(), 1, "right", 3.25)
    for _ in range(3):
        told = compared.comparisons.vote("ann", compared.id, vote)
    assert told == compared.comparisons.load("ann", compared.id) and told.revealed
    (kept,) = told.votes
    assert (kept.id, kept.turn, kept.choice, kept.blind) == (vote.id, 1, "right", True)
    assert kept.lead_time_s == 3.25 and kept.reasons == () and kept.comment == ""


def test_a_choice_stays_once_the_names_are_known(compared: Compared) -> None:
    id = new_id()
    compared.vote(1, "left", id)
    for attempt in (("right", id), ("right", new_id()), ("left", new_id())):
        with pytest.raises(FeedbackError, match="there is a vote on this turn already"):
            compared.vote(1, *attempt)
    assert [vote.choice for vote in compared.comparisons.load("ann", compared.id).votes] == ["left"]


def test_further_turns_are_voted_on_with_the_names_known(compared: Compared) -> None:
    compared.vote(1, "tie")
    compared.ask("And now?")
    told = compared.vote(2, "both_bad")
    assert [(vote.turn, vote.choice, vote.blind) for vote in told.votes] == [
        (1, "tie", True),
        (2, "both_bad", False),
    ]


def test_a_turn_may_pass_without_a_vote_and_the_next_one_is_blind(compared: Compared) -> None:
    compared.ask("And now?")
    with pytest.raises(FeedbackError, match="only the newest message"):
        compared.vote(1, "left")
    assert compared.vote(2, "left").votes[0].blind


def test_a_vote_wants_a_reply_on_each_side(compared: Compared) -> None:
    compared.ask("And now?", answered=("left",))
    for turn in (1, 2, 3):
        with pytest.raises(FeedbackError, match="once both sides have a reply"):
            compared.vote(turn, "left")


def test_reasons_follow_and_may_change(compared: Compared) -> None:
    id = new_id()
    compared.vote(1, "left", id)
    for reasons, comment in ((("style", "wrong_count"), "twice\x00"), ((), ""), (("other",), "x")):
        for _ in range(2):
            why = Explanation(id, reasons, comment)
            compared.comparisons.explain("ann", compared.id, why)
        (kept,) = compared.comparisons.load("ann", compared.id).votes
        assert (kept.reasons, kept.comment) == (why.reasons, why.comment)
    with pytest.raises(NotFoundError, match="no such vote"):
        compared.comparisons.explain("ann", compared.id, Explanation(new_id()))


def test_a_comparison_is_its_owners_alone(
    compared: Compared, feedback: Feedback, store: ConversationStore
) -> None:
    feedback.decide("eve", True)
    compared.vote(1, "left", vote := new_id())
    attempts = (
        lambda: compared.comparisons.load("eve", compared.id),
        lambda: compared.comparisons.vote("eve", compared.id, Vote(new_id(), 1, "left")),
        lambda: compared.comparisons.explain("eve", compared.id, Explanation(vote, ("style",))),
        lambda: compared.comparisons.delete("eve", compared.id),
        lambda: store.sides().load("eve", compared.kept.left_id),
    )
    for attempt in attempts:
        with pytest.raises(NotFoundError):
            attempt()


@pytest.mark.parametrize("keep", [None, False])
def test_nothing_is_kept_without_consent(
    keep: bool | None, feedback: Feedback, store: ConversationStore, record: ReplyRecord
) -> None:
    compared = begin(store, record, "bob")
    if keep is not None:
        feedback.decide("bob", keep)
    with pytest.raises(ConsentError):
        compared.vote(1, "left")
    assert not compared.comparisons.load("bob", compared.id).revealed
    feedback.decide("bob", True)
    compared.vote(1, "left", id := new_id())
    feedback.decide("bob", False)
    with pytest.raises(ConsentError):
        compared.comparisons.explain("bob", compared.id, Explanation(id))
    assert list(votes(store)) == []


def test_no_chat_and_no_list_has_the_sides(
    compared: Compared, feedback: Feedback, store: ConversationStore
) -> None:
    assert store.list("ann") == [] and store.list("ann", "what") == []
    sides = (compared.kept.left_id, compared.kept.right_id)
    reply = store.sides().load("ann", sides[0]).path[-1]
    for side in sides:
        for attempt in (
            lambda: store.load("ann", side),  # noqa: B023 - called at once
            lambda: store.add_user("ann", side, "one side only", ()),  # noqa: B023
            lambda: store.delete("ann", side),  # noqa: B023
            lambda: feedback.rate("ann", side, reply.id, Rating(new_id(), True)),  # noqa: B023
        ):
            with pytest.raises(NotFoundError):
                attempt()
    chat = store.add_user("ann", None, "a chat", ())
    with pytest.raises(NotFoundError):
        store.sides().load("ann", chat.conversation_id)


def test_what_is_kept_of_a_person_names_nobody_before_the_vote(
    compared: Compared, feedback: Feedback, record: ReplyRecord
) -> None:
    told = json.dumps(feedback.mine("ann"))
    assert compared.id in told and "left says" in told
    for name in ('"one"', '"two"', record.model_id, record.revision, "temperature"):
        assert name not in told
    compared.vote(1, "left")
    told = json.dumps(feedback.mine("ann"))
    assert '"one"' in told and '"two"' in told and record.model_id in told
    assert feedback.mine("ann")["comparisons"][0]["votes"][0]["choice"] == "left"


def test_everything_goes_with_the_person_and_with_the_comparison(
    compared: Compared,
    feedback: Feedback,
    store: ConversationStore,
    record: ReplyRecord,
    red: Picture,
) -> None:
    compared.vote(1, "left")
    counts = feedback.delete_mine("ann")
    assert (counts["comparisons"], counts["comparison_votes"], counts["conversations"]) == (1, 1, 2)
    assert counts["messages"] == 4 and counts["pictures"] == 1
    feedback.decide("ann", True)
    other = begin(store, record, "ann", red)
    assert other.comparisons.delete("ann", other.id) == (red.id,)
    assert feedback.mine("ann")["conversations"] == feedback.mine("ann")["comparisons"] == []


def test_an_old_comparison_is_removed_whole(
    compared: Compared, feedback: Feedback, store: ConversationStore, red: Picture
) -> None:
    compared.vote(1, "left")
    assert remove_old(store, 1) == 0
    assert remove_old(store, 0) == 2
    mine = feedback.mine("ann")
    assert mine["conversations"] == mine["comparisons"] == []
    assert not store.has_picture("ann", red.id)


def test_a_host_gets_the_votes_with_what_really_answered(
    compared: Compared, record: ReplyRecord, store: ConversationStore, red: Picture
) -> None:
    compared.vote(1, "right", id := new_id())
    compared.comparisons.explain("ann", compared.id, Explanation(id, ("style",)))
    compared.ask("And now?")
    compared.vote(2, "tie")
    first, second = votes(store)
    usual = contestant_name(record.model_id, record.adapter, record.settings, record.system)
    assert first.left == usual and "temperature 1.1" in first.right
    assert (first.choice, first.blind, first.turn) == ("right", True, 1)
    assert (second.choice, second.blind, second.turn) == ("tie", False, 2)
    assert first.owner == second.owner != "ann" and len(first.owner) == 32
    assert first.picture_ids == (red.id,) and first.comparison_id == compared.id
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for wanted, many in (
        (Filter(model=record.model_id), 2),
        (Filter(model="another"), 0),
        (Filter(reason="style"), 1),
        (Filter(since=tomorrow), 0),
        (Filter(until=tomorrow), 2),
        (Filter(liked=True), 0),
        (Filter(adapter="none"), 0),
    ):
        assert len(list(votes(store, wanted))) == many


def test_of_votes_at_the_same_time_one_is_kept(compared: Compared) -> None:
    def attempt(number: int) -> str:
        try:
            compared.vote(1, ("left", "right")[number % 2])
        except (FeedbackError, StoreError) as error:
            return str(error)
        return "kept"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    assert outcomes.count("kept") == 1
    assert len(compared.comparisons.load("ann", compared.id).votes) == 1


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("id", "short"),
        ("turn", 0),
        ("turn", True),
        ("turn", 1.0),
        ("choice", "middle"),
        ("choice", None),
        ("lead_time_s", float("nan")),
        ("lead_time_s", "3"),
    ],
)
def test_what_is_no_vote_is_refused_by_its_field(field: str, wrong: object) -> None:
    given = {"id": new_id(), "turn": 1, "choice": "left", field: wrong}
    with pytest.raises(FeedbackError, match=f"^{field}: "):
        Vote(**given)  # type: ignore[arg-type]


def test_a_page_that_was_left_open_measures_nothing() -> None:
    assert Vote(new_id(), 1, "tie", 100_000).lead_time_s is None
    assert Vote(new_id(), 1, "tie", -1).lead_time_s is None
