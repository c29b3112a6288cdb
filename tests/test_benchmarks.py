"""The benchmarks run and measure what they say, here on a shape of a few thousand weights."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from transformers.utils.import_utils import is_serve_available

from benchmarks import (
    cost_curve,
    decode,
    first_token,
    flops,
    front,
    loading,
    many,
    memory,
    training,
)
from benchmarks.apart import GenerateApart, generate_apart
from benchmarks.shapes import open_checkpoint

ROOT = Path(__file__).parents[1]
SHOWN = {module.__name__.split(".")[1]: module for module in (
    cost_curve, decode, first_token, front, many, memory, training,
)}  # fmt: skip
"""By the name in their JSON, those whose tables the README shows."""

MEASURED = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.json"))
    if json.loads(path.read_text(encoding="utf-8"))["benchmark"] in SHOWN
]
Measure = Callable[..., dict[str, Any]]

# transformers, gradio and torch warn of each other in a process that also runs other tests.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def generate() -> Iterator[GenerateApart]:
    """transformers' `generate` in its process, which three benchmarks ask here in turn."""
    with generate_apart("tiny", torch.device("cpu"), torch.float32) as generate:
        yield generate


@pytest.fixture
def measure(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Measure:
    """Run a benchmark on the tiny shape; what its JSON has, and its output as `shown`."""

    def started(*asked: object) -> AbstractContextManager[GenerateApart]:
        assert asked == ("tiny", torch.device("cpu"), torch.float32)
        return nullcontext(request.getfixturevalue("generate"))

    for module in (decode, first_token, many):
        monkeypatch.setattr(module, "generate_apart", started)

    def measure(module: ModuleType, *options: str) -> dict[str, Any]:
        file = tmp_path / "told.json"
        arguments = ["--shape", "tiny", *options, "--json", str(file)]
        # Where there is a GPU, the others would take it.
        arguments += ["--device", "cpu"] if module is not loading else []
        monkeypatch.setattr(sys, "argv", [str(module.__file__), *arguments])
        module.main()
        told: dict[str, Any] = json.loads(file.read_text())
        assert told["benchmark"] == module.__name__.split(".")[1]
        assert told["threads"] and told["torch"] and told["transformers"]
        return told | {"shown": capsys.readouterr().out}

    return measure


def test_first_token_compares_ways_that_say_the_same(measure: Measure) -> None:
    told = measure(first_token, "--repeats", "1")
    tiny = told["shapes"]["tiny"]
    assert "| tiny, turn 6 |" in told["shown"] and "llama-cpp-python was not" in told["shown"]
    assert all(len(times) == 6 for times in tiny["first_token_ms"].values())
    assert tiny["same_token_ids"] == {first_token.AGAIN: 1.0}
    assert (first_token.SERVE in tiny["first_token_ms"]) == is_serve_available()
    assert set(tiny["same_text"].values()) <= {1.0}


def test_decode_tells_the_limit_of_the_memory(measure: Measure) -> None:
    told = measure(decode, "--repeats", "1", "--tokens", "8")
    assert told["reply_tokens"] == 8
    # Two layers of attention, MLP and two norms, the last norm, and 1024 words of 64: in float32.
    assert told["weight_bytes"] == 4 * (2 * (4 * 64**2 + 3 * 64 * 96 + 2 * 64) + 64 + 1024 * 64)
    assert told["kv_bytes_per_token"] == 4 * 2 * 2 * 64
    assert all(0 < speed < told["limit_tokens_per_s"] for speed in told["tokens_per_s"].values())
    assert set(told["same_token_ids"].values()) == {1.0}


def test_many_people_are_all_answered(measure: Measure) -> None:
    told = measure(many, "--repeats", "1", "--people", "1", "3", "--slots", "2")
    assert [*told["people"]] == ["1", "3"]
    for ways in told["people"].values():
        assert [*ways] == ["2 slots", many.ONE_AT_A_TIME, many.ONE_SLOT, many.GENERATE]
        for way in ways.values():
            assert way["tokens_per_s"] > 0
            assert 0 < way["first_token_p50_s"] <= way["first_token_p95_s"]
            assert way["worst_over_median_stay"] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_memory_knows_what_has_to_be_there(measure: Measure) -> None:
    told = measure(memory, "--slots", "2")
    assert told["weight_bytes"] > 500_000 and told["kv_bytes_per_token"] == 1024
    assert set(told["peaks"]) == {"resident_bytes", "anonymous_bytes"}
    assert "| goal |" in told["shown"]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_soak_that_is_stopped_tells_what_it_saw(tmp_path: Path) -> None:
    log, file = tmp_path / "soak.log", tmp_path / "soak.json"
    command = [sys.executable, "benchmarks/memory.py", "--device", "cpu", "--soak", "3600"]
    command += ["--every", "0.1", "--log", str(log), "--json", str(file)]
    soaking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not log.is_file() or log.read_text().count("\n") < 8:
        assert soaking.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    soaking.send_signal(signal.SIGTERM)
    shown, _ = soaking.communicate(timeout=120)
    told = json.loads(file.read_text())
    assert soaking.returncode == (0 if told["held"] else 1)
    assert ", 0 failed; the memory grew by " in shown
    assert told["happened"]["replies"] > 0 and len(told["series"]) >= 8
    assert all(sample["resident_bytes"] > 10_000_000 for sample in told["series"])


def test_front_talks_to_a_real_page(measure: Measure) -> None:
    told = measure(front, "--turns", "2")
    page = told["added_ms"][front.PAGE]
    assert page["turn"] > 0 and page["first_words"] > 0
    assert "| goal | < 2 |" in told["shown"]


def test_the_cost_curve_is_drawn(measure: Measure, tmp_path: Path) -> None:
    plot = tmp_path / "curve.svg"
    options = ("--lengths", "150", "300", "--people", "1", "3", "--repeats", "1")
    told = measure(cost_curve, *options, "--plot", str(plot))
    short, long = (one["tokens"] for one in told["lengths"])
    assert short <= 150 < long <= 300
    assert [one["people"] for one in told["people"]] == [1, 3]
    drawn = ElementTree.fromstring(plot.read_text())
    curves = [line.get("points", "") for line in drawn.iter() if line.tag.endswith("polyline")]
    assert [len(points.split()) for points in curves] == [2, 2, 2, 2, 2]


def test_both_trainers_learn_the_same(measure: Measure) -> None:
    options = ("--blocks", "1", "--steps", "1", "--batch-size", "2", "--rank", "4", "--no-bf16")
    told = measure(training, *options)
    assert told["peak_flops"] > 0 and told["computed_in"] == "float32"
    assert [*told["stages"]] == ["align", "finetune", "lora"]
    for stage in told["stages"].values():
        ours, theirs = (stage["first_losses"][name] for name in (training.OURS, training.THEIRS))
        assert len(ours) == training.WARM + 1 and ours == pytest.approx(theirs, abs=1e-4)
        assert all(speed > 0 for speed in stage["samples_per_s"].values())
    # Stage 1 leaves out what stage 2 adds: the gradients of the decoder's own weights.
    align, finetune, lora = (told["stages"][kind]["flops_per_step"] for kind in told["stages"])
    assert align < lora < finetune
    assert "| stage 2 |" in told["shown"]


def test_a_step_is_counted_by_hand() -> None:
    checkpoint = open_checkpoint("tiny", torch.device("cpu"), torch.float32)
    work = flops.Work(lengths=(10, 20), learned=6, pictures=2)
    # Two layers of the decoder, 64 wide and 96 inside; the one of the tower's two that is used.
    decoder, head = 2 * (4 * 64**2 + 3 * 64 * 96), 1024 * 64
    tower, patches = 3 * 14**2 * 32 + 1 * (4 * 32**2 + 2 * 32 * 64), 4
    projector = 32 * 64 + 64 * 64
    expected = (
        2 * tower * 2 * (patches + 1)
        + 4 * 32 * 1 * 2 * (patches + 1) ** 2
        + 6 * projector * 2 * patches
        + 6 * decoder * 30
        + 12 * 64 * 2 * (10**2 + 20**2)
        + 6 * head * 6
    )
    assert flops.step_flops(checkpoint.model, "finetune", work) == expected
    frozen = flops.step_flops(checkpoint.model, "align", work)
    assert expected - frozen == 2 * decoder * 30 + 2 * head * 6
    assert flops.step_flops(checkpoint.model, "lora", work, 500) - frozen == 6 * 500 * 30


def test_a_peak_is_of_that_card_and_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(name: str, dtype: torch.dtype = torch.bfloat16) -> float:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
        return flops.peak_flops(torch.device("cuda"), dtype) / 1e12

    assert peak("NVIDIA H100 80GB HBM3") == peak("NVIDIA H200", torch.float16) == 989
    assert (peak("NVIDIA H100 PCIe"), peak("NVIDIA H100 NVL")) == (756, 0)
    assert peak("NVIDIA H100 80GB HBM3 MIG 1g.10gb") == 0
    assert (peak("NVIDIA L4"), peak("NVIDIA L40S"), peak("NVIDIA L40")) == (121, 362, 0)
    assert peak("NVIDIA A100-SXM4-80GB") == peak("NVIDIA A100 80GB PCIe") == 312
    assert peak("NVIDIA GeForce RTX 4090") == 165.2
    assert peak("NVIDIA GeForce RTX 4090 D") == peak("NVIDIA GeForce RTX 4090 Laptop GPU") == 0
    assert peak("NVIDIA H100 80GB HBM3", torch.float32) == 0  # no share of it is what is told


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_loading_compares_two_loaders_of_the_same_files(measure: Measure) -> None:
    told = measure(loading, "--stored", "float16")
    assert "| load, s |" in told["shown"] and "x) |" in told["shown"]
    assert told["weights_bytes"] > 100_000
    for way in told["ways"].values():
        assert way["reply_tokens"] >= 1
        assert way["anonymous_bytes"] > 0 and way["resident_bytes"] > 0


@pytest.mark.parametrize("file", MEASURED, ids=lambda file: file.stem)
def test_the_readme_shows_what_was_measured(file: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(
        f"<!-- {file.stem}: begin -->\n(.*?)\n<!-- {file.stem}: end -->", readme, re.S
    )
    told = json.loads(file.read_text(encoding="utf-8"))
    assert block is not None and block[1] == SHOWN[told["benchmark"]].table(told)
