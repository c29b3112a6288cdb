"""Gradio's Blocks, in which a component that a handler leaves alone costs nothing.

Gradio makes each output that a step does not mention anew, from its constructor's arguments, to
say "no change": with the 19 outputs of the page's events 7.6 ms of the one loop that serves
everybody, at every frame of every reply (measured on Gradio 6.31). Here only what a step does
mention goes through Gradio; the browser is told of the rest what `gr.skip()` says.

And when a handler has ended Gradio tells its last step once more: the whole conversation again, and
what another event may have changed meanwhile, such as the button that stops its reply. Callers of
the API want that, the page does not.

Between two steps it tells what changed, and the browser changes an object of the step before even
while that waits to be shown: the button that came back at a reply's end was then lost. So an update
is told whole. Imports gradio.
"""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block
from gradio.state_holder import SessionState


class SparseBlocks(gr.Blocks):
    """gr.Blocks whose handlers' steps are dictionaries that name few of many outputs."""

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: Any, state: SessionState | None
    ) -> list[Any]:
        """What the browser is told of a step, an entry for each output of the event."""
        if not _is_sparse(block_fn, predictions):
            return await super().postprocess_data(block_fn, predictions, state)
        named = {component._id for component in predictions}
        told: dict[int, Any] = {}
        if named:
            few = copy.copy(block_fn)
            few.outputs = [output for output in block_fn.outputs if output._id in named]
            values = await super().postprocess_data(few, predictions, state)
            told = dict(zip((output._id for output in few.outputs), values, strict=True))
        return [told.get(output._id, gr.skip()) for output in block_fn.outputs]

    def handle_streaming_diffs(
        self,
        block_fn: BlockFunction,
        data: list[Any],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[Any]:
        """What changed since the step before; the end of an event of the page alone is no step."""
        whole = list(data)
        told: list[Any] = super().handle_streaming_diffs(
            block_fn, data, session_hash, run, final, simple_format
        )
        if final and block_fn.api_visibility == "private":
            return [gr.skip() for _ in told]
        return [_not_in_place(*each) for each in zip(whole, told, strict=True)]


def _not_in_place(value: Any, told: Any) -> Any:
    """What is told of this value, which the whole of it replaces where it would be changed."""
    if told and told is not value and isinstance(value, dict):
        return [["replace", [], value]]
    return told


def _is_sparse(block_fn: BlockFunction, predictions: Any) -> bool:
    """Whether every key is one of the outputs; the rest is Gradio's to judge."""
    if not isinstance(predictions, dict) or not all(isinstance(key, Block) for key in predictions):
        return False
    return {key._id for key in predictions} <= {output._id for output in block_fn.outputs}
