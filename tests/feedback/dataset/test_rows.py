"""Every table in which people's words are kept goes to the dataset and comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from llava_chat.errors import FeedbackError
from llava_chat.feedback.dataset.lines import State
from llava_chat.image import Picture
from llava_chat.store import (
    ConversationStore,
    ReplyRecord,
    checked_row,
    in_order,
    journaled_rows,
    take_rows,
)
from llava_chat.store.annotation_schema import (
    AnnotationRow,
    DraftRow,
    ItemPictureRow,
    ItemRow,
    LeaseRow,
    MemberRow,
    ProjectRow,
)
from llava_chat.store.journaled import TABLES
from llava_chat.store.schema import Base, ComparisonRow, ComparisonVoteRow, ConsentRow
from tests.feedback.conftest import begin_talk
from tests.feedback.dataset.conftest import Begin
from tests.feedback.dataset.test_dataset import say_everything

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NOW = datetime(2026, 11, 28, 12, 30, 1, 250_000, tzinfo=UTC)


def fill(store: ConversationStore, record: ReplyRecord, red: Picture, blue: Picture) -> None:
    """A row or more in every table, all of them Ann's, who agreed."""
    keep = {"owner": "ann", "keep": True, "decided_at": NOW, "wording": "1"}
    with store.database.write() as session:
        session.execute(insert(ConsentRow), keep)
    say_everything(store, begin_talk(store, "ann", record, red))
    left, right = begin_talk(store, "ann", record, red), begin_talk(store, "ann", record, red)
    source = begin_talk(store, "ann", record).reply.id
    store.keep_picture(blue)
    rows: tuple[tuple[type[Base], dict[str, Any]], ...] = (
        (
            ComparisonRow,
            {"id": "c", "owner": "ann", "left_id": left.id, "right_id": right.id}
            | {"left_name": "scenes", "right_name": "scenes, mine", "created_at": NOW},
        ),
        (
            ComparisonVoteRow,
            {"id": "v", "comparison_id": "c", "turn": 1, "choice": "tie", "blind": True}
            | {"reasons": ["style"], "comment": "", "lead_time_s": None, "created_at": NOW},
        ),
        (
            MemberRow,
            {"owner": "ann", "name": "Ann", "role": "lead", "study": None, "created_at": NOW},
        ),
        (
            ProjectRow,
            {"id": "p", "name": "Shapes", "guidelines": "", "form": [], "overlap": 2}
            | {"lease_s": 60.0, "gold_every": 0, "open": True, "completion_code": None}
            | {"created_by": "ann", "created_at": NOW},
        ),
        (
            ItemRow,
            {"id": "i", "project_id": "p", "position": 0, "content": {"turns": []}}
            | {"gold": {"shape": "square"}, "source_id": source},
        ),
        (ItemPictureRow, {"item_id": "i", "position": 0, "picture_id": blue.id}),
        (
            DraftRow,
            {"item_id": "i", "annotator": "ann", "values": {"n": 1}, "lead_time_s": 2.5}
            | {"updated_at": NOW},
        ),
        (
            AnnotationRow,
            {"id": "a", "item_id": "i", "annotator": "ann", "position": 0, "note": "ü"}
            | {"outcome": "answered", "values": {"n": [1, 2.5]}, "lead_time_s": 3.0}
            | {"created_at": NOW},
        ),
    )
    with store.database.write() as session:
        for table, values in rows:
            session.execute(insert(table), values)


def everything(store: ConversationStore) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table; when a picture came to this disk is its own matter."""
    with store.database.read() as session:
        found = {
            name: [dict(row) for row in session.execute(select(table)).mappings()]
            for name, table in TABLES.items()
        }
    for picture in found["pictures"]:
        del picture["created_at"]
    return {
        name: sorted(rows, key=lambda row: [str(row[key.name]) for key in TABLES[name].primary_key])
        for name, rows in found.items()
    }


def test_only_leases_stay_behind() -> None:
    assert Base.metadata.tables.keys() - TABLES.keys() == {LeaseRow.__tablename__}


def test_every_table_comes_back(
    space: Begin, record: ReplyRecord, red: Picture, blue: Picture
) -> None:
    first = space()
    fill(first.store, record, red, blue)
    before = everything(first.store)
    assert all(before.values())
    first.end()
    assert everything(space().store) == before


def test_rows_pass_from_one_database_to_another(
    store: ConversationStore,
    backend: str,
    record: ReplyRecord,
    red: Picture,
    blue: Picture,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    fill(store, record, red, blue)
    url = f"sqlite:///{tmp_path}/other.db"
    if backend == "postgresql":
        url = request.getfixturevalue("postgresql_server").new_database()
    other = ConversationStore.open(url, tmp_path)
    rows = [
        (row.table, checked_row(row.table, row.values))
        for row in journaled_rows(store, lambda table, key: False)
        if row.values is not None
    ]
    refused: list[Any] = []
    orphans = [row for row in rows if row[0] not in ("projects", "pictures")]
    take_rows(other, in_order(orphans), lambda *row: refused.append(row[0]))
    assert set(refused) == {"items", "item_pictures", "drafts", "annotations", "message_pictures"}
    assert take_rows(other, in_order(rows), lambda *row: pytest.fail(str(row))) == len(refused) + 3
    assert take_rows(other, in_order(rows), lambda *row: pytest.fail(str(row))) == 0
    assert everything(other) == everything(store)
    other.close()


def test_of_somebody_who_says_no_only_what_is_a_project_s_stays(
    space: Begin, record: ReplyRecord, red: Picture, blue: Picture
) -> None:
    first = space()
    fill(first.store, record, red, blue)
    first.push()
    first.feedback.decide("ann", False)
    first.end()
    left = {name for name, rows in everything(space().store).items() if rows}
    assert left == {"projects"}  # its item was made of a chat of hers


def test_a_file_that_was_written_twice_says_what_it_said_last() -> None:
    state, told = State(), list[str]()
    row = b'{"owner": "ann", "keep": true, "decided_at": "2026-01-01T00:00:00Z", "wording": "1"}'
    line = b'{"at": %d, "table": "consents", "key": "ann", "row": %s}\n'
    state.take("a", [line % (7, b"null"), line % (5, row)], told.append)
    state.take("b", [line % (7, row), line % (6, row)], told.append)
    assert state.rows["consents", "ann"].values is None
    state.take("c", [line % (8, row)], told.append)
    assert state.rows["consents", "ann"].values is not None
    assert told == []


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\n",
        b"[]\n",
        b'{"at": NaN}\n',
        b'{"at": 1, "at": 2}\n',
        b'{"at": -1, "table": "consents", "key": "ann", "row": null}\n',
        b'{"at": 1, "table": "nothing", "key": "ann", "row": {}}\n',
        b'{"at": 1, "table": "consents", "key": "ann", "row": {"owner": "ann"}}\n',
        b'{"at": 1, "table": "consents", "key": "bob", "row": {"owner": "ann", "keep": true, '
        b'"decided_at": "2026-01-01T00:00:00Z", "wording": "1"}}\n',
        b'{"at": 1, "table": "consents", "key": "ann", "row": {"owner": "ann", "keep": true, '
        b'"decided_at": "2026-01-01T00:00:00", "wording": "1"}}\n',
        b'{"at": 1, "table": "consents", "key": "ann", "row": null}',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_line_is_named(line: bytes) -> None:
    state, told = State(), list[str]()
    state.take("journal/x.jsonl", [b'{"schema": 1}\n', line], told.append)
    assert (state.rows, state.skipped) == ({}, 1)
    (sentence,) = told
    assert sentence.startswith("journal/x.jsonl, line 2")


def test_a_file_of_a_newer_version_is_left_alone() -> None:
    state, told = State(), list[str]()
    lines = [b'{"schema": 2}\n', b'{"at": 1, "table": "consents", "key": "ann", "row": null}\n']
    state.take("journal/x.jsonl", lines, told.append)
    assert (state.rows, state.usable, state.broken) == ({}, set(), {"journal/x.jsonl": lines})
    assert told == ["journal/x.jsonl, line 1: a newer llava_chat wrote the file: update this."]


def test_a_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="consents, owner: it is longer than 128"):
        checked_row("consents", {"owner": "a" * 129})
    with pytest.raises(FeedbackError, match="there is no field 'address'"):
        checked_row("consents", {"address": "127.0.0.1"})
    store = ConversationStore.open(f"sqlite:///{tmp_path}/chat.db", tmp_path)
    assert list(journaled_rows(store, lambda table, key: False)) == []
    store.close()
