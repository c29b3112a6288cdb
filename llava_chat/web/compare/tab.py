"""Adds the Compare tab to the page's tabs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import gradio as gr

from llava_chat.engine.switching import SwitchingEngine
from llava_chat.feedback import Comparisons
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.turns import Turns
from llava_chat.web.compare import layout
from llava_chat.web.compare.contestants import Contestants
from llava_chat.web.compare.handlers import CompareHandlers
from llava_chat.web.compare.pairs import Pairs
from llava_chat.web.people import People


def add_compare(
    page: gr.Blocks,
    turns: Turns,
    engine: SwitchingEngine,
    beside: Mapping[str, SwitchingEngine],
    defaults: Options,
    people: People,
) -> None:
    """The tab, within the surrounding gr.Tabs. turns: the chat's. beside: engines by model."""
    pairs = pairs_of(turns, engine, beside, defaults)
    with gr.Tab("Compare", id="compare", elem_id="compare-tab", render_children=True):
        offered, first_two = pairs.contestants.offered(), pairs.contestants.first_two()
        parts = layout.build(offered, first_two, turns.limits.max_message_chars)
        handlers = CompareHandlers(parts, pairs, people)
        handlers.connect(page)


def pairs_of(
    turns: Turns,
    engine: SwitchingEngine,
    beside: Mapping[str, SwitchingEngine],
    defaults: Options,
) -> Pairs:
    """The comparisons of a server whose chats have these turns."""
    sides = turns.store.sides()

    @cache
    def turns_of(one: SwitchingEngine) -> Turns:
        limits, replies, thumbnails = turns.limits, turns.replies, turns.thumbnails
        return Turns(one, sides, replies, limits, thumbnails, turns.allowances)

    contestants = Contestants(engine, beside, defaults)
    return Pairs(contestants, turns_of, Comparisons.of(turns.store), defaults)
