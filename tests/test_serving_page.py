"""The tables of docs/serving.md are what its formula gives, and its commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from llava_chat.__main__ import build_parser

SERVING = (Path(__file__).parent.parent / "docs" / "serving.md").read_text(encoding="utf-8")
# hidden size, feed-forward size, layers, words, width of the keys; parameters in all; context.
SHAPES = {
    "LLaVA-1.5 7B": (4096, 11008, 32, 32064, 4096, 7_063_427_072, 2048),
    "LLaVA-1.5 13B": (5120, 13824, 40, 32064, 5120, 13_351_494_656, 2048),
    "LLaVA-1.6 34B": (7168, 20480, 60, 64064, 1024, 34_752_083_968, 4096),
}
GPUS = {
    "A100 80 GB": (2.039e12, 80e9),
    "H100 80 GB": (3.35e12, 80e9),
    "H200 141 GB": (4.3e12, 141e9),
}
BYTES = 2
MEMORY_SHARE, LEAST_TOKENS_PER_S, REPLY_TOKENS, PAUSE_S = 0.9, 20, 150, 60


def sizes(model: str) -> tuple[int, int, int, int]:
    """Bytes read for a token, bytes of keys and values a token, bytes of all weights, context."""
    hidden, inner, layers, words, keys, parameters, context = SHAPES[model]
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner + 2 * hidden
    read = BYTES * (layers * layer + hidden + words * hidden)
    return read, BYTES * 2 * layers * keys, BYTES * parameters, context


def rows(columns: int) -> list[list[str]]:
    found = re.findall(r"^\| (LLaVA-\d.+) \|$", SERVING, re.MULTILINE)
    return [cells for row in found if len(cells := row.split(" | ")) == columns]


@pytest.mark.parametrize("row", rows(5), ids=lambda row: row[0])
def test_the_sizes_are_those_of_the_models(row: list[str]) -> None:
    read, kept, weights, context = sizes(row[0])
    shown = [
        f"{read / 1e9:.1f} GB",
        f"{kept / 1e6:.3f} MB",
        f"{weights / 1e9:.1f} GB",
        f"{context}",
    ]
    assert row[1:] == shown


@pytest.mark.parametrize("row", rows(7), ids=lambda row: " on ".join(row[:2]))
def test_the_figures_are_those_of_the_formula(row: list[str]) -> None:
    read, kept, weights, context = sizes(row[0])
    number, _, gpu = row[1].partition(" x ")
    bandwidth, memory = (int(number) * each for each in GPUS[gpu])

    def tokens_per_s(replies: int) -> float:
        return bandwidth / (read + replies * context * kept)

    fitting = int((MEMORY_SHARE * memory - weights) // (context * kept))
    fast_enough = int((bandwidth / LEAST_TOKENS_PER_S - read) // (context * kept))
    replies = min(fitting, fast_enough)
    together = replies * tokens_per_s(replies)
    people = int(together * PAUSE_S / REPLY_TOKENS)
    figures = tokens_per_s(1), replies, tokens_per_s(replies), together, people
    assert row[2:] == [f"{figure:.0f}" for figure in figures]


def test_there_are_rows_to_check() -> None:
    assert (len(rows(5)), len(rows(7))) == (3, 11)


def test_the_commands_of_the_page_are_understood() -> None:
    commands = re.findall(
        r"^(?:\w+=\S+ )?python -m llava_chat ((?:.*\\\n)*.*)$", SERVING, re.MULTILINE
    )
    assert len(commands) == 3
    for command in commands:
        assert (
            build_parser().parse_args(shlex.split(command.replace("\\\n", " "))).engine == "remote"
        )
