"""`dpo` and `kto`: rows for TRL's trainers, in its conversational form with pictures.

The form is TRL's own (huggingface/trl, docs/source/dataset_formats.md, "Vision datasets"): messages
whose content is a list of parts, a part {"type": "image"} for each picture of `images`, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from llava_chat.feedback.comparisons import ComparisonRow
from llava_chat.feedback.export.pictures import LeftOut, picture_name
from llava_chat.feedback.rows import FeedbackRow
from llava_chat.store import Message
from llava_chat.templates import TEMPLATES

Turn = dict[str, Any]


def preferences(row: FeedbackRow) -> Iterator[dict[str, Any]]:
    """DPO (arXiv 2305.18290): the correction over the reply; of a ranking each over the next.

    Two that say the same give no row.
    """
    pairs = [] if row.correction is None else [(row.correction.text, row.reply.text)]
    pairs += [(better.text, worse.text) for better, worse in pairwise(row.ranked)]
    for chosen, rejected in pairs:
        if chosen.strip() != rejected.strip():
            yield {
                "prompt": prompt(row.path),
                "chosen": [_turn("assistant", chosen)],
                "rejected": [_turn("assistant", rejected)],
                "images": images(row),
            }


def preferred(row: ComparisonRow) -> dict[str, Any]:
    """DPO of a vote: the side that was better over the other, as replies to one prompt.

    The system message of a prompt is the better side's. Raises LeftOut where neither was better,
    where both said the same, and in a later turn before which the sides had said different things:
    the worse reply is none to the better side's conversation.
    """
    if row.vote.choice not in ("left", "right"):
        raise LeftOut("neither reply of a comparison was better")
    paths = (row.left, row.right) if row.vote.choice == "left" else (row.right, row.left)
    better, worse = ([message.text.strip() for message in path] for path in paths)
    if better[:-1] != worse[:-1]:
        raise LeftOut("the replies of a comparison before this one differ")
    if better == worse:
        raise LeftOut("both replies of a comparison say the same")
    return {
        "prompt": prompt(paths[0]),
        "chosen": [_turn("assistant", paths[0][-1].text)],
        "rejected": [_turn("assistant", paths[1][-1].text)],
        "images": images(row),
    }


def judgements(row: FeedbackRow) -> Iterator[dict[str, Any]]:
    """KTO (arXiv 2402.01306): the reply as it was rated, and a correction as a good one."""
    judged = [] if row.rating is None else [(row.reply.text, row.rating.liked)]
    judged += [] if row.correction is None else [(row.correction.text, True)]
    for text, label in judged:
        yield {
            "prompt": prompt(row.path),
            "completion": [_turn("assistant", text)],
            "label": label,
            "images": images(row),
        }


def prompt(path: Sequence[Message]) -> list[Turn]:
    """What stands before the last message of a conversation, a reply, in the order it was said.

    With a system message where it is not the template's.
    """
    system = _own_system(path[-1])
    turns = [] if system is None else [_turn("system", system)]
    return turns + [_turn(m.role, m.text, len(m.picture_ids)) for m in path[:-1]]


def images(row: FeedbackRow | ComparisonRow) -> list[str]:
    """The pictures of the prompt, in order, as paths in the export."""
    return [picture_name(picture_id) for picture_id in row.picture_ids]


def _own_system(reply: Message) -> str | None:
    record = reply.record
    if record is None or not record.system:
        return None
    template = TEMPLATES.get(record.template)
    return None if template is not None and record.system == template.system else record.system


def _turn(role: str, text: str, pictures: int = 0) -> Turn:
    """A message in parts.

    >>> _turn("user", "What is it?", 1)["content"]
    [{'type': 'image'}, {'type': 'text', 'text': 'What is it?'}]
    """
    parts: list[dict[str, str]] = [{"type": "image"} for _ in range(pictures)]
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}
