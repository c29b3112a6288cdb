"""What can be said of a reply, and what was said of it, as HTML; feedback.js does the rest.

Pure functions of stored values. Imports feedback's words, the store's values and the page's
elements.
"""

from __future__ import annotations

import json
from html import escape

from llava_chat.feedback import REASONS
from llava_chat.feedback.words import MAX_COMMENT_CHARS, MAX_CORRECTION_CHARS
from llava_chat.store import KeptRanking, Message, Opinion
from llava_chat.web.elements import icon_button


def words() -> str:
    """What the page's scripts have to know: the reasons in words, and how long a text may be."""
    known = {
        "reasons": list(REASONS.items()),
        "maxComment": MAX_COMMENT_CHARS,
        "maxCorrection": MAX_CORRECTION_CHARS,
    }
    return f'<div id="feedback-words" hidden data-words="{escape(json.dumps(known))}"></div>'


def thumbs(opinion: Opinion) -> str:
    """Two buttons that vote, and one that opens what else was said, once something was."""
    liked = None if opinion.rating is None else opinion.rating.liked
    said = opinion.rating is not None or opinion.correction is not None
    return (
        icon_button("good", "Good reply", "vote", pressed=liked is True, value="up")
        + icon_button("bad", "Bad reply", "vote", pressed=liked is False, value="down")
        + icon_button(
            "speech", "Your feedback on this reply", "feedback", expanded=False, hidden=not said
        )
    )


def correction(opinion: Opinion) -> str:
    """What this person would have the reply say, beside it; hidden while there is none."""
    kept = opinion.correction
    hidden = " hidden" if kept is None else ""
    text = "" if kept is None else escape(kept.text)
    return (
        f'<div class="correction" role="group" aria-label="Your correction"{hidden}>'
        '<p class="whose"><span aria-hidden="true">Your correction</span>'
        f"{icon_button('trash', 'Remove your correction', 'withdraw')}</p>"
        f'<div class="own">{text}</div></div>'
    )


def rank(message: Message, ranking: KeptRanking | None) -> str:
    """What ranks the versions of a reply, and where this one stands; "" where there is one only."""
    if message.versions < 2:
        return ""
    ids = () if ranking is None else ranking.reply_ids
    place = ids.index(message.id) + 1 if message.id in ids else 0
    told = f"ranked {place} of {len(ids)}" if place else ""
    return icon_button(
        "rank", "Rank the versions", "rank", expanded=False, asked=message.parent_id
    ) + (f'<span class="rank">{told}</span>')


def said(opinion: Opinion) -> str:
    """The same for feedback.js, as JSON to stand in an attribute.

    >>> said(Opinion())
    '{&quot;liked&quot;: null, &quot;reasons&quot;: [], &quot;comment&quot;: &quot;&quot;, \
&quot;correction&quot;: null}'
    """
    rating, corrected = opinion.rating, opinion.correction
    told = {
        "liked": None if rating is None else rating.liked,
        "reasons": [] if rating is None else list(rating.reasons),
        "comment": "" if rating is None else rating.comment,
        "correction": None if corrected is None else corrected.text,
    }
    return escape(json.dumps(told, ensure_ascii=False))
