"""Many at once on one project, in several programs: nothing is given twice, nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from llava_chat.store import Member
from llava_chat.store.annotation_schema import AnnotationRow, LeaseRow
from tests.feedback.annotation.conftest import Site, rows

PEOPLE = 8


def test_of_all_who_want_the_last_place_one_gets_it(
    site: Site, open_site: Callable[[], Site]
) -> None:
    project = site.project(overlap=1)
    site.add(project, rows(1))
    people = site.people(*(f"person {number}" for number in range(PEOPLE)))
    sites = [open_site() for _ in range(4)]
    together = threading.Barrier(PEOPLE)

    def take(number: int) -> bool:
        together.wait()
        return sites[number % 4].number(people[number], project) is not None

    with ThreadPoolExecutor(PEOPLE) as threads:
        taken = list(threads.map(take, range(PEOPLE)))
    assert sorted(taken) == [False] * (PEOPLE - 1) + [True]
    with site.store.database.read() as session:
        assert len(session.scalars(select(LeaseRow)).all()) == 1


def test_several_programs_judge_a_project_to_its_end(
    site: Site, open_site: Callable[[], Site]
) -> None:
    """Each lease is held by one person alone, and each item is judged by so many people."""
    overlap, items = 2, 10
    project = site.project(overlap=overlap)
    site.add(project, rows(items))
    people = site.people(*(f"person {number}" for number in range(PEOPLE)))
    sites = [open_site() for _ in range(4)]
    acknowledged: list[tuple[str, str, str]] = []

    def work(number: int) -> None:
        mine, person = sites[number % 4], people[number]
        while (given := mine.annotation.next(person, project)[0]) is not None:
            item = given.item.item.id
            mine.annotation.draft(person, item, {"better": person.owner}, 1)
            acknowledged.append((item, person.owner, mine.answer(person, item)))

    with ThreadPoolExecutor(PEOPLE) as threads:
        list(threads.map(work, range(PEOPLE)))
    with site.store.database.read() as session:
        kept = [
            (row.item_id, row.annotator, row.id) for row in session.scalars(select(AnnotationRow))
        ]
        assert session.scalars(select(LeaseRow)).all() == []
    assert sorted(kept) == sorted(acknowledged)
    assert len({(item, person) for item, person, _ in kept}) == len(kept)
    assert set(Counter(item for item, _, _ in kept).values()) == {overlap}
    assert len(kept) == overlap * items


def test_items_that_two_add_at_once_have_a_place_each(
    site: Site, open_site: Callable[[], Site]
) -> None:
    project = site.project()
    sites = [open_site() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        added = threads.map(lambda one: one.add(project, rows(5)), sites)
    assert sum(added) == 20
    standing = site.leading.standing(Member("", "", "host"), project)
    assert [position for _, position, _ in standing.items] == list(range(20))
