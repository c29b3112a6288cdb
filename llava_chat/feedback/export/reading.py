"""`jsonl` back into a database: checked file by file and row by row, then taken in.

An import may be repeated: what is here already is passed over. People keep the hashes that they
have in the export, so that the next export names them alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from llava_chat.conversation import Role
from llava_chat.errors import FeedbackError
from llava_chat.feedback.export.folder import MANIFEST, SCHEMA_VERSION, file_name
from llava_chat.feedback.export.pictures import picture_name
from llava_chat.feedback.fields import JsonObject, loads
from llava_chat.feedback.rows import IMPORTED_OWNER
from llava_chat.feedback.words import Correction, Explanation, Ranking, Rating, Vote
from llava_chat.image import PictureLimits, read_picture
from llava_chat.store import (
    Comparison,
    ConversationStore,
    JudgedComparison,
    JudgedConversation,
    KeptCorrection,
    KeptRanking,
    KeptRating,
    KeptVote,
    Message,
    Opinion,
    ReplyRecord,
    take_in,
    take_in_comparison,
)

# Pictures that this project wrote itself: a photograph as PNG is larger than it was as JPEG.
LIMITS = PictureLimits.scaled(max_bytes=2**28, max_pixels=89_478_485, max_side_px=65_535)
_PICTURE = re.compile(r"pictures/([0-9a-f]{64})\.png")


def import_feedback(store: ConversationStore, folder: Path) -> dict[str, int]:
    """Take an export of the format `jsonl` in; returns how many rows there were and how many new.

    Raises FeedbackError naming file, row and field at the first thing that is wrong, and StoreError
    when the database fails. Rows before that stay; repeated, the import goes on after them.
    """
    rows = _checked_file(folder)
    kept: set[str] = set()
    counts = {"rows": 0, "new": 0}
    for row in _rows(rows):
        sides = (row.left, row.right) if isinstance(row, JudgedComparison) else (row,)
        for picture_id in (id for one in sides for m in one.messages for id in m.picture_ids):
            if picture_id not in kept:
                _keep_picture(store, folder, picture_id)
                kept.add(picture_id)
        counts["rows"] += 1
        counts["new"] += (
            take_in_comparison(store, row)
            if isinstance(row, JudgedComparison)
            else take_in(store, row)
        )
    return counts


def _checked_file(folder: Path) -> Path:
    """The file of the rows, once the manifest says that it is one and that it is whole."""
    manifest = _manifest(folder / MANIFEST)
    if manifest.get("format") != "jsonl":
        raise FeedbackError(
            f"{folder / MANIFEST}, format: only an export with --format jsonl can be imported."
        )
    if manifest.get("schema") != SCHEMA_VERSION:
        raise FeedbackError(
            f"{folder / MANIFEST}, schema: it is {manifest.get('schema')!r}, and this llava_chat "
            f"reads {SCHEMA_VERSION}: update llava_chat."
        )
    name = file_name("jsonl")
    listed = manifest.get("files")
    told = listed.get(name) if isinstance(listed, dict) else None
    path = folder / name
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FeedbackError(f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(told, dict) or told.get("sha256") != digest:
        raise FeedbackError(f"{path} is not what the manifest says: it was cut off or changed.")
    return path


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeedbackError(
            f"{path} cannot be read ({error.strerror}): name the folder of an export."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FeedbackError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(manifest, dict):
        raise FeedbackError(f"{path} is no manifest.")
    return manifest


def _rows(path: Path) -> Iterator[JudgedConversation | JudgedComparison]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file):
            where = f"{path}, row {number}"
            try:
                row = JsonObject(loads(line), where)
                compared = row.inner("comparison")
                yield _conversation(row) if compared is None else _comparison(row, compared)
            except (ValueError, RecursionError) as error:
                raise FeedbackError(f"{where}: it is not valid JSON: {error}.") from error
            except FeedbackError as error:
                told = str(error)
                raise FeedbackError(
                    told if told.startswith(where) else f"{where}, {told}"
                ) from error


def _conversation(row: JsonObject) -> JudgedConversation:
    about = row.inner("conversation")
    path = [(told, _message(told, row)) for told in row.inners("path")]
    ranked = [(told, _message(told, row)) for told in row.inners("ranked")]
    messages = {message.id: message for _, message in (*path, *ranked)}
    if about is None:
        raise FeedbackError(f"{row.where}, conversation: it is missing.")
    _check_path(row, path)
    asked, reply = path[-2][1], path[-1][1]
    for told, message in ranked:
        if (message.parent_id, message.role) != (asked.id, "assistant"):
            raise FeedbackError(f"{told.where}: it must be a reply to the same message.")
    opinions = {reply.id: Opinion(rating=_rating(row), correction=_correction(row))}
    ranking = _ranking(row)
    if ranking is not None:
        if ranking.reply_ids != tuple(message.id for _, message in ranked):
            raise FeedbackError(f"{row.where}, ranking: its replies must be those of `ranked`.")
        opinions[asked.id] = Opinion(ranking=ranking)
    return JudgedConversation(
        id=about.hex("id"),
        owner=IMPORTED_OWNER + row.hex("owner"),
        created_at=about.time("created_at"),
        messages=tuple(messages.values()),
        positions={told.hex("id"): told.number("position", 2**31) for told, _ in (*path, *ranked)},
        opinions=opinions,
    )


def _check_path(where: JsonObject, path: list[tuple[JsonObject, Message]]) -> None:
    if len(path) < 2 or len(path) % 2:
        raise FeedbackError(f"{where.where}, path: it must go from a question to a reply.")
    chain: list[str | None] = [None, *(message.id for _, message in path)]
    for (told, message), parent_id, role in zip(
        path, chain, ["user", "assistant"] * len(path), strict=False
    ):
        if (message.parent_id, message.role) != (parent_id, role):
            raise FeedbackError(f"{told.where}: it must be what the {role} said next.")


def _comparison(row: JsonObject, about: JsonObject) -> JudgedComparison:
    owner = IMPORTED_OWNER + row.hex("owner")
    left, right = _side(row, "left", owner), _side(row, "right", owner)
    vote = _vote(row)
    if {len(left[0].messages), len(right[0].messages)} != {2 * vote.turn}:
        raise FeedbackError(f"{row.where}, vote, turn: it must be the last of both sides.")
    names = (left[1], right[1])
    comparison = Comparison(
        about.hex("id"), left[0].id, right[0].id, *names, about.time("created_at"), (vote,)
    )
    return JudgedComparison(owner, comparison, left[0], right[0])


def _side(row: JsonObject, name: str, owner: str) -> tuple[JudgedConversation, str]:
    """The conversation of a side, and what answered in it."""
    side = row.inner(name)
    about = None if side is None else side.inner("conversation")
    if side is None or about is None:
        raise FeedbackError(f"{row.where}, {name}: it is missing, or has no conversation.")
    path = [(told, _message(told, row)) for told in side.inners("path")]
    _check_path(side, path)
    conversation = JudgedConversation(
        id=about.hex("id"),
        owner=owner,
        created_at=about.time("created_at"),
        messages=tuple(message for _, message in path),
        positions={told.hex("id"): told.number("position", 2**31) for told, _ in path},
    )
    return conversation, side.text("name")


def _message(told: JsonObject, row: JsonObject) -> Message:
    role = told.take("role", str)
    if role not in ("user", "assistant"):
        raise FeedbackError(f"{told.where}, role: it must be user or assistant.")
    record, token_ids, finish = None, None, None
    pictures: tuple[str, ...] = ()
    if role == "user":
        pictures = _picture_ids(told)
    else:
        token_ids, finish = told.take("token_ids", list, type(None)), told.take("finish", str)
        record = _record(told.inner("record"))
    parent = told.take("parent_id", str, type(None))
    return Message(
        id=told.hex("id"),
        conversation_id="",
        parent_id=None if parent is None else told.hex("parent_id"),
        role=cast(Role, role),
        text=told.text("text"),
        created_at=told.time("created_at"),
        picture_ids=pictures,
        token_ids=None if token_ids is None else tuple(int(token) for token in token_ids),
        finish=finish,
        record=record,
    )


def _picture_ids(told: JsonObject) -> tuple[str, ...]:
    ids = []
    for name in told.take("pictures", list):
        found = _PICTURE.fullmatch(name) if isinstance(name, str) else None
        if found is None:
            raise FeedbackError(f"{told.where}, pictures: {name!r} is no picture of an export.")
        ids.append(found[1])
    return tuple(ids)


def _record(told: JsonObject | None) -> ReplyRecord | None:
    if told is None:
        return None
    pictures = told.take("picture_ids", list)
    if not all(isinstance(id, str) for id in pictures):
        raise FeedbackError(f"{told.where}, picture_ids: it must be a list of hashes.")
    first_token_s = told.take("first_token_s", float, int, type(None))
    seed = told.take("seed", int, type(None))
    return ReplyRecord(
        **{name: told.text(name) for name in ("model_id", "revision", "template", "app_version")},
        **{name: told.text(name, empty=True) for name in ("system", "adapter")},
        **{name: told.number(name, 2**31) for name in ("prompt_tokens", "generated_tokens")},
        settings=told.take("settings", dict),
        first_token_s=first_token_s,
        total_s=told.take("total_s", float, int),
        seed=None if seed is None else told.number("seed", 2**63),
        picture_ids=tuple(pictures),
        padded_boxes=told.take("padded_boxes", bool, type(None)),
    )


def _rating(row: JsonObject) -> KeptRating | None:
    told = row.inner("rating")
    if told is None:
        return None
    reasons = told.take("reasons", list)
    said = Rating(
        told.take("id", str), told.take("liked", bool), reasons, told.take("comment", str)
    )
    return KeptRating(
        **vars(said), created_at=told.time("created_at"), updated_at=told.time("updated_at")
    )


def _correction(row: JsonObject) -> KeptCorrection | None:
    told = row.inner("correction")
    if told is None:
        return None
    said = Correction(told.take("id", str), told.take("text", str))
    return KeptCorrection(**vars(said), created_at=told.time("created_at"))


def _ranking(row: JsonObject) -> KeptRanking | None:
    told = row.inner("ranking")
    if told is None:
        return None
    said = Ranking(told.take("id", str), told.take("reply_ids", list))
    return KeptRanking(**vars(said), created_at=told.time("created_at"))


def _vote(row: JsonObject) -> KeptVote:
    told = row.inner("vote")
    if told is None:
        raise FeedbackError(f"{row.where}, vote: it is missing.")
    turn, lead_time_s = told.take("turn", int), told.take("lead_time_s", float, int, type(None))
    said = Vote(told.take("id", str), turn, told.take("choice", str), lead_time_s)
    why = Explanation(said.id, told.take("reasons", list), told.take("comment", str))
    at, blind = told.time("created_at"), told.take("blind", bool)
    return KeptVote(**(vars(said) | vars(why)), blind=blind, created_at=at)


def _keep_picture(store: ConversationStore, folder: Path, picture_id: str) -> None:
    picture = read_picture(folder / picture_name(picture_id), LIMITS)
    if picture.id != picture_id:
        raise FeedbackError(
            f"{folder / picture_name(picture_id)} shows other pixels than its name says."
        )
    store.keep_picture(picture)
