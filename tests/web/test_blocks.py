"""What the browser is told of a step that names few of many outputs."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr
import pytest
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from gradio.utils import diff

from llava_chat.web.blocks import SparseBlocks
from tests.web.conftest import run

UNCHANGED = gr.skip()
Visibility = Literal["public", "private"]


class Page:
    """Three components that one event writes."""

    def __init__(self, kind: type[gr.Blocks], visibility: Visibility = "private") -> None:
        with kind() as self.blocks:
            self.words, self.number = gr.HTML("words"), gr.Slider(0, 9, 3)
            self.box, self.other = gr.MultimodalTextbox(), gr.HTML("other")
            button = gr.Button()
            outputs = [self.words, self.number, self.box]
            button.click(lambda: None, None, outputs, api_visibility=visibility)
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


def test_an_update_is_replaced_and_never_changed_in_place() -> None:
    page = Page(SparseBlocks)

    def sent(step: Any) -> list[Any]:
        changes: list[Any] = page.blocks.handle_streaming_diffs(
            page.event, page.told(step), "page", "run", False
        )
        return changes

    told = sent({page.box: gr.MultimodalTextbox(submit_btn=False, stop_btn=True)})[2]
    ended = gr.MultimodalTextbox(submit_btn=True, stop_btn=False)
    again = {"submit_btn": True, "stop_btn": False, "__type__": "update"}
    assert told == {**again, "submit_btn": False, "stop_btn": True}
    assert sent({page.box: ended})[2] == [["replace", [], again]]
    assert sent({})[2] == [["replace", [], UNCHANGED]]
    assert sent({}) == [[]] * 3


@pytest.mark.parametrize(
    ("visibility", "last"),
    [("private", [UNCHANGED] * 3), ("public", ["<p>6</p>", UNCHANGED, UNCHANGED])],
)
def test_the_end_of_an_event_tells_its_last_step_to_callers_of_the_api_alone(
    visibility: Visibility, last: list[Any]
) -> None:
    page = Page(SparseBlocks, visibility)

    def sent(step: Any, *, final: bool = False) -> list[Any]:
        told = [None] * 3 if final else page.told(step)
        changes: list[Any] = page.blocks.handle_streaming_diffs(
            page.event, told, "page", "run", final
        )
        return changes

    assert sent({page.words: "<p>5</p>"}) == ["<p>5</p>", UNCHANGED, UNCHANGED]
    assert sent({page.words: "<p>6</p>"})[0] == diff("<p>5</p>", "<p>6</p>")
    assert sent(None, final=True) == last
    assert "run" not in page.blocks.pending_diff_streams["page"]
