"""Two programs on one database: what each read may be old, and nothing is lost by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select, update

from llava_chat.image import Picture
from llava_chat.store import ConversationStore, Opinions, remove_person
from llava_chat.store.schema import ConversationRow, RatingRow

OpenStore = Callable[..., ConversationStore]
WRITERS = 4


def test_of_those_who_take_one_thing_one_gets_it(open_store: OpenStore) -> None:
    """A change that names what it changes from, as a lease does, succeeds once."""
    stores = [open_store() for _ in range(WRITERS)]
    chat = stores[0].create("ann", title="free").id
    together = threading.Barrier(WRITERS)

    def take(number: int) -> bool:
        together.wait()
        with stores[number].database.write() as session:
            taken = session.scalars(
                update(ConversationRow)
                .where(ConversationRow.id == chat, ConversationRow.title == "free")
                .values(title=f"of {number}")
                .returning(ConversationRow.id)
            )
            return len(taken.all()) == 1

    with ThreadPoolExecutor(WRITERS) as threads:
        results = list(threads.map(take, range(WRITERS)))
    assert sorted(results) == [False] * (WRITERS - 1) + [True]
    assert stores[0].load("ann", chat).title == f"of {results.index(True)}"


def test_what_is_read_to_be_changed_is_not_changed_meanwhile(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(WRITERS)]
    chat = stores[0].create("ann", title="0").id

    def count_up(number: int) -> None:
        for _ in range(5):
            with stores[number].database.write() as session:
                row = session.scalars(select(ConversationRow).filter_by(id=chat).with_for_update())
                one = row.one()
                one.title = str(int(one.title) + 1)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(count_up, range(WRITERS)))
    assert stores[0].load("ann", chat).title == str(5 * WRITERS)


def test_votes_of_two_programs_on_one_reply_leave_one_and_know_the_others(
    open_store: OpenStore,
) -> None:
    stores = [open_store() for _ in range(WRITERS)]
    asked = stores[0].add_user("ann", None, "?", ())
    reply = stores[0].add_reply("ann", asked.conversation_id, asked.id, "!", (), "stop", None)
    Opinions(stores[0], "1").decide("ann", True)
    together = threading.Barrier(WRITERS)

    def vote(number: int) -> None:
        opinions = Opinions(stores[number], "1")
        together.wait()
        for round in range(5):
            opinions.rate(
                "ann", asked.conversation_id, reply.id,
                id=f"vote-{number}-{round}", liked=True, reasons=(), comment="",
            )  # fmt: skip

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(vote, range(WRITERS)))
    with stores[0].database.read() as session:
        row = session.scalars(select(RatingRow)).one()
    voted = {f"vote-{number}-{round}" for number in range(WRITERS) for round in range(5)}
    assert {row.id, *row.replaced_ids} == voted


def test_a_decision_two_programs_make_at_once_is_made(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(WRITERS)]
    together = threading.Barrier(WRITERS)

    def decide(number: int) -> None:
        for round in range(5):
            together.wait()
            Opinions(stores[number], "1").decide(f"ann {round}", True)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(decide, range(WRITERS)))
    consents = [Opinions(stores[0], "1").consent(f"ann {round}") for round in range(5)]
    assert all(consent is not None and consent.keep for consent in consents)


def test_a_picture_that_two_programs_send_and_delete_is_never_half_there(
    open_store: OpenStore, red: Picture
) -> None:
    stores = [open_store() for _ in range(WRITERS)]

    def send_and_delete(number: int) -> None:
        store, owner = stores[number], f"owner {number}"
        for round in range(8):
            asked = store.add_user(owner, None, "look", (red,))
            assert store.picture(red.id).rgb().tobytes() == red.rgb().tobytes()
            if round % 2:
                store.delete(owner, asked.conversation_id)
            else:
                remove_person(store, owner)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(send_and_delete, range(WRITERS)))
    stores[0].add_user("ann", None, "look", (red,))
    assert stores[0].picture(red.id) == red


def test_a_reader_sees_one_state(open_store: OpenStore) -> None:
    one, two = open_store(), open_store()
    chat = one.create("ann", title="before").id
    title = select(ConversationRow.title).filter_by(id=chat)
    with one.database.read() as session:
        assert session.scalar(title) == "before"
        two.rename("ann", chat, "after")
        assert session.scalar(title) == "before"
    assert one.load("ann", chat).title == "after"
