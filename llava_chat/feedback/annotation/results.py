"""One annotation as a JSON object, for those who lead. Imports the store's values."""

from __future__ import annotations

from typing import Any

from llava_chat.feedback.annotation.progress import name_of
from llava_chat.store import Result


def told_result(result: Result) -> dict[str, Any]:
    """The item as it was shown, what was said of it, and who said it, by name."""
    return {
        **of_item(result),
        "annotator": name_of(result.annotator, result.joined),
        "study": result.annotator.study,
        **of_annotation(result),
    }


def of_item(result: Result) -> dict[str, Any]:
    """What a result tells of its item."""
    item = result.item
    return {
        "item": item.id,
        "number": item.position + 1,
        "turns": item.content["turns"],
        "replies": item.content["replies"],
        "pictures": list(item.picture_ids),
        "gold": item.gold,
        "source": item.source_id,
    }


def of_annotation(result: Result) -> dict[str, Any]:
    """What a result tells of what was said. newest: the person said nothing of the item since."""
    said = result.annotation
    return {
        "id": said.id,
        "version": said.version,
        "newest": result.newest,
        "outcome": said.outcome,
        "values": said.values,
        "note": said.note,
        "lead_time_s": said.lead_time_s,
        "at": said.created_at.isoformat(),
    }
