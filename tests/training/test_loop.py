"""One loop: it goes on where it stopped, and never writes half a state."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llava_chat.errors import LlavaChatError
from llava_chat.training.loop import (
    LoopOptions,
    Losses,
    Run,
    compiled,
    learning_rate_share,
    train,
)

OPTIONS = LoopOptions(steps=12, lr=0.05, weight_decay=0.01, save_every=4, log_every=4, bf16=False)
Batch = tuple[Tensor, Tensor]


class Stopped(Exception):
    pass


def new_model(width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, 1))
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


def run(
    state_file: Path,
    options: LoopOptions = OPTIONS,
    made: Callable[[int], Iterator[Batch]] = batches_from,
) -> nn.Module:
    model = new_model()

    def loss_of(batch: Batch) -> Losses:
        return {"loss": nn.functional.mse_loss(model(batch[0]), batch[1])}

    train("test", model, loss_of, made, options, state_file)
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
    unbroken = run(tmp_path / "unbroken.pt", options)
    with pytest.raises(Stopped):
        run(tmp_path / "broken.pt", options, stopping(stop))
    assert same(run(tmp_path / "broken.pt", options), unbroken)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path / "state.pt")
    assert same(run(tmp_path / "state.pt", made=stopping(0)), first)


def test_it_learns_what_wants_a_gradient_and_nothing_else(tmp_path: Path) -> None:
    before, after = new_model(), run(tmp_path / "state.pt", replace(OPTIONS, steps=60))
    inputs, wanted = next(batches_from(1000))
    loss = nn.functional.mse_loss
    assert loss(after(inputs), wanted) < 0.3 * loss(before(inputs), wanted)
    moved = [
        not torch.equal(a, b)
        for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    ]
    assert moved == [True, False, True, True]
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(kept) == {"step", "run", "modules", "optimisers"} and kept["step"] == 60
    assert set(kept["modules"]) == {"0.weight", "2.weight", "2.bias"}


def test_muon_takes_the_hidden_matrices_and_leaves_the_rest_to_adamw(tmp_path: Path) -> None:
    matrices_alone = run(tmp_path / "muon.pt", replace(OPTIONS, lr=0.0, matrix_lr=0.05))
    before = new_model().state_dict()
    moved = {
        name
        for name, value in matrices_alone.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"0.weight", "2.weight"}
    rest_alone = run(tmp_path / "adamw.pt", replace(OPTIONS, matrix_lr=0.0))
    assert torch.equal(rest_alone.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(rest_alone.state_dict()["2.bias"], before["2.bias"])


def test_a_state_of_other_optimisers_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["run"]
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(LlavaChatError, match="another model"):
        run(tmp_path / "state.pt", replace(OPTIONS, matrix_lr=0.05))
    state["optimiser"] = state.pop("optimisers")[0]  # as one optimiser alone was once kept
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(LlavaChatError, match="delete it to start again"):
        run(tmp_path / "state.pt")


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
    file = tmp_path / "state.pt"
    begun: Run = {"seed": 1, "data": "ab"}
    with pytest.raises(Stopped):
        run(file, replace(OPTIONS, run=begun), stopping(9))
    kept = file.read_bytes()
    with pytest.raises(LlavaChatError) as refused:
        run(file, replace(other, run=other.run or begun))
    said = str(refused.value)
    assert f"{file} was written by another run ({difference}); delete it" in said
    assert file.read_bytes() == kept
    went_on = run(file, replace(OPTIONS, run=begun, save_every=5, log_every=1))
    assert same(went_on, run(tmp_path / "unbroken.pt"))


def test_a_state_that_does_not_say_whose_it_is_is_trusted_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        run(file, made=stopping(9))
    state = torch.load(file, weights_only=True)
    del state["run"]
    torch.save(state, file)
    with pytest.raises(LlavaChatError, match=r"another run \(8 steps done of 7\)"):
        run(file, replace(OPTIONS, steps=7))
    capsys.readouterr()
    assert same(run(file), run(tmp_path / "unbroken.pt"))
    said = capsys.readouterr().err.splitlines()[0]
    assert (
        said == "test: going on from step 8, trusting that the state is this run's: it does not say"
    )
    assert "run" in torch.load(file, weights_only=True)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    def poisoned(step: int) -> Iterator[Batch]:
        for number, (inputs, wanted) in enumerate(batches_from(step), step):
            yield inputs, wanted * float("nan") if number == 5 else wanted

    with pytest.raises(LlavaChatError, match="not a number at step 6"):
        run(tmp_path / "state.pt", made=poisoned)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4


def test_a_crash_while_saving_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        run(file, made=stopping(6))
    saved = file.read_bytes()

    def half_written(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="space"):
        patched.setattr(torch, "save", half_written)
        run(file)
    assert file.read_bytes() == saved
    assert same(run(file), run(tmp_path / "unbroken.pt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.pt", "unbroken.pt"]


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04half a zip"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(LlavaChatError, match=r"state\.pt is damaged; delete it"):
        run(tmp_path / "state.pt")


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "state.pt")
    wider = new_model(width=5)
    with pytest.raises(LlavaChatError, match="another model"):
        train("test", wider, lambda _: {}, batches_from, OPTIONS, tmp_path / "state.pt")


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "state.pt")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        "test 4/12",
        "test 8/12",
        "test 12/12",
    ]


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [learning_rate_share(step, 200, 0.03) for step in range(200)]
    assert max(shares) == 1 and shares.index(1) == 5
    assert shares[:6] == sorted(shares[:6]) and shares[6:] == sorted(shares[6:], reverse=True)
    assert 0 < shares[-1] < 0.001
    assert learning_rate_share(0, 1, 0.03) == 1


def test_a_compiler_that_fails_at_the_first_batch_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(module: nn.Module, **_: Any) -> Callable[..., Any]:
        def call(*_: Any) -> Any:
            raise RuntimeError("InvalidCxxCompiler: no working C++ compiler\nmore")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    model = new_model()
    fast, inputs = compiled(model), torch.ones(2, 3)
    assert torch.equal(fast(inputs), model(inputs)) and torch.equal(fast(inputs), model(inputs))
    said = capsys.readouterr().err
    assert said == "going on without torch.compile: InvalidCxxCompiler: no working C++ compiler\n"


def test_without_any_compiler_the_module_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: nn.Module, **_: Any) -> Callable[..., Any]:
        raise RuntimeError("torch.compile is not supported on this Python")

    monkeypatch.setattr(torch, "compile", missing)
    model = new_model()
    assert torch.equal(compiled(model)(torch.ones(2, 3)), model(torch.ones(2, 3)))


def test_a_mistake_of_the_caller_is_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compiled(new_model())(torch.ones(2, 7))
