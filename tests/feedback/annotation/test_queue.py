"""Who is given which item: overlap, leases that run out, skips, flags, gold, drafts."""

from __future__ import annotations

from uuid import uuid4

import pytest

from llava_chat.errors import ConflictError, ConsentError, NotFoundError
from llava_chat.store import Member
from tests.feedback.annotation.conftest import Site, rows


def test_no_more_people_are_given_an_item_than_its_overlap(site: Site) -> None:
    project = site.project(overlap=2)
    site.add(project, rows(2))
    people = site.people("ann", "bob", "cat", "dan", "eve")
    numbers = [site.number(person, project) for person in people]
    assert numbers == [1, 1, 2, 2, None]
    assert site.number(people[0], project) == 1  # the same again, and not another lease
    given, share = site.annotation.next(people[4], project)
    assert given is None
    assert (share.mine, share.left, share.later) == (0, 0, True)


def test_the_item_that_the_fewest_have_judged_comes_first(site: Site) -> None:
    project = site.project(overlap=3)
    site.add(project, rows(3))
    ann, bob = site.people("ann", "bob")
    first = site.answered(ann, project)
    assert site.number(bob, project) == 2
    assert site.answered(bob, project) != first
    assert [site.number(ann, project), site.number(bob, project)] == [3, 3]


def test_nobody_is_given_what_they_judged(site: Site) -> None:
    project = site.project(overlap=9)
    site.add(project, rows(2))
    (ann,) = site.people("ann")
    assert site.answered(ann, project) != site.answered(ann, project)
    given, share = site.annotation.next(ann, project)
    assert (given, share.mine, share.left, share.later) == (None, 2, 0, False)


def test_a_lease_that_ran_out_is_somebody_elses_and_its_answer_may_come_late(site: Site) -> None:
    project = site.project(overlap=1, lease_s=60)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    assert site.number(bob, project) is None
    site.clock.wait(61)
    site.answer(ann, item)  # nobody took it meanwhile
    assert site.number(bob, project) is None


def test_whoever_comes_after_others_took_the_last_place_is_told_so(site: Site) -> None:
    project = site.project(overlap=1, lease_s=60)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    site.annotation.draft(ann, item, {"better": "A red"}, 3)
    site.clock.wait(61)
    assert site.take(bob, project) == item
    with pytest.raises(ConflictError, match="others have taken it"):
        site.answer(ann, item)
    assert site.annotation.draft(ann, item, {"better": "A red circle"}, 4) is None
    draft = site.annotation.open(ann, item).item.draft
    assert draft is not None and draft.values == {"better": "A red circle"}
    site.answer(bob, item)
    with pytest.raises(ConflictError):
        site.answer(ann, item)
    site.annotation.skip(ann, item, uuid4().hex, 1)  # which takes nobody's place


def test_a_draft_renews_the_lease_and_comes_back(site: Site) -> None:
    project = site.project(overlap=1, lease_s=60)
    site.add(project, rows(2))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    for _ in range(3):
        site.clock.wait(50)
        assert site.annotation.draft(ann, item, {"better": "Red"}, 1) == 60
    assert site.number(bob, project) == 2
    site.annotation.release(ann, item)
    given, _ = site.annotation.next(ann, project)
    assert given is not None and given.item.draft is not None
    assert (given.item.item.id, given.item.draft.values) == (item, {"better": "Red"})
    site.answer(ann, item)
    assert site.annotation.open(ann, item).item.draft is None


def test_what_is_released_is_somebody_elses_at_once(site: Site) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    site.annotation.release(ann, item)
    assert site.take(bob, project) == item


def test_a_skip_leaves_the_item_to_others_and_a_flag_counts(site: Site) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(1))
    ann, bob, cat = site.people("ann", "bob", "cat")
    item = site.take(ann, project)
    site.annotation.skip(ann, item, uuid4().hex, 1, "too dark")
    _, share = site.annotation.next(ann, project)
    assert (share.mine, share.left, share.later) == (0, 0, False)  # never to them again
    assert site.take(bob, project) == item
    site.annotation.flag(bob, item, uuid4().hex, 1, "no picture")
    given, share = site.annotation.next(cat, project)
    assert (given, share.later) == (None, False)
    _, share = site.annotation.next(bob, project)
    assert share.mine == 1
    said = site.annotation.mine(bob, project)
    assert [(number, one.outcome, one.note) for _, number, one in said] == [
        (1, "flagged", "no picture")
    ]


def test_the_same_answer_twice_is_one_and_a_new_one_is_the_newest(site: Site) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item, id = site.take(ann, project), uuid4().hex
    for _ in range(2):
        site.annotation.submit(ann, item, id, {"good": 4}, 2)
    with pytest.raises(ConflictError, match="make a new id"):
        site.annotation.submit(ann, item, id, {"good": 5}, 2)
    site.answer(ann, item, good=1)
    newest = site.annotation.open(ann, item).item.annotation
    assert newest is not None
    assert (newest.values, newest.version) == ({"good": 1}, 2)
    assert site.number(bob, project) is None
    site.annotation.skip(ann, item, uuid4().hex, 0)  # they take back what they said
    assert site.take(bob, project) == item
    with pytest.raises(ConflictError):
        site.answer(ann, item)


def test_gold_comes_to_everybody_among_the_others(site: Site) -> None:
    project = site.project(overlap=1, gold_every=2)
    site.add(project, rows(12))
    site.add(project, rows(2, gold={"good": 5}))
    seen: dict[str, list[int]] = {"ann": [], "bob": []}
    for person in 4 * site.people(*seen):
        _, share = site.annotation.next(person, project)
        assert share.mine == len(seen[person.owner])
        number = site.number(person, project)
        assert number is not None
        seen[person.owner].append(number)
        site.answered(person, project)
    for numbers in seen.values():
        kinds = ["gold" if number > 12 else "other" for number in numbers]
        # After one or two others the first, and two blocks of two others have one each.
        assert kinds[0] == "other"
        assert kinds.count("gold") in (1, 2)
        assert "gold" in kinds[:3]
    others = [number for numbers in seen.values() for number in numbers if number <= 12]
    assert len(set(others)) == len(others)


def test_without_a_rhythm_gold_comes_as_it_stands(site: Site) -> None:
    project = site.project(overlap=1, gold_every=0)
    site.add(project, rows(1, gold={"good": 5}))
    ann, bob = site.people("ann", "bob")
    assert site.number(ann, project) == 1
    assert site.number(bob, project) is None


def test_a_closed_project_gives_nothing_out_and_takes_what_was_given(site: Site) -> None:
    project = site.project()
    site.add(project, rows(2))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    site.leading.change(Member("", "", "lead"), project, {"open": False})
    assert site.number(bob, project) is None
    assert site.take(ann, project) == item
    site.answer(ann, item)
    assert site.number(ann, project) is None
    listed = [len(site.annotation.projects(person)) for person in (ann, bob)]
    assert listed == [1, 0]


def test_nothing_is_given_or_kept_before_somebody_agreed(site: Site) -> None:
    project = site.project()
    site.add(project, rows(1))
    stranger, (ann,) = Member("stranger"), site.people("ann")
    with pytest.raises(ConsentError):
        site.annotation.next(stranger, project)
    item = site.take(ann, project)
    site.feedback.decide("ann", False)
    with pytest.raises(ConsentError):
        site.answer(ann, item)
    with pytest.raises(ConsentError):
        site.annotation.draft(ann, item, {}, 0)
    assert site.feedback.mine("ann")["annotations"] == []


def test_an_item_that_somebody_was_not_given_looks_like_none(site: Site) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(1))
    ann, bob = site.people("ann", "bob")
    item = site.take(ann, project)
    site.annotation.draft(ann, item, {"better": "mine"}, 0)
    for attempt in (
        lambda: site.answer(bob, item),
        lambda: site.annotation.draft(bob, item, {}, 0),
        lambda: site.annotation.skip(bob, item, uuid4().hex, 0),
        lambda: site.annotation.open(bob, item),
        lambda: site.annotation.release(bob, item),
        lambda: site.annotation.pictures(bob, item),
    ):
        with pytest.raises(NotFoundError):
            attempt()
