"""One loop: it goes on where it stopped, and never writes half a state."""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.checkpoints import Checkpoints
from llava_chat.training.loop import Contents, Losses, Setting, train
from llava_chat.training.schedule import LoopOptions, Run
from llava_chat.training.watching.progress import Progress, Watcher

OPTIONS = LoopOptions(steps=12, lr=0.05, weight_decay=0.01, save_every=4, log_every=4, bf16=False)
Batch = tuple[Tensor, Tensor]


class Stopped(Exception):
    pass


def new_model(width: int = 3, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 4), nn.Dropout(dropout), nn.Linear(4, 1))
    model[0].bias.requires_grad_(False)
    return model


def batches_from(step: int) -> Iterator[Batch]:
    while True:
        noise = torch.Generator().manual_seed(step)
        inputs = torch.randn(8, 3, generator=noise)
        yield inputs, inputs.sum(1, keepdim=True)
        step += 1


def stopping(at: int) -> Callable[[int], Iterator[Batch]]:
    def until(step: int) -> Iterator[Batch]:
        for number, batch in enumerate(batches_from(step), step):
            if number == at:
                raise Stopped
            yield batch

    return until


def newest(folder: Path) -> Path:
    found = Checkpoints(folder).newest()
    assert found is not None
    return found / "state.pt"


def state_of(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = torch.load(newest(folder), weights_only=True)
    return kept


def run(
    folder: Path,
    options: LoopOptions = OPTIONS,
    made: Callable[[int], Iterator[Batch]] = batches_from,
    *,
    dropout: float = 0.0,
    contents_of: Callable[[Batch], Contents] = lambda _: Contents(),
    parts: int = 1,
    watchers: Sequence[Watcher] | None = None,
) -> nn.Module:
    model = new_model(dropout=dropout)

    def loss_of(batch: Batch) -> Losses:
        rows = nn.functional.mse_loss(model(batch[0]), batch[1], reduction="none")[:, 0]
        return {"loss": rows.sum() / max(1, len(rows)), "rows": rows.detach()}

    setting = Setting(watchers=watchers, parts=parts)
    train("test", model, loss_of, made, options, folder, contents_of=contents_of, setting=setting)
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("stop", [4, 7, 11])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("matrix_lr", [None, 0.05])
def test_a_run_that_was_stopped_ends_as_an_unbroken_one(
    tmp_path: Path, stop: int, bf16: bool, matrix_lr: float | None
) -> None:
    options = replace(OPTIONS, bf16=bf16, matrix_lr=matrix_lr)
    unbroken = run(tmp_path / "unbroken", options, dropout=0.5)
    with pytest.raises(Stopped):
        run(tmp_path / "broken", options, stopping(stop), dropout=0.5)
    torch.manual_seed(99)
    assert same(run(tmp_path / "broken", options, dropout=0.5), unbroken)
    assert not same(run(tmp_path / "without", options), unbroken)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    assert same(run(tmp_path / "run", made=stopping(0)), first)


def test_it_learns_what_wants_a_gradient_and_nothing_else(tmp_path: Path) -> None:
    before, after = new_model(), run(tmp_path / "run", replace(OPTIONS, steps=60))
    inputs, wanted = next(batches_from(1000))
    loss = nn.functional.mse_loss
    assert loss(after(inputs), wanted) < 0.3 * loss(before(inputs), wanted)
    moved = [
        not torch.equal(a, b)
        for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    ]
    assert moved == [True, False, True, True]
    kept = state_of(tmp_path / "run")
    assert set(kept) == {"step", "run", "skipped", "modules", "optimisers"} and kept["step"] == 60
    assert set(kept["modules"]) == {"0.weight", "2.weight", "2.bias"}


def test_muon_takes_the_hidden_matrices_and_leaves_the_rest_to_adamw(tmp_path: Path) -> None:
    matrices_alone = run(tmp_path / "muon", replace(OPTIONS, lr=0.0, matrix_lr=0.05))
    before = new_model().state_dict()
    moved = {
        name
        for name, value in matrices_alone.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"0.weight", "2.weight"}
    rest_alone = run(tmp_path / "adamw", replace(OPTIONS, matrix_lr=0.0))
    assert torch.equal(rest_alone.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(rest_alone.state_dict()["2.bias"], before["2.bias"])


def test_a_state_of_other_optimisers_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder)
    kept = state_of(folder)
    del kept["optimisers"][0]
    torch.save(kept, newest(folder))
    with pytest.raises(LlavaChatError, match=r"another model or optimiser; delete the folder"):
        run(folder)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(OPTIONS, steps=20), "steps 12 there, 20 here"),
        (replace(OPTIONS, steps=3), "steps 12 there, 3 here"),
        (replace(OPTIONS, lr=0.1), "lr 0.05 there, 0.1 here"),
        (replace(OPTIONS, matrix_lr=0.1), "matrix_lr None there, 0.1 here"),
        (replace(OPTIONS, run={"seed": 2, "data": "ab"}), "seed 1 there, 2 here"),
        (replace(OPTIONS, run={"seed": 1}), "data ab there, None here"),
    ],
)
def test_the_state_of_another_run_is_refused(
    tmp_path: Path, other: LoopOptions, difference: str
) -> None:
    folder = tmp_path / "run"
    begun: Run = {"seed": 1, "data": "ab"}
    with pytest.raises(Stopped):
        run(folder, replace(OPTIONS, run=begun), stopping(9))
    kept = newest(folder).read_bytes()
    with pytest.raises(LlavaChatError) as refused:
        run(folder, replace(other, run=other.run or begun))
    said = str(refused.value)
    assert f"{folder} was written by another run ({difference}); delete it" in said
    assert newest(folder).read_bytes() == kept
    went_on = run(folder, replace(OPTIONS, run=begun, save_every=5, log_every=1))
    assert same(went_on, run(tmp_path / "unbroken"))


def named(batch: Batch) -> Contents:
    return Contents(len(batch[0]), names=tuple(f"row {n}" for n in range(len(batch[0]))))


@pytest.mark.parametrize("log_every", [1, 4, 50])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, log_every: int) -> None:
    def poisoned(step: int) -> Iterator[Batch]:
        for number, (inputs, wanted) in enumerate(batches_from(step), step):
            if number == 5:
                wanted = wanted.index_fill(0, torch.tensor([3, 6]), float("nan"))
            yield inputs, wanted

    options = replace(OPTIONS, log_every=log_every)
    with pytest.raises(LlavaChatError) as stopped:
        run(tmp_path / "run", options, poisoned, contents_of=named)
    said = "test: the loss is not a number at step 6, which learns from row 3; row 6"
    assert str(stopped.value) == said
    assert Checkpoints(tmp_path / "run").steps() == [4]


def test_parts_of_a_step_count_by_what_is_learned_in_them(tmp_path: Path) -> None:
    def in_parts(step: int) -> Iterator[Batch]:
        for inputs, wanted in batches_from(step):
            for part in (slice(0, 5), slice(5, 5), slice(5, 8)):  # one of them is empty
                yield inputs[part], wanted[part]

    seen, whole = Seen(), Seen()
    parts = run(tmp_path / "parts", made=in_parts, contents_of=named, parts=3, watchers=[seen])
    at_once = run(tmp_path / "whole", contents_of=named, watchers=[whole])
    for one, other in zip(parts.parameters(), at_once.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert [each.losses["loss"] for each in seen.told] == pytest.approx(
        [each.losses["loss"] for each in whole.told]
    )
    assert [(each.step, each.samples) for each in seen.told] == [(n, 8) for n in range(1, 13)]


class Seen:
    """A Watcher that keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[Progress] = []
        self.saved: list[tuple[int, bool]] = []
        self.ended = 0

    def step(self, progress: Progress) -> None:
        self.told.append(progress)

    def saving(self, step: int, folder: Path) -> None:
        torch.rand(3)  # who watches changes nothing
        (folder / "seen.txt").write_text("seen", encoding="utf-8")
        self.saved.append((step, (folder / "state.pt").exists()))

    def end(self) -> None:
        self.ended += 1


def test_watchers_are_told_of_steps_and_write_into_checkpoints(tmp_path: Path) -> None:
    seen = Seen()
    watched = run(tmp_path / "run", dropout=0.5, watchers=[seen])
    assert seen.saved == [(4, True), (8, True), (12, True)] and seen.ended == 1
    assert len(seen.told) == 12 and seen.told[0].learning_rates == {"model": 0.05}
    assert same(watched, run(tmp_path / "alone", dropout=0.5))
    kept = Checkpoints(tmp_path / "run")
    assert kept.steps() == [8, 12] and (kept.at(8) / "seen.txt").is_file()
    kept.forget()
    assert [*(tmp_path / "run").rglob("*.*")] == [kept.at(8) / "seen.txt", kept.at(12) / "seen.txt"]


def test_a_part_has_its_own_learning_rate(tmp_path: Path) -> None:
    seen = Seen()
    after = run(tmp_path / "run", replace(OPTIONS, part_lr={"2": 0.0}), watchers=[seen])
    before = new_model().state_dict()
    moved = [name for name, value in after.state_dict().items() if not value.equal(before[name])]
    assert moved == ["0.weight"]
    assert seen.told[0].learning_rates == {"model": 0.05, "2": 0.0}


def test_samples_that_are_left_out_are_counted_and_a_step_of_none_changes_nothing(
    tmp_path: Path,
) -> None:
    def some_empty(step: int) -> Iterator[Batch]:
        for number, (inputs, wanted) in enumerate(batches_from(step), step):
            size = 0 if number in (0, 6) else 7
            yield inputs[:size], wanted[:size]

    def contents(batch: Batch) -> Contents:
        names = tuple(f"row {n}" for n in range(len(batch[0])))
        return Contents(len(names), names=names, skipped=("row 9: no picture",) * (8 - len(names)))

    seen, resumed, terminated = Seen(), Seen(), Seen()
    run(tmp_path / "run", made=some_empty, contents_of=contents, watchers=[seen])
    assert [each.step for each in seen.told] == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert [each.skipped for each in seen.told] == [9, 10, 11, 12, 13, 22, 23, 24, 25, 26]
    shutil.rmtree(Checkpoints(tmp_path / "run").at(12))
    run(tmp_path / "run", made=some_empty, contents_of=contents, watchers=[resumed])
    assert [each.skipped for each in resumed.told] == [23, 24, 25, 26]

    def told_to_end(step: int) -> Iterator[Batch]:
        for number, batch in enumerate(some_empty(step), step):
            if number == 6:  # fetched, and left to whoever goes on
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with pytest.raises(SystemExit):
        run(tmp_path / "ended", made=told_to_end, contents_of=contents)
    run(tmp_path / "ended", made=some_empty, contents_of=contents, watchers=[terminated])
    assert [each.skipped for each in terminated.told] == [22, 23, 24, 25, 26]


def test_a_full_disk_is_told_and_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    """As far as a process can have one: what it writes may not be longer than a limit."""
    resource = pytest.importorskip("resource", reason="only POSIX limits how long a file may be")
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        run(folder, made=stopping(6))
    saved = newest(folder).read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(saved) - 100, before[1]))
        with pytest.raises(LlavaChatError) as full:
            run(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = f"the checkpoint of step 8 cannot be written to {folder} (File too large); the older"
    assert str(full.value).startswith(said)
    assert [path.name for path in folder.iterdir()] == ["step-00000004"]
    assert newest(folder).read_bytes() == saved
    assert same(run(folder), run(tmp_path / "unbroken"))


def test_whoever_watches_and_has_no_room_is_told_after_what_ends_the_run(tmp_path: Path) -> None:
    class Full(Seen):
        def saving(self, step: int, folder: Path) -> None:
            (folder / "plot.svg").symlink_to("/dev/full")
            (folder / "plot.svg").write_text("drawn", encoding="utf-8")

        def end(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    with pytest.raises(LlavaChatError, match="what is seen of the run cannot be written"):
        run(tmp_path / "run", watchers=[Full()])
    assert [*(tmp_path / "run").iterdir()] == []  # a checkpoint has all of it or is none
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", made=stopping(2), watchers=[Full()])


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04half a zip"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "run"
    run(folder)
    newest(folder).write_bytes(content)
    with pytest.raises(
        LlavaChatError, match=r"state\.pt is damaged; delete the folder .*step-0+12 "
    ):
        run(folder)
    shutil.rmtree(newest(folder).parent)
    assert same(run(folder), run(tmp_path / "unbroken"))


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run")
    wider = new_model(width=5)
    with pytest.raises(LlavaChatError, match="another model"):
        train("test", wider, lambda _: {}, batches_from, OPTIONS, tmp_path / "run")


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        "test 4/12",
        "test 8/12",
        "test 12/12",
    ]
