"""Small pieces of markup that every tab's views share. Everything that came from outside is escaped
here or by `web.markdown`, and nowhere else."""

from __future__ import annotations

from html import escape

from llava_chat.web.icons import icon


def attributes(values: dict[str, str | None]) -> str:
    """HTML attributes; those that are None are left out.

    >>> attributes({"data-id": 'a"b', "title": None})
    ' data-id="a&quot;b"'
    """
    return "".join(
        f' {name}="{escape(value)}"' for name, value in values.items() if value is not None
    )


def icon_button(
    picture: str,
    label: str,
    click: str,
    *,
    disabled: bool = False,
    hidden: bool = False,
    pressed: bool | None = None,
    expanded: bool | None = None,
    **data: str | None,
) -> str:
    """A button of one icon, named for screen readers and on hover.

    click: what controls.js does with it. pressed, expanded: of a button that stays so, None of any
    other. data: the data-* attributes that go with the click.
    """
    shown = attributes(
        {
            "title": label,
            "aria-label": label,
            "data-click": click,
            "disabled": "" if disabled else None,
            "hidden": "" if hidden else None,
            "aria-pressed": None if pressed is None else str(pressed).lower(),
            "aria-expanded": None if expanded is None else str(expanded).lower(),
            **{f"data-{name}": value for name, value in data.items()},
        }
    )
    return f'<button type="button" class="icon-button"{shown}>{icon(picture)}</button>'


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "message"), plural(2048, "token"), plural(0, "reply", "replies")
    ('1 message', '2,048 tokens', '0 replies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def notice(text: str, kind: str = "info") -> str:
    """One sentence above the composer, to be read out, with a button that puts it away.

    kind: "info" or "error".
    """
    if not text:
        return ""
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="notice {kind}" role="{role}">{icon("note")}<p>{escape(text)}</p>'
        f"{icon_button('close', 'Put this notice away', 'dismiss')}</div>"
    )
