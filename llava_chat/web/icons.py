"""The page's icons: one hidden SVG sprite, and the markup that shows a piece of it.

Drawn for this project on a 24 x 24 grid with a 1.75 stroke, in the colour of the text around
them. Imports nothing.
"""

from __future__ import annotations

_PATHS = {
    "mark": '<circle cx="12" cy="12" r="9"/><path d="M12 3a9 9 0 0 1 7.8 4.5H9.4M19.8 7.5a9 9 0 0 1'
    " 0 9L14.6 7.5M19.8 16.5A9 9 0 0 1 12 21l5.2-9M12 21a9 9 0 0 1-7.8-4.5h10.4M4.2 16.5a9 9 0 0"
    ' 1 0-9l5.2 9M4.2 7.5A9 9 0 0 1 12 3L6.8 12"/>',
    "plus": '<path d="M12 5v14M5 12h14"/>',
    "sidebar": '<rect x="3.5" y="4.5" width="17" height="15" rx="3"/><path d="M9.5 4.5v15"/>',
    "sliders": '<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/>'
    '<circle cx="9" cy="17" r="2"/>',
    "theme": '<circle cx="12" cy="12" r="8.5"/><path d="M12 3.5v17a8.5 8.5 0 0 0 0-17z" '
    'fill="currentColor"/>',
    "download": '<path d="M12 4v11M7.5 10.5 12 15l4.5-4.5M5 19.5h14"/>',
    "copy": '<rect x="8.5" y="8.5" width="11" height="11" rx="2.5"/>'
    '<path d="M15.5 5.5A1.5 1.5 0 0 0 14 4H6.5A2.5 2.5 0 0 0 4 6.5V14a1.5 1.5 0 0 0 1.5 1.5"/>',
    "edit": '<path d="m14.5 5.5 4 4L8 20H4v-4zM12.5 7.5l4 4"/>',
    "again": '<path d="M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4v5h-5"/>',
    "undo": '<path d="M9 14 4.5 9.5 9 5M4.5 9.5H14a5.5 5.5 0 0 1 0 11h-3"/>',
    "trash": '<path d="M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 12.5h9l1-12.5M10.5 11v5M13.5 11v5"/>',
    "rank": '<path d="M4 7h12M4 12h8M4 17h4M18.5 11v8M15.5 16l3 3 3-3"/>',
    "left": '<path d="m14.5 6-6 6 6 6"/>',
    "right": '<path d="m9.5 6 6 6-6 6"/>',
    "down": '<path d="M12 5v14M6 13l6 6 6-6"/>',
    "chevron": '<path d="m6.5 9.5 5.5 5.5 5.5-5.5"/>',
    "close": '<path d="M6 6l12 12M18 6 6 18"/>',
    "search": '<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4 4"/>',
    "good": '<path d="M7.5 11v9H4v-9zM7.5 11l3.8-7.4a2 2 0 0 1 2.3 2.4L13 9.5h5.2a2 2 0 0 1 2 2.4'
    'l-1.3 6.5a2 2 0 0 1-2 1.6H7.5"/>',
    "bad": '<path d="M7.5 13V4H4v9zM7.5 13l3.8 7.4a2 2 0 0 0 2.3-2.4L13 14.5h5.2a2 2 0 0 0 2-2.4'
    'l-1.3-6.5a2 2 0 0 0-2-1.6H7.5"/>',
    "speech": '<path d="M6 5h12a2.5 2.5 0 0 1 2.5 2.5v6A2.5 2.5 0 0 1 18 16h-5.5L8 20v-4H6a2.5 2.5'
    ' 0 0 1-2.5-2.5v-6A2.5 2.5 0 0 1 6 5zM8 9h8M8 12h5"/>',
    "hourglass": '<path d="M7 4h10M7 20h10M8.5 4v3.5L12 12l-3.5 4.5V20M15.5 4v3.5L12 12l3.5 4.5V20'
    '"/>',
    "note": '<circle cx="12" cy="12" r="8.5"/><path d="M12 11v5M12 8v.01"/>',
}


def sprite() -> str:
    """All icons as symbols, to stand once in the page."""
    symbols = "".join(
        f'<symbol id="icon-{name}" viewBox="0 0 24 24">{path}</symbol>'
        for name, path in _PATHS.items()
    )
    return f'<svg class="sprite" aria-hidden="true" width="0" height="0">{symbols}</svg>'


def icon(name: str) -> str:
    """One icon, hidden from screen readers: the control around it carries the name.

    >>> icon("copy")
    '<svg class="icon" aria-hidden="true"><use href="#icon-copy"></use></svg>'
    """
    if name not in _PATHS:
        raise KeyError(name)
    return f'<svg class="icon" aria-hidden="true"><use href="#icon-{name}"></use></svg>'
