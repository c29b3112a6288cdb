"""From what is kept to figures: who counts, what is left out, and what stands behind a number."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llava_chat.errors import NotFoundError
from llava_chat.feedback.results import Report, Wanted, agreed_items, gather, report
from llava_chat.feedback.results.reading import read
from llava_chat.feedback.rows import pseudonym
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, ReplyRecord, remove_person
from tests import judged
from tests.feedback.conftest import new_id

KEY = b"of these tests"


@pytest.fixture
def backend() -> str:
    """One is enough: the reading itself is tested on both elsewhere."""
    return "sqlite"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database in which much was said, to be copied."""
    folder = tmp_path_factory.mktemp("said")
    judged.fill(folder)
    return folder


@pytest.fixture
def filled(said: Path, tmp_path: Path) -> Iterator[ConversationStore]:
    folder = shutil.copytree(said, tmp_path / "said")
    store = ConversationStore.open(f"sqlite:///{folder / 'chat.db'}", folder)
    yield store
    store.close()


def told(found: Report) -> dict[str, int]:
    return {kind: count for kind, count in found.volume.by_kind.items() if count}


def test_all_that_is_kept_is_counted(filled: ConversationStore) -> None:
    found = report(filled, key=KEY)
    assert told(found) == {
        "liked": 8, "disliked": 4, "correction": 4, "vote": 90, "annotation": 72,
    }  # fmt: skip
    assert found.volume.people == 3
    assert set(found.names.values()) == {"Ann", "Bob", "Cat"}
    assert [one.name for one in found.ranking.standings] == ["scenes-large", "scenes", "other"]
    assert [one.question.field for one in found.questions] == [
        "grounded", "verdict", "faults:count", "faults:colour",
    ]  # fmt: skip
    assert all(one.agreement.items == judged.ITEMS for one in found.questions)
    assert found.gold[0].rater == pseudonym("cat", KEY)
    assert [one.asked for one in found.gold] == [judged.GOLD] * 3


def test_who_does_not_agree_any_more_is_in_no_figure(filled: ConversationStore) -> None:
    judged.agree(filled).decide("cat", False)
    found = report(filled, key=KEY)
    assert pseudonym("cat", KEY) not in found.volume.by_person
    assert found.volume.people == 2 and len(found.gold) == 2
    assert all(len(one.pairs) == 1 for one in found.questions)


def test_filters(filled: ConversationStore) -> None:
    project = judged.annotate(filled, judged_picture(filled), items=2, name="Another")
    only = report(filled, Wanted(project.id), KEY)
    assert told(only) == {"annotation": 6}
    assert all(one.agreement.missing for one in only.questions)
    assert not only.ranking.standings and not any(one.accuracy for one in only.gold)
    about = report(filled, Wanted(model="other"), KEY)
    assert set(told(about)) == {"vote"} and "other" in about.volume.by_model
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert report(filled, Wanted(since=tomorrow), KEY).volume.total == 0
    assert report(filled, Wanted(until=tomorrow), KEY).volume.total > 0


def judged_picture(store: ConversationStore) -> Picture:
    event = next(event for event in gather(store, key=KEY).events if event.place == "item")
    return store.picture(read(store, "item", event.source, KEY, {}).picture_ids[0])


def test_votes_after_the_names_were_shown_are_told_and_do_not_rank(
    store: ConversationStore, record: ReplyRecord, red: Picture
) -> None:
    from llava_chat.feedback import Comparisons, Vote

    (id,) = judged.compare(store, record, red, count=1)
    kept = Comparisons.of(store).load("ann", id)
    sides = store.sides()
    for side in (kept.left_id, kept.right_id):
        asked = sides.add_user("ann", side, "And now?", ())
        sides.add_reply("ann", side, asked.id, "So", (1,), "stop", record)
    Comparisons.of(store).vote("ann", id, Vote(new_id(), 2, "left"))
    found = gather(store, key=KEY)
    assert (len(found.events), len(found.matches), found.unblind) == (2, 1, 1)


def test_what_stands_behind_a_number_can_be_read_until_its_owner_takes_it_back(
    filled: ConversationStore,
) -> None:
    events = gather(filled, key=KEY).events
    ann = pseudonym("ann", KEY)
    place = {event.place: event.source for event in events if event.person == ann}
    chat = read(filled, "conversation", place["conversation"], KEY, {})
    assert chat.person == ann and len(chat.sides) == 1 and len(chat.picture_ids) == 1
    both = read(filled, "comparison", place["comparison"], KEY, {})
    assert len(both.sides) == 2 and both.said
    item = read(filled, "item", place["item"], KEY, {ann: "Ann"})
    assert any(line.startswith("Ann: grounded = ") for line in item.said)
    remove_person(filled, "ann")
    for kind in ("conversation", "comparison"):
        with pytest.raises(NotFoundError):
            read(filled, kind, place[kind], KEY, {})
    assert not any(line.startswith("Ann") for line in read(
        filled, "item", place["item"], KEY, {ann: "Ann"}
    ).said)  # fmt: skip


def test_a_chat_of_which_nothing_was_said_cannot_be_read(
    store: ConversationStore, record: ReplyRecord
) -> None:
    judged.agree(store, "ann")
    asked = store.add_user("ann", None, "Hello?", ())
    for id in (asked.conversation_id, "nothing", "\0"):
        with pytest.raises(NotFoundError):
            read(store, "conversation", id, KEY, {})


def test_items_are_told_apart_by_how_many_say_the_same(
    store: ConversationStore, red: Picture
) -> None:
    def values(number: int, person: str, _: object) -> dict[str, object]:
        return {"verdict": "wrong" if number == 0 and person == "cat" else "right"}

    judged.annotate(store, red, items=2, values=values)
    found = gather(store, key=KEY)
    first, second = sorted(
        {one.item for one in next(iter(found.judgements.values()), [])}
        | {one.item for judgements in found.judgements.values() for one in judgements},
        key=lambda item: read(store, "item", item, KEY, {}).sides[0][0].text,
    )
    # Of nine pairs on three questions two differ.
    assert agreed_items(found, 7 / 9) == {first, second}
    assert agreed_items(found, 0.8) == {second}
