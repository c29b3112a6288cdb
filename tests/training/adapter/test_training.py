"""A LoRA on a tiny model: what it learns, what stays, and how a run stops and goes on."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from llava_chat.conversation import Conversation, Turn
from llava_chat.errors import LlavaChatError, TrainingDataError
from llava_chat.image import Picture, picture_from_image
from llava_chat.model.checkpoint import Checkpoint
from llava_chat.training.adapter import batches as batches_module
from llava_chat.training.adapter.batches import Features, StepBatch
from llava_chat.training.adapter.judging import lesson_figures, opened, preference_figures, replies
from llava_chat.training.adapter.lessons import Lesson, Preference
from llava_chat.training.adapter.lora import Lora
from llava_chat.training.adapter.training import AdapterOptions, pair_logprobs, train_adapter
from llava_chat.training.checkpoints import Checkpoints

New = Callable[[], Checkpoint]
LORA = Lora(4, 8, head=True)
OPTIONS = AdapterOptions(lora=LORA, lr=0.02, steps=30, batch_size=2, save_every=4)
COLOURS = ("red", "blue", "green")


def shown(colour: str) -> Picture:
    return picture_from_image(Image.new("RGB", (30, 20), colour))


def asked(colour: str) -> Conversation:
    """Random weights see little: the question says it too."""
    return Conversation((Turn("user", f"What is {colour} in the picture?", (shown(colour),)),))


LESSONS = [
    Lesson(
        Conversation((*asked(colour).turns, Turn("assistant", f"A large {colour} circle."))),
        f"row {colour}",
    )
    for colour in COLOURS
]
PAIRS = [
    Preference(asked(colour), f"A {colour} star.", "Three.", f"pair {colour}") for colour in COLOURS
]


def base_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    state = checkpoint.model.state_dict()
    kept = {name.replace(".base_layer", ""): value.clone() for name, value in state.items()}
    return {name: value for name, value in kept.items() if ".lora_" not in name}


def lora_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    state = checkpoint.model.state_dict()
    return {name: value.clone() for name, value in state.items() if ".lora_" in name}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def said(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    engine = opened(checkpoint)
    try:
        return replies(engine, LESSONS)
    finally:
        engine.close(grace_s=0)


def test_lessons_are_learned_and_nothing_but_the_adapter_moves(
    new_checkpoint: New, tmp_path: Path
) -> None:
    checkpoint = new_checkpoint()
    before, weights = lesson_figures(said(checkpoint)), base_weights(checkpoint)
    assert before is not None and before.exact == 0
    options = replace(OPTIONS, steps=200, lr=0.01, save_every=100)
    lora = train_adapter(checkpoint, LESSONS, [], options, tmp_path / "run", old=LESSONS[:1])
    assert lora == LORA
    assert same(weights, base_weights(checkpoint))
    layers = {name.partition(".lora_")[0] for name in lora_weights(checkpoint)}
    assert len(layers) == 2 * 7 + 1 and all(each.startswith("language_model.") for each in layers)
    after = lesson_figures(said(checkpoint))
    assert after is not None and (after.exact, after.overlap) == (1, 1)
    assert not any(each.requires_grad for each in checkpoint.model.parameters())


def test_the_chosen_replies_become_likelier_than_without_the_adapter(
    new_checkpoint: New, tmp_path: Path
) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    checkpoint = new_checkpoint()
    before, reference = preference_figures(checkpoint, PAIRS, None, beta=0.1, max_tokens=512)
    assert before is not None and before.margin == 0 and before.rewarded == 0
    train_adapter(checkpoint, [], PAIRS, OPTIONS, tmp_path / "run")
    after, policy = preference_figures(checkpoint, PAIRS, reference, beta=0.1, max_tokens=512)
    assert after is not None and after.pairs == 3
    assert after.margin > 0.5 and after.rewarded == 1
    gains = policy - reference
    assert after.margin == pytest.approx(0.1 * float((gains[0] - gains[1]).mean()), rel=1e-5)
    for part in checkpoint.model.modules():
        if isinstance(part, BaseTunerLayer):
            part.enable_adapters(False)
    assert torch.allclose(pair_logprobs(checkpoint, PAIRS, 512), reference, atol=1e-4)


def test_the_first_step_of_preferences_is_from_equal_odds(
    new_checkpoint: New, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(OPTIONS, steps=1)
    train_adapter(new_checkpoint(), LESSONS, PAIRS, options, tmp_path / "run", old=LESSONS)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "preferences 0.6931  margin 0.0000" in line and "lessons" in line and "old" in line


def test_only_the_last_reply_of_a_pair_counts(new_checkpoint: New) -> None:
    checkpoint = new_checkpoint()
    turns = (*asked("red").turns, Turn("assistant", "Something."), Turn("user", "Sure?"))
    pair = Preference(Conversation(turns), "Yes.", "No.")
    alone = pair_logprobs(checkpoint, [pair], 512)
    reply = Preference(Conversation(turns), "Yes. </s>", "No.")
    assert alone[1] == pair_logprobs(checkpoint, [reply], 512)[1]
    assert (alone > -60).all()  # two or three tokens each, of four hundred


def test_a_pair_that_would_be_cut_is_refused(new_checkpoint: New) -> None:
    long = Preference(asked("red"), "a " * 300, "b", "pairs.jsonl, line 7")
    with pytest.raises(TrainingDataError, match="line 7: prompt and reply are longer"):
        pair_logprobs(new_checkpoint(), [long], 100)


class Stopped(Exception):
    pass


def interrupted(at: int, monkeypatch: pytest.MonkeyPatch, how: Callable[[], None]) -> None:
    """Let `how` happen while the batch of step `at` is made."""
    from llava_chat.training.adapter import training

    original = training._Rows.batches_from

    def broken(self: training._Rows, step: int) -> Iterator[StepBatch]:
        for number, batch in enumerate(original(self, step), step):
            if number == at:
                how()
            yield batch

    monkeypatch.setattr(training._Rows, "batches_from", broken)


def stop() -> None:
    raise Stopped


def test_a_run_goes_on_where_it_stopped_with_the_same_losses(
    new_checkpoint: New,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = replace(OPTIONS, steps=12)
    unbroken, stopped, resumed = new_checkpoint(), new_checkpoint(), new_checkpoint()

    def run(checkpoint: Checkpoint, state: str) -> None:
        train_adapter(checkpoint, LESSONS, PAIRS, options, tmp_path / state, old=LESSONS[:2])

    run(unbroken, "unbroken")
    whole = losses(capsys.readouterr().err)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        interrupted(9, patched, stop)
        run(stopped, "run")
    capsys.readouterr()
    run(resumed, "run")
    assert losses(capsys.readouterr().err) == whole[8:]
    assert same(lora_weights(unbroken), lora_weights(resumed))


def losses(told: str) -> list[str]:
    """Of each step that is told of: its losses, without its speed."""
    return [line.split("  norm")[0] for line in told.splitlines() if line.startswith("adapter ")]


def test_sigterm_saves_first(
    new_checkpoint: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, steps=12, save_every=100)
    unbroken, resumed = new_checkpoint(), new_checkpoint()
    train_adapter(unbroken, LESSONS, [], options, tmp_path / "unbroken")
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        interrupted(5, patched, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train_adapter(new_checkpoint(), LESSONS, [], options, tmp_path / "run")
    assert left.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert Checkpoints(tmp_path / "run").steps() == [5]
    train_adapter(resumed, LESSONS, [], options, tmp_path / "run")
    assert same(lora_weights(unbroken), lora_weights(resumed))


@pytest.mark.parametrize(
    "change", [{"beta": 0.2}, {"lora": Lora(2, 8, head=True)}, {"seed": 1}, {"batch_size": 3}]
)
def test_the_state_of_another_run_is_refused(
    new_checkpoint: New, tmp_path: Path, change: dict[str, object]
) -> None:
    options = replace(OPTIONS, steps=1)
    train_adapter(new_checkpoint(), LESSONS, PAIRS, options, tmp_path / "run")
    other = replace(options, **change)  # type: ignore[arg-type]
    with pytest.raises(LlavaChatError, match="was written by another run"):
        train_adapter(new_checkpoint(), LESSONS, PAIRS, other, tmp_path / "run")
    with pytest.raises(LlavaChatError, match="was written by another run"):
        train_adapter(new_checkpoint(), LESSONS[:2], PAIRS, options, tmp_path / "run")


def test_a_loss_that_is_no_number_names_step_and_row(
    new_checkpoint: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = LESSONS[1].conversation.turns[0].images[0]
    original = Features.__call__
    monkeypatch.setattr(
        batches_module.Features,
        "__call__",
        lambda self, picture: (
            original(self, picture) * (float("nan") if picture == poisoned else 1)
        ),
    )
    with pytest.raises(LlavaChatError, match=r"at step [12], which learns from row blue$"):
        train_adapter(new_checkpoint(), LESSONS, [], OPTIONS, tmp_path / "run")


def test_a_picture_is_computed_once_and_memory_is_bounded(
    new_checkpoint: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = new_checkpoint()
    seen: list[Picture] = []
    original = Features._computed

    def counted(self: Features, picture: Picture) -> object:
        seen.append(picture)
        return original(self, picture)

    monkeypatch.setattr(Features, "_computed", counted)
    red, blue = shown("red"), shown("blue")
    roomy = Features(checkpoint)
    first = roomy(red)
    assert roomy(blue) is not first and roomy(red) is first and len(seen) == 2
    narrow = Features(checkpoint, max_bytes=first.nbytes)
    for picture in (red, blue, red):
        narrow(picture)
    assert len(seen) == 5


def test_without_rows_there_is_nothing_to_learn(new_checkpoint: New, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no row"):
        train_adapter(new_checkpoint(), [], [], OPTIONS, tmp_path / "run")
