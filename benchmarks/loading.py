"""How long a model takes to load, and how much memory while it does.

    python benchmarks/loading.py [--shape small|7b] [--stored float16] [--json FILE]

Random weights in a known shape are written into a temporary folder, in shards of 5 GB as the Hub
has them (LLaVA-1.5-7B: 14.1 GB of disk), and loaded on the CPU in a fresh process each: by
`load_checkpoint`, and by transformers' `from_pretrained`. One short reply about a picture follows,
so that whatever is put off until then is counted. The files leave the page cache before each.

Two peaks are told, both above what the process had after its imports. `resident` (VmHWM of Linux)
counts every page, also those of the files while they are mapped, which the system may take back;
`anonymous` (RssAnon, looked at a hundred times a second) counts what only swap could.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this folder alone is on it

from benchmarks.process_memory import peaks
from benchmarks.shapes import SHAPES, weightless_checkpoint
from benchmarks.talk import noise
from llava_chat.conversation import Conversation, Turn
from llava_chat.engine.base import Done, GenerationSettings
from llava_chat.engine.local import LocalEngine
from llava_chat.model.checkpoint import load_checkpoint, save_checkpoint
from llava_chat.model.sources import Search, find_sources
from llava_chat.model.tokenizer_files import load_tokenizer
from llava_chat.tokens import tokenize

SHARD_BYTES = 5_000_000_000
REPLY_TOKENS = 4
OURS, THEIRS = "llava_chat", "from_pretrained"
QUESTION = "What is to the left of the large red circle?"

Reply = Callable[[], int]
"""Makes one short reply and returns of how many tokens."""


def conversation() -> Conversation:
    """One question about the picture."""
    return Conversation((Turn("user", QUESTION, (noise(0),)),))


def load_ours(folder: Path, dtype: torch.dtype) -> Reply:
    """By our own loader; the reply by our engine."""
    checkpoint = load_checkpoint(str(folder), device="cpu", dtype=dtype)

    def reply() -> int:
        engine = LocalEngine(checkpoint)
        settings = GenerationSettings(temperature=0, max_new_tokens=REPLY_TOKENS, deadline_s=3600)
        *_, done = engine.stream(conversation(), settings)
        engine.close()
        if not isinstance(done, Done):
            raise SystemExit(f"the engine failed: {done}")
        return len(done.token_ids)

    return reply


def load_theirs(folder: Path, dtype: torch.dtype) -> Reply:
    """By transformers; the reply by its `generate`, with the ids and pixels of ours."""
    model: Any = transformers.LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype)

    def reply() -> int:
        description = find_sources(str(folder), Search()).description
        config, pixels = description.config, load_pixels(folder)
        prompt = tokenize(
            conversation(),
            load_tokenizer(folder, description),
            template="vicuna_v1",
            picture_tokens=lambda _: (pixels.shape[-1] // config.vision.patch_size) ** 2,
            image_token_id=config.image_token_id,
        )
        ids = torch.tensor([prompt.ids])
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pixels.to(dtype),
            do_sample=False,
            max_new_tokens=REPLY_TOKENS,
        )
        return int(output.shape[1] - ids.shape[1])

    return reply


def load_pixels(folder: Path) -> torch.Tensor:
    """The picture as transformers' own processor gives it, (1, 3, H, W)."""
    processor: Any = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels: torch.Tensor = processor(noise(0).rgb(), return_tensors="pt")["pixel_values"]
    return pixels


LOADERS = {OURS: load_ours, THEIRS: load_theirs}


def measure_here(way: str, folder: Path, dtype: torch.dtype) -> dict[str, float]:
    """Load and reply in this process, which has done nothing else."""
    told: dict[str, float] = {}
    with peaks(told):
        began = time.perf_counter()
        reply = LOADERS[way](folder, dtype)
        loaded = time.perf_counter()
        told["reply_tokens"] = reply()
        told["load_s"] = round(loaded - began, 2)
        told["reply_s"] = round(time.perf_counter() - loaded, 2)
    return told


def measure(shape: str, stored: torch.dtype, dtype: torch.dtype) -> dict[str, Any]:
    """Write the model, then load it each way in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="llava-loading-") as name:
        folder = Path(name)
        save_checkpoint(
            weightless_checkpoint(SHAPES[shape], stored), folder, max_shard_bytes=SHARD_BYTES
        )
        files = sorted(folder.glob("*.safetensors"))
        ways = {}
        for way in LOADERS:
            for file in files:
                forget(file)
            ways[way] = in_a_fresh_process(way, folder, dtype)
        weights_bytes = sum(file.stat().st_size for file in files)
    return {
        "benchmark": "loading",
        "shape": shape,
        "stored": str(stored).removeprefix("torch."),
        "dtype": str(dtype).removeprefix("torch."),
        "shards": len(files),
        "weights_bytes": weights_bytes * dtype.itemsize // stored.itemsize,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "ways": ways,
    }


def forget(file: Path) -> None:
    """Take a file out of the page cache, so that it is read from the disk again."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_a_fresh_process(way: str, folder: Path, dtype: torch.dtype) -> dict[str, float]:
    """What `measure_here` tells there."""
    arguments = ["--way", way, "--folder", str(folder), "--dtype", str(dtype).split(".")[1]]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def table(result: dict[str, Any]) -> str:
    """Seconds, and peaks with their ratio to the weights."""
    weights = result["weights_bytes"]
    lines = [
        f"| {weights / 1e9:.1f} GB in {result['dtype']} | {OURS} | {THEIRS} |",
        "|---|---:|---:|",
    ]
    for label, key in (("load, s", "load_s"), ("a short reply, s", "reply_s")):
        mine, theirs = (result["ways"][way][key] for way in LOADERS)
        lines.append(f"| {label} | {mine:.1f} | {theirs:.1f} |")
    for label, key in (
        ("peak, resident, GB", "resident_bytes"),
        ("peak, anonymous, GB", "anonymous_bytes"),
    ):
        shown = (result["ways"][way][key] for way in LOADERS)
        cells = [f"{peak / 1e9:.2f} ({peak / weights:.2f}x)" for peak in shown]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    formats = ("float32", "bfloat16", "float16")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--stored", choices=formats, default="bfloat16", help="in the files")
    parser.add_argument("--dtype", choices=formats, default="bfloat16", help="in memory")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--way", choices=LOADERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)
    if args.way:
        transformers.utils.logging.disable_progress_bar()
        print(json.dumps(measure_here(args.way, args.folder, dtype)))
        return
    result = measure(args.shape, getattr(torch, args.stored), dtype)
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
