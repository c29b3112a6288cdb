"""The page: its tabs, and what they share. A tab is one package with a function that adds it.

Imports the tabs; `launch` imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import gradio as gr

from llava_chat import ASSETS
from llava_chat.assembly import OfferedModel, generation_settings, picture_limits
from llava_chat.conversation import TEMPLATES
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.web.allowances import Allowances
from llava_chat.web.annotate import tab as annotate
from llava_chat.web.api import ChatApi
from llava_chat.web.blocks import SparseBlocks
from llava_chat.web.chat import layout
from llava_chat.web.chat.examples import load_examples
from llava_chat.web.chat.handlers import ChatHandlers
from llava_chat.web.chat.models import Models
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import Replies
from llava_chat.web.chat.showing import Showing
from llava_chat.web.chat.turns import Limits, Turns
from llava_chat.web.compare.tab import add_compare
from llava_chat.web.icons import sprite
from llava_chat.web.people import People
from llava_chat.web.results import tab as results_tab
from llava_chat.web.results.desk import ResultsDesk
from llava_chat.web.thumbnails import Thumbnails
from llava_chat.web.uploads import UNSENT_AGE_S

# In the order in which their rules count.
STYLE_SHEETS = [
    ASSETS / "css" / f"{name}.css"
    for name in (
        *("tokens", "page", "sidebar", "thread", "feedback", "composer", "panel", "compare"),
        "results",
    )
]
FAVICON = ASSETS / "icons" / "favicon.svg"
# Every system has these; a page that loads no fonts also tells nobody that it was read.
TEXT_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
CODE_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build(
    engine: SwitchingEngine,
    store: ConversationStore,
    replies: Replies,
    thumbnails: Thumbnails,
    settings: Settings,
    offered: Sequence[OfferedModel],
    people: People,
    allowances: Allowances,
    results: ResultsDesk,
    beside: Mapping[str, SwitchingEngine] = MappingProxyType({}),
) -> gr.Blocks:
    """The page as gr.Blocks, ready to launch. beside: engines for comparisons, by model."""
    page = SparseBlocks(
        title="llava_chat",
        fill_width=True,
        fill_height=True,
        analytics_enabled=False,
        # With this Gradio also deletes what waits when the server ends; until then we sweep.
        delete_cache=(UNSENT_AGE_S, UNSENT_AGE_S),
    )
    with page:
        gr.HTML(sprite(), elem_id="sprite", apply_default_css=False)
        gr.HTML('<div class="account" hidden></div>', elem_id="account", apply_default_css=False)
        if settings.sign_in == "hugging-face":
            gr.LoginButton(elem_id="sign-in", size="sm")
        limits = Limits(
            picture_limits(settings),
            settings.max_pictures,
            settings.max_message_chars,
            settings.deadline_s,
        )
        turns = Turns(engine, store, replies, limits, thumbnails, allowances)
        # The template of the settings is the own one of the model that was opened with it, and no
        # choice for the others.
        defaults = Options(settings.system, None, generation_settings(settings))
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat", elem_id="chat-tab", render_children=True):
                _add_chat(page, turns, Models(engine, offered), settings, defaults, people)
            add_compare(page, turns, engine, beside, defaults, people)
            annotate.add()
            results_tab.add(results)
    return page


def theme() -> gr.themes.Base:
    """Gradio's plain theme without web fonts; the style sheets do the rest."""
    plain = gr.themes.Base(font=TEXT_FONTS, font_mono=CODE_FONTS)
    # Known before the style sheets are, so that a dark page does not begin with a light flash.
    return plain.set(
        body_background_fill="#faf9f6",
        body_background_fill_dark="#141816",
        body_text_color="#1d2320",
        body_text_color_dark="#e9ece9",
    )


def _add_chat(
    page: gr.Blocks,
    turns: Turns,
    models: Models,
    settings: Settings,
    defaults: Options,
    people: People,
) -> None:
    examples = load_examples()
    # A server writes the prompt by its own template.
    templates = tuple(TEMPLATES) if settings.engine == "local" else ()
    parts = layout.build(defaults, templates, examples, settings.max_message_chars)
    showing = Showing(parts, turns, models, defaults, examples)
    ChatHandlers(parts, turns, showing, examples, people).connect(page)
    ChatApi(turns, defaults, people).register()
