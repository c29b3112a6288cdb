"""The components of the Compare tab, and where they stand. No events: `handlers` wires them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava_chat.web.chat.layout import HAND_ON, composer, hint
from llava_chat.web.compare import rounds
from llava_chat.web.compare.contestants import ANY, Choice, Offer
from llava_chat.web.elements import icon_button

# The same in the browser, while somebody moves a slider.
_TELL_SETTINGS = """(temperature, top_p, penalty, system) => {
  const further = Number(penalty) === 1 ? "" : `, repetition penalty ${Number(penalty)}`;
  const own = system ? ", a system message of its own" : "";
  return `<p>temperature ${Number(temperature)}, top p ${Number(top_p)}${further}${own}</p>`;
}"""
ORDINALS = ("First", "Second")


@dataclass(frozen=True)
class ContestantParts:
    """Who answers on one side, and how."""

    who: gr.Dropdown
    how: gr.HTML
    temperature: gr.Slider
    top_p: gr.Slider
    repetition_penalty: gr.Slider
    system: gr.Textbox

    @property
    def fields(self) -> list[Any]:
        """All that hold a value, in the order of a Choice."""
        return [self.who, self.temperature, self.top_p, self.repetition_penalty, self.system]


@dataclass(frozen=True)
class CompareParts:
    """The components that handlers read and write."""

    setup: gr.Column
    contestants: tuple[ContestantParts, ContestantParts]
    thread: gr.HTML
    left: gr.HTML
    right: gr.HTML
    notice: gr.HTML
    composer: gr.MultimodalTextbox
    anew: gr.HTML

    @property
    def fields(self) -> list[Any]:
        """What the setup says."""
        return [field for one in self.contestants for field in one.fields]

    @property
    def shown(self) -> list[Any]:
        """What handlers change."""
        return [
            self.setup, self.thread, self.left, self.right, self.notice, self.composer, self.anew,
            *self.fields, *(one.how for one in self.contestants),
        ]  # fmt: skip


def build(
    offered: Sequence[Offer], first_two: tuple[Choice, Choice], max_message_chars: int
) -> CompareParts:
    """Lay the tab out within the surrounding gr.Blocks."""
    with gr.Column(elem_id="compare", min_width=0):
        with gr.Column(elem_id="compare-scroller", min_width=0):
            thread = gr.HTML(
                rounds.welcome(),
                js_on_load=HAND_ON,
                elem_id="compare-thread",
                apply_default_css=False,
            )
            with gr.Column(elem_id="compare-setup", min_width=0) as setup, gr.Row():
                first, second = (
                    _contestant(ORDINALS[place], offered, choice)
                    for place, choice in enumerate(first_two)
                )
            with gr.Row(elem_id="compare-live"):
                left = gr.HTML("", elem_id="compare-left", apply_default_css=False)
                right = gr.HTML("", elem_id="compare-right", apply_default_css=False)
        with gr.Column(elem_id="compare-dock", min_width=0):
            notice = gr.HTML("", elem_id="compare-notice", apply_default_css=False)
            written = composer(
                max_message_chars,
                elem_id="compare-composer",
                placeholder="Ask both about a picture…",
                label="Message to both",
                autofocus=False,
            )
            with gr.Row(elem_id="compare-footer"):
                anew = gr.HTML(
                    "", js_on_load=HAND_ON, elem_id="compare-anew", apply_default_css=False
                )
                gr.HTML(hint(), elem_id="compare-hint", apply_default_css=False)
    return CompareParts(setup, (first, second), thread, left, right, notice, written, anew)


def choices_of(offered: Sequence[Offer]) -> list[tuple[str, str]]:
    """What the list of a contestant has: more than one can be drawn from."""
    found = [(offer.label, offer.label) for offer in offered]
    return [*found, ("Any, drawn by lot", ANY)] if len(found) > 1 else found


def told_settings(choice: Choice) -> str:
    """How a contestant answers, below its name, while its settings are folded away."""
    own = ", a system message of its own" if choice.system else ""
    penalty = (
        f", repetition penalty {choice.repetition_penalty:g}"
        if choice.repetition_penalty != 1
        else ""
    )
    return f"<p>temperature {choice.temperature:g}, top p {choice.top_p:g}{penalty}{own}</p>"


def comparison_buttons() -> str:
    """What begins another comparison, and what deletes this one."""
    return (
        '<div class="comparison-buttons">'
        '<button type="button" class="button" data-click="act" data-action="new">'
        f"New comparison</button>{icon_button('trash', 'Delete this comparison', 'discard')}</div>"
    )


def _contestant(name: str, offered: Sequence[Offer], choice: Choice) -> ContestantParts:
    with gr.Column(elem_classes="contestant", min_width=0):
        who = gr.Dropdown(
            label=f"{name} contestant",
            choices=choices_of(offered),
            value=choice.label,
            filterable=False,
        )
        how = gr.HTML(told_settings(choice), elem_classes="contestant-how", apply_default_css=False)
        with gr.Accordion("Settings", open=False, elem_classes="contestant-settings"):
            temperature = gr.Slider(
                0, 2, choice.temperature, step=0.05, label="Temperature",
                info="0 always takes the likeliest word; more is more varied.",
            )  # fmt: skip
            top_p = gr.Slider(0, 1, choice.top_p, step=0.01, label="Top p")
            penalty = gr.Slider(
                1, 2, choice.repetition_penalty, step=0.05, label="Repetition penalty"
            )
            system = gr.Textbox(
                label="System message", value=choice.system or "", lines=2, max_lines=6,
                info="Empty: the template's own.",
            )  # fmt: skip
    parts = ContestantParts(who, how, temperature, top_p, penalty, system)
    changes = [temperature.change, top_p.change, penalty.change, system.change]
    gr.on(changes, None, parts.fields[1:], how, js=_TELL_SETTINGS, api_visibility="private")
    return parts
