"""Who is compared in the Compare tab: models, adapters, settings, and the engines of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_chat import ASSETS
from llava_chat.assembly import OfferedModel, check_engine, compared_models
from llava_chat.engine.local import LocalEngine
from llava_chat.engine.switching import SwitchingEngine
from llava_chat.errors import InputError, SettingError
from llava_chat.feedback import Feedback, votes
from llava_chat.model.adapter_folders import AdapterFolders
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.progress import Report
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore
from llava_chat.training.adapter.lora import Lora, put_on, save_adapter
from llava_chat.web.compare.beside import engines_beside
from llava_chat.web.compare.contestants import ANY
from tests.web.compare_tabs import NewTab, alone, compare_tabs, names_of, new_compare, other, vote
from tests.web.conftest import run
from tests.web.tabs import ME, rest

__all__ = ["alone", "new_compare", "other"]  # the fixtures

SCENES = ASSETS / "scenes"


def test_the_order_is_drawn_for_each_comparison(new_compare: NewTab) -> None:
    tab = new_compare()
    choices = tab.pairs.contestants.first_two()
    drawn = {tab.pairs.contestants.pair(choices)[0].settings.model for _ in range(64)}
    assert drawn == {"tiny", "other"}  # one of 2**63 runs sees one order only


def test_one_model_is_compared_with_itself_sampled_otherwise(alone: NewTab) -> None:
    contestants = alone().pairs.contestants
    first, second = contestants.first_two()
    assert first.label == second.label and first != second
    assert len({one.label for one in contestants.pair((first, second))}) == 2
    with pytest.raises(InputError, match="Both contestants are the same"):
        contestants.pair((first, first))


def test_any_two_are_two(new_compare: NewTab) -> None:
    contestants = new_compare().pairs.contestants
    usual = contestants.first_two()[0]
    any_one = replace(usual, label=ANY)
    for choices in ((any_one, any_one), (any_one, usual), (usual, any_one)):
        assert {one.settings.model for one in contestants.pair(choices)} == {"tiny", "other"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": "nobody"}, "not offered here any more"),
        ({"temperature": -1}, "temperature must be between 0 and 2"),
        ({"top_p": 0}, "top_p must be above 0"),
        ({"repetition_penalty": 9}, "repetition_penalty must be between 1 and 2"),
    ],
)
def test_a_contestant_that_cannot_be_is_refused_and_nothing_is_kept(
    changes: dict[str, Any], sentence: str, new_compare: NewTab, store: ConversationStore
) -> None:
    tab = new_compare(owner="somebody new")
    first, second = tab.pairs.contestants.first_two()
    steps = run(rest(tab.send("What is it?", (replace(first, **changes), second))))
    assert sentence in tab.sentence(steps)
    part = tab.handlers.parts.composer
    composer = [step[part] for step in steps if part in step][-1]
    assert composer.value["text"] == "What is it?"
    assert tab.view.comparison_id is None and store.sides().list("somebody new") == []


def test_a_comparison_does_not_go_on_with_another_model(new_compare: NewTab, alone: NewTab) -> None:
    tab = new_compare()
    run(rest(tab.send("What is it?")))
    later = alone(compare=tab.view.comparison_id or "")
    run(rest(later.handlers.open_page(later.values(), later.request())))
    sentence = later.sentence(run(rest(later.send("And now?"))))
    assert "another model was chosen for this server" in sentence
    sides = later.pairs.load(ME, tab.view.comparison_id or "")
    assert [len(side.path) for side in sides.both] == [2, 2]


def write_adapter(checkpoint: Checkpoint, folder: Path) -> None:
    lora = Lora(4, 8)
    put_on(checkpoint.model, lora, 0)
    for name, weight in checkpoint.model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn_like(weight) * 0.1
    save_adapter(checkpoint.model, lora, folder, base="tiny")


def test_an_adapter_is_a_contestant_as_soon_as_it_is_there(
    random_checkpoint: Callable[..., Checkpoint], store: ConversationStore, tmp_path: Path
) -> None:
    shelf = tmp_path / "adapters"
    opened = LocalEngine(random_checkpoint(), adapters=AdapterFolders(shelf))
    engine = SwitchingEngine(lambda name, report: opened, "tiny")
    engine.wait()
    Feedback.of(store).decide("leo", True)
    tab = compare_tabs(engine, store, tmp_path, {})("leo")
    assert [offer.label for offer in tab.pairs.contestants.offered()] == ["tiny"]
    write_adapter(random_checkpoint(), shelf / "crimson")
    labels = [choice.label for choice in tab.pairs.contestants.first_two()]
    assert labels == ["tiny", "tiny + crimson"]
    run(rest(tab.send("What is it?")))
    vote(tab, 1, "right")
    (found,) = [one for one in votes(store) if one.comparison_id == tab.view.comparison_id]
    assert (found.left, found.right) == names_of(tab)
    assert {found.left, found.right} == {"tiny (temperature 0)", "tiny + crimson (temperature 0)"}
    engine.close(grace_s=0)


def test_models_beside_the_first_are_opened_one_after_the_other(
    random_checkpoint: Callable[..., Checkpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    go_on = threading.Event()

    def opens(name: str, report: Report) -> LocalEngine:
        if name == "first":
            assert go_on.wait(60)
        order.append(name)
        return LocalEngine(random_checkpoint())

    first = SwitchingEngine(opens, "first")
    models = [OfferedModel(name, name, "1 GB") for name in ("second", "third")]
    engines = engines_beside(first, models, opens, 4)
    assert order == [] and list(engines) == ["second", "third"]
    go_on.set()
    engines["third"].wait()
    assert order == ["first", "second", "third"]
    assert "Compare has second too, 1 GB." in capsys.readouterr().err
    for engine in (first, *engines.values()):
        engine.close(grace_s=0)


def test_compare_with_names_models_once_and_not_of_a_server(tmp_path: Path) -> None:
    beside = compared_models(Settings(compare_with=("scenes", str(SCENES), str(SCENES))))
    assert [model.label for model in beside] == ["scenes (2)"] and "MB" in beside[0].needs
    assert compared_models(Settings()) == ()
    remote = Settings(engine="remote", engine_url=("http://x/v1",), compare_with=("scenes",))
    with pytest.raises(SettingError, match="--compare-with is for a model in this process"):
        check_engine(remote)
