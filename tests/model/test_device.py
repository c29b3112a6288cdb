"""Where a model runs: what is said of a device that is not there, and of too little memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llava_chat.errors import CheckpointError, SettingError
from llava_chat.model.checkpoint import load_checkpoint
from llava_chat.model.device import (
    auto_dtype,
    best_dtype,
    choose_device,
    cpu_has_bfloat16,
    has_native_bfloat16,
    named_dtype,
)

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
        named_dtype("int3")


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # T4, where bfloat16 is emulated
        ((8, 0), torch.bfloat16),  # A100
        ((9, 0), torch.bfloat16),  # H100
        ((12, 0), torch.bfloat16),
    ],
)
def test_a_gpu_gets_the_sixteen_bits_that_it_multiplies_itself(
    capability: tuple[int, int], wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    for parameters in (1, 7_000_000_000):
        assert auto_dtype(torch.device("cuda"), parameters) == wanted


def test_mps_gets_float16() -> None:
    assert auto_dtype(torch.device("mps"), 7_000_000_000) == torch.float16


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bw": True, "avx512_vnni": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"amx_tile": True, "amx_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True}, False),
    ],
)
def test_a_cpu_gets_bfloat16_where_it_multiplies_it_and_the_model_is_large(
    capabilities: dict[str, object], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    cpu = torch.device("cpu")
    assert cpu_has_bfloat16(capabilities) is has_native_bfloat16(cpu) is native
    assert auto_dtype(cpu, 7_000_000_000) == (torch.bfloat16 if native else torch.float32)
    assert auto_dtype(cpu, 60_000_000) == torch.float32


def test_where_a_model_stops_to_be_small() -> None:
    formats = [best_dtype("cpu", count, native=True) for count in (250_000_000, 250_000_001)]
    assert formats == [torch.float32, torch.bfloat16]


def test_what_this_machine_says_of_its_cpu_is_understood() -> None:
    assert has_native_bfloat16(torch.device("cpu")) in (True, False)
    assert "architecture" in torch.cpu.get_capabilities()


def test_auto_keeps_the_small_bundled_model_exact() -> None:
    weights = load_checkpoint("scenes", device="cpu").model.parameters()
    assert {weight.dtype for weight in weights} == {torch.float32}


def test_auto_is_asked_with_the_models_own_size(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr("llava_chat.model.device._SMALL_PARAMETERS", 1000)
    model = load_checkpoint(str(saved), device="cpu").model
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


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
