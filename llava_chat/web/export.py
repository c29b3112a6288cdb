"""A conversation as a file to keep: Markdown for people, JSON for programs.

The JSON is what `python -m llava_chat prompt` reads, with more beside it.
Imports store, errors, web.markdown and web.session.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from llava_chat.errors import NotFoundError, StoreError
from llava_chat.store import ConversationStore, Message, StoredConversation
from llava_chat.web.markdown import literal, safe_markdown
from llava_chat.web.session import Owners, SessionError

FILE_NAME_CHARACTERS = 60
FORMATS = {"md": "text/markdown", "json": "application/json"}
_SPEAKERS = {"user": "You", "assistant": "Assistant"}


def to_markdown(stored: StoredConversation) -> str:
    """The conversation's active path as a Markdown document that loads nothing by itself.

    What the person wrote stands as typed. A picture stands as its hash, the name under which
    the store keeps it.
    """
    lines = [f"# {literal(stored.title or 'Conversation')}", ""]
    lines += [f"{stored.created_at:%Y-%m-%d %H:%M} UTC", ""]
    if stored.system:
        lines += ["**System message**", "", literal(stored.system), ""]
    for message in stored.path:
        lines += [f"## {_SPEAKERS[message.role]}", ""]
        lines += [f"- picture `{_picture_name(id)}`" for id in message.picture_ids]
        lines += [""] if message.picture_ids else []
        text = literal(message.text) if message.role == "user" else safe_markdown(message.text)
        lines += [text, ""]
        if message.record is not None:
            answered = ", ".join(filter(None, (message.record.model_id, message.record.adapter)))
            lines += [f"*{literal(answered)}*", ""]
    return "\n".join(lines)


def to_json(stored: StoredConversation) -> str:
    """The conversation as JSON: `system`, `turns` of `role`, `text`, `images`; the rest in `about`.

    images: file names, the SHA-256 of each picture's pixels. The system message is left out when
    it is the template's own.
    """
    document: dict[str, Any] = {} if stored.system is None else {"system": stored.system}
    document["turns"] = [_turn(message) for message in stored.path]
    document["about"] = {
        "id": stored.id,
        "title": stored.title,
        "created_at": stored.created_at.isoformat(),
        "updated_at": stored.updated_at.isoformat(),
        "template": stored.template,
        "settings": dict(stored.settings),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def file_name(stored: StoredConversation, suffix: str) -> str:
    """A name for the file: the day and the title, in letters that every system takes.

    >>> _slug("../../Was ist \\0 auf/dem Bild?  ")
    'was-ist-auf-dem-bild'
    >>> _slug("\N{FACE WITH TEARS OF JOY}")
    'conversation'
    """
    return f"{stored.created_at:%Y-%m-%d}-{_slug(stored.title)}{suffix}"


def export_routes(people: Owners, store: ConversationStore) -> list[Route]:
    """`/conversations/ID/export.md` and `.json`: a download, for the conversation's owner alone."""

    async def export(request: Request) -> Response:
        conversation_id, kind = request.path_params["conversation_id"], request.path_params["kind"]
        try:
            owner = people.owner_of(request)
            stored = await run_in_threadpool(store.load, owner, conversation_id)
        except (NotFoundError, SessionError) as error:
            return PlainTextResponse(str(error), status_code=404)
        except StoreError as error:
            return PlainTextResponse(str(error), status_code=503)
        if kind not in FORMATS:
            return PlainTextResponse("A conversation is exported as md or json.", status_code=404)
        # A long one takes seconds, in which the loop has to serve everybody.
        text = await run_in_threadpool(to_json if kind == "json" else to_markdown, stored)
        headers = {
            "content-disposition": f'attachment; filename="{file_name(stored, "." + kind)}"',
            "cache-control": "no-store",
        }
        return Response(text, media_type=FORMATS[kind], headers=headers)

    return [Route("/conversations/{conversation_id}/export.{kind}", export)]


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain))
    return words[:FILE_NAME_CHARACTERS].strip("-") or "conversation"


def _picture_name(picture_id: str) -> str:
    return f"{picture_id}.png"


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "text": message.text}
    if message.picture_ids:
        turn["images"] = [_picture_name(picture_id) for picture_id in message.picture_ids]
    if message.role == "assistant":
        record = None if message.record is None else asdict(message.record)
        turn["about"] = {"finish": message.finish, "record": record}
    return turn
