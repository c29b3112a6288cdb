"""The components of the Chat tab, and where they stand. No events: `handlers` wires them.

The list, the thread, the state and the notices are gr.HTML whose values this project renders, so
that a reply in the making sends its own words only, never the conversation again, and no picture
is read or hashed for it. What is clicked in them comes back as one event, `act`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava_chat.web.chat import judging, panel, sidebar, status, thread
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.panel import SettingsParts
from llava_chat.web.elements import icon_button
from llava_chat.web.icons import icon

PICTURE_FILES = [".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif"]
WATCH_S = 0.5  # between two questions how far a model is
HAND_ON = "element.addEventListener('llava-act', event => trigger('act', event.detail));"


@dataclass(frozen=True)
class ChatParts:
    """The components that handlers read and write."""

    model: gr.HTML
    watch: gr.Timer
    sidebar: gr.HTML
    conversations: gr.HTML
    thread: gr.HTML
    live: gr.HTML
    notice: gr.HTML
    composer: gr.MultimodalTextbox
    unkept: gr.Checkbox
    meter: gr.HTML
    allowances: gr.HTML
    export: gr.HTML
    settings: SettingsParts

    @property
    def shown(self) -> list[Any]:
        """What handlers change, but for the settings."""
        return [
            self.model, self.watch, self.settings.own_template, self.conversations, self.thread,
            self.live, self.notice, self.composer, self.unkept, self.meter, self.allowances,
            self.export,
        ]  # fmt: skip


def build(
    defaults: Options,
    templates: Sequence[str],
    examples: Sequence[Example],
    max_message_chars: int,
) -> ChatParts:
    """Lay the tab out within the surrounding gr.Blocks."""
    gr.HTML(judging.words(), elem_id="words", apply_default_css=False)
    with gr.Row(elem_id="topbar"):
        gr.HTML(_brand(), elem_id="brand", apply_default_css=False)
        model = gr.HTML("", js_on_load=HAND_ON, elem_id="model", apply_default_css=False)
        # Only while a model is being opened: a page that shows what is there asks nothing.
        watch = gr.Timer(WATCH_S, active=False)
        export = gr.HTML("", elem_id="export", apply_default_css=False)
        gr.HTML(_controls(), elem_id="controls", apply_default_css=False)
    with gr.Row(elem_id="shell"):
        gr.HTML('<div id="scrim"></div>', apply_default_css=False, elem_id="scrim-holder")
        with gr.Column(elem_id="sidebar", scale=0, min_width=0):
            side = gr.HTML(_sidebar_top(), js_on_load=HAND_ON, padding=False)
            conversations = gr.HTML(
                sidebar.conversations((), None),
                js_on_load=HAND_ON,
                elem_id="conversations",
                apply_default_css=False,
            )
        with gr.Column(elem_id="main", min_width=0):
            with gr.Column(elem_id="scroller", min_width=0):
                shown = gr.HTML(
                    thread.welcome(examples),
                    js_on_load=HAND_ON,
                    elem_id="thread",
                    apply_default_css=False,
                )
                live = gr.HTML("", elem_id="live", apply_default_css=False)
            with gr.Column(elem_id="dock", min_width=0):
                gr.HTML(_latest(), apply_default_css=False, elem_id="latest")
                notice = gr.HTML("", elem_id="notice", apply_default_css=False)
                written = composer(max_message_chars)
                with gr.Row(elem_id="footer"):
                    unkept = gr.Checkbox(**unkept_switch(None))
                    meter = gr.HTML(status.meter(None), elem_id="meter", apply_default_css=False)
                    allowances = gr.HTML("", elem_id="allowances", apply_default_css=False)
                    gr.HTML(_unkept_hint(), elem_id="unkept-hint", apply_default_css=False)
                    gr.HTML(hint(), elem_id="hint", apply_default_css=False)
        settings = panel.build(defaults, templates)
    return ChatParts(
        model, watch, side, conversations, shown, live, notice, written, unkept, meter,
        allowances, export, settings,
    )  # fmt: skip


def export_links(conversation_id: str) -> str:
    """The menu that saves the open conversation."""
    address = f"conversations/{conversation_id}/export"
    return (
        f'<details class="menu"><summary class="icon-button" aria-label="Export this conversation" '
        f'title="Export this conversation">{icon("download")}</summary><div class="items">'
        f'<a href="{address}.md" download>Markdown</a>'
        f'<a href="{address}.json" download>JSON</a></div></details>'
    )


def unkept_switch(kept: bool | None) -> dict[str, Any]:
    """How the switch stands: to be chosen before a chat begins, for None; then as it was begun."""
    return {
        "label": "Do not keep this chat" if kept is None else "Not kept",
        "value": kept is False,
        "interactive": kept is None,
        "visible": kept is not True,
        "elem_id": "unkept",
        "container": False,
        "min_width": 0,
    }


def _brand() -> str:
    toggle = icon_button("sidebar", "Conversations", "toggle", toggle="sidebar")
    return f'<div class="brand">{toggle}<span class="mark">{icon("mark")}</span></div>'


def _controls() -> str:
    return (
        '<div class="controls">'
        + icon_button("theme", "Switch between dark and light", "theme")
        + icon_button("sliders", "Settings", "toggle", toggle="panel")
        + "</div>"
    )


def _sidebar_top() -> str:
    return (
        '<div class="sidebar-top"><button type="button" class="button new" data-click="act" '
        f'data-action="new" title="New chat (Ctrl+Shift+O)">{icon("plus")}<span>New chat</span>'
        f'</button><label class="search">{icon("search")}<input id="search" type="search" '
        'placeholder="Search" aria-label="Search your conversations" autocomplete="off"></label>'
        "</div>"
    )


def composer(
    max_message_chars: int,
    *,
    elem_id: str = "composer",
    placeholder: str = "Ask about a picture…",
    label: str = "Message",
    autofocus: bool = True,
) -> gr.MultimodalTextbox:
    """Where messages are written, in a chat and in a comparison."""
    return gr.MultimodalTextbox(
        elem_id=elem_id,
        elem_classes="composer",
        placeholder=placeholder,
        file_types=PICTURE_FILES,
        file_count="multiple",
        sources=["upload"],
        lines=1,
        max_lines=8,
        show_label=False,
        label=label,
        container=False,
        # Gradio turns longer text into a file; here it is refused with a sentence instead.
        max_plain_text_length=max(1_000_000, max_message_chars),
        autofocus=autofocus,
        submit_btn=True,
        stop_btn=False,
    )


def _latest() -> str:
    return icon_button("down", "Go to the newest message", "latest")


def _unkept_hint() -> str:
    return '<p class="unkept-hint">It is removed when you leave this page, and cannot be rated.</p>'


def hint() -> str:
    """The keys of a composer."""
    return (
        '<p class="hint"><kbd>Enter</kbd> sends · <kbd>Shift</kbd> <kbd>Enter</kbd> new line · '
        "<kbd>Esc</kbd> stops</p>"
    )
