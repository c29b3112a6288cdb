"""torch.compile where it works, and nothing lost where it does not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from llava_chat.training.compiling import compiled


def new_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


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
