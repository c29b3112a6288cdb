"""What all benchmarks share: their options, the head of their JSON, and how tables are written.

Imports torch, transformers and `shapes`.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.shapes import NAMES

Result = dict[str, Any]
"""What a benchmark measured, as its JSON has it."""

NUMBER_FORMATS = ("float32", "bfloat16", "float16")


def options(doc: str | None, *, shape: str | None) -> argparse.ArgumentParser:
    """The options that all have. doc: of the module, its first line is shown by --help.

    shape: the default; None lets --shape be given several times.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    action = "store" if shape else "append"
    parser.add_argument("--shape", choices=NAMES, default=shape, action=action)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=NUMBER_FORMATS, default="float32")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def number_format(name: str) -> torch.dtype:
    """The torch.dtype of a name such as "bfloat16"."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def head(benchmark: str, device: torch.device, dtype: torch.dtype) -> Result:
    """Where and with what something was measured."""
    return {
        "benchmark": benchmark,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "CPU"


def ratio(more: float, less: float) -> str:
    """How many times as much `more` is as `less`.

    >>> ratio(840, 100), ratio(105, 100), ratio(1, 0)
    ('8.4x', '1.05x', '')
    """
    if not less:
        return ""
    times = more / less
    return f"{times:.2f}x" if times < 2 else f"{times:.1f}x"


def markdown(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; all columns but the first are numbers.

    >>> print(markdown(["turn", "ms"], [["1", "2.5"]]))
    | turn | ms |
    |---|---:|
    | 1 | 2.5 |
    """
    rule = "|---" + "|---:" * (len(names) - 1) + "|"
    first, *others = (f"| {' | '.join(row)} |" for row in (names, *rows))
    return "\n".join([first, rule, *others])


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile.

    >>> percentile([4, 1, 3, 2], 50), percentile([4, 1, 3, 2], 95)
    (2, 4)
    """
    ranked = sorted(values)
    return ranked[max(0, -int(-len(ranked) * percent // 100) - 1)]


def tell(result: Result, table: str, file: Path | None) -> None:
    """Print the table, write the JSON."""
    print(table)
    if file:
        file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
