"""Where a model runs: what is said of a device that is not there, and of too little memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llava_chat.errors import CheckpointError, SettingError
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.device import choose_device, choose_dtype

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
]


def failing(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


def refusal(name: str) -> str:
    with pytest.raises(SettingError) as error:
        choose_device(name)
    assert error.value.field == "device"
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    return str(error.value)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "meta"])
def test_names_of_no_device(name: str) -> None:
    assert f"must be auto, cpu, cuda, cuda:1 or mps, not {name!r}" in refusal(name)


@pytest.mark.parametrize(
    "error", [AssertionError("Torch not compiled"), NotImplementedError(), ImportError()]
)
def test_a_device_that_this_pytorch_has_no_code_for(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "empty", failing(error))
    assert "'cuda' is not in this build of PyTorch; try auto" in refusal("cuda")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA driver initialization failed\nand more, in many lines"),
        RuntimeError("No CUDA GPUs are available"),
    ],
)
def test_a_device_that_fails_is_not_said_to_be_missing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "empty", failing(error))
    told = refusal("cuda")
    assert f"'cuda' cannot be used: {str(error).splitlines()[0]}" in told
    assert "not on this machine" not in told and "build" not in told


def test_a_number_format_that_is_none() -> None:
    with pytest.raises(SettingError, match="must be auto, float32, float16, bfloat16, not 'int3'"):
        choose_dtype("int3", torch.device("cpu"))


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_too_little_memory_for_the_weights(
    saved: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_chat.model.weights.read_weights", failing(error))
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(str(saved), device="cpu", dtype="bfloat16")
    assert f"The model in {saved} needs about 0.0 GB in bfloat16 on cpu" in str(told.value)
    assert "use a smaller model or another --dtype" in str(told.value)


def test_other_faults_while_loading_are_not_put_down_to_memory(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_chat.model.weights.read_weights", failing(RuntimeError("broken")))
    with pytest.raises(RuntimeError, match="broken"):
        load_checkpoint(str(saved), device="cpu")
