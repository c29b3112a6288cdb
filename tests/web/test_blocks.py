"""What the browser is told of a step that names few of many outputs."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState

from llava_chat.web.blocks import SparseBlocks
from tests.web.conftest import run

UNCHANGED = gr.skip()


class Page:
    """Three components that one event writes."""

    def __init__(self, kind: type[gr.Blocks]) -> None:
        with kind() as self.blocks:
            self.words, self.number = gr.HTML("words"), gr.Slider(0, 9, 3)
            self.box, self.other = gr.MultimodalTextbox(), gr.HTML("other")
            button = gr.Button()
            outputs = [self.words, self.number, self.box]
            button.click(lambda: None, None, outputs)
        self.state = SessionState(self.blocks)

    @property
    def event(self) -> BlockFunction:
        event: BlockFunction
        (event,) = self.blocks.fns.values()
        return event

    def told(self, step: Any) -> list[Any]:
        return run(self.blocks.postprocess_data(self.event, step, self.state))


def test_what_a_step_names_is_told_as_gradio_tells_it() -> None:
    plain, sparse = Page(gr.Blocks), Page(SparseBlocks)
    told = []
    for page in (plain, sparse):
        emptied = gr.MultimodalTextbox(value=None, submit_btn=False, stop_btn=True)
        told.append(page.told({page.box: emptied, page.words: "<p>1</p>"}))
    assert told[0][0] == told[1][0] == "<p>1</p>"
    assert told[0][2] == told[1][2]
    assert told[1][2]["value"] == {"text": "", "files": []}
    assert sparse.state[sparse.box._id].stop_btn is True


def test_what_a_step_leaves_alone_is_not_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    page, made = Page(SparseBlocks), list[gr.Slider]()
    init = gr.Slider.__init__

    def noted(self: gr.Slider, *arguments: Any, **options: Any) -> None:
        made.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(gr.Slider, "__init__", noted)
    assert page.told({page.words: "<p>1</p>"}) == ["<p>1</p>", UNCHANGED, UNCHANGED]
    assert made == []
    assert page.told({page.number: gr.Slider(value=5)})[1]["value"] == 5
    assert made != []


def test_a_step_that_names_nothing_changes_nothing() -> None:
    page = Page(SparseBlocks)
    assert page.told({}) == [UNCHANGED] * 3


def test_a_list_of_values_goes_the_usual_way() -> None:
    page = Page(SparseBlocks)
    words, number, _ = page.told(["<p>2</p>", 4, None])
    assert (words, number) == ("<p>2</p>", 4)


def test_a_component_that_is_no_output_is_refused() -> None:
    page = Page(SparseBlocks)
    with pytest.raises(ValueError, match="not specified as output"):
        page.told({page.other: "<p>3</p>"})


def test_the_event_keeps_its_outputs() -> None:
    page = Page(SparseBlocks)
    page.told({page.words: "<p>4</p>"})
    assert page.event.outputs == [page.words, page.number, page.box]
