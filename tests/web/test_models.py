"""The header's model: what it says while one is opened, what may be chosen, and what may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from llava_chat.assembly import OfferedModel
from llava_chat.engine.base import Opening
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.states import NotOpened
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import CheckpointError, InputError
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.progress import Progress
from llava_chat.web.chat.models import Models

OFFERED = (
    OfferedModel("/models/of/a", "a", "1.2 GB in bfloat16"),
    OfferedModel("/models/of/<b>", "<b>", ""),
)


@pytest.fixture
def engine(random_checkpoint: Callable[..., Checkpoint]) -> Iterator[SwitchingEngine]:
    """An engine that opens whatever name it is given, under that label."""
    engine = SwitchingEngine(
        lambda name, report: LocalEngine(replace(random_checkpoint(), id=name)), "a"
    )
    engine.wait()
    yield engine
    engine.close(grace_s=0)


def test_the_list_marks_what_is_there_and_shows_no_folder(engine: SwitchingEngine) -> None:
    html = Models(engine, OFFERED).header(engine.state)
    menu = html[html.index("<ul") :]
    assert 'data-value="a" aria-current="true"' in menu
    assert "1.2 GB in bfloat16" in menu
    assert "<strong>&lt;b&gt;</strong>" in menu
    assert "/models" not in menu
    assert "everybody" in menu


@pytest.mark.parametrize("offered", [(), OFFERED[:1]])
def test_without_a_choice_there_is_a_name_only(
    engine: SwitchingEngine, offered: tuple[OfferedModel, ...]
) -> None:
    models = Models(engine, offered)
    assert "<details" not in models.header(engine.state)
    with pytest.raises(InputError, match="not offered"):
        models.switch("a")


def test_only_what_is_offered_is_opened(engine: SwitchingEngine) -> None:
    models = Models(engine, OFFERED)
    for label in ("", "scenes", "/models/of/<b>", "../a"):
        with pytest.raises(InputError, match="not offered"):
            models.switch(label)
    models.switch("<b>")
    assert engine.wait().id == "<b>"


def test_how_far_it_is_is_for_every_reader(engine: SwitchingEngine) -> None:
    models = Models(engine, OFFERED)
    half = Progress("reading the weights", 1, 2, "files")
    html = models.header(Opening("<b>", half))
    assert 'role="progressbar" aria-label="Loading &lt;b&gt;"' in html
    assert 'aria-valuenow="50" aria-valuetext="reading the weights: 1 of 2 files"' in html
    waits = models.header(Opening("a", waiting_for=2))
    assert "aria-valuenow" not in waits
    assert "after 2 replies" in waits


def test_a_model_that_is_lost_is_told_and_another_may_be_chosen(engine: SwitchingEngine) -> None:
    models = Models(engine, OFFERED)
    lost = NotOpened("a", CheckpointError("It is <gone>."))
    html = models.header(lost)
    assert "No model" in html and "It is &lt;gone&gt;." in html
    assert "<details" in html and "aria-current" not in html
    assert models.problem(lost) == "It is <gone>."
    assert "server's log" in models.problem(NotOpened("a", ValueError("secret")))
