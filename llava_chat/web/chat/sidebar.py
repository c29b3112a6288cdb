"""The list of this browser's conversations as HTML. Pure functions of stored values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from html import escape
from itertools import groupby

from llava_chat.store.stored import ConversationSummary
from llava_chat.web.elements import icon_button
from llava_chat.web.icons import icon

_AGES = ((0, "Today"), (1, "Yesterday"), (7, "Last 7 days"), (30, "Last 30 days"))


def conversations(
    listed: Sequence[ConversationSummary], current_id: str | None, search: str = ""
) -> str:
    """The conversations under headings by age, newest first; the open one is marked."""
    if not listed:
        words = f"Nothing found for “{search}”." if search else "Your conversations will be here."
        return f'<nav class="conversations" aria-label="Conversations"><p>{escape(words)}</p></nav>'
    today = datetime.now(UTC).date()
    groups = "".join(
        f"<h2>{heading}</h2><ul>{''.join(_item(one, current_id) for one in group)}</ul>"
        for heading, group in groupby(listed, lambda one: age(one.updated_at.date(), today))
    )
    return f'<nav class="conversations" aria-label="Conversations">{groups}</nav>'


def age(day: date, today: date) -> str:
    """The heading a conversation stands under.

    >>> age(date(2026, 8, 1), date(2026, 8, 2)), age(date(2026, 1, 1), date(2026, 8, 2))
    ('Yesterday', 'Older')
    """
    days = (today - day) // timedelta(days=1)
    return next((name for limit, name in _AGES if days <= limit), "Older")


def _item(summary: ConversationSummary, current_id: str | None) -> str:
    here = ' aria-current="page"' if summary.id == current_id else ""
    title = escape(summary.title)
    mark = (
        "" if summary.kept else f'<span class="unkept" title="Not kept">{icon("hourglass")}</span>'
    )
    return (
        f'<li data-conversation="{summary.id}" data-title="{title}"><div class="row">'
        f'<button type="button" class="open" data-click="act" data-action="open" '
        f'data-conversation="{summary.id}"{here} title="{title}">{mark}{title}</button>'
        + icon_button("edit", f"Rename {summary.title}", "rename")
        + icon_button("trash", f"Delete {summary.title}", "delete")
        + "</div></li>"
    )
