"""What goes with what: pictures of items, what is a person's, chats that became items, results."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llava_chat.errors import FeedbackError, NotFoundError, RoleError
from llava_chat.feedback.annotation import progress, told_item, told_result
from llava_chat.image import Picture
from llava_chat.store import ConversationStore, Member, ReplyRecord, remove_old
from llava_chat.store.schema import PictureRow
from tests.feedback.annotation.conftest import FORM, HOST, Site, rows
from tests.feedback.conftest import begin_talk, new_id


def test_pictures_of_items_are_used_until_their_project_goes(
    site: Site, store: ConversationStore, red: Picture, blue: Picture
) -> None:
    asked = store.add_user("ann", None, "?", (red, blue))
    project = site.project()
    site.add(project, rows(2, picture="0.png"), [red])
    with store.database.write() as session:  # as if both had been here for long
        for row in session.query(PictureRow):
            row.created_at -= timedelta(days=2)
    assert store.delete("ann", asked.conversation_id) == (blue.id,)
    assert store.picture(red.id) == red
    assert site.leading.remove(HOST, project) == 2
    with pytest.raises(NotFoundError):
        store.picture(red.id)
    with pytest.raises(NotFoundError):
        site.leading.remove(HOST, project)


def test_a_person_sees_and_deletes_what_is_theirs(site: Site) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(3))
    _, bob = site.people("ann", "bob")
    ann = Member("ann", "Ann", study={"PROLIFIC_PID": "5f"})
    first = site.answered(ann, project)
    second = site.take(ann, project)
    site.annotation.draft(ann, second, {"better": "x"}, 1)
    site.answered(bob, project)
    mine = site.feedback.mine("ann")
    assert mine["member"]["study"] == {"PROLIFIC_PID": "5f"}
    assert [row["item_id"] for row in mine["annotations"]] == [first]
    assert [row["item_id"] for row in mine["drafts"]] == [second]
    assert [row["item_id"] for row in mine["leases"]] == [second]
    deleted = site.feedback.delete_mine("ann")
    assert {deleted[name] for name in ("annotations", "drafts", "leases", "members")} == {1}
    empty = site.feedback.mine("ann")
    assert empty["annotations"] == empty["drafts"] == empty["leases"] == []
    assert empty["member"] is None
    assert len(site.feedback.mine("bob")["annotations"]) == 1
    assert site.take(bob, project) in (first, second)  # they are free again


def test_what_somebody_said_is_told_to_leads_while_they_agree(site: Site) -> None:
    project = site.project(overlap=2)
    site.add(project, rows(2))
    ann, _ = site.people("ann", "bob")
    bob = Member("bob", "Bob")
    item = site.answered(ann, project)
    site.answer(ann, item, good=1)
    site.annotation.flag(bob, site.take(bob, project), new_id(), 1, "odd")
    told = [told_result(one) for one in site.leading.results(HOST, project)[1]]
    assert [(one["annotator"], one["version"], one["newest"]) for one in told] == [
        ("annotator 1", 1, False),
        ("annotator 1", 2, True),
        ("Bob", 1, True),
    ]
    figures = progress(site.leading.standing(HOST, project))
    assert figures["answers"] == {"answered": 1, "skipped": 0, "flagged": 1}
    assert [one["name"] for one in figures["per_annotator"]] == ["annotator 1", "Bob"]
    assert figures["flags"] == [{"number": 2, "name": "Bob", "note": "odd"}]
    site.feedback.decide("ann", False)
    assert [one.annotator.owner for one in site.leading.results(HOST, project)[1]] == ["bob"]
    assert [member.owner for _, member in site.leading.standing(HOST, project).members] == ["bob"]


def test_an_annotator_leads_nothing(site: Site) -> None:
    ann = Member("ann")
    project = site.project()
    for attempt in (
        lambda: site.leading.create(ann, {"name": "x", "form": FORM}),
        lambda: site.leading.change(ann, project, {"open": False}),
        lambda: site.leading.add_kept(ann, project, {}, 1),
        lambda: site.leading.standing(ann, project),
        lambda: site.leading.results(ann, project),
        lambda: site.leading.remove(ann, project),
    ):
        with pytest.raises(RoleError):
            attempt()


def test_an_annotator_is_told_nothing_that_helps_or_names(site: Site) -> None:
    project = site.project(overlap=2)
    reply = {"text": "A circle.", "model": "secret-model", "adapter": "secret-adapter"}
    site.add(project, rows(1, reply=reply, gold={"good": 5}))
    ann, bob = site.people("ann", "bob")
    site.answer(ann, site.take(ann, project), good=2, better="Ann's words")
    given, _ = site.annotation.next(bob, project)
    assert given is not None
    told = str(told_item(given))
    assert not any(word in told for word in ("secret", "gold", "'ann'", "Ann's"))


def test_kept_chats_become_items_and_take_them_along(
    site: Site, store: ConversationStore, record: ReplyRecord, red: Picture
) -> None:
    _, bob = site.people("ann", "bob")
    talk = begin_talk(store, "ann", record, red)
    begin_talk(store, "stranger", record, red)  # who was never asked
    project = site.project()
    assert site.leading.add_kept(HOST, project, {"model": "another"}, 10) == 0
    assert site.leading.add_kept(HOST, project, {"rated": True}, 10) == 0
    assert site.leading.add_kept(HOST, project, {"model": "scenes"}, 10) == 2
    assert site.leading.add_kept(HOST, project, {}, 10) == 0  # they are items already
    item = site.take(bob, project)
    given = site.annotation.open(bob, item)
    assert [reply.text for reply in given.content.replies] == ["reply 0"]
    assert site.annotation.pictures(bob, item) == (red.id,)
    site.answer(bob, item)

    site.feedback.decide("ann", False)  # shown no longer, and back with the next yes
    assert site.number(bob, project) is None
    with pytest.raises(NotFoundError):
        site.annotation.open(bob, item)
    assert list(site.leading.results(HOST, project)[1]) == []
    site.feedback.decide("ann", True)
    assert site.annotation.open(bob, item).item.annotation is not None

    store.keep("ann", talk.id, False)
    assert site.leading.standing(HOST, project).items == []
    assert site.feedback.mine("bob")["annotations"] == []


def test_versions_of_a_reply_are_ranked_together(
    site: Site, store: ConversationStore, record: ReplyRecord, red: Picture
) -> None:
    (bob,) = site.people("bob")
    site.feedback.decide("ann", True)
    begin_talk(store, "ann", record, red, versions=3)
    begin_talk(store, "ann", record, red, versions=1)
    form = [{"name": "order", "type": "best_of", "label": "Best first", "required": True}]
    project = site.project(form=form)
    assert site.leading.add_kept(HOST, project, {}, 10) == 1
    given, _ = site.annotation.next(bob, project)
    assert given is not None and len(given.content.replies) == 3


def test_old_drafts_go_and_answers_stay(site: Site, store: ConversationStore) -> None:
    project = site.project()
    site.add(project, rows(2))
    (ann,) = site.people("ann")
    site.clock.wait(-40 * 24 * 3600)
    site.answered(ann, project)
    site.annotation.draft(ann, site.take(ann, project), {"better": "x"}, 1)
    remove_old(store, 30)
    mine = site.feedback.mine("ann")
    assert (mine["drafts"], mine["leases"], len(mine["annotations"])) == ([], [], 1)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"name": " "}, "name: "),
        ({"name": "x" * 121}, "name: "),
        ({"guidelines": 1}, "guidelines: "),
        ({"overlap": 0}, "overlap: "),
        ({"overlap": 1.0}, "overlap: "),
        ({"lease_s": 9}, "lease_s: "),
        ({"gold_every": -1}, "gold_every: "),
        ({"completion_code": 5}, "completion_code: "),
        ({"form": []}, "form: "),
        ({"items": []}, "items: "),
    ],
)
def test_what_is_no_project_is_refused(site: Site, more: dict[str, object], told: str) -> None:
    with pytest.raises(FeedbackError) as error:
        site.project(**more)
    assert str(error.value).startswith(told)


def test_a_smaller_overlap_takes_nothing_away(site: Site) -> None:
    project = site.project(overlap=2)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    site.take(bob, project)
    site.leading.change(HOST, project, {"overlap": 1})
    site.answer(ann, item)
    site.answer(bob, item)  # who held it
    site.clock.wait(61)
    (cat,) = site.people("cat")
    assert site.number(cat, project) is None
