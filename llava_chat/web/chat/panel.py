"""The folded settings panel: its fields, and their way to and from `Options`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from llava_chat.engine.base import GenerationSettings, ModelInfo
from llava_chat.engine.generation import MAX_NEW_TOKENS_LIMIT
from llava_chat.web.chat.options import Options
from llava_chat.web.elements import icon_button
from llava_chat.web.icons import icon


@dataclass(frozen=True)
class SettingsParts:
    """The panel's components."""

    adapter: gr.Dropdown
    system: gr.Textbox
    template: gr.Dropdown
    own_template: gr.HTML
    temperature: gr.Slider
    top_p: gr.Slider
    top_k: gr.Number
    repetition_penalty: gr.Slider
    max_new_tokens: gr.Slider
    seed: gr.Number
    reset: gr.Button

    @property
    def fields(self) -> list[Any]:
        """All that hold a value."""
        return [
            self.adapter, self.system, self.template, self.temperature, self.top_p, self.top_k,
            self.repetition_penalty, self.max_new_tokens, self.seed,
        ]  # fmt: skip

    def options(self, values: Mapping[Any, Any], deadline_s: float) -> Options:
        """What the fields say. Raises SettingError naming the field that is out of its range."""
        generation = GenerationSettings(
            temperature=values[self.temperature],
            top_p=values[self.top_p],
            top_k=values[self.top_k] or 0,
            repetition_penalty=values[self.repetition_penalty],
            max_new_tokens=values[self.max_new_tokens],
            seed=values[self.seed],
            deadline_s=deadline_s,
            adapter=values[self.adapter] or None,
        )
        return Options(values[self.system] or None, values[self.template] or None, generation)

    def offer(self, adapters: Sequence[str]) -> dict[Any, Any]:
        """Updates that let the panel offer these adapters; a choice that was made stays."""
        offered = _choice_of(adapters)
        if not adapters:
            del offered["visible"]
        return {self.adapter: gr.Dropdown(**offered)}

    def show(self, options: Options, adapters: Sequence[str]) -> dict[Any, Any]:
        """Updates that make the panel show `options`, and offer these adapters."""
        generation = options.generation
        chosen = generation.adapter
        offered = _choice_of([*adapters, *([chosen] if chosen else [])])
        return {
            self.adapter: gr.Dropdown(value=chosen or "", **offered),
            self.system: options.system or "",
            self.template: options.template or "",
            self.temperature: generation.temperature,
            self.top_p: generation.top_p,
            self.top_k: generation.top_k,
            self.repetition_penalty: generation.repetition_penalty,
            self.max_new_tokens: generation.max_new_tokens,
            self.seed: generation.seed,
        }


def build(defaults: Options, templates: Sequence[str]) -> SettingsParts:
    """Lay the panel out within the surrounding gr.Blocks. Without templates none can be chosen."""
    generation = defaults.generation
    with gr.Column(elem_id="panel", scale=0, min_width=0):
        gr.HTML(
            '<div class="panel-top"><h2>Settings</h2>'
            f"{icon_button('close', 'Close the settings', 'toggle', toggle='panel')}</div>",
            apply_default_css=False,
        )
        adapter = gr.Dropdown(
            label="Adapter",
            info="What a model learned beside its own weights, such as people's corrections.",
            value=generation.adapter or "",
            elem_id="adapter",
            # Which there are may change at any time, and what is gone is told in a sentence.
            allow_custom_value=True,
            **_choice_of(()),
        )
        system = gr.Textbox(
            label="System message",
            info="What the model is told before the chat. Empty: the template's own.",
            value=defaults.system or "",
            lines=3,
            max_lines=8,
        )
        template = gr.Dropdown(
            label="Conversation template",
            info="How the chat is written down for the model.",
            choices=[("The model's own", ""), *((n, n) for n in templates)],
            value=defaults.template or "",
            visible=bool(templates),
            allow_custom_value=not templates,  # an older chat may name one all the same
        )
        own_template = gr.HTML("", elem_id="own-template", apply_default_css=False)
        sampling = _sampling(generation)
        seed = gr.Number(
            label="Seed", value=generation.seed, precision=0,
            info="Makes a varied reply repeatable. Empty: a new one each time.",
        )  # fmt: skip
        reset = gr.Button("Back to the defaults", elem_id="reset")
        gr.HTML(_own_data(), elem_id="own-data", apply_default_css=False)
    return SettingsParts(adapter, system, template, own_template, *sampling, seed, reset)


def _choice_of(adapters: Sequence[str]) -> dict[str, Any]:
    """Nobody sees a choice of none."""
    names = dict.fromkeys(adapters)
    return {
        "choices": [("None: the model as it is", ""), *((name, name) for name in names)],
        "visible": bool(names),
    }


def own_template(model: ModelInfo | None) -> str:
    """Which template the model names, "" while there is no model, or where its server writes."""
    if model is None or not model.local:
        return ""
    return f"<p>The model's own is <code>{escape(model.template)}</code>.</p>"


def _own_data() -> str:
    return (
        '<button type="button" class="button" data-click="mine" aria-haspopup="dialog">'
        f"{icon('speech')}<span>Your feedback and data</span></button>"
    )


def _sampling(
    generation: GenerationSettings,
) -> tuple[gr.Slider, gr.Slider, gr.Number, gr.Slider, gr.Slider]:
    temperature = gr.Slider(
        0, 2, generation.temperature, step=0.05, label="Temperature",
        info="0 always takes the likeliest word; more is more varied.",
    )  # fmt: skip
    # Every value that a start option allows lies within the sliders, and the numbers have no limit
    # here: Gradio would refuse every event, and what GenerationSettings refuses is named.
    top_p = gr.Slider(
        0, 1, generation.top_p, step=0.01, label="Top p",
        info="Words are drawn from the likeliest that add up to this.",
    )  # fmt: skip
    top_k = gr.Number(
        label="Top k", value=generation.top_k, precision=0,
        info="At most so many of them. 0 is all.",
    )  # fmt: skip
    penalty = gr.Slider(
        1, 2, generation.repetition_penalty, step=0.05, label="Repetition penalty",
        info="Keeps the model from repeating itself. 1 is off.",
    )  # fmt: skip
    longest = gr.Slider(
        1, MAX_NEW_TOKENS_LIMIT, generation.max_new_tokens, step=1, label="Longest reply",
        info="In tokens; a token is about three quarters of a word.",
    )  # fmt: skip
    return temperature, top_p, top_k, penalty, longest
